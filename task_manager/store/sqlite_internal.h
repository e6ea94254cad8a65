/* sqlite_internal.h - what the files of the SQLite backend share. Only store_sqlite*.c
 * include it.
 *
 * One writer thread owns the only connection that writes and, alone, checkpoints: SQLite
 * before 3.51.3 may lose commits when a checkpoint races a commit of another connection
 * (https://sqlite.org/wal.html#walresetbug), and one writer can share one fsync among all
 * who wait (group commit). Readers have a pool of connections of their own. */
#ifndef STORE_SQLITE_INTERNAL_H
#define STORE_SQLITE_INTERNAL_H

#include <pthread.h>
#include <sqlite3.h>

#include "store_internal.h"
#include "tally.h"

enum lite_stmt {
#define S(name, sql) LITE_##name,
#include "sqlite.def"
#undef S
    LITE__COUNT
};

struct lite_conn {
    sqlite3 *db;
    sqlite3_stmt *stmts[LITE__COUNT]; /* prepared at first use, kept */
    struct tally tally;               /* of the request that the writer runs */
    struct lite_conn *next;           /* in the pool of readers */
};

int lite_open(const char *path, bool writer, struct lite_conn *ret, struct err *err);
void lite_close(struct lite_conn *c);

/* Puts SQLite's complaint into err; returns its code. `what` is what was being done. */
int lite_fail(sqlite3 *db, int rc, const char *what, struct err *err);
int lite_exec(struct lite_conn *c, const char *sql, struct err *err);

/* -- one run of a statement: begin, parameters in order, next until 0, end -- */

struct lite_query {
    struct lite_conn *c;
    sqlite3_stmt *st;
    int at; /* the next parameter, then the next column */
    int rc; /* the first failure, kept until lite_next or lite_row_ok */
};

void lite_begin(struct lite_query *q, struct lite_conn *c, enum lite_stmt which);
/* The same for SQL made at run time (from constant pieces only); ends with lite_drop. */
void lite_begin_sql(struct lite_query *q, struct lite_conn *c, const char *sql);
void lite_int(struct lite_query *q, int64_t value);
void lite_real(struct lite_query *q, double value);
/* NULL text is NULL; the text must outlive the query. `size` bounds it as a field would. */
void lite_text(struct lite_query *q, const char *text);
void lite_text_in(struct lite_query *q, const char *text, size_t size);
void lite_id(struct lite_query *q, const char *id);
void lite_id_or_null(struct lite_query *q, const char *id); /* NULL and "" are NULL */

/* 1: a row, 0: no more, or an error. */
int lite_next(struct lite_query *q, struct err *err);
/* For a statement without rows: runs and ends it; ret_changes may be NULL. */
int lite_run(struct lite_query *q, int *ret_changes, struct err *err);
void lite_end(struct lite_query *q);
void lite_drop(struct lite_query *q);

/* Columns in order. Damage is kept and told by lite_row_ok. */
int64_t lite_get_int(struct lite_query *q);
int lite_get_int_in(struct lite_query *q, int below); /* 0 <= value < below, or damage */
double lite_get_real(struct lite_query *q);
void lite_get_text(struct lite_query *q, char *ret, size_t size);
char *lite_get_heap(struct lite_query *q); /* NULL for NULL */
void lite_get_id(struct lite_query *q, char ret_id[ID_TEXT_MAX]);
void lite_get_id_or_none(struct lite_query *q, char ret_id[ID_TEXT_MAX]); /* zeros: "" */
int lite_row_ok(struct lite_query *q, struct err *err);

/* -- the store -- */

typedef int lite_body(struct lite_conn *c, void *arg, struct err *err);

struct lite_request {
    lite_body *body;
    void *arg;
    int rc;
    struct err err;
    bool done, abandoned; /* abandoned: the writer frees it, nobody waits any more */
    pthread_cond_t wake;
    struct lite_request *next;
};

struct lite_writer {
    struct lite_conn conn;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of all below and of each request's done and abandoned */
    pthread_cond_t work;
    struct lite_request *head, **tail;
    bool stop;
};

