/* heartbeat.c - the thread that keeps leases alive and learns which attempts are lost. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "threads.h"

enum { CALL_MS = 5000, PAUSE_MIN_MS = 50 };

static int check_answer(const struct heartbeat *items, const struct heartbeat_verdict *verdicts,
                        size_t count, size_t verdict_count, struct err *err)
{
    if (count != verdict_count)
        return err_set(err, -E_CORRUPT, "%zu verdicts on %zu heartbeats", verdict_count, count);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(items[i].task_id, verdicts[i].task_id) != 0)
            return err_set(err, -E_CORRUPT, "verdict %zu is about '%s', not '%s'", i,
                           verdicts[i].task_id, items[i].task_id);
    }
    return 0;
}

static void note(struct board *board, const struct heartbeat *item,
                 const struct heartbeat_verdict *verdict, int64_t sent_ms)
{
    if (!verdict->held)
        log_info("lease.lost", LOG_S("task_id", item->task_id), LOG_S("state", verdict->state));
    board_renewed(board, item, verdict, sent_ms);
}

/* At most WORKER_BATCH_MAX items. */
static int send_batch(struct service *s, const struct heartbeat *items, size_t count,
                      struct err *err)
{
    struct heartbeat_verdict *verdicts = NULL;
    size_t verdict_count = 0;
    struct buf answer;
    int64_t sent_ms = clock_mono_ms();
    if (count > 0)
        FAILPOINT(heartbeat_posting);
    int rc = manager_post(&s->manager, "/v1/worker/heartbeat",
                          heartbeat_list_encode(s->options->worker, items, count), CALL_MS,
                          &answer, err);

    if (rc) {
        buf_release(&answer);
        return rc;
    }
    FAILPOINT(heartbeat_posted);
    rc = heartbeat_verdicts_decode(answer.data, answer.len, &verdicts, &verdict_count, err);
    if (!rc)
        rc = check_answer(items, verdicts, count, verdict_count, err);
    if (rc)
        manager_distrust(&s->manager, err);
    else
        manager_trust(&s->manager);
    for (size_t i = 0; !rc && i < count; i++)
        note(s->board, &items[i], &verdicts[i], sent_ms);
    free(verdicts);
    buf_release(&answer);
    return rc;
}

void *heartbeat_run(void *arg)
{
    struct service *s = arg;
    int64_t not_before_ms = 0;

    for (;;) {
        struct heartbeat *items = NULL;
        size_t count = 0;
        struct err err = ERR_INIT;
        int rc = board_wait_due(s->board, not_before_ms, &items, &count, &err);
        if (rc == -E_CANCELLED)
            return NULL;
        for (size_t at = 0; !rc && at < count; at += WORKER_BATCH_MAX) {
            size_t rest = count - at;
            rc = send_batch(s, items + at, rest < WORKER_BATCH_MAX ? rest : WORKER_BATCH_MAX,
                            &err);
        }
        free(items);
        if (rc == -E_BAD_VALUE)
            log_error("heartbeat.refused", LOG_S("error", err.text));
        not_before_ms = rc ? clock_mono_ms() + PAUSE_MIN_MS +
                                 manager_pause_ms(&s->manager, board_pause_max_ms(s->board))
                           : 0;
    }
}
