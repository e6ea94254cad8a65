/* mysql_internal.h - what the files of the MySQL and MariaDB backend share. Only
 * store_mysql*.c include it.
 *
 * A small pool of connections; a call borrows one, runs one transaction and gives it back.
 * Transactions are READ COMMITTED, lock rows in primary-key order before they judge and
 * change them, and are redone as a whole after a deadlock, a lock wait or a lost link. When the
 * link breaks during COMMIT, an event that the transaction wrote tells whether it was
 * committed. */
#ifndef STORE_MYSQL_INTERNAL_H
#define STORE_MYSQL_INTERNAL_H

#include <mysql.h>
#include <pthread.h>

#include "store_internal.h"
#include "tally.h"

enum my_stmt {
#define S(name, sql) MY_##name,
#define L(name, head, row, tail)
#include "mysql.def"
#undef S
#undef L
    MY__COUNT
};

enum my_list {
#define S(name, sql)
#define L(name, head, row, tail) MY_##name,
#include "mysql.def"
#undef S
#undef L
    MY_LIST__COUNT
};

/* What a failure means for the transaction. */
enum my_fault {
    FAULT_NONE,  /* not the database's failure */
    FAULT_RETRY, /* deadlock, lock wait, interrupted: roll back and redo */
    FAULT_LINK,  /* the connection is gone */
    FAULT_FINAL
};

/* Of one statement. */
enum { MY_ROWS_MAX = 128 };

/* A statement of the script whose answer is awaited. */
struct my_waiting {
    struct my_query *query; /* gets the rows, or NULL */
    int64_t *ret_id;        /* gets the number of the first row that was added, or NULL */
    int64_t expected;       /* so many rows have to change; -1: any number */
};

/* An event that a transaction writes: should the link break during COMMIT, it tells whether
 * there was one. The begin and the end of an attempt are known by what they say, as a submit
 * is: none comes twice with the same number. Others (a client may set a state, and retry, again
 * and again) and those of runs are known by their number. */
struct my_probe {
    enum { PROBE_NONE, PROBE_CHANGE, PROBE_EVENT, PROBE_RUN } kind;
    char id[ID_TEXT_MAX]; /* of the task or run */
    int from, to, attempt;
    int64_t seq;
};

/* Statements of one script. */
enum { MY_WAITING_MAX = 64 };

/* Into how many rows a counter of tasks is split. */
enum { MY_SHARDS = 16 };

struct my_conn {
    MYSQL *my;
    struct buf script; /* statements that wait to be sent */
    size_t script_end; /* of its whole statements; behind it is the one that is being begun */
    struct my_waiting waiting[MY_WAITING_MAX];
    size_t waiting_count;
    int64_t changes;       /* rows matched by the last statement that was answered */
    bool in_transaction;   /* what needs no answer may wait */
    bool is_begun;         /* and something of it has been sent */
    unsigned error;        /* number of the last failure, 0 for none */
    bool spoiled;          /* a ROLLBACK failed: not to be used again */
    unsigned shard;        /* of the counters of tasks */
    struct my_probe probe; /* of this transaction */
    struct tally tally;    /* of this transaction */
    bool has_clock;        /* @now is set in it */
    bool tells_ahead;      /* its body tells what waits now (see my_ahead_add) */
    struct my_conn *next;
};

struct my_address {
    char *host, *user, *password, *database; /* heap, never NULL after my_address_parse */
    unsigned port;
};

/* "mysql://user:password@host:port/database" with percent-encoded parts; the port may be
 * left out. The sentence of an error never shows the URL. */
int my_address_parse(const char *url, struct my_address *ret, struct err *err);
void my_address_release(struct my_address *a);

struct my_limits {
    unsigned connect_s, io_s, lock_wait_s;
};

int my_connect(const struct my_address *a, const struct my_limits *limits, struct my_conn **ret,
               unsigned *ret_error, struct err *err);
void my_disconnect(struct my_conn *c);

enum my_fault my_fault_of(unsigned error);
/* Puts the complaint of the connection into err and c->error; returns its code. */
int my_fail(struct my_conn *c, const char *what, struct err *err);
/* Runs constant SQL without parameters at once. */
int my_exec(struct my_conn *c, const char *sql, struct err *err);

/* -- one run of a statement: begin, parameters, outputs, then run or (exec, next..., end) --
 *
 * In a transaction, statements whose answer nobody asks for wait until one is asked for, or
 * until the transaction ends, and are sent with it; the first that fails is the last that is
 * run, and the failure is that of the call that sent them. */

enum { MY_OUT_MAX = 32 };

enum my_out_kind {
    MY_OUT_INT,
    MY_OUT_SMALL,
    MY_OUT_ENUM,
    MY_OUT_REAL,
    MY_OUT_TEXT,
    MY_OUT_HEAP,
    MY_OUT_ID
};

struct my_out {
    enum my_out_kind kind;
    void *dest;
    int below;   /* for MY_OUT_ENUM */
    size_t size; /* for MY_OUT_TEXT */
};

