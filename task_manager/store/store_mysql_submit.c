/* store_mysql_submit.c - taking tasks in: task, first event, outbox and idempotency key in
 * one transaction. */
#include "failpoint.h"
#include "mysql_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATEMENT_BYTES = 512 * 1024 };

struct submit_args {
    const struct submission *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct submit_result *ret;
    const struct task **fresh; /* the accepted ones */
    size_t fresh_count, notice_count;
    struct my_event *events;
    struct my_notice *notices;
};

/* Who has the key: this submit, or an earlier one of the same or of another request. 0 when
 * nobody. */
static int find_holder(struct my_conn *c, const struct submission *item,
                       struct submit_result *ret, struct err *err)
{
    struct my_query q;
    char sha256[SHA256_TEXT_MAX] = "";

    my_begin(&q, c, MY_KEY_GET);
    my_bytes(&q, item->client);
    my_bytes(&q, item->key);
    my_out_id(&q, ret->id);
    my_out_text(&q, sha256, sizeof sha256);
    int rc = my_one(&q, err);
    if (rc <= 0)
        return rc;
    if (strcmp(ret->id, item->task.id) == 0)
        ret->outcome = SUBMIT_ACCEPTED;
    else
        ret->outcome =
            strcmp(sha256, item->request_sha256) == 0 ? SUBMIT_REPLAYED : SUBMIT_MISMATCH;
    return 1;
}

static int read_holder(struct my_conn *c, const struct submission *item,
                       struct submit_result *ret, struct err *err)
{
    int rc = find_holder(c, item, ret, err);

    if (rc == 0)
        return err_set(err, -E_BUG, "an idempotency key was taken and is gone");
    return rc < 0 ? rc : 0;
}

/* The insert takes an exclusive lock whether the key is new or not, so those who come at
 * once stand in line; a plain INSERT would give all losers a shared lock, and when the winner
 * rolls back they would deadlock. */
int my_take_key(struct my_conn *c, const struct submission *item, struct submit_result *ret,
                struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_KEY_TAKE);
    my_bytes(&q, item->client);
    my_bytes(&q, item->key);
    my_text(&q, item->request_sha256);
    my_id(&q, item->task.id);
    int rc = my_run(&q, NULL, err);
    return rc ? rc : read_holder(c, item, ret, err);
}

static void bind_task(struct my_query *q, const struct task *t)
{
    my_id(q, t->id);
    my_text(q, t->type);
    my_text(q, t->queue);
    my_int(q, -(int64_t)t->priority);
    my_int(q, t->max_attempts);
    my_int(q, t->max_attempts);
    my_int(q, t->timeout_ms);
    for (int i = 0; i < 4; i++)
        my_int(q, t->run_at_ms);
    my_text(q, t->input_name);
    my_text(q, t->input.key);
    my_int(q, (int64_t)t->input.size);
    my_text(q, t->input.sha256);
    my_text(q, t->params);
    my_id_or_null(q, t->run_id);
}

/* How many of the first go into one statement: a packet has its limit (max_allowed_packet),
 * and some servers hang up on a larger one instead of saying so. */
static size_t fitting(const struct task *const *items, size_t count)
{
    size_t bytes = 0, n = 0;

    while (n < count && n < MY_ROWS_MAX) {
        bytes += items[n]->params ? strlen(items[n]->params) : 0;
        if (n > 0 && bytes > STATEMENT_BYTES)
            break;
        n++;
    }
    return n;
}

int my_add_tasks(struct my_conn *c, const struct task *const *items, size_t count,
                 struct err *err)
{
    int rc = my_clock(c, err);

    for (size_t from = 0, n; from < count && !rc; from += n) {
        struct my_query q;
        n = my_begin_rows(&q, c, MY_TASK_ADD, fitting(items + from, count - from));
        for (size_t i = from; i < from + n; i++)
            bind_task(&q, items[i]);
        rc = my_run(&q, NULL, err);
    }
    for (size_t i = 0; i < count && !rc; i++)
        tally_add(&c->tally, TASK_RECEIVED, items[i]->type, items[i]->queue, 1);
    return rc;
}

/* Which of the events is to tell whether the transaction was recorded. */
static void choose_probe(struct my_conn *c, const struct my_event *items, size_t count)
{
    size_t i = 0;

    while (i < count && items[i].from >= 0 && items[i].from != TASK_PROCESSING &&
           items[i].to != TASK_PROCESSING)
        i++;
    const struct my_event *e = &items[i < count ? i : 0];
    c->probe = (struct my_probe){
        i < count ? PROBE_CHANGE : PROBE_EVENT, "", e->from, e->to, e->attempt, 0};
    snprintf(c->probe.id, sizeof c->probe.id, "%s", e->id);
}

int my_add_events(struct my_conn *c, const struct my_event *items, size_t count,
                  struct err *err)
{
    bool chooses = count > 0 && c->probe.kind == PROBE_NONE;
    int rc = my_clock(c, err);

