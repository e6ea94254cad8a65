/* reaper.c - takes tasks back from workers that fell silent, and runs that were left behind.
 *
 * Several task managers may reap the same database: each return is a guarded move (same
 * token, lease still expired), so only one of them makes it. */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

enum { ROUND_MS = 1000, BATCH = 64, TRIM_ROUNDS = 10 };

static struct task_move move_for(const struct service *s, const struct expired *e)
{
    struct task_move m = {.lease_expired = true,
                          .from = TASK_PROCESSING,
                          .outcome = ATTEMPT_LOST,
                          .error.class = ERROR_TRANSIENT,
                          .actor = "reaper"};
    struct retry_decision d =
        retry_decide(&s->retry, ERROR_TRANSIENT, e->attempt, e->max_attempts, true);

    memcpy(m.id, e->id, sizeof m.id);
    memcpy(m.token, e->token, sizeof m.token);
    m.to = d.to;
    m.delay_ms = d.delay_ms;
    snprintf(m.error.code, sizeof m.error.code, "worker_lost");
    snprintf(m.error.message, sizeof m.error.message,
             "worker '%s' fell silent during attempt %d of %d", e->worker, e->attempt,
             e->max_attempts);
    return m;
}

/* One batch; false when there may be no more. */
static bool reap_batch(struct service *s, struct err *err)
{
    struct expired *expired = calloc(BATCH, sizeof *expired);
    struct task_move *moves = calloc(BATCH, sizeof *moves);
    struct move_result results[BATCH];
    size_t count = 0;
    int rc = -E_NO_MEMORY;

    if (expired && moves)
        rc = store_expired(s->parts.store, expired, BATCH, &count, err);
    for (size_t i = 0; !rc && i < count; i++) {
        moves[i] = move_for(s, &expired[i]);
        moves[i].detail = moves[i].error.message;
    }
    if (!rc && count)
        rc = FAILPOINT_ERR(reap_found, -E_UNAVAILABLE, err);
    if (!rc && count)
        rc = store_move(s->parts.store, moves, count, s->announce, results, err);
    if (!rc && count)
        FAILPOINT(reap_moved);
    for (size_t i = 0; !rc && i < count; i++) {
        if (results[i].outcome != MOVE_MADE)
            continue;
        metric_add(METRIC_LEASES_EXPIRED, 1);
        service_note_move(&moves[i]);
        log_warn("lease.expired", LOG_S("task_id", expired[i].id),
                 LOG_S("worker", expired[i].worker), LOG_I("attempt", expired[i].attempt));
    }
    if (!rc && count) {
        runs_follow(s, results, count);
        service_announce(s);
    }
    free(expired);
    free(moves);
    return rc == 0 && count == BATCH;
}

static int refresh_counts(struct service *s, struct err *err)
{
    struct store_counts c;
    int rc = store_counts(s->parts.store, s->parts.config->max_queued + 1, &c, err);

    if (rc)
        return rc;
    atomic_store(&s->waiting, c.waiting);
    atomic_store(&s->outbox, c.outbox);
    atomic_store(&s->outbox_oldest_ms, c.outbox_oldest_ms);
    metric_set(METRIC_TASKS_WAITING, c.waiting);
    metric_set(METRIC_TASKS_RUNNING, c.running);
    return 0;
}

void reaper_begin(struct service *s, struct reaper *r)
{
    *r = (struct reaper){.reap_at = clock_mono_ms() + s->parts.config->lease_ms};
}

void reaper_round(struct service *s, struct reaper *r)
{
    struct err why = ERR_INIT;

    refresh_counts(s, &why);
    /* While nobody could renew, a lease that ran out says nothing about its worker: after a
     * start or a recovery all get one lease of time to speak up. */
    if (why.code)
        r->reap_at = clock_mono_ms() + s->parts.config->lease_ms;
    while (clock_mono_ms() >= r->reap_at && reap_batch(s, &why) &&
           !rounds_is_stopping(&s->reaper)) {
    }
    if (!why.code)
        runs_sweep(s, &why);
    if ((why.code != 0) != r->was_failing) {
        r->was_failing = why.code != 0;
        log_event(r->was_failing ? LOG_ERROR : LOG_INFO,
                  r->was_failing ? "store.failing" : "store.recovered",
                  LOG_S("reason", why.text));
    }
}

void *reaper_run(void *arg)
{
    struct service *s = arg;
    struct reaper r;
    unsigned rounds = 0;

    reaper_begin(s, &r);
    do {
        reaper_round(s, &r);
        /* What a crowd of requests took and freed goes back to the system: an idle manager is
         * as small as on its first day. */
        if (++rounds % TRIM_ROUNDS == 0)
            malloc_trim(0);
    } while (rounds_wait(&s->reaper, ROUND_MS));
    return NULL;
}