struct my_query {
    struct my_conn *c;
    const char *at;         /* what follows of the piece that is being written */
    const char *row, *tail; /* the pieces that come next */
    size_t rows_left, rows;
    int64_t *ret_id;
    bool expects;
    int64_t expected;
    MYSQL_RES *res;
    unsigned outs;
    struct my_out outputs[MY_OUT_MAX];
};

/* On one connection, the parameters of a statement are all given, and it is run or asked,
 * before the next one begins. */
void my_begin(struct my_query *q, struct my_conn *c, enum my_stmt which);
/* A statement over several rows; returns over how many of `left` (at least one), at most
 * MY_ROWS_MAX. */
size_t my_begin_rows(struct my_query *q, struct my_conn *c, enum my_list which, size_t left);
/* The same for SQL made at run time, from constant pieces only, which outlives the query. */
void my_begin_sql(struct my_query *q, struct my_conn *c, const char *sql);
void my_int(struct my_query *q, int64_t value);
void my_real(struct my_query *q, double value); /* a finite one */
/* UTF-8; NULL text is NULL. `size` bounds it as a field would. */
void my_text(struct my_query *q, const char *text);
void my_text_in(struct my_query *q, const char *text, size_t size);
void my_bytes(struct my_query *q,
              const char *text); /* whatever they are, for a binary column */
void my_id(struct my_query *q, const char *id);
void my_id_or_null(struct my_query *q, const char *id); /* NULL and "" are NULL */

/* Where the columns go, in order, at each my_next. my_out_heap leaves NULL for NULL and a
 * string to free() otherwise; when my_next fails, all such strings of the row are freed. */
void my_out_int(struct my_query *q, int64_t *ret);
void my_out_small(struct my_query *q, int *ret);
void my_out_enum(struct my_query *q, int *ret, int below);
void my_out_real(struct my_query *q, double *ret);
void my_out_text(struct my_query *q, char *ret, size_t size);
void my_out_heap(struct my_query *q, char **ret);
void my_out_id(struct my_query *q, char ret_id[ID_TEXT_MAX]);

int my_query_exec(struct my_query *q, struct err *err);
/* Leaves the answer to come with that of the next statement that is executed; then my_next, and
 * my_end in any case. The query stays in its place until then. */
int my_ask(struct my_query *q, struct err *err);
/* 1: a row was put into the outputs, 0: no more, or an error. */
int my_next(struct my_query *q, struct err *err);
/* exec, next, end: 1, 0 or an error. */
int my_one(struct my_query *q, struct err *err);
/* For a statement without rows. It waits if it may, unless ret_changes (rows matched) is asked
 * for. Before it one may say what is to become of its answer: *ret gets the number of the first
 * row it added; or it has to match so many rows. */
void my_want_id(struct my_query *q, int64_t *ret);
void my_expect(struct my_query *q, int64_t changes);
int my_run(struct my_query *q, int64_t *ret_changes, struct err *err);
void my_end(struct my_query *q);
/* Constant SQL without parameters or rows, which waits in any case; all that waits, sent; and
 * forgotten. */
void my_queue(struct my_conn *c, const char *sql);
int my_flush(struct my_conn *c, struct err *err);
/* Sets @now, in a transaction, unless it is: what rows are written with, after all locks. */
int my_clock(struct my_conn *c, struct err *err);
void my_forget_script(struct my_conn *c);

/* -- what waits, read ahead (store_mysql_ahead.c); thread-safe -- */

enum { MY_AHEAD_QUEUES = 128, MY_AHEAD_MAX = 512 };

struct my_ahead {
    pthread_mutex_t lock;
    struct ahead *queues[MY_AHEAD_QUEUES];
    size_t count;
};

/* How far it had come with a queue. */
struct my_ahead_mark {
    uint64_t ignored; /* submits that were left to the next look */
    size_t added;     /* submits that were told of */
};

int my_ahead_init(struct my_ahead *a, struct err *err);
void my_ahead_release(struct my_ahead *a);

/* The best tasks that wait in the claim's queues, at most limit, which are then forgotten here;
 * `queue` of each is its index in the claim. *ret_known: fewer means that nothing else waits;
 * else it is none, because others may come first, or with `any` all that is known. */
size_t my_ahead_take(struct my_ahead *a, const struct claim *claim, size_t limit, bool any,
                     struct candidate *ret, bool *ret_known);
/* A task waits. */
void my_ahead_add(struct my_ahead *a, const char *queue, int64_t turn, const char *id);
/* What waits in the queue is not known any more. */
void my_ahead_forget(struct my_ahead *a, const char *queue);
/* Before a look at the queue, and with what it saw: its first tasks in the order of claims
 * (`queue` 0), is_whole when that was all. */
struct my_ahead_mark my_ahead_mark(struct my_ahead *a, const char *queue);
void my_ahead_fill(struct my_ahead *a, const char *queue, struct my_ahead_mark mark,
                   const struct candidate *items, size_t count, bool is_whole);

