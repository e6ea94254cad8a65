/* store_mysql_claim.c - starting attempts and keeping them alive. */
#include "failpoint.h"
#include "mysql_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* -- claim -- */

enum {
    TOKEN_HEAD = 22, /* hex digits that all tokens of a claim share */
    ASIDE = 8,       /* how many times as many tasks are looked at by a claim that lost */
    ROUNDS = 8       /* of locking, while others are faster */
};

struct claim_args {
    struct my_ahead *ahead;
    const struct claim *claim;
    struct claimed *ret;
    size_t *ret_count;
    struct candidate items[MY_AHEAD_MAX]; /* what a look sees, or what is to be locked */
    size_t count;
    bool is_due;    /* tasks were seen that must be woken first */
    unsigned tries; /* of the transaction so far */
    int64_t now_ms; /* the database's clock once the rows were locked */
    char secret[TOKEN_HEAD + 1];
};

/* How many are still wanted, as far as items has room. */
static size_t left(const struct claim_args *a)
{
    size_t count = (size_t)a->claim->limit - *a->ret_count;

    return count < MY_AHEAD_MAX ? count : MY_AHEAD_MAX;
}

static void forget_all(struct claim_args *a)
{
    for (size_t i = 0; i < a->claim->queue_count; i++)
        my_ahead_forget(a->ahead, a->claim->queues[i]);
}

/* -- looking, without locks -- */

/* At one queue, or for tasks whose run_at has come. */
struct look {
    struct my_query q;
    struct candidate found;
    struct my_ahead_mark mark;
};

static int ask_queue(struct my_conn *c, struct claim_args *a, struct look *l, const char *queue,
                     struct err *err)
{
    l->mark = my_ahead_mark(a->ahead, queue);
    my_begin(&l->q, c, MY_READY);
    my_text(&l->q, queue);
    my_int(&l->q, MY_AHEAD_MAX);
    my_out_id(&l->q, l->found.id);
    my_out_int(&l->q, &l->found.turn);
    return my_ask(&l->q, err);
}

static int ask_due(struct my_conn *c, struct look *l, struct err *err)
{
    my_begin(&l->q, c, MY_DELAYED_DUE);
    my_out_id(&l->q, l->found.id);
    return my_ask(&l->q, err);
}

/* Reads what was found, once it has been sent, into items. */
static int take_look(struct claim_args *a, struct look *l, struct err *err)
{
    int rc = 0;

    a->count = 0;
    while (!rc && a->count < MY_AHEAD_MAX && (rc = my_next(&l->q, err)) > 0) {
        a->items[a->count++] = l->found;
        rc = 0;
    }
    return rc;
}

static int take_looks(struct claim_args *a, struct look *looks, bool with_due, struct err *err)
{
    const size_t queues = a->claim->queue_count;
    int rc = 0;

    for (size_t i = 0; i < queues && !rc; i++) {
        rc = take_look(a, &looks[i], err);
        if (!rc)
            my_ahead_fill(a->ahead, a->claim->queues[i], looks[i].mark, a->items, a->count,
                          a->count < MY_AHEAD_MAX);
    }
    if (!rc && with_due)
        rc = take_look(a, &looks[queues], err);
    a->is_due = !rc && with_due && a->count > 0;
    return rc;
}

/* Looks at all queues at once; with_due also for tasks that must be woken first, which are then
 * in items. */
static int look(struct my_conn *c, struct claim_args *a, bool with_due, struct err *err)
{
    const size_t queues = a->claim->queue_count;
    struct look *looks = calloc(queues + 1, sizeof *looks);
    int rc = looks ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a claim");

    for (size_t i = 0; i < queues && !rc; i++)
        rc = ask_queue(c, a, &looks[i], a->claim->queues[i], err);
    if (!rc && with_due)
        rc = ask_due(c, &looks[queues], err);
    if (!rc)
        rc = my_flush(c, err);
    if (!rc)
        rc = take_looks(a, looks, with_due, err);
    for (size_t i = 0; looks && i <= queues; i++)
        my_end(&looks[i].q);
    free(looks);
    return rc;
}

