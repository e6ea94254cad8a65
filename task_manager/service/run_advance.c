/* run_advance.c - what follows for a run when the task of its step has ended.
 *
 * The conclusion is drawn from what the database says of the run and of that task, and made in
 * one transaction on the run's version: whoever comes second finds the run changed and looks
 * again. So it does no harm that the report of a task, a cancel and the sweep, of one manager
 * or of several, come at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

enum { TRIES = 8, BATCH = 64, LEFT_BEHIND_MS = 1000 };

static const char actor[] = "pipeline";

/* One run on its way. */
struct advance {
    const char *id;
    bool is_settled, is_idle;
    bool drafted; /* run and draft are there */
    struct run run;
    struct run_draft draft;
};

/* -- what the task says -- */

/* An end that leaves nothing to read: the task is gone, or has put out more than is kept. */
static void set_error(struct run_draft *d, const char *code, const char *sentence)
{
    d->error.class = ERROR_INPUT;
    snprintf(d->error.code, sizeof d->error.code, "%s", code);
    snprintf(d->error.message, sizeof d->error.message, "%s", sentence);
}

static void take_end(struct advance *a, struct task *t, enum task_state *state)
{
    struct run_step *step = &a->run.steps[a->run.at];

    if (!t->id[0]) {
        set_error(&a->draft, "task_lost", "the task of this step is gone");
    } else if (*state == TASK_DONE && t->result && strlen(t->result) > RUN_TEXT_LIMIT) {
        char sentence[64];
        snprintf(sentence, sizeof sentence, "the output is larger than %d bytes",
                 RUN_TEXT_LIMIT);
        set_error(&a->draft, "output_too_big", sentence);
        *state = TASK_FAILED;
    } else if (*state == TASK_DONE) {
        free(step->output);
        step->output = t->result;
        t->result = NULL;
        step->state = TASK_DONE;
    } else {
        a->draft.error = t->error;
    }
}

/* -- drafting -- */

static void draft_step_end(struct advance *a, enum task_state state, int attempts)
{
    struct run_draft *d = &a->draft;
    struct run_step *step = &a->run.steps[a->run.at];
    struct run_step_change *ended = run_draft_step(d, &a->run, a->run.at, state);

    ended->attempts = attempts;
    ended->output = state == TASK_DONE ? step->output : NULL;
    ended->error = state == TASK_DONE ? NULL : &d->error;
    d->change.ended_task_id = step->task_id;
}

static void draft_end(struct advance *a, enum task_state state, enum task_state end)
{
    struct run_draft *d = &a->draft;

    d->change.to = end;
    d->change.is_cancelling = false;
    if (state == TASK_DONE) {
        d->change.at++;
        bool is_last = (size_t)d->change.at == a->run.step_count;
        d->change.step = is_last ? "" : a->run.steps[d->change.at].name;
    }
    if (end == TASK_CANCELLED && state == TASK_DONE) {
        d->error.class = ERROR_CANCELLED;
        snprintf(d->error.code, sizeof d->error.code, "cancelled");
        snprintf(d->error.message, sizeof d->error.message, "cancelled by a client");
    }
    d->change.error = end == TASK_DONE ? NULL : &d->error;
    d->change.detail = end == TASK_DONE ? NULL : d->error.message;
}

static int draft_next_step(struct service *s, struct advance *a, struct err *err)
{
    struct run_def *def = NULL;
    struct err why = ERR_INIT;
    int rc = run_definition_of(&a->run, &def, &why);

    if (rc == -E_CORRUPT) { /* it will not get better */
        set_error(&a->draft, "damaged", why.text);
        draft_end(a, TASK_DONE, TASK_FAILED);
        return 0;
    }
    if (rc)
        return err_set(err, rc, "%s", why.text);
    rc = run_draft_begin(s, &a->draft, def, &a->run, a->run.at + 1, err);
    run_def_free(def);
    return rc;
}

/* The task has to be told first; then the run is looked at again. */
static int cancel_task(struct service *s, const struct task *t, struct err *err)
{
    struct task_move move = {.from = t->state,
                             .to = TASK_CANCELLED,
                             .outcome = ATTEMPT_CANCELLED,
                             .error = {ERROR_CANCELLED, "cancelled", "its run was cancelled"},
                             .actor = actor};
    struct move_result result;

    memcpy(move.id, t->id, sizeof move.id);
    move.detail = move.error.message;
    int rc = store_move(s->parts.store, &move, 1, s->announce, &result, err);
    if (!rc && result.outcome == MOVE_MADE)
        service_note_move(s, &move);
    return rc;
}

