/* report.c - recording how attempts ended, each exactly once.
 *
 * A report becomes one guarded move. What a failure leads to (another attempt or the end) is
 * the domain's rule; that the artifact really is there is checked here; who still owns the
 * task, and by which attempt, is decided by the store. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

struct draft {
    struct task_move move;
    bool is_ready; /* goes to the store; else the verdict is already known */
};

static void refuse(struct report_verdict *v, enum report_word word, const char *detail)
{
    v->word = word;
    snprintf(v->detail, sizeof v->detail, "%s", detail);
}

/* The attempt of this task in whose folder the key lies, or 0. */
static int own_attempt_of_key(const char *task_id, const char *key)
{
    char id[ID_TEXT_MAX];
    int attempt = attempt_of_key(key, id);

    return attempt && strcmp(id, task_id) == 0 ? attempt : 0;
}

bool service_wrote_key(const char *task_id, const char *key)
{
    return own_attempt_of_key(task_id, key) > 0;
}

/* Does the attempt that reports still own the task? A store that does not answer fails the
 * call: taken for a no, it would let through what was refused. */
static int find_owner(struct service *s, const struct report *r, bool *ret_owner,
                      struct err *err)
{
    struct renewal renewal = {.progress = -1};

    memcpy(renewal.task_id, r->task_id, sizeof renewal.task_id);
    memcpy(renewal.token, r->token, sizeof renewal.token);
    int rc = store_renew(s->parts.store, &renewal, 1, s->parts.config->lease_ms, err);
    *ret_owner = !rc && renewal.ok;
    return rc;
}

static const char no_such_task[] = "there is no such task";
static const char not_its_own[] = "output.key: lies outside the attempt's output_prefix";

/* What is wrong with the output, if anything, in `v`. Only what the worker can mend counts;
 * a disk that does not answer fails the call. */
static int look_at_output(struct service *s, const struct report *r, struct draft *d,
                          struct report_verdict *v, struct err *err)
{
    struct artifact seen;
    struct err why = ERR_INIT;

    d->move.attempt = own_attempt_of_key(r->task_id, r->output.key);
    if (!d->move.attempt) {
        refuse(v, REPORT_REFUSED, not_its_own);
        return 0;
    }
    int rc = objstore_stat(s->parts.objects, r->output.key, false, &seen, &why);
    if (rc == -E_NOT_FOUND || rc == -E_BAD_VALUE)
        refuse(v, REPORT_REFUSED, why.text);
    else if (rc)
        return err_set(err, rc, "%s", why.text);
    else if (seen.size != r->output.size)
        refuse(v, REPORT_REFUSED, "output.size: the object has another size");
    return 0;
}

/* A report of an attempt that owns nothing is stale whatever else is wrong with it, and the
 * store says so. */
static int check_output(struct service *s, const struct report *r, struct draft *d,
                        struct report_verdict *v, struct err *err)
{
    bool is_owner = false;
    int rc = look_at_output(s, r, d, v, err);

    if (!rc && v->word == REPORT_REFUSED)
        rc = find_owner(s, r, &is_owner, err);
    d->is_ready = !rc && !is_owner;
    return rc;
}

/* The end of a task that kills its processes: the sentence says how the last one died. */
static void tell_poison(const struct report *r, const struct task *t, struct task_move *move)
{
    char how[64] = "";
    struct err told = ERR_INIT; /* cuts between characters */

    if (r->usage.signal)
        snprintf(how, sizeof how,
                 ", the last by signal %d with a peak memory of %" PRId64 " MiB",
                 r->usage.signal, r->usage.peak_rss_bytes >> 20);
    move->to = TASK_FAILED;
    move->delay_ms = 0;
    snprintf(move->error.code, sizeof move->error.code, "poison");
    err_set(&told, -E_IO, "given up after %d crashed attempts%s: %s", t->crashes + 1, how,
            r->error.message);
    snprintf(move->error.message, sizeof move->error.message, "%s", told.text);
}

/* Decides between another attempt and the end. What was read cannot change before the move:
 * only the end of an attempt counts a crash, and the token admits no other end than this. */
static void plan_failure(struct service *s, const struct report *r, const struct task *t,
                         struct task_move *move)
{
    struct retry_decision decision =
        retry_decide(&s->retry, r->error.class, t->attempt, t->max_attempts, false);

    move->to = decision.to;
    move->delay_ms = decision.delay_ms;
    if (retry_is_poison((int)s->parts.config->max_crashes, r->error.class, t->crashes))
        tell_poison(r, t, move);
}

/* Fits the move to the task as it is. Should it have moved on meanwhile, the token's guard in
 * the store says so. */
static int consult_task(struct service *s, const struct report *r, struct draft *d,
                        struct report_verdict *v, struct err *err)
{
    struct task t;
    int rc = store_get(s->parts.store, r->task_id, &t, err);

    if (rc == -E_NOT_FOUND) {
        refuse(v, REPORT_UNKNOWN, no_such_task);
        return 0;
    }
    if (rc)
        return rc;
    plan_failure(s, r, &t, &d->move);
    if (t.run_id[0])
        rc = runs_hide_error(s, t.run_id, &d->move.error, err);
    d->is_ready = !rc;
    task_release(&t);
    return rc;
}