static int look_body(struct my_conn *c, void *arg, struct err *err)
{
    return look(c, arg, true, err);
}

/* -- choosing -- */

/* Puts what is to be locked next into items: nothing when nothing else waits. */
static int choose(struct my_conn *c, struct claim_args *a, struct err *err)
{
    bool is_known;

    a->count = my_ahead_take(a->ahead, a->claim, left(a), false, a->items, &is_known);
    if (is_known)
        return 0;
    int rc = look(c, a, false, err);
    if (!rc)
        a->count = my_ahead_take(a->ahead, a->claim, left(a), true, a->items, &is_known);
    return rc;
}

static size_t random_below(size_t limit)
{
    size_t random = 0;

    return getrandom(&random, sizeof random, GRND_NONBLOCK) > 0 ? random % limit : 0;
}

/* Locks do not reach other nodes of a cluster: a claim there that wants the same tasks is met
 * at COMMIT, and one of the two undone. So as not to meet again, that one goes a little further
 * on. */
static int choose_aside(struct my_conn *c, struct claim_args *a, struct err *err)
{
    const size_t limit = left(a), more = limit * ASIDE;
    bool is_known;

    forget_all(a);
    int rc = look(c, a, false, err);
    if (rc)
        return rc;
    size_t seen = my_ahead_take(a->ahead, a->claim, more < MY_AHEAD_MAX ? more : MY_AHEAD_MAX,
                                true, a->items, &is_known);
    size_t from = seen > limit ? random_below(seen - limit + 1) : 0;
    a->count = seen - from < limit ? seen - from : limit;
    memmove(a->items, a->items + from, a->count * sizeof a->items[0]);
    forget_all(a);
    return 0;
}

/* -- taking -- */

/* Tasks whose run_at has come join those that may be claimed; others may be at it too. */
static int wake_delayed(struct my_conn *c, struct claim_args *a, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < a->count && rc >= 0; i++) {
        struct my_query q;
        char id[ID_TEXT_MAX];
        my_begin(&q, c, MY_DELAYED_LOCK);
        my_id(&q, a->items[i].id);
        my_out_id(&q, id);
        rc = my_one(&q, err);
        if (rc <= 0)
            continue;
        my_begin(&q, c, MY_WAKE);
        my_id(&q, id);
        rc = my_run(&q, NULL, err);
    }
    forget_all(a);
    return rc < 0 ? rc : 0;
}

/* Runs a locking read that tells whole tasks; appends them to the claimed. The clock is read
 * once the rows are locked: a statement's is that of its beginning, and while the locking read
 * looked around, the attempt before may have ended. */
static int lock_rows(struct my_query *q, struct claim_args *a, struct err *err)
{
    struct my_task_row row;
    struct my_query clock;

    my_out_task(q, &row);
    int rc = my_ask(q, err);
    if (!rc) {
        my_begin(&clock, q->c, MY_CLOCK);
        my_out_int(&clock, &a->now_ms);
        rc = my_one(&clock, err);
        rc = rc < 0 ? rc : 0;
    }
    while (!rc && (rc = my_next(q, err)) > 0) {
        assert(*a->ret_count < (size_t)a->claim->limit);
        my_task_finish(&row, &a->ret[(*a->ret_count)++].task);
        rc = 0;
    }
    my_end(q);
    return rc;
}

/* A look in the transaction sees what it has locked itself, too. */
static void drop_taken(struct claim_args *a)
{
    size_t kept = 0;

    for (size_t i = 0; i < a->count; i++) {
        size_t at = 0;
        while (at < *a->ret_count && strcmp(a->ret[at].task.id, a->items[i].id) != 0)
            at++;
        if (at == *a->ret_count)
            a->items[kept++] = a->items[i];
    }
    a->count = kept;
}