static int draft_from(struct service *s, struct advance *a, struct task *t, struct err *err)
{
    enum task_state step = TASK_FAILED, end = TASK_FAILED;
    enum run_next next = run_next(&a->run, t->id[0] ? &t->state : NULL, &step, &end);
    int rc = 0;

    if (next == RUN_WAITS) {
        a->is_settled = true;
        return 0;
    }
    a->is_idle = false;
    if (next == RUN_CANCEL_TASK)
        return cancel_task(s, t, err);
    run_draft_init(&a->draft, &a->run, actor);
    a->drafted = true;
    enum task_state state = step;
    take_end(a, t, &state);
    if (state != step) { /* its output cannot be kept */
        next = RUN_ENDS;
        end = state;
    }
    draft_step_end(a, state, t->attempt);
    if (next == RUN_BEGIN_STEP)
        rc = draft_next_step(s, a, err);
    else
        draft_end(a, state, end);
    return rc;
}

static void drop_draft(struct advance *a)
{
    if (a->drafted)
        run_draft_release(&a->draft);
    a->drafted = false;
    run_release(&a->run);
}

/* Reads the run and drafts what follows, if anything. */
static int draft_one(struct service *s, struct advance *a, struct err *err)
{
    struct task t = {.params = NULL};
    struct err why = ERR_INIT;
    int rc = service_run_get(s, a->id, &a->run, &why);

    if (rc == -E_NOT_FOUND) {
        a->is_settled = true;
        return 0;
    }
    bool is_over =
        !rc && (task_state_is_terminal(a->run.state) || (size_t)a->run.at >= a->run.step_count);
    if (!rc && !is_over && a->run.steps[a->run.at].task_id[0]) {
        rc = store_get(s->parts.store, a->run.steps[a->run.at].task_id, &t, &why);
        if (rc == -E_NOT_FOUND)
            rc = 0;
    }
    if (rc)
        return err_set(err, rc, "%s", why.text);
    if (is_over)
        a->is_settled = true;
    else
        rc = draft_from(s, a, &t, err);
    task_release(&t);
    return rc;
}

/* -- making -- */

static int make(struct service *s, struct advance *items, size_t count, struct err *err)
{
    struct run_change *changes = calloc(count, sizeof *changes);
    size_t ready = 0;
    int rc = changes ? 0 : err_set(err, -E_NO_MEMORY, "no memory for %zu runs", count);

    for (size_t i = 0; !rc && i < count; i++) {
        if (items[i].drafted)
            changes[ready++] = items[i].draft.change;
    }
    if (!rc && ready)
        rc = FAILPOINT_ERR(run_drafted, -E_UNAVAILABLE, err);
    if (!rc)
        rc = store_run_change(s->parts.store, changes, ready, s->announce, err);
    if (!rc && ready)
        FAILPOINT(run_advanced);
    ready = 0;
    for (size_t i = 0; !rc && i < count; i++) {
        if (!items[i].drafted || !changes[ready++].is_made)
            continue;
        items[i].is_settled = true;
        run_draft_note(s, &items[i].draft, items[i].run.name);
    }
    free(changes);
    return rc;
}

/* One try for all that are not settled. */
static int try_all(struct service *s, struct advance *items, size_t count, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < count && !rc; i++) {
        if (!items[i].is_settled)
            rc = draft_one(s, &items[i], err);
    }
    if (!rc)
        rc = make(s, items, count, err);
    for (size_t i = 0; i < count; i++)
        drop_draft(&items[i]);
    return rc;
}

static bool all_settled(const struct advance *items, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!items[i].is_settled)
            return false;
    }
    return true;
}

static int advance_batch(struct service *s, const char *const *ids, size_t count,
                         bool *ret_idle, struct err *err)
{
    struct advance *items = calloc(count, sizeof *items);
    int rc = items ? 0 : err_set(err, -E_NO_MEMORY, "no memory for %zu runs", count);

    for (size_t i = 0; items && i < count; i++) {
        items[i].id = ids[i];
        items[i].is_idle = true;
    }
    for (int i = 0; i < TRIES && !rc && !all_settled(items, count); i++)
        rc = try_all(s, items, count, err);
    for (size_t i = 0; items && ret_idle && i < count; i++)
        ret_idle[i] = items[i].is_settled && items[i].is_idle;
    free(items);
    return rc;
}

