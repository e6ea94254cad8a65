/* store_internal.h - what the front (store.c) and the backends share. Only store*.c, migrate.c
 * and the generated migration tables include it. */
#ifndef STORE_STORE_INTERNAL_H
#define STORE_STORE_INTERNAL_H

#include "store.h"

enum {
    STORE_TEXT_LIMIT = 16 * 1024 * 1024 - 1, /* params and result: MySQL's MEDIUMTEXT */
    STORE_WAIT_MS = 10000, /* longest wait for a free connection of the pool */
    STORE_PING_MS = 2000
};

/* -- migrations: numbers 1 to count, in order -- */

struct migration {
    int version;
    const char *name, *up, *down; /* scripts; statements end in ";\n" */
};

struct migration_list {
    const struct migration *items;
    size_t count;
};

extern const struct migration_list migrations_sqlite, migrations_mysql;

/* How a backend does one step; called while it holds its lock. */
struct migration_driver {
    int (*version)(void *ctx, int *ret_version, struct err *err);
    /* Runs the script and records it, or forgets it when !up. */
    int (*apply)(void *ctx, const struct migration *m, bool up, struct err *err);
};

int migrate_up(const struct migration_list *list, const struct migration_driver *driver,
               void *ctx, struct err *err);
int migrate_down(const struct migration_list *list, const struct migration_driver *driver,
                 void *ctx, struct err *err);

/* -- backends -- */

/* The front has checked all arguments; `order` holds the `count` indexes of items to work on,
 * in the order in which their rows must be locked. A transaction may run again after a
 * failure, so it sets every output anew. All methods are required. */
struct store_ops {
    const char *name, *scheme;
    bool is_remote; /* a server of its own, which may come up later than we do */
    const struct migration_list *migrations;
    int (*check_url)(const char *url, struct err *err);
    int (*open)(const char *url, int connections, struct store **ret, struct err *err);
    void (*close)(struct store *s);
    int (*ping)(struct store *s, struct err *err);
    int (*age)(struct store *s, int64_t *ret_ms, struct err *err);
    int (*upgrade)(struct store *s, struct err *err);
    int (*downgrade)(struct store *s, struct err *err);
    int (*version)(struct store *s, int *ret_version, struct err *err);
    int (*submit)(struct store *s, const struct submission *items, const size_t *order,
                  size_t count, bool announce, struct submit_result *ret, struct err *err);
    int (*look_up)(struct store *s, const struct submission *item, struct submit_result *ret,
                   struct err *err);
    int (*get)(struct store *s, const char *id, struct task *ret, struct err *err);
    int (*list)(struct store *s, const struct store_filter *filter, struct task_list *ret,
                int64_t *ret_total, struct err *err);
    int (*attempts)(struct store *s, const char *id, int limit, struct attempt **ret,
                    size_t *ret_count, struct err *err);
    int (*events)(struct store *s, const char *id, int64_t after, int limit,
                  struct task_event **ret, size_t *ret_count, struct err *err);
    int (*counts)(struct store *s, int64_t limit, struct store_counts *ret, struct err *err);
    int (*claim)(struct store *s, const struct claim *claim, struct claimed *ret,
                 size_t *ret_count, struct err *err);
    int (*renew)(struct store *s, struct renewal *items, const size_t *order, size_t count,
                 int64_t lease_ms, struct err *err);
    int (*move)(struct store *s, const struct task_move *items, const size_t *order,
                size_t count, bool announce, struct move_result *ret, struct err *err);
    int (*expired)(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                   struct err *err);
    int (*run_add)(struct store *s, const struct run_submission *item, bool announce,
                   struct submit_result *ret, struct err *err);
    int (*run_look_up)(struct store *s, const struct run_submission *item,
                       struct submit_result *ret, struct err *err);
    int (*run_get)(struct store *s, const char *id, struct run *ret, struct err *err);
    int (*run_list)(struct store *s, const struct run_filter *filter, struct run_list *ret,
                    int64_t *ret_total, struct err *err);
    int (*run_events)(struct store *s, const char *id, int limit, struct run_event **ret,
                      size_t *ret_count, struct err *err);
    int (*run_change)(struct store *s, struct run_change *items, const size_t *order,
                      size_t count, bool announce, struct err *err);
    int (*run_marks)(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                     size_t *ret_count, struct err *err);
    int (*run_unmark)(struct store *s, const struct run_mark *items, size_t count,
                      struct err *err);
    int (*run_purge)(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                     struct err *err);
    int (*outbox_take)(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                       size_t *ret_count, struct err *err);
    int (*outbox_done)(struct store *s, const int64_t *seqs, size_t count, struct err *err);
    int (*outbox_give_up)(struct store *s, const int64_t *seqs, size_t count, struct err *err);
    int (*forget_keys)(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                       struct err *err);
    int (*purge)(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
                 size_t *ret_count, struct err *err);
    int (*key_uses)(struct store *s, struct key_use *items, size_t count, struct err *err);
};

struct store { /* first member of each backend's own */
    const struct store_ops *ops;
};

extern const struct store_ops store_sqlite_ops, store_mysql_ops;

/* -- the front -- */

struct lock_key {
    const char *first, *second;
    size_t index;
};

struct lock_key *lock_keys_new(size_t count, struct err *err);
/* The sorted indexes; frees keys. */
size_t *lock_order(struct lock_key *keys, size_t count, struct err *err);
/* Is it one that a backend may see? */
int submission_check(const struct submission *item, struct err *err);

/* -- for the backends -- */

/* Room for a further element in an array that grows by doubling: NULL without memory, and
 * the array stays the caller's. */
void *store_grow(void *items, size_t count, size_t *capacity, size_t item_size);

/* Releases the tasks of a failed or repeated claim. */
void claimed_clear(struct claimed *items, size_t *count);

/* Does this move hand an attempt back unfinished? */
bool move_is_release(const struct task_move *m);

/* Does this move end an attempt that crashed? */
bool move_is_crash(const struct task_move *m);

/* The error of a change, or one that says none. */
const struct task_error *store_error(const struct task_error *e);

/* Has to be told to a run: the end of a task that is a step of one. */
bool move_ends_step(const struct task_move *m, const char *run_id);

/* An id of nothing but zeros stands for none: "" in its place. */
void id_or_none(char id[ID_TEXT_MAX]);

/* Bytes of text to keep so that it fits into `size` with its NUL, cut between characters. */
size_t store_fit(const char *text, size_t size);

/* The folder of a key, with its '/'; "" when it lies in none. */
void key_folder(const char *key, char ret_folder[ARTIFACT_KEY_MAX]);

/* The least id that is made from `wall_ms` on. */
void id_floor(int64_t wall_ms, char ret_id[ID_TEXT_MAX]);

/* A task that might be claimed; the best of several queues come first once sorted. */
struct candidate {
    size_t queue; /* index in the claim's queues */
    int64_t turn;
    char id[ID_TEXT_MAX];
};
int candidate_compare(const void *a, const void *b); /* for qsort */
void candidates_sort(struct candidate *items, size_t count);

#endif
