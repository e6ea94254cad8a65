/* reporter.c - the thread that hands results back until the manager has answered for each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "outputs.h"
#include "pace.h"
#include "threads.h"

/* More than PACE_BATCH_FULL of the largest results would be too much for a manager's limit. */
enum { BATCH_MAX = PACE_BATCH_FULL, CALL_MS = 30000, PAUSE_MAX_MS = 30000 };

struct batch {
    struct held *items[BATCH_MAX];
    size_t count;
};

/* Takes the abandoned ones out of the batch. */
static void sweep_abandoned(struct service *s, struct batch *b)
{
    size_t kept = 0;

    for (size_t i = 0; i < b->count; i++) {
        if (b->items[i]->abandoned) {
            outputs_sweep(s, b->items[i]);
            board_forget(s->board, b->items[i]);
        } else {
            b->items[kept++] = b->items[i];
        }
    }
    b->count = kept;
}

/* --- reports --- */

/* The manager will not take this report, and never will: the work is lost, but not the news
 * of it. A failure that it will surely take goes in its place, once. */
static void tell_refusal(struct service *s, struct held *h, const char *why)
{
    struct report r = {.outcome = ATTEMPT_FAILED, .usage = h->report.usage};
    struct err sentence = ERR_INIT; /* cut between characters, if it must be */

    log_error("report.refused", LOG_S("task_id", h->work.task_id),
              LOG_I("attempt", h->work.attempt),
              LOG_S("outcome", attempt_outcome_name(h->report.outcome)), LOG_S("error", why));
    if (h->refused) {
        board_forget(s->board, h);
        return;
    }
    memcpy(r.task_id, h->work.task_id, sizeof r.task_id);
    memcpy(r.token, h->work.token, sizeof r.token);
    r.error.class = ERROR_TRANSIENT;
    snprintf(r.error.code, sizeof r.error.code, "report_refused");
    err_set(&sentence, -E_BAD_VALUE, "the task manager refused the attempt's report: %s", why);
    memcpy(r.error.message, sentence.text, sizeof r.error.message);
    report_release(&h->report);
    h->report = r;
    h->refused = true;
}

static void settle(struct service *s, struct held *h, const struct report_verdict *v)
{
    if (v->word == REPORT_REFUSED) {
        tell_refusal(s, h, v->detail);
        return;
    }
    if (v->word == REPORT_STALE || v->word == REPORT_UNKNOWN)
        log_warn("report.too_late", LOG_S("task_id", h->work.task_id),
                 LOG_I("attempt", h->work.attempt), LOG_S("verdict", report_word_name(v->word)),
                 LOG_S("state", v->state));
    if (v->word == REPORT_STALE)
        outputs_sweep(s, h);
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

/* Did the manager itself say that what was sent is wrong? Any other 4xx or 3xx (a proxy, a
 * wrong address, a lock on the door) may change its mind. */
static bool is_refusal(const struct manager *m)
{
    return m->status == 400 || m->status == 413 || m->status == 422;
}

/* 0: every item was settled. -E_BAD_VALUE: none, and never will be as they are. */
static int send_batch(struct service *s, const struct batch *b, struct err *err)
{
    struct manager *m = &s->manager;
    struct buf answer;
    struct err why = ERR_INIT;
    FAILPOINT(report_posting);
    int rc = manager_post(m, "/v1/worker/report", encode(s, b), CALL_MS, &answer, err);

    if (!rc)
        FAILPOINT(report_posted);
    if ((!rc || rc == -E_BAD_VALUE) && settle_all(s, b, &answer, &why) == 0) {
        manager_trust(m);
        rc = 0;
    } else if (!rc) {
        manager_distrust(m, &why);
        rc = err_set(err, -E_UNAVAILABLE, "%s", why.text);
    } else if (rc == -E_BAD_VALUE && !is_refusal(m)) {
        rc = -E_UNAVAILABLE;
        log_error("report.not_taken", LOG_I("status", m->status), LOG_S("error", err->text));
    }
    buf_release(&answer);
    return rc;
}

/* The answer to a call may be any bytes, and is about to become JSON. */
static void make_plain(char *text)
{
    for (char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
        else if ((unsigned char)*c > 0x7E)
            *c = '?';
    }
}

/* One bad report must not hold up the others: each is sent alone. */
static int send_one_by_one(struct service *s, const struct batch *b, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < b->count; i++) {
        struct held *h = b->items[i];
        const struct batch one = {{h}, 1};
        struct err why = ERR_INIT;
        int result = send_batch(s, &one, &why);
        /* A failure of our own making is well formed: whoever refuses that, too, is not the
         * manager, and it is kept. */
        if (result == -E_BAD_VALUE && !h->refused) {
            make_plain(why.text);
            tell_refusal(s, h, why.text);
        } else if (result) {
            if (result == -E_BAD_VALUE)
                log_error("report.not_taken", LOG_S("error", why.text));
            rc = err_set(err, result, "%s", why.text);
        }
    }
    return rc;
}

/* Nothing finished is thrown away while the worker lives, however long the manager is away:
 * heartbeats go on meanwhile, and slots are not filled past BOARD_REPORTS_MAX. */
void *reporter_run(void *arg)
{
    struct service *s = arg;
    struct batch b;

    while ((b.count = board_wait_ended(s->board, b.items, BATCH_MAX)) > 0) {
        struct err err = ERR_INIT;
        sweep_abandoned(s, &b);
        int rc = b.count > 0 ? send_batch(s, &b, &err) : 0;
        if (rc == -E_BAD_VALUE)
            rc = send_one_by_one(s, &b, &err);
        if (rc)
            board_sleep(s->board, 20 + manager_pause_ms(&s->manager, PAUSE_MAX_MS));
    }
    return NULL;
}
