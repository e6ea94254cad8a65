/* segue/pipeline_repository.h - where pipelines are kept: get, save, update, search.
 *
 * Three implementations come with the library: memory (here), SQLite (segue/pipeline_sqlite.h)
 * and MySQL or MariaDB (segue/pipeline_mysql.h). One of your own is a table of these functions
 * and a struct that begins with a struct pipeline_repository.
 *
 * CONTRACT of the table. All functions may be called by several threads at once and may block.
 * They return 0 or a negative PIPELINE_E_* code with a sentence in err (which may be NULL).
 * What a function returned 0 for is durable, as far as the repository is. The two models,
 * pipelines and steps, are two tables of the same kind of record. */
#ifndef SEGUE_PIPELINE_REPOSITORY_H
#define SEGUE_PIPELINE_REPOSITORY_H

#include "pipeline.h"

#ifdef __cplusplus
extern "C" {
#endif

enum pipeline_model { PIPELINE_MODEL_PIPELINE, PIPELINE_MODEL_STEP, PIPELINE_MODEL__COUNT };

enum { PIPELINE_CLAIM_MAX = 33 };

struct pipeline_record {
    enum pipeline_model model;
    int64_t seq;     /* place in the order of insertion, from 1; the repository's */
    int64_t version; /* 1 when saved, one more with each update */
    char uuid[PIPELINE_UUID_MAX];
    char pipeline_uuid[PIPELINE_UUID_MAX]; /* of a step; "" for a pipeline */
    char name[PIPELINE_NAME_MAX];
    enum pipeline_status status;
    char reason[PIPELINE_REASON_MAX]; /* UTF-8 */
    char *metadata;                   /* JSON text on the heap, never NULL when stored */
    bool start_ended;                 /* of a step: its on_start came back */
    /* Who is running a step of this pipeline: a random text, "" for nobody. */
    char claim[PIPELINE_CLAIM_MAX];
    /* update: for how long the claim shall hold from now on. get and search: how much longer it
     * holds, 0 when it is over. In milliseconds on the clock of the repository, which is the
     * same for everybody who uses it and never goes back. */
    int64_t claim_ms;
};

/* Frees metadata; the record itself is the caller's. */
PIPELINE_API void pipeline_record_release(struct pipeline_record *record);

/* A heap array of them. Zeroed is empty. */
struct pipeline_records {
    struct pipeline_record *items;
    size_t count;
};

PIPELINE_API void pipeline_records_release(struct pipeline_records *records);

enum pipeline_field {
    PIPELINE_FIELD_NAME,
    PIPELINE_FIELD_STATUS,        /* its name: "pending" */
    PIPELINE_FIELD_PIPELINE_UUID, /* of steps only */
    PIPELINE_FIELD__COUNT
};

struct pipeline_query {
    enum pipeline_model model;
    enum pipeline_field field;
    const char *value; /* records whose field is exactly this */
    int64_t after;     /* and whose seq is greater than this */
    size_t limit;      /* at most so many, at least 1 */
};

struct pipeline_repository_ops {
    const char *name;

    /* -PIPELINE_E_NOT_FOUND. The record is the caller's to release. */
    int (*get)(struct pipeline_repository *self, enum pipeline_model model, const char *uuid,
               struct pipeline_record *ret, struct pipeline_err *err);

    /* Adds all records or none, in their order, and sets their seq and version.
     * -PIPELINE_E_EXISTS: a uuid is taken. -PIPELINE_E_NOT_FOUND: a step whose pipeline is
     * neither stored nor earlier in the array. */
    int (*save)(struct pipeline_repository *self, struct pipeline_record *records, size_t count,
                struct pipeline_err *err);

    /* Compare and set: replaces what may change (status, reason, metadata, start_ended, claim,
     * claim_ms) when the stored version is still record->version, and stores version + 1; the
     * caller's record is left as it is. -PIPELINE_E_STALE: it is another version.
     * -PIPELINE_E_NOT_FOUND. With any other error it may have been stored or not: the library
     * looks. */
    int (*update)(struct pipeline_repository *self, const struct pipeline_record *record,
                  struct pipeline_err *err);

    /* In the order of seq. None is no error. */
    int (*search)(struct pipeline_repository *self, const struct pipeline_query *query,
                  struct pipeline_records *ret, struct pipeline_err *err);

    void (*free)(struct pipeline_repository *self);
};

struct pipeline_repository {
    const struct pipeline_repository_ops *ops;
};

/* NULL does nothing. No orchestrator may use it any more. */
PIPELINE_API void pipeline_repository_free(struct pipeline_repository *r);

/* In this process only, gone with it. */
PIPELINE_API int pipeline_memory_new(struct pipeline_repository **ret,
                                     struct pipeline_err *err);

#ifdef __cplusplus
}
#endif

#endif