/* -- the store -- */

struct store_mysql {
    struct store base;
    struct my_ahead ahead;
    struct my_address address;
    pthread_mutex_t lock; /* of the pool */
    pthread_cond_t returned;
    struct my_conn *idle;
    int lent, limit;
    pthread_mutex_t ping_lock; /* of ping_conn, which has short timeouts of its own */
    struct my_conn *ping_conn;
};

/* Sleeps before another try; false when after this fault, and so many tries, there is to be
 * none. */
bool my_wait_for_try(enum my_fault fault, unsigned tries, int64_t began_ms);

typedef int my_body(struct my_conn *c, void *arg, struct err *err);

/* Runs body in a transaction and returns after COMMIT, or after the last of its tries. */
int my_transact(struct store_mysql *s, my_body *body, void *arg, struct err *err);
/* Runs a body that only reads, each statement by itself. */
int my_read(struct store_mysql *s, my_body *body, void *arg, struct err *err);

int my_pool_init(struct store_mysql *s, int limit, struct err *err);
void my_pool_release(struct store_mysql *s);
int my_borrow(struct store_mysql *s, struct my_conn **ret, unsigned *ret_error,
              struct err *err);
void my_give_back(struct store_mysql *s, struct my_conn *c, bool broken);

/* A task's row: outputs for MY_TASK_COLUMNS, then finish after my_next. */
struct my_task_row {
    struct task task;
    int state, error_class;
    int64_t input_size, output_size, wake_ms;
};
void my_out_task(struct my_query *q, struct my_task_row *row);
void my_task_finish(struct my_task_row *row, struct task *ret);

/* The rows that go with a change of state. */
struct my_event {
    const char *id;
    int from, to, attempt;
    const char *actor, *detail; /* NULL: "" */
};
int my_add_events(struct my_conn *c, const struct my_event *items, size_t count,
                  struct err *err);

struct my_notice { /* of the outbox */
    const char *id, *type, *queue;
    int attempt;
    int64_t at_ms, delay_ms; /* due at a time, or when that is 0 after a delay */
    int64_t *ret_seq;        /* gets the row's number when that is known at once; or NULL */
};
int my_announce(struct my_conn *c, const struct my_notice *items, size_t count,
                struct err *err);
/* A submit's rows: the tasks alone; and the key, which may be another's (see ret). */
int my_add_tasks(struct my_conn *c, const struct task *const *items, size_t count,
                 struct err *err);
int my_take_key(struct my_conn *c, const struct submission *item, struct submit_result *ret,
                struct err *err);
/* A step's task has ended: its run has to be looked at. */
int my_mark_run(struct my_conn *c, const char *id, const char *run_id, struct err *err);
/* The error of a row: outputs, of which class has to be put in its place after my_next. */
void my_out_error(struct my_query *q, int *class, struct task_error *ret);
/* 1 and the state when there is such a task, 0 when not. */
int my_task_state(struct my_conn *c, const char *id, enum task_state *ret, struct err *err);

/* -- the methods, one file per group -- */

int my_submit(struct store *s, const struct submission *items, const size_t *order,
              size_t count, bool announce, struct submit_result *ret, struct err *err);
int my_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
               struct err *err);
int my_get(struct store *s, const char *id, struct task *ret, struct err *err);
int my_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
            int64_t *ret_total, struct err *err);
int my_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                size_t *ret_count, struct err *err);
int my_events(struct store *s, const char *id, int64_t after, int limit,
              struct task_event **ret, size_t *ret_count, struct err *err);
int my_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err);
int my_claim(struct store *s, const struct claim *claim, struct claimed *ret, size_t *ret_count,
             struct err *err);
int my_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
             int64_t lease_ms, struct err *err);
int my_move(struct store *s, const struct task_move *items, const size_t *order, size_t count,
            bool announce, struct move_result *ret, struct err *err);
int my_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
               struct err *err);
int my_run_add(struct store *s, const struct run_submission *item, bool announce,
               struct submit_result *ret, struct err *err);
int my_run_look_up(struct store *s, const struct run_submission *item,
                   struct submit_result *ret, struct err *err);
int my_run_get(struct store *s, const char *id, struct run *ret, struct err *err);
int my_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                int64_t *ret_total, struct err *err);
int my_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                  size_t *ret_count, struct err *err);
int my_run_change(struct store *s, struct run_change *items, const size_t *order, size_t count,
                  bool announce, struct err *err);
int my_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                 size_t *ret_count, struct err *err);
int my_run_unmark(struct store *s, const struct run_mark *items, size_t count, struct err *err);
int my_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                 struct err *err);
int my_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                   size_t *ret_count, struct err *err);
int my_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err);
int my_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err);
int my_age(struct store *s, int64_t *ret_ms, struct err *err);
int my_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                   struct err *err);
int my_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
             size_t *ret_count, struct err *err);
int my_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err);

#endif
