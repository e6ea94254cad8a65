/* store_sqlite_claim.c - starting attempts and keeping them alive. */
#include "failpoint.h"
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

/* -- claim -- */

struct claim_args {
    const struct claim *claim;
    struct claimed *ret;
    size_t *ret_count;
    struct candidate *candidates;
    size_t count, capacity;
};

/* Tasks whose run_at has come join those that may be claimed. */
static int wake_delayed(struct lite_conn *c, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_WAKE);
    return lite_run(&q, NULL, err);
}

static int find_in_queue(struct lite_conn *c, struct claim_args *a, size_t queue,
                         struct err *err)
{
    struct lite_query q;
    int rc;

    lite_begin(&q, c, LITE_READY);
    lite_text(&q, a->claim->queues[queue]);
    lite_int(&q, a->claim->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct candidate *grown =
            store_grow(a->candidates, a->count, &a->capacity, sizeof *grown);
        if (!grown) {
            rc = err_set(err, -E_NO_MEMORY, "no memory for a claim");
            break;
        }
        a->candidates = grown;
        struct candidate *found = &grown[a->count++];
        found->queue = queue;
        lite_get_id(&q, found->id);
        found->turn = lite_get_int(&q);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

/* Claims one task when it is still to be had. The row of an attempt is written when it ends;
 * until then the task's row tells of it. */
static int claim_one(struct lite_conn *c, struct claim_args *a, const char *id, struct err *err)
{
    struct claimed *ret = &a->ret[*a->ret_count];
    struct lite_query q;

    token_new(ret->token);
    lite_begin(&q, c, LITE_CLAIM);
    lite_id(&q, id);
    lite_text(&q, ret->token);
    lite_text_in(&q, a->claim->worker, TASK_WORKER_MAX);
    lite_int(&q, a->claim->lease_ms);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        memset(&ret->task, 0, sizeof ret->task);
        ++*a->ret_count;
        lite_read_task(&q, &ret->task);
        rc = lite_row_ok(&q, err);
        lite_end(&q);
        tally_move(&c->tally, TASK_RECEIVED, TASK_PROCESSING, ret->task.type, ret->task.queue);
        return rc ? rc
                  : lite_add_event(c, id, TASK_RECEIVED, TASK_PROCESSING, ret->task.attempt,
                                   a->claim->worker, "", err);
    }
    lite_end(&q);
    return rc;
}

static int claim_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct claim_args *a = arg;

    claimed_clear(a->ret, a->ret_count);
    a->count = 0;
    if (a->claim->task_id)
        return claim_one(c, a, a->claim->task_id, err);

    int rc = wake_delayed(c, err);
    for (size_t i = 0; i < a->claim->queue_count && !rc; i++)
        rc = find_in_queue(c, a, i, err);
    if (!rc && a->claim->queue_count > 1 && a->count > 1)
        candidates_sort(a->candidates, a->count);
    for (size_t i = 0; i < a->count && *a->ret_count < (size_t)a->claim->limit && !rc; i++)
        rc = claim_one(c, a, a->candidates[i].id, err);
    return rc || *a->ret_count == 0 ? rc : FAILPOINT_ERR(claim_written, -E_UNAVAILABLE, err);
}

/* Is there anything to claim? Asked of a reader, so that idle workers do not keep the writer
 * and the disk busy. */
static int any_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct claim_args *a = arg;
    struct lite_query q;

    lite_begin(&q, c, LITE_DELAYED_DUE);
    int rc = lite_next(&q, err);
    lite_end(&q);
    for (size_t i = 0; i < a->claim->queue_count && rc == 0; i++) {
        lite_begin(&q, c, LITE_READY);
        lite_text(&q, a->claim->queues[i]);
        lite_int(&q, 1);
        rc = lite_next(&q, err);
        lite_end(&q);
    }
    return rc;
}

int lite_claim(struct store *s, const struct claim *claim, struct claimed *ret,
               size_t *ret_count, struct err *err)
{
    struct claim_args a = {.claim = claim, .ret = ret, .ret_count = ret_count};
    int rc = claim->task_id ? 1 : lite_read((struct store_sqlite *)s, any_body, &a, err);

    if (rc > 0)
        rc = lite_write((struct store_sqlite *)s, claim_body, &a, err);
    free(a.candidates);
    return rc;
}

/* -- renew -- */

struct renew_args {
    struct renewal *items;
    const size_t *order;
    size_t count;
    int64_t lease_ms;
};

static int renew_one(struct lite_conn *c, struct renewal *item, int64_t lease_ms,
                     struct err *err)
{
    struct lite_query q;
    int changes = 0;

    lite_begin(&q, c, LITE_RENEW);
    lite_id(&q, item->task_id);
    lite_text(&q, item->token);
    lite_int(&q, lease_ms);
    lite_real(&q, item->progress);
    int rc = lite_run(&q, &changes, err);
    item->ok = item->exists = changes > 0;
    if (rc || item->ok)
        return rc;

    lite_begin(&q, c, LITE_TASK_STATE);
    lite_id(&q, item->task_id);
    rc = lite_next(&q, err);
    if (rc > 0) {
        item->exists = true;
        item->state = (enum task_state)lite_get_int_in(&q, TASK_STATE__COUNT);
        rc = lite_row_ok(&q, err);
    }
    lite_end(&q);
    return rc;
}

static int renew_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct renew_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = renew_one(c, &a->items[a->order[i]], a->lease_ms, err);
    return rc ? rc : FAILPOINT_ERR(renew_written, -E_UNAVAILABLE, err);
}

int lite_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
               int64_t lease_ms, struct err *err)
{
    struct renew_args a = {items, order, count, lease_ms};

    return lite_write((struct store_sqlite *)s, renew_body, &a, err);
}