struct store_sqlite {
    struct store base;
    int lock_fd;
    struct lite_writer writer;
    pthread_mutex_t lock; /* of the pool of readers */
    pthread_cond_t free_reader;
    struct lite_conn *readers, *idle; /* array of reader_count; list of those not lent */
    int reader_count;
};

int lite_writer_start(struct lite_writer *w, struct err *err);
void lite_writer_stop(struct lite_writer *w); /* after everything asked for was done */

/* Runs body in a transaction of the writer and returns after COMMIT. A body that fails is
 * undone alone. */
int lite_write(struct store_sqlite *s, lite_body *body, void *arg, struct err *err);
/* The same, without an argument, waiting no longer than wait_ms. */
int lite_write_within(struct store_sqlite *s, lite_body *body, int64_t wait_ms,
                      struct err *err);
/* Runs body on a reading connection. */
int lite_read(struct store_sqlite *s, lite_body *body, void *arg, struct err *err);

/* pthread_cond_init on the monotonic clock, and a deadline on it. */
int cond_init_mono(pthread_cond_t *cond);
struct timespec mono_after(int64_t ms);

/* Columns of TASK_COLUMNS in sqlite.def, from the query's next column on. */
void lite_read_task(struct lite_query *q, struct task *ret);

void lite_read_error(struct lite_query *q, struct task_error *ret);
void lite_bind_error(struct lite_query *q, const struct task_error *e);

/* A submit's rows: the task alone; and the holder of a key (0 when this one got it, else *ret
 * says who was first). */
int lite_add_task(struct lite_conn *c, const struct task *t, struct err *err);
int lite_take_key(struct lite_conn *c, const struct submission *item, struct submit_result *ret,
                  struct err *err);

/* The rows that go with a change of state; the outbox copies the task's row as it is now. */
int lite_add_event(struct lite_conn *c, const char *id, int from, int to, int attempt,
                   const char *actor, const char *detail, struct err *err);
int lite_announce(struct lite_conn *c, const char *id, struct err *err);

/* -- the methods, one file per group -- */

int lite_submit(struct store *s, const struct submission *items, const size_t *order,
                size_t count, bool announce, struct submit_result *ret, struct err *err);
int lite_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                 struct err *err);
int lite_get(struct store *s, const char *id, struct task *ret, struct err *err);
int lite_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
              int64_t *ret_total, struct err *err);
int lite_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                  size_t *ret_count, struct err *err);
int lite_events(struct store *s, const char *id, int64_t after, int limit,
                struct task_event **ret, size_t *ret_count, struct err *err);
int lite_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err);
int lite_claim(struct store *s, const struct claim *claim, struct claimed *ret,
               size_t *ret_count, struct err *err);
int lite_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
               int64_t lease_ms, struct err *err);
int lite_move(struct store *s, const struct task_move *items, const size_t *order, size_t count,
              bool announce, struct move_result *ret, struct err *err);
int lite_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                 struct err *err);
/* A step's task has ended: its run has to be looked at. */
int lite_mark_run(struct lite_conn *c, const char *id, const char *run_id, struct err *err);
int lite_run_add(struct store *s, const struct run_submission *item, bool announce,
                 struct submit_result *ret, struct err *err);
int lite_run_look_up(struct store *s, const struct run_submission *item,
                     struct submit_result *ret, struct err *err);
int lite_run_get(struct store *s, const char *id, struct run *ret, struct err *err);
int lite_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                  int64_t *ret_total, struct err *err);
int lite_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                    size_t *ret_count, struct err *err);
int lite_run_change(struct store *s, struct run_change *items, const size_t *order,
                    size_t count, bool announce, struct err *err);
int lite_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                   size_t *ret_count, struct err *err);
int lite_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                    struct err *err);
int lite_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                   struct err *err);
int lite_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                     size_t *ret_count, struct err *err);
int lite_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err);
int lite_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err);
int lite_age(struct store *s, int64_t *ret_ms, struct err *err);
int lite_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                     struct err *err);
int lite_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
               size_t *ret_count, struct err *err);
int lite_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err);

#endif