/* Passes over those that others have locked, or have claimed. */
static int lock_items(struct my_conn *c, struct claim_args *a, struct err *err)
{
    int rc = 0;

    drop_taken(a);
    for (size_t from = 0, rows; from < a->count && !rc; from += rows) {
        struct my_query q;
        rows = my_begin_rows(&q, c, MY_SOME_LOCK, a->count - from);
        for (size_t i = from; i < from + rows; i++)
            my_id(&q, a->items[i].id);
        rc = lock_rows(&q, a, err);
    }
    return rc;
}

static int compare_claimed(const void *a, const void *b)
{
    const struct task *x = &((const struct claimed *)a)->task;
    const struct task *y = &((const struct claimed *)b)->task;

    if (x->priority != y->priority)
        return x->priority > y->priority ? -1 : 1;
    return strcmp(x->id, y->id);
}

/* What was chosen before the transaction, and as long as others were faster, more. */
static int lock_in_queues(struct my_conn *c, struct claim_args *a, struct err *err)
{
    int rc = a->tries > 1 ? choose_aside(c, a, err) : 0;

    if (!rc && a->is_due && a->tries == 1) {
        rc = wake_delayed(c, a, err);
        if (!rc)
            rc = choose(c, a, err);
    }
    for (int i = 0; i < ROUNDS && a->count && left(a) && !rc; i++) {
        rc = lock_items(c, a, err);
        if (!rc && left(a))
            rc = choose(c, a, err);
    }
    if (!rc && *a->ret_count > 1)
        qsort(a->ret, *a->ret_count, sizeof *a->ret, compare_claimed);
    return rc;
}

static int lock_one(struct my_conn *c, struct claim_args *a, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_ONE_LOCK);
    my_id(&q, a->claim->task_id);
    return lock_rows(&q, a, err);
}

/* -- beginning the attempts of what is locked -- */

