/* model_store.h - a store in memory, for the simulation: the contract of store.h without SQL.
 *
 * Any number of connections share one database; every call is one atomic transaction. Each
 * connection asks its watch before a call (which may fail it, undone) and after one that
 * wrote (which may hide that it was done), and tells it what changed. The contract suite
 * (tests/contract/store) runs against it too. */
#ifndef SIM_MODEL_STORE_H
#define SIM_MODEL_STORE_H

#include <pthread.h>

#include "store_internal.h"

struct model_attempt {
    struct attempt a;
    char token[TOKEN_TEXT_MAX];
};

struct model_task {
    struct task t;
    char token[TOKEN_TEXT_MAX]; /* "" unless PROCESSING */
    int budget;                 /* max_attempts as submitted */
    int64_t wake_ms;            /* end of the lease, or run_at of a task that waits; else 0 */
    struct model_attempt *attempts; /* t.attempt of them */
    size_t attempts_capacity;
};

struct model_row {
    struct outbox_row row;
    int64_t due_ms;
};

struct model_key {
    char client[TASK_KEY_MAX], key[TASK_KEY_MAX], sha256[SHA256_TEXT_MAX], id[ID_TEXT_MAX];
    int64_t created_ms;
};

struct model_run {
    struct run r; /* with its steps */
};

struct model_run_event {
    char run_id[ID_TEXT_MAX];
    struct run_event e;
};

struct model_mark {
    struct run_mark m;
    int64_t at_ms;
};

struct model_db {
    pthread_mutex_t lock;
    struct model_task *tasks; /* as submitted, oldest first */
    struct task_event *events;
    struct model_row *outbox;
    struct model_key *keys;
    struct model_run *runs;
    struct model_run_event *run_events;
    struct model_mark *marks;
    size_t run_count, run_capacity, run_event_count, run_event_capacity, mark_count,
        mark_capacity;
    size_t task_count, task_capacity, event_count, event_capacity, outbox_count,
        outbox_capacity, key_count, key_capacity;
    int64_t seq, event_seq; /* of outbox rows, of events */
};

/* A task changed its state; from is -1 for a submit. */
struct model_change {
    const struct model_task *task; /* as it is now */
    int from;
    const char *actor;
    enum attempt_outcome outcome; /* when from is PROCESSING */
    int64_t lease_ms;             /* when from is PROCESSING: the end of its lease */
    int64_t now_ms;
    bool is_quiet; /* of a submit: another message tells of it (wakes.c) */
};

/* All but now may be NULL. */
struct model_watch {
    int64_t (*now)(void *arg); /* the database's clock */
    int (*before)(void *arg, const char *call, struct err *err);
    int (*after)(void *arg, const char *call, struct err *err); /* of a call that wrote */
    void (*changed)(void *arg, const struct model_change *change);
    void (*renewed)(void *arg, const char *id, const char *token);
    void (*unannounced)(void *arg, int64_t seq); /* an outbox row was removed */
};

struct model_conn {
    struct store base;
    struct model_db *db;
    const struct model_watch *watch;
    void *arg;
};

void model_db_init(struct model_db *db);
void model_db_clear(struct model_db *db); /* empty again, the memory kept */
void model_db_release(struct model_db *db);

/* &conn->base is a store; store_close does nothing. */
void model_connect(struct model_conn *conn, struct model_db *db,
                   const struct model_watch *watch, void *arg);

/* NULL when there is none. */
struct model_task *model_find(struct model_db *db, const char *id);

/* Between the files of the model. */
int model_begin(struct model_conn *c, const char *call, struct err *err); /* locks when 0 */
int model_end(struct model_conn *c, const char *call, bool wrote, struct err *err);
int64_t model_now(struct model_conn *c);
void model_add_event(struct model_db *db, const struct model_task *t, int from,
                     const char *actor, const char *detail, int64_t now_ms);
int64_t model_announce(struct model_db *db, const struct model_task *t);
void *model_room(void *items, size_t count, size_t *capacity, size_t size);

/* False when another has the key; *ret says who. */
bool model_take_key(struct model_conn *c, const struct submission *item,
                    struct submit_result *ret);
int64_t model_submit_task(struct model_conn *c, const struct submission *item, bool announce,
                          const char *actor);
void model_mark_run(struct model_conn *c, const char *id, const char *run_id);
void model_clear_runs(struct model_db *db);

int model_run_add(struct store *s, const struct run_submission *item, bool announce,
                  struct submit_result *ret, struct err *err);
int model_run_look_up(struct store *s, const struct run_submission *item,
                      struct submit_result *ret, struct err *err);
int model_run_get(struct store *s, const char *id, struct run *ret, struct err *err);
int model_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                   int64_t *ret_total, struct err *err);
int model_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                     size_t *ret_count, struct err *err);
int model_run_change(struct store *s, struct run_change *items, const size_t *order,
                     size_t count, bool announce, struct err *err);
int model_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                    size_t *ret_count, struct err *err);
int model_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                     struct err *err);
int model_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                    struct err *err);
int model_submit(struct store *s, const struct submission *items, const size_t *order,
                 size_t count, bool announce, struct submit_result *ret, struct err *err);
int model_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                  struct err *err);
int model_claim(struct store *s, const struct claim *claim, struct claimed *ret,
                size_t *ret_count, struct err *err);
int model_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
                int64_t lease_ms, struct err *err);
int model_move(struct store *s, const struct task_move *items, const size_t *order,
               size_t count, bool announce, struct move_result *ret, struct err *err);
int model_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                  struct err *err);

#endif