/* One run that cannot be helped must not hold up the others. */
static int advance_alone(struct service *s, const char *const *ids, size_t count,
                         bool *ret_idle, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < count && !rc; i++) {
        struct err why = ERR_INIT;
        rc = advance_batch(s, ids + i, 1, ret_idle ? ret_idle + i : NULL, &why);
        if (!rc)
            continue;
        log_error("run.stuck", LOG_S("run_id", ids[i]), LOG_S("reason", why.text));
        rc = err_class_of(rc) == ERR_TRANSIENT ? err_set(err, rc, "%s", why.text) : 0;
    }
    return rc;
}

int runs_advance(struct service *s, const char *const *ids, size_t count, bool *ret_idle,
                 struct err *err)
{
    int rc = 0;

    for (size_t from = 0; from < count && !rc; from += BATCH) {
        size_t some = count - from < BATCH ? count - from : BATCH;
        bool *idle = ret_idle ? ret_idle + from : NULL;
        struct err why = ERR_INIT;
        rc = advance_batch(s, ids + from, some, idle, &why);
        if (rc && err_class_of(rc) != ERR_TRANSIENT)
            rc = advance_alone(s, ids + from, some, idle, &why);
        if (rc)
            err_set(err, rc, "%s", why.text);
    }
    return rc;
}

static bool is_new(const char *const *ids, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ids[i], id) == 0)
            return false;
    }
    return true;
}

void runs_follow(struct service *s, const struct move_result *results, size_t count)
{
    const char *ids[BATCH];
    size_t found = 0;
    struct err why = ERR_INIT;
    int rc = 0;

    for (size_t i = 0; i < count && !rc; i++) {
        if (results[i].outcome != MOVE_MADE || !results[i].run_id[0])
            continue;
        if (is_new(ids, found, results[i].run_id))
            ids[found++] = results[i].run_id;
        if (found == BATCH) {
            rc = runs_advance(s, ids, found, NULL, &why);
            found = 0;
        }
    }
    if (!rc && found)
        rc = runs_advance(s, ids, found, NULL, &why);
    if (rc)
        log_warn("run.left_to_sweep", LOG_S("reason", why.text));
}

/* -- what was left behind -- */

int runs_sweep(struct service *s, struct err *err)
{
    struct run_mark marks[BATCH], idle[BATCH];
    const char *ids[BATCH];
    bool is_idle[BATCH] = {false};
    size_t count = 0, idle_count = 0;
    int rc = store_run_marks(s->parts.store, LEFT_BEHIND_MS, BATCH, marks, &count, err);

    if (rc || count == 0)
        return rc;
    for (size_t i = 0; i < count; i++)
        ids[i] = marks[i].run_id;
    rc = runs_advance(s, ids, count, is_idle, err);
    for (size_t i = 0; i < count && !rc; i++) {
        if (is_idle[i])
            idle[idle_count++] = marks[i];
        else
            metric_add(METRIC_RUNS_HEALED, 1);
    }
    if (!rc)
        rc = store_run_unmark(s->parts.store, idle, idle_count, err);
    service_announce(s);
    return rc;
}

/* -- secrets -- */

int runs_hide_error(struct service *s, const char *run_id, struct task_error *error,
                    struct err *err)
{
    struct run r;
    struct run_def *def = NULL;
    int rc = service_run_get(s, run_id, &r, err);

    if (rc == -E_NOT_FOUND)
        return 0;
    if (!rc)
        rc = run_definition_of(&r, &def, err);
    if (!rc && r.has_lost_secrets) { /* nobody can say any more what was secret */
        snprintf(error->message, sizeof error->message,
                 "not shown: the secrets of the run were encrypted with another SECRET_KEY");
    } else if (!rc && run_def_has_secrets(def)) {
        char *clean = run_def_hide(def, r.input, error->message);
        if (clean)
            snprintf(error->message, sizeof error->message, "%s", clean);
        else
            rc = err_set(err, -E_NO_MEMORY, "no memory for an error");
        free(clean);
    }
    run_def_free(def);
    run_release(&r);
    return rc;
}
