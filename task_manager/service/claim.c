/* claim.c - handing due tasks to a worker, at once or when there are some. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

void work_items_free(struct work *items, size_t count)
{
    for (size_t i = 0; items && i < count; i++)
        work_release(&items[i]);
    free(items);
}

/* Moves what the worker needs out of the claimed task. */
static void work_from_claimed(struct claimed *c, int64_t lease_ms, struct work *w)
{
    snprintf(w->task_id, sizeof w->task_id, "%s", c->task.id);
    snprintf(w->type, sizeof w->type, "%s", c->task.type);
    snprintf(w->queue, sizeof w->queue, "%s", c->task.queue);
    snprintf(w->token, sizeof w->token, "%s", c->token);
    snprintf(w->input_name, sizeof w->input_name, "%s", c->task.input_name);
    attempt_folder(c->task.id, c->task.attempt, w->output_prefix);
    attempt_stem(c->task.id, c->task.attempt, w->output_stem);
    w->attempt = c->task.attempt;
    w->max_attempts = c->task.max_attempts;
    w->lease_ms = lease_ms;
    w->timeout_ms = c->task.timeout_ms;
    w->input = c->task.input;
    w->params = c->task.params;
    c->task.params = NULL;
}

int claim_once(struct service *s, const struct claim_request *request, struct work **ret,
               size_t *ret_count, struct err *err)
{
    const char *queues[WORKER_QUEUES_MAX];
    struct claim claim = {
        .worker = request->worker,
        .queues = queues,
        .queue_count = request->queue_count,
        .task_id = request->task_id[0] ? request->task_id : NULL,
        .limit = request->limit,
        .lease_ms = s->parts.config->lease_ms,
        .is_patient = request->wait_ms > 0,
    };
    size_t count = 0;

    FAILPOINT(claim_asked);
    if (!claim.task_id)
        wakes_asked(s, request);
    for (size_t i = 0; i < request->queue_count; i++)
        queues[i] = request->queues[i];
    struct claimed *claimed = calloc((size_t)request->limit, sizeof *claimed);
    struct work *items = calloc((size_t)request->limit, sizeof *items);
    int rc = claimed && items ? store_claim(s->parts.store, &claim, claimed, &count, err)
                              : err_set(err, -E_NO_MEMORY, "no memory for a claim");
    for (size_t i = 0; !rc && i < count; i++) {
        work_from_claimed(&claimed[i], claim.lease_ms, &items[i]);
        secrets_open(s, items[i].task_id, items[i].type, &items[i].params);
        task_release(&claimed[i].task);
        metric_add(METRIC_TASKS_CLAIMED, 1);
        log_debug("task.claimed", LOG_S("task_id", items[i].task_id),
                  LOG_I("attempt", items[i].attempt), LOG_S("worker", request->worker));
    }
    free(claimed);
    if (!rc && count > 0)
        FAILPOINT(claim_answering);
    if (!rc && count == (size_t)request->limit && !request->task_id[0])
        wakes_more(s, items[count - 1].queue);
    atomic_fetch_sub(&s->waiting, rc ? 0 : (long long)count);
    if (rc || count == 0) {
        free(items);
        items = NULL;
        count = 0;
    }
    *ret = items;
    *ret_count = count;
    return rc;
}

void service_claim(struct service *s, const struct claim_request *request,
                   const struct claim_reply *reply)
{
    struct work *items = NULL;
    size_t count = 0;
    struct err why = ERR_INIT;
    /* Requests may have queued up for so long that the worker has given up. */
    bool alive = reply->is_alive(reply->arg);
    int rc = alive ? claim_once(s, request, &items, &count, &why) : 0;

    if (alive && !rc && count == 0 && request->wait_ms > 0 &&
        claim_hub_park(s->hub, request, reply))
        return;
    reply->answer(reply->arg, rc, items, count, &why);
    work_items_free(items, count);
}
