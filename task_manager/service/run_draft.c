/* run_draft.c - a change of a run before it is made: which steps it is about, and the task of
 * the one that begins. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "metrics.h"
#include "service_internal.h"

void run_draft_init(struct run_draft *d, const struct run *r, const char *actor)
{
    memset(d, 0, sizeof *d);
    memcpy(d->change.id, r->id, sizeof d->change.id);
    d->change.version = r->version;
    d->change.from = d->change.to = r->state;
    d->change.is_cancelling = r->is_cancelling;
    d->change.at = r->at;
    d->change.step = r->step;
    d->change.steps = d->steps;
    d->change.actor = actor;
}

void run_draft_release(struct run_draft *d)
{
    free(d->params);
    free(d->shown);
    free(d->sealed);
    d->params = d->shown = d->sealed = NULL;
}

struct run_step_change *run_draft_step(struct run_draft *d, const struct run *r, int index,
                                       enum task_state state)
{
    struct run_step_change *step = &d->steps[d->change.step_count++];

    *step = (struct run_step_change){
        .index = index, .state = state, .tries = r->steps[index].tries};
    return step;
}

static void fail_step(struct run_draft *d, const struct run_def *def, const struct run *r,
                      int index, const struct err *why)
{
    char *clean = run_def_hide(def, r->input, why->text);

    d->error.class = ERROR_INPUT;
    snprintf(d->error.code, sizeof d->error.code, "bad_params");
    snprintf(d->error.message, sizeof d->error.message, "%s",
             clean ? clean : "the params of the step cannot be made");
    free(clean);
    run_draft_step(d, r, index, TASK_FAILED)->error = &d->error;
    d->change.to = TASK_FAILED;
    d->change.error = &d->error;
    d->change.detail = d->error.message;
}

/* A secret of the input may stand anywhere in the params, also by way of an output: then they
 * are encrypted as a whole, for this task alone. */
static int seal_params(struct service *s, struct run_draft *d, const struct run_def *def,
                       const char *type, struct err *err)
{
    if (!run_def_has_secrets(def))
        return secrets_seal(s, type, d->params, &d->sealed, err);
    d->sealed = secrets_seal_whole(s, d->task.task.id, d->params, err);
    return d->sealed ? 0 : err->code;
}

static int lost_secrets(struct run_draft *d, const struct run_def *def, const struct run *r,
                        int index)
{
    struct err why = ERR_INIT;

    err_set(&why, -E_BAD_INPUT,
            "step '%s': the secrets of the run were encrypted with another SECRET_KEY",
            r->steps[index].name);
    fail_step(d, def, r, index, &why);
    snprintf(d->error.code, sizeof d->error.code, "secrets_lost");
    return 0;
}

static void fill_task(struct service *s, struct run_draft *d, const struct run_def_step *step,
                      const char *run_id)
{
    struct task *t = &d->task.task;

    snprintf(t->run_id, sizeof t->run_id, "%s", run_id);
    snprintf(t->type, sizeof t->type, "%s", step->type);
    snprintf(t->queue, sizeof t->queue, "%s", step->queue);
    t->max_attempts =
        step->max_attempts ? step->max_attempts : (int)s->parts.config->max_attempts;
    t->timeout_ms = step->timeout_ms;
    t->params = d->sealed ? d->sealed : d->params;
    d->task.client = "";
}

int run_draft_begin(struct service *s, struct run_draft *d, const struct run_def *def,
                    const struct run *r, int index, struct err *err)
{
    struct run_def_step step = run_def_step(def, (size_t)index);
    struct err why = ERR_INIT;

    d->change.at = index;
    d->change.step = r->steps[index].name;
    d->change.is_cancelling = false;
    if (r->has_lost_secrets)
        return lost_secrets(d, def, r, index);
    id_new(d->task.task.id);
    int rc = run_def_bind(def, r, (size_t)index, &d->params, &d->shown, &why);
    if (!rc) {
        rc = submit_check_meaning(s->parts.config, step.type, d->params, &why);
        if (!rc)
            rc = seal_params(s, d, def, step.type, &why);
        if (rc)
            err_wrap(&why, "step '%s'", step.name);
    }
    if (rc == -E_BAD_INPUT || rc == -E_BAD_VALUE) {
        fail_step(d, def, r, index, &why);
        return 0;
    }
    if (rc)
        return err_set(err, rc, "%s", why.text);
    fill_task(s, d, &step, r->id);
    struct run_step_change *begun = run_draft_step(d, r, index, TASK_PROCESSING);
    begun->tries++;
    begun->task_id = d->task.task.id;
    begun->params = d->shown;
    d->change.task = &d->task;
    d->change.to = TASK_PROCESSING;
    return 0;
}

void run_draft_note(struct service *s, const struct run_draft *d, const char *name)
{
    static const struct {
        enum metric metric;
        const char *event;
    } ends[TASK_STATE__COUNT] = {
        [TASK_DONE] = {METRIC_RUNS_DONE, "run.done"},
        [TASK_FAILED] = {METRIC_RUNS_FAILED, "run.failed"},
        [TASK_CANCELLED] = {METRIC_RUNS_CANCELLED, "run.cancelled"},
    };
    const struct run_change *c = &d->change;

    if (c->task) {
        atomic_fetch_add(&s->waiting, 1);
        metric_add(METRIC_TASKS_SUBMITTED, 1);
        metric_add(METRIC_RUN_STEPS_STARTED, 1);
        log_debug("run.step_begun", LOG_S("run_id", c->id), LOG_S("pipeline", name),
                  LOG_S("step", c->step), LOG_S("task_id", c->task->task.id));
    }
    if (!task_state_is_terminal(c->to))
        return;
    metric_add(ends[c->to].metric, 1);
    log_event(c->to == TASK_FAILED ? LOG_WARN : LOG_INFO, ends[c->to].event,
              LOG_S("run_id", c->id), LOG_S("pipeline", name), LOG_S("step", c->step),
              LOG_S("error", c->error ? c->error->message : ""));
}

int service_run_get(struct service *s, const char *id, struct run *ret, struct err *err)
{
    struct err why = ERR_INIT;
    int rc = store_run_get(s->parts.store, id, ret, err);

    if (rc || !seal_is_sealed(ret->input))
        return rc;
    char *opened = secrets_open_text(s, RUN_SEAL, ret->input, &why);
    free(ret->input);
    ret->input = opened;
    if (!opened && why.code == -E_BAD_VALUE) { /* the run goes on as far as it can */
        ret->has_lost_secrets = true;
        ret->input = strdup("{}");
        why.code = -E_NO_MEMORY;
    }
    if (ret->input)
        return 0;
    run_release(ret);
    return err_set(err, why.code == -E_NO_MEMORY ? why.code : -E_UNAVAILABLE,
                   "the secrets of run %s cannot be opened: %s", id, why.text);
}

int run_definition_of(const struct run *r, struct run_def **ret, struct err *err)
{
    struct err why = ERR_INIT;
    int rc =
        run_def_parse(r->definition, strlen(r->definition), "", NULL, NULL, ret, NULL, &why);

    if (!rc && run_def_step_count(*ret) == r->step_count)
        return 0;
    if (!rc)
        run_def_free(*ret);
    *ret = NULL;
    return rc == -E_NO_MEMORY
               ? err_set(err, rc, "%s", why.text)
               : err_set(err, -E_CORRUPT, "the definition of run %s is damaged", r->id);
}