    if (chooses)
        choose_probe(c, items, count);
    for (size_t from = 0, n; from < count && !rc; from += n) {
        struct my_query q;
        n = my_begin_rows(&q, c, MY_EVENT_ADD, count - from);
        for (size_t i = from; i < from + n; i++) {
            my_id(&q, items[i].id);
            my_int(&q, items[i].from);
            my_int(&q, items[i].to);
            my_int(&q, items[i].attempt);
            my_text_in(&q, items[i].actor, TASK_WORKER_MAX);
            my_text_in(&q, items[i].detail, ERR_TEXT_MAX);
        }
        if (chooses && from == 0 && c->probe.kind == PROBE_EVENT)
            my_want_id(&q, &c->probe.seq);
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

int my_announce(struct my_conn *c, const struct my_notice *items, size_t count, struct err *err)
{
    int rc = count > 0 ? my_clock(c, err) : 0;

    for (size_t from = 0, n; from < count && !rc; from += n) {
        struct my_query q;
        /* Of several rows only the first one's number is told, and by how much the others go
         * on changes with the nodes of a cluster. */
        n = my_begin_rows(&q, c, MY_OUTBOX_ADD, items[from].ret_seq ? 1 : count - from);
        for (size_t i = from; i < from + n; i++) {
            my_id(&q, items[i].id);
            my_int(&q, items[i].at_ms);
            my_int(&q, items[i].at_ms);
            my_int(&q, items[i].delay_ms);
            my_text(&q, items[i].type);
            my_text(&q, items[i].queue);
            my_int(&q, items[i].attempt);
        }
        if (items[from].ret_seq)
            my_want_id(&q, items[from].ret_seq);
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

/* Those with a key ask for it first, in the order that keeps them from waiting for each other
 * in a circle. */
static int take_keys(struct my_conn *c, struct submit_args *a, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++) {
        const struct submission *item = &a->items[a->order[i]];
        struct submit_result *ret = &a->ret[a->order[i]];
        ret->outcome = SUBMIT_ACCEPTED;
        ret->outbox_seq = 0;
        snprintf(ret->id, sizeof ret->id, "%s", item->task.id);
        if (item->key)
            rc = my_take_key(c, item, ret, err);
        if (!rc && item->key)
            rc = FAILPOINT_ERR(submit_key_taken, -E_UNAVAILABLE, err);
    }
    return rc;
}

static int submit_body(struct my_conn *c, void *arg, struct err *err)
{
    struct submit_args *a = arg;
    int rc = take_keys(c, a, err);

    a->fresh_count = a->notice_count = 0;
    c->tells_ahead = true;
    for (size_t i = 0; i < a->count; i++) {
        const struct task *t = &a->items[i].task;
        if (rc || a->ret[i].outcome != SUBMIT_ACCEPTED)
            continue;
        a->events[a->fresh_count] =
            (struct my_event){t->id, -1, TASK_RECEIVED, 0, "client", ""};
        if (a->announce && !a->items[i].is_quiet)
            a->notices[a->notice_count++] = (struct my_notice){
                t->id, t->type, t->queue, 0, t->run_at_ms, 0, &a->ret[i].outbox_seq};
        a->fresh[a->fresh_count++] = t;
    }
    if (!rc)
        rc = my_add_tasks(c, a->fresh, a->fresh_count, err);
    if (!rc)
        rc = my_add_events(c, a->events, a->fresh_count, err);
    if (!rc)
        rc = my_announce(c, a->notices, a->notice_count, err);
    return rc ? rc : FAILPOINT_ERR(submit_written, -E_UNAVAILABLE, err);
}

int my_submit(struct store *s, const struct submission *items, const size_t *order,
              size_t count, bool announce, struct submit_result *ret, struct err *err)
{
    struct submit_args a = {items, order, count, announce, ret, NULL, 0, 0, NULL, NULL};

    struct store_mysql *my = (struct store_mysql *)s;

    a.fresh = calloc(count, sizeof *a.fresh);
    a.events = calloc(count, sizeof *a.events);
    a.notices = calloc(count, sizeof *a.notices);
    int rc = a.fresh && a.events && a.notices
                 ? my_transact(my, submit_body, &a, err)
                 : err_set(err, -E_NO_MEMORY, "no memory for a submit");
    for (size_t i = 0; i < a.fresh_count && !rc; i++) {
        const struct task *t = a.fresh[i];
        if (t->run_at_ms == 0)
            my_ahead_add(&my->ahead, t->queue, -(int64_t)t->priority, t->id);
        else /* it may be due already */
            my_ahead_forget(&my->ahead, t->queue);
    }
    free(a.fresh);
    free(a.events);
    free(a.notices);
    return rc;
}

struct look_up_args {
    const struct submission *item;
    struct submit_result *ret;
};

static int look_up_body(struct my_conn *c, void *arg, struct err *err)
{
    struct look_up_args *a = arg;

    a->ret->outcome = SUBMIT_ACCEPTED;
    int rc = find_holder(c, a->item, a->ret, err);
    return rc < 0 ? rc : 0;
}

int my_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
               struct err *err)
{
    struct look_up_args a = {item, ret};

    return my_read((struct store_mysql *)s, look_up_body, &a, err);
}
