/* store_mysql_submit.c - taking tasks in: task, first event, outbox and idempotency key in
 * one transaction. */
#include "failpoint.h"
#include "mysql_internal.h"

#include <stdio.h>
#include <string.h>

struct submit_args {
    const struct submission *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct submit_result *ret;
};

/* Who has the key: this submit, or an earlier one of the same or of another request. 0 when
 * nobody. */
static int find_holder(struct my_conn *c, const struct submission *item,
                       struct submit_result *ret, struct err *err)
{
    struct my_query q;
    char sha256[SHA256_TEXT_MAX] = "";

    my_begin(&q, c, MY_KEY_GET);
    my_text(&q, item->client);
    my_text(&q, item->key);
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
static int take_key(struct my_conn *c, const struct submission *item, struct submit_result *ret,
                    struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_KEY_TAKE);
    my_text(&q, item->client);
    my_text(&q, item->key);
    my_text(&q, item->request_sha256);
    my_id(&q, item->task.id);
    int rc = my_run(&q, NULL, err);
    return rc ? rc : read_holder(c, item, ret, err);
}

static int add_task(struct my_conn *c, const struct task *t, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_TASK_ADD);
    my_id(&q, t->id);
    my_text(&q, t->type);
    my_text(&q, t->queue);
    my_int(&q, -(int64_t)t->priority);
    my_int(&q, t->max_attempts);
    my_int(&q, t->max_attempts);
    my_int(&q, t->timeout_ms);
    for (int i = 0; i < 4; i++)
        my_int(&q, t->run_at_ms);
    my_text(&q, t->input_name);
    my_text(&q, t->input.key);
    my_int(&q, (int64_t)t->input.size);
    my_text(&q, t->input.sha256);
    my_text(&q, t->params);
    return my_run(&q, NULL, err);
}

int my_add_event(struct my_conn *c, const char *id, int from, int to, const char *actor,
                 const char *detail, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_EVENT_ADD);
    my_id(&q, id);
    my_int(&q, from);
    my_int(&q, to);
    my_id(&q, id);
    my_text_in(&q, actor, TASK_WORKER_MAX);
    my_text_in(&q, detail, ERR_TEXT_MAX);
    int rc = my_run(&q, NULL, err);
    if (!rc) {
        c->probe_seq = (int64_t)mysql_stmt_insert_id(q.st);
        snprintf(c->probe_id, sizeof c->probe_id, "%s", id);
    }
    return rc;
}

int my_announce(struct my_conn *c, const char *id, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_OUTBOX_ADD);
    for (int i = 0; i < 5; i++)
        my_id(&q, id);
    return my_run(&q, NULL, err);
}

static int submit_one(struct my_conn *c, const struct submission *item, bool announce,
                      struct submit_result *ret, struct err *err)
{
    int rc = 0;

    ret->outcome = SUBMIT_ACCEPTED;
    snprintf(ret->id, sizeof ret->id, "%s", item->task.id);
    if (item->key)
        rc = take_key(c, item, ret, err);
    if (!rc && item->key)
        rc = FAILPOINT_ERR(submit_key_taken, -E_UNAVAILABLE, err);
    if (rc || ret->outcome != SUBMIT_ACCEPTED)
        return rc;
    rc = add_task(c, &item->task, err);
    if (!rc)
        rc = my_add_event(c, item->task.id, -1, TASK_RECEIVED, "client", "", err);
    if (!rc && announce)
        rc = my_announce(c, item->task.id, err);
    return rc;
}

static int submit_body(struct my_conn *c, void *arg, struct err *err)
{
    struct submit_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = submit_one(c, &a->items[a->order[i]], a->announce, &a->ret[a->order[i]], err);
    return rc ? rc : FAILPOINT_ERR(submit_written, -E_UNAVAILABLE, err);
}

int my_submit(struct store *s, const struct submission *items, const size_t *order,
              size_t count, bool announce, struct submit_result *ret, struct err *err)
{
    struct submit_args a = {items, order, count, announce, ret};

    return my_transact((struct store_mysql *)s, submit_body, &a, err);
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
