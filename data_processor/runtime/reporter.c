/* reporter.c - the thread that hands results back until the manager has answered for each. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "threads.h"

enum { BATCH_MAX = 64, CALL_MS = 30000, GIVE_UP_MS = 10 * 60 * 1000 };

struct batch {
    struct held *items[BATCH_MAX];
    size_t count;
};

static void give_up(struct service *s, struct held *h, const char *event, const char *why)
{
    log_error(event, LOG_S("task_id", h->work.task_id), LOG_I("attempt", h->work.attempt),
              LOG_S("error", why));
    board_forget(s->board, h);
}

static void settle(struct service *s, struct held *h, const struct report_verdict *v)
{
    if (v->word == REPORT_REFUSED) {
        give_up(s, h, "report.refused", v->detail);
        return;
    }
    if (v->word == REPORT_STALE || v->word == REPORT_UNKNOWN)
        log_warn("report.too_late", LOG_S("task_id", h->work.task_id),
                 LOG_I("attempt", h->work.attempt), LOG_S("verdict", report_word_name(v->word)),
                 LOG_S("state", v->state));
    board_forget(s->board, h);
}

static int check_answer(const struct batch *b, const struct report_verdict *verdicts,
                        size_t verdict_count, struct err *err)
{
    if (verdict_count != b->count)
        return err_set(err, -E_CORRUPT, "%zu verdicts on %zu reports", verdict_count, b->count);
    for (size_t i = 0; i < b->count; i++) {
        if (strcmp(b->items[i]->work.task_id, verdicts[i].task_id) != 0)
            return err_set(err, -E_CORRUPT, "verdict %zu is about '%s', not '%s'", i,
                           verdicts[i].task_id, b->items[i]->work.task_id);
    }
    return 0;
}

static char *encode(const struct service *s, const struct batch *b)
{
    struct report reports[BATCH_MAX]; /* shallow copies */

    for (size_t i = 0; i < b->count; i++)
        reports[i] = b->items[i]->report;
    return report_list_encode(s->options->worker, reports, b->count);
}

/* Settles every item if this is an answer about them, whatever the status was: a manager that
 * takes none of them says why with 4xx and the same verdicts. */
static int settle_all(struct service *s, const struct batch *b, const struct buf *answer,
                      struct err *err)
{
    struct report_verdict *verdicts = NULL;
    size_t count = 0;
    int rc = report_verdicts_decode(answer->data, answer->len, &verdicts, &count, err);

    if (!rc)
        rc = check_answer(b, verdicts, count, err);
    for (size_t i = 0; !rc && i < b->count; i++)
        settle(s, b->items[i], &verdicts[i]);
    free(verdicts);
    return rc;
}

/* 0: every item was settled. */
static int send_batch(struct service *s, const struct batch *b, struct err *err)
{
    struct buf answer;
    struct err why = ERR_INIT;
    int rc =
        manager_post(&s->manager, "/v1/worker/report", encode(s, b), CALL_MS, &answer, err);

    if ((!rc || rc == -E_BAD_VALUE) && settle_all(s, b, &answer, &why) == 0) {
        s->manager.failures = 0;
        rc = 0;
    } else if (!rc) {
        manager_distrust(&s->manager, &why);
        rc = err_set(err, -E_UNAVAILABLE, "%s", why.text);
    }
    buf_release(&answer);
    return rc;
}

/* One bad report must not hold up the others: each is sent alone, and those that the manager
 * will never take are given up. */
static int send_one_by_one(struct service *s, const struct batch *b, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < b->count; i++) {
        const struct batch one = {{b->items[i]}, 1};
        struct err why = ERR_INIT;
        int result = send_batch(s, &one, &why);
        if (result == -E_BAD_VALUE)
            give_up(s, b->items[i], "report.refused", why.text);
        else if (result)
            rc = err_set(err, result, "%s", why.text);
    }
    return rc;
}

static void give_up_old(struct service *s, const struct batch *b, const char *why)
{
    int64_t now = clock_mono_ms();

    for (size_t i = 0; i < b->count; i++) {
        if (now - b->items[i]->ended_ms > GIVE_UP_MS)
            give_up(s, b->items[i], "report.given_up", why);
    }
}

void *reporter_run(void *arg)
{
    struct service *s = arg;
    struct batch b;

    while ((b.count = board_wait_ended(s->board, b.items, BATCH_MAX)) > 0) {
        struct err err = ERR_INIT;
        int rc = send_batch(s, &b, &err);
        if (rc == -E_BAD_VALUE)
            rc = send_one_by_one(s, &b, &err);
        if (!rc)
            continue;
        /* send_one_by_one may have settled some: look again at what is left. */
        board_sleep(s->board, 20 + manager_pause_ms(&s->manager));
        b.count = board_wait_ended(s->board, b.items, BATCH_MAX);
        give_up_old(s, &b, err.text);
    }
    return NULL;
}
