/* store_sqlite_writer.c - the one thread that writes. It takes all requests that wait, runs
 * each inside its own savepoint of one transaction, commits once (one fsync) and wakes their
 * callers: while one group is being synced, the next one gathers. */
#include "failpoint.h"
#include "sqlite_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum { GROUP_MAX = 256, IDLE_MS = 1000 };

int cond_init_mono(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc)
        return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!rc)
        rc = pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
    return rc;
}

struct timespec mono_after(int64_t ms)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += (time_t)(ms / 1000);
    t.tv_nsec += (long)(ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) {
        t.tv_sec++;
        t.tv_nsec -= 1000000000;
    }
    return t;
}

/* -- one group -- */

static int simple(struct lite_conn *c, enum lite_stmt which, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, which);
    return lite_run(&q, NULL, err);
}

static bool in_transaction(struct lite_conn *c)
{
    return sqlite3_get_autocommit(c->db) == 0;
}

/* How many tasks there are of each kind now, as part of the request. */
static int write_tally(struct lite_conn *c, struct err *err)
{
    int rc = tally_settle(&c->tally, err);

    for (size_t i = 0; i < c->tally.count && !rc; i++) {
        const struct tally_item *item = &c->tally.items[i];
        struct lite_query q;
        lite_begin(&q, c, LITE_TALLY_ADD);
        lite_int(&q, item->state);
        lite_text(&q, item->type);
        lite_text(&q, item->queue);
        lite_int(&q, item->change);
        rc = lite_run(&q, NULL, err);
    }
    return rc;
}

/* Runs one request in its savepoint. False when the transaction as a whole is lost (SQLite
 * rolls everything back on a full disk, for one); the request then holds the reason. */
static bool run_one(struct lite_conn *c, struct lite_request *r)
{
    struct err ignored = ERR_INIT;

    r->err = (struct err)ERR_INIT;
    r->rc = simple(c, LITE_SAVE, &r->err);
    tally_clear(&c->tally);
    if (!r->rc)
        r->rc = r->body(c, r->arg, &r->err);
    if (!r->rc)
        r->rc = write_tally(c, &r->err);
    if (!in_transaction(c))
        return false;
    if (r->rc && simple(c, LITE_SAVE_BACK, &ignored))
        return false;
    return simple(c, LITE_SAVE_DONE, &ignored) == 0;
}

/* 0 when the group's transaction was committed: each request then has its own answer. */
static int run_group(struct lite_conn *c, struct lite_request *group, struct err *err)
{
    struct err ignored = ERR_INIT;
    int rc = 0;

    /* A rollback can fail too (it may need memory): what is left of that group goes now, or
     * no transaction could be begun ever again. */
    if (in_transaction(c))
        rc = simple(c, LITE_ROLLBACK, err);
    if (!rc)
        rc = simple(c, LITE_BEGIN, err);
    if (rc)
        return rc;
    for (struct lite_request *r = group; r && !rc; r = r->next) {
        if (!run_one(c, r)) {
            rc = r->rc ? r->rc : -E_UNAVAILABLE;
            err_set(err, rc, "%s", r->rc ? r->err.text : "sqlite lost the transaction");
        }
    }
    FAILPOINT(commit_begun);
    if (!rc)
        rc = simple(c, LITE_COMMIT, err);
    FAILPOINT(commit_done);
    if (rc && in_transaction(c))
        simple(c, LITE_ROLLBACK, &ignored);
    return rc;
}

static void run_alone(struct lite_conn *c, struct lite_request *r)
{
    struct lite_request *rest = r->next;
    struct err err = ERR_INIT;

    r->next = NULL;
    int rc = run_group(c, r, &err);
    if (rc) {
        r->rc = rc;
        r->err = err;
    }
    r->next = rest;
}

/* A group that failed as a whole is redone one by one, so that a request too large for the
 * disk does not take others along. */
static void run_all(struct lite_conn *c, struct lite_request *group)
{
    struct err err = ERR_INIT;

    if (group->next && run_group(c, group, &err) == 0)
        return;
    for (struct lite_request *r = group; r; r = r->next)
        run_alone(c, r);
}

/* -- the thread -- */

/* Up to GROUP_MAX waiting requests as a list of their own. */
static struct lite_request *take_group(struct lite_writer *w)
{
    struct lite_request *group = w->head, *last = group;