static int draft_move(struct service *s, const char *worker, const struct report *r,
                      struct draft *d, struct report_verdict *v, struct err *err)
{
    d->move = (struct task_move){
        .from = TASK_PROCESSING,
        .to = r->outcome == ATTEMPT_DONE ? TASK_DONE : TASK_RECEIVED,
        .outcome = r->outcome,
        .usage = r->usage,
        .error = r->error,
        .output = r->output,
        .result = r->result,
        .actor = worker,
    };
    d->move.detail =
        d->move.error.message; /* as it is in the end; drafts stay in their place */
    memcpy(d->move.id, r->task_id, sizeof d->move.id);
    memcpy(d->move.token, r->token, sizeof d->move.token);
    if (r->outcome == ATTEMPT_FAILED)
        return consult_task(s, r, d, v, err);
    if (r->output.key[0])
        return check_output(s, r, d, v, err);
    d->is_ready = true;
    return 0;
}

/* Files of an attempt that lost its task are nobody's. Whoever reports has proved nothing, but
 * the sweep takes only what no attempt can be writing or has delivered. */
static void sweep_stale_output(struct service *s, const struct report *r)
{
    int attempt = own_attempt_of_key(r->task_id, r->output.key);
    struct err why = ERR_INIT;

    if (!attempt)
        return;
    FAILPOINT(report_sweeping);
    if (sweep_attempt(s, r->task_id, attempt, &why))
        log_warn("sweep.failed", LOG_S("task_id", r->task_id), LOG_S("reason", why.text));
}

static void settle(struct service *s, const struct report *r, const struct draft *d,
                   const struct move_result *m, struct report_verdict *v)
{
    static const enum report_word words[] = {
        [MOVE_MADE] = REPORT_RECORDED,     [MOVE_REPEATED] = REPORT_REPEATED,
        [MOVE_STALE] = REPORT_STALE,       [MOVE_OTHER_ATTEMPT] = REPORT_REFUSED,
        [MOVE_NOT_FOUND] = REPORT_UNKNOWN,
    };

    v->word = words[m->outcome];
    v->detail[0] = '\0';
    if (m->outcome != MOVE_NOT_FOUND)
        snprintf(v->state, sizeof v->state, "%s", task_state_name(m->state));
    if (m->outcome == MOVE_MADE) {
        service_note_move(s, &d->move);
    } else if (m->outcome == MOVE_STALE) {
        refuse(v, REPORT_STALE, "this attempt no longer owns the task");
        metric_add(METRIC_REPORTS_STALE, 1);
        log_info("report.stale", LOG_S("task_id", r->task_id), LOG_S("state", v->state));
        sweep_stale_output(s, r);
    } else if (m->outcome == MOVE_OTHER_ATTEMPT) {
        refuse(v, REPORT_REFUSED, not_its_own);
    } else if (m->outcome == MOVE_NOT_FOUND) {
        refuse(v, REPORT_UNKNOWN, no_such_task);
    }
}

/* Sends the ready drafts to the store in one transaction and writes the verdicts. *ret_waits: a
 * task waits again. */
static int apply(struct service *s, const struct report *items, const struct draft *drafts,
                 size_t count, struct report_verdict *ret, bool *ret_waits, struct err *err)
{
    size_t ready = 0;
    struct task_move *moves = calloc(count, sizeof *moves);
    struct move_result *results = calloc(count, sizeof *results);
    int rc = 0;

    if (!moves || !results)
        rc = err_set(err, -E_NO_MEMORY, "no memory for a report");
    for (size_t i = 0; !rc && i < count; i++) {
        if (drafts[i].is_ready)
            moves[ready++] = drafts[i].move;
    }
    if (!rc && ready)
        rc = store_move(s->parts.store, moves, ready, s->announce, results, err);
    ready = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        if (!drafts[i].is_ready)
            continue;
        if (drafts[i].move.to == TASK_RECEIVED && results[ready].outcome == MOVE_MADE)
            *ret_waits = true;
        settle(s, &items[i], &drafts[i], &results[ready++], &ret[i]);
    }
    if (!rc)
        runs_follow(s, results, ready);
    free(moves);
    free(results);
    return rc;
}

int service_report(struct service *s, const char *worker, const struct report *items,
                   size_t count, struct report_verdict *ret, struct err *err)
{
    if (count == 0)
        return 0;

    struct draft *drafts = calloc(count, sizeof *drafts);
    bool waits = false;
    int rc = drafts ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a report");
    memset(ret, 0, count * sizeof *ret);
    for (size_t i = 0; !rc && i < count; i++) {
        snprintf(ret[i].task_id, sizeof ret[i].task_id, "%s", items[i].task_id);
        rc = draft_move(s, worker, &items[i], &drafts[i], &ret[i], err);
    }
    if (!rc)
        rc = FAILPOINT_ERR(report_drafted, -E_UNAVAILABLE, err);
    if (!rc)
        rc = apply(s, items, drafts, count, ret, &waits, err);
    FAILPOINT(report_recorded);
    if (!rc && waits)
        service_announce(s);
    free(drafts);
    return rc;
}