static int mark_claimed(struct my_conn *c, struct claim_args *a, struct err *err)
{
    const size_t count = *a->ret_count;
    int rc = 0;

    for (size_t from = 0; from < count && !rc; from += MY_ROWS_MAX) {
        struct my_query q;
        size_t rows = my_begin_rows(&q, c, MY_CLAIM, count - from);
        my_text(&q, a->secret);
        my_text_in(&q, a->claim->worker, TASK_WORKER_MAX);
        my_int(&q, a->now_ms);
        my_int(&q, a->now_ms + a->claim->lease_ms);
        for (size_t i = from; i < from + rows; i++)
            my_id(&q, a->ret[i].task.id);
        my_expect(&q, (int64_t)rows);
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

static int note_claimed(struct my_conn *c, struct claim_args *a, struct err *err)
{
    struct my_event *events = calloc(*a->ret_count, sizeof *events);

    if (!events)
        return err_set(err, -E_NO_MEMORY, "no memory for a claim");
    for (size_t i = 0; i < *a->ret_count; i++) {
        struct task *t = &a->ret[i].task;
        t->state = TASK_PROCESSING;
        t->attempt++;
        t->started_ms = a->now_ms;
        t->lease_until_ms = a->now_ms + a->claim->lease_ms;
        t->progress = 0;
        snprintf(t->worker, sizeof t->worker, "%.*s",
                 (int)store_fit(a->claim->worker, sizeof t->worker), a->claim->worker);
        tally_move(&c->tally, TASK_RECEIVED, TASK_PROCESSING, t->type, t->queue);
        events[i] = (struct my_event){t->id,      TASK_RECEIVED,    TASK_PROCESSING,
                                      t->attempt, a->claim->worker, ""};
    }
    int rc = my_add_events(c, events, *a->ret_count, err);
    free(events);
    return rc;
}

/* The tokens of one claim begin with the same 88 random bits and end like their task's id, so
 * one statement can set them all. */
static void make_tokens(struct claim_args *a)
{
    const size_t tail = TOKEN_TEXT_MAX - 1 - TOKEN_HEAD;
    char secret[TOKEN_TEXT_MAX];

    token_new(secret);
    snprintf(a->secret, sizeof a->secret, "%.*s", TOKEN_HEAD, secret);
    for (size_t i = 0; i < *a->ret_count; i++)
        snprintf(a->ret[i].token, sizeof a->ret[i].token, "%s%s", a->secret,
                 a->ret[i].task.id + ID_TEXT_MAX - 1 - tail);
}

/* The row of an attempt is written when it ends; until then the task's row tells of it. */
static int begin_attempts(struct my_conn *c, struct claim_args *a, struct err *err)
{
    if (*a->ret_count == 0)
        return 0;
    make_tokens(a);
    int rc = mark_claimed(c, a, err);
    if (!rc)
        rc = note_claimed(c, a, err);
    return rc ? rc : FAILPOINT_ERR(claim_written, -E_UNAVAILABLE, err);
}

static int claim_body(struct my_conn *c, void *arg, struct err *err)
{
    struct claim_args *a = arg;

    claimed_clear(a->ret, a->ret_count);
    a->tries++;
    int rc = a->claim->task_id ? lock_one(c, a, err) : lock_in_queues(c, a, err);
    return rc ? rc : begin_attempts(c, a, err);
}

static int claim_some(struct store_mysql *my, struct claim_args *a, struct err *err)
{
    bool is_known;
    int rc = 0;

    a->count = my_ahead_take(a->ahead, a->claim, left(a), false, a->items, &is_known);
    if (a->count == 0 && is_known && a->claim->is_patient)
        return 0;
    if (a->count == 0)
        rc = my_read(my, look_body, a, err);
    if (!rc && a->count == 0 && !a->is_due)
        a->count = my_ahead_take(a->ahead, a->claim, left(a), true, a->items, &is_known);
    if (!rc && a->count)
        rc = my_transact(my, claim_body, a, err);
    if (rc) /* what was to be locked waits on */
        forget_all(a);
    return rc;
}

int my_claim(struct store *s, const struct claim *claim, struct claimed *ret, size_t *ret_count,
             struct err *err)
{
    struct store_mysql *my = (struct store_mysql *)s;
    struct claim_args *a = calloc(1, sizeof *a);

    if (!a)
        return err_set(err, -E_NO_MEMORY, "no memory for a claim");
    a->ahead = &my->ahead;
    a->claim = claim;
    a->ret = ret;
    a->ret_count = ret_count;
    int rc = claim->task_id ? my_transact(my, claim_body, a, err) : claim_some(my, a, err);
    free(a);
    return rc;
}

/* -- renew -- */

struct renew_args {
    struct renewal *items;
    const size_t *order;
    size_t count;
    int64_t lease_ms;
};

static int renew_one(struct my_conn *c, struct renewal *item, int64_t lease_ms, struct err *err)
{
    struct my_query q;
    int64_t changes = 0;

    my_begin(&q, c, MY_RENEW);
    my_int(&q, lease_ms);
    my_real(&q, item->progress);
    my_real(&q, item->progress);
    my_id(&q, item->task_id);
    my_text(&q, item->token);
    int rc = my_run(&q, &changes, err);
    item->ok = item->exists = changes > 0;
    if (rc || item->ok)
        return rc;
    rc = my_task_state(c, item->task_id, &item->state, err);
    item->exists = rc > 0;
    return rc < 0 ? rc : 0;
}

static int renew_body(struct my_conn *c, void *arg, struct err *err)
{
    struct renew_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = renew_one(c, &a->items[a->order[i]], a->lease_ms, err);
    return rc ? rc : FAILPOINT_ERR(renew_written, -E_UNAVAILABLE, err);
}

int my_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
             int64_t lease_ms, struct err *err)
{
    struct renew_args a = {items, order, count, lease_ms};

    return my_transact((struct store_mysql *)s, renew_body, &a, err);
}