    for (int n = 1; last->next && n < GROUP_MAX; n++)
        last = last->next;
    w->head = last->next;
    if (!w->head)
        w->tail = &w->head;
    last->next = NULL;
    return group;
}

static void answer(struct lite_request *group)
{
    while (group) {
        struct lite_request *next = group->next; /* the caller's memory once it is awake */
        group->done = true;
        if (group->abandoned) {
            pthread_cond_destroy(&group->wake);
            free(group);
        } else {
            pthread_cond_signal(&group->wake);
        }
        group = next;
    }
}

/* With the lock held. Pages that a crowd of requests needed are given back after a while
 * without any. */
static void wait_for_work(struct lite_writer *w)
{
    const struct timespec rest_at = mono_after(IDLE_MS);
    bool is_resting = false;

    while (!w->head && !w->stop) {
        if (is_resting) {
            pthread_cond_wait(&w->work, &w->lock);
        } else if (pthread_cond_timedwait(&w->work, &w->lock, &rest_at) == ETIMEDOUT) {
            sqlite3_db_release_memory(w->conn.db);
            is_resting = true;
        }
    }
}

static void *writer_main(void *arg)
{
    struct lite_writer *w = arg;

    pthread_mutex_lock(&w->lock);
    for (;;) {
        wait_for_work(w);
        if (!w->head)
            break;
        struct lite_request *group = take_group(w);
        pthread_mutex_unlock(&w->lock);
        run_all(&w->conn, group);
        pthread_mutex_lock(&w->lock);
        answer(group);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int lite_writer_start(struct lite_writer *w, struct err *err)
{
    sigset_t all, before;

    w->tail = &w->head;
    if (pthread_mutex_init(&w->lock, NULL) || cond_init_mono(&w->work))
        return err_set(err, -E_NO_MEMORY, "no memory for the writer's locks");
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the program's main thread */
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc)
        return err_set_errno(err, -E_NO_MEMORY, rc, "start the thread that writes to sqlite");
    w->started = true;
    return 0;
}

void lite_writer_stop(struct lite_writer *w)
{
    if (!w->started)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->work);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->work);
    pthread_mutex_destroy(&w->lock);
    w->started = false;
}

/* -- callers -- */

static void enqueue(struct lite_writer *w, struct lite_request *r)
{
    r->next = NULL;
    *w->tail = r;
    w->tail = &r->next;
    pthread_cond_signal(&w->work);
}

int lite_write(struct store_sqlite *s, lite_body *body, void *arg, struct err *err)
{
    struct lite_writer *w = &s->writer;
    struct lite_request r = {.body = body, .arg = arg};

    if (pthread_cond_init(&r.wake, NULL))
        return err_set(err, -E_NO_MEMORY, "no memory for a write request");
    pthread_mutex_lock(&w->lock);
    enqueue(w, &r);
    while (!r.done)
        pthread_cond_wait(&r.wake, &w->lock);
    pthread_mutex_unlock(&w->lock);
    pthread_cond_destroy(&r.wake);
    return r.rc ? err_set(err, r.rc, "%s", r.err.text) : 0;
}

int lite_write_within(struct store_sqlite *s, lite_body *body, int64_t wait_ms, struct err *err)
{
    struct lite_writer *w = &s->writer;
    struct lite_request *r = calloc(1, sizeof *r);
    struct timespec deadline = mono_after(wait_ms);
    int waited = 0;

    if (!r || cond_init_mono(&r->wake)) {
        free(r);
        return err_set(err, -E_NO_MEMORY, "no memory for a write request");
    }
    r->body = body;
    pthread_mutex_lock(&w->lock);
    enqueue(w, r);
    while (!r->done && waited == 0)
        waited = pthread_cond_timedwait(&r->wake, &w->lock, &deadline);
    bool done = r->done;
    r->abandoned = !done;
    pthread_mutex_unlock(&w->lock);
    if (!done)
        return err_set(err, -E_UNAVAILABLE, "sqlite did not write within %lld ms",
                       (long long)wait_ms);
    int rc = r->rc ? err_set(err, r->rc, "%s", r->err.text) : 0;
    pthread_cond_destroy(&r->wake);
    free(r);
    return rc;
}
