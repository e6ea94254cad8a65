/* pipeline_internal.h - what the files of the library share; no other room includes it. */
#ifndef PIPELINE_INTERNAL_H
#define PIPELINE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "segue/pipeline_repository.h"

/* -- records -- */

/* The functions of the table. What they return 0 for was checked for damage. */
int repository_get(struct pipeline_repository *r, enum pipeline_model model, const char *uuid,
                   struct pipeline_record *ret, struct pipeline_err *err);
int repository_save(struct pipeline_repository *r, struct pipeline_record *records,
                    size_t count, struct pipeline_err *err);
int repository_search(struct pipeline_repository *r, const struct pipeline_query *query,
                      struct pipeline_records *ret, struct pipeline_err *err);

/* update, once; and when the answer says neither yes nor no, a look at what is stored, and one
 * more try. 0, or -PIPELINE_E_STALE when somebody else was faster. */
int repository_store(struct pipeline_repository *r, const struct pipeline_record *record,
                     struct pipeline_err *err);

/* Puts a change into `record` and stores it. When somebody else changed it meanwhile, the
 * change is made again to what is stored. On success `record` is what is stored; after an error
 * it may be what was loaded last. `change` returns 0, RECORD_KEEP for nothing to store, or an
 * error, which ends it. */
enum { RECORD_KEEP = 1 };
int record_change(struct pipeline_repository *r, struct pipeline_record *record,
                  int (*change)(struct pipeline_record *record, const void *arg,
                                struct pipeline_err *err),
                  const void *arg, struct pipeline_err *err);

/* Loads it again; on failure it stays as it was. */
int record_reload(struct pipeline_repository *r, struct pipeline_record *record,
                  struct pipeline_err *err);

/* -- claims: claim_keeper.c -- */

struct claim {
    char uuid[PIPELINE_UUID_MAX], token[PIPELINE_CLAIM_MAX];
    atomic_bool is_lost;
    _Atomic int64_t until_ms; /* when it ends unless renewed, on boot_ms() */
    bool is_renewing;         /* these are the keeper's, under its lock */
    int64_t due_ms;
    struct claim *next;
};

struct keeper {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t thread;
    bool is_running, is_ending;
    struct claim *claims;
    struct pipeline_repository *repository;
    int lease_ms;
};

int keeper_init(struct keeper *k, struct pipeline_repository *r, int lease_ms,
                struct pipeline_err *err);
void keeper_release(struct keeper *k);
/* Sees to it that there is a thread. */
int keeper_start(struct keeper *k, struct pipeline_err *err);
/* Renews the claim from now on, until keeper_drop, which waits for a renewal on its way. */
void keeper_add(struct keeper *k, struct claim *c);
void keeper_drop(struct keeper *k, struct claim *c);
bool claim_is_held(const struct claim *c);

/* -- definitions and handles -- */

struct step_entry {
    struct pipeline_step_definition definition;
    char name[PIPELINE_NAME_MAX];
    struct step_entry *next;
};

struct pipeline_entry {
    char name[PIPELINE_NAME_MAX];
    struct pipeline_entry *next;
    size_t step_count;
    const struct step_entry *steps[];
};

struct orchestrator {
    struct pipeline_repository *repository;
    struct orchestrator_options options;
    struct keeper keeper;
    pthread_mutex_t lock; /* of the two lists; entries stay as long as the orchestrator */
    struct step_entry *steps;
    struct pipeline_entry *pipelines;
};

/* NULL when there is none of that name. */
const struct step_entry *orchestrator_step(struct orchestrator *o, const char *name);
const struct pipeline_entry *orchestrator_pipeline(struct orchestrator *o, const char *name);

struct pipeline_step {
    struct pipeline *p;
    struct pipeline_record record;
};

struct pipeline {
    struct orchestrator *o;
    struct pipeline_record record;
    struct pipeline_step *steps;
    size_t step_count;
    struct claim claim;
    const struct pipeline_step *called; /* the step that is being called */
};

/* A handle around a record, which it takes over in any case. The steps are not loaded yet. */
int handle_new(struct orchestrator *o, struct pipeline_record *record, struct pipeline **ret,
               struct pipeline_err *err);
/* The stored states of its steps. */
int handle_load_steps(struct pipeline *p, struct pipeline_err *err);
/* One tick; p->record was loaded just now. */
int handle_tick(struct pipeline *p, struct pipeline_err *err);

#endif
