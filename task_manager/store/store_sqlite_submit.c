/* store_sqlite_submit.c - taking tasks in: task, first event, outbox and idempotency key in
 * one transaction. */
#include "failpoint.h"
#include "sqlite_internal.h"

#include <stdio.h>
#include <string.h>

struct submit_args {
    const struct submission *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct submit_result *ret;
};

/* Reads who has the key: an earlier submit of the same or of another request. 0 when nobody. */
static int find_holder(struct lite_conn *c, const struct submission *item,
                       struct submit_result *ret, struct err *err)
{
    struct lite_query q;
    char sha256[SHA256_TEXT_MAX] = "";

    lite_begin(&q, c, LITE_KEY_GET);
    lite_text(&q, item->client);
    lite_text(&q, item->key);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        lite_get_id(&q, ret->id);
        lite_get_text(&q, sha256, sizeof sha256);
        rc = lite_row_ok(&q, err);
        ret->outcome =
            strcmp(sha256, item->request_sha256) == 0 ? SUBMIT_REPLAYED : SUBMIT_MISMATCH;
        rc = rc ? rc : 1;
    }
    lite_end(&q);
    return rc;
}

static int read_holder(struct lite_conn *c, const struct submission *item,
                       struct submit_result *ret, struct err *err)
{
    int rc = find_holder(c, item, ret, err);

    if (rc == 0)
        return err_set(err, -E_BUG, "an idempotency key was taken and is gone");
    return rc < 0 ? rc : 0;
}

int lite_take_key(struct lite_conn *c, const struct submission *item, struct submit_result *ret,
                  struct err *err)
{
    struct lite_query q;
    int changes = 0;

    lite_begin(&q, c, LITE_KEY_TAKE);
    lite_text(&q, item->client);
    lite_text(&q, item->key);
    lite_text(&q, item->request_sha256);
    lite_id(&q, item->task.id);
    int rc = lite_run(&q, &changes, err);
    return rc || changes ? rc : read_holder(c, item, ret, err);
}

int lite_add_task(struct lite_conn *c, const struct task *t, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_TASK_ADD);
    lite_id(&q, t->id);
    lite_text(&q, t->type);
    lite_text(&q, t->queue);
    lite_int(&q, -(int64_t)t->priority);
    lite_int(&q, t->max_attempts);
    lite_int(&q, t->timeout_ms);
    lite_int(&q, t->run_at_ms);
    lite_text(&q, t->input_name);
    lite_text(&q, t->input.key);
    lite_int(&q, (int64_t)t->input.size);
    lite_text(&q, t->input.sha256);
    lite_text(&q, t->params);
    lite_id_or_null(&q, t->run_id);
    tally_add(&c->tally, TASK_RECEIVED, t->type, t->queue, 1);
    return lite_run(&q, NULL, err);
}

int lite_add_event(struct lite_conn *c, const char *id, int from, int to, int attempt,
                   const char *actor, const char *detail, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_EVENT_ADD);
    lite_id(&q, id);
    lite_int(&q, from);
    lite_int(&q, to);
    lite_int(&q, attempt);
    lite_text_in(&q, actor, TASK_WORKER_MAX);
    lite_text_in(&q, detail, ERR_TEXT_MAX);
    return lite_run(&q, NULL, err);
}

int lite_announce(struct lite_conn *c, const char *id, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_OUTBOX_ADD);
    lite_id(&q, id);
    return lite_run(&q, NULL, err);
}

static int submit_one(struct lite_conn *c, const struct submission *item, bool announce,
                      struct submit_result *ret, struct err *err)
{
    int rc = 0;

    ret->outcome = SUBMIT_ACCEPTED;
    ret->outbox_seq = 0;
    snprintf(ret->id, sizeof ret->id, "%s", item->task.id);
    if (item->key)
        rc = lite_take_key(c, item, ret, err);
    if (!rc && item->key)
        rc = FAILPOINT_ERR(submit_key_taken, -E_UNAVAILABLE, err);
    if (rc || ret->outcome != SUBMIT_ACCEPTED)
        return rc;
    rc = lite_add_task(c, &item->task, err);
    if (!rc)
        rc = lite_add_event(c, item->task.id, -1, TASK_RECEIVED, 0, "client", "", err);
    if (!rc && announce && !item->is_quiet) {
        rc = lite_announce(c, item->task.id, err);
        ret->outbox_seq = sqlite3_last_insert_rowid(c->db);
    }
    return rc;
}

static int submit_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct submit_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = submit_one(c, &a->items[a->order[i]], a->announce, &a->ret[a->order[i]], err);
    return rc ? rc : FAILPOINT_ERR(submit_written, -E_UNAVAILABLE, err);
}

int lite_submit(struct store *s, const struct submission *items, const size_t *order,
                size_t count, bool announce, struct submit_result *ret, struct err *err)
{
    struct submit_args a = {items, order, count, announce, ret};

    return lite_write((struct store_sqlite *)s, submit_body, &a, err);
}

struct look_up_args {
    const struct submission *item;
    struct submit_result *ret;
};

static int look_up_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct look_up_args *a = arg;
    int rc = find_holder(c, a->item, a->ret, err);

    return rc < 0 ? rc : 0;
}

int lite_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                 struct err *err)
{
    struct look_up_args a = {item, ret};

    return lite_read((struct store_sqlite *)s, look_up_body, &a, err);
}
