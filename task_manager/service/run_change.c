/* run_change.c - what clients do with runs: start, cancel, resume. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"
#include "sha256.h"

enum { TRIES = 5 };

static const char actor[] = "client";

/* -- start -- */

/* Two requests are the same when they ask for the same steps with the same input. */
static int request_digest(const struct run *r, char ret[SHA256_TEXT_MAX], struct err *err)
{
    struct buf text = BUF_INIT;

    buf_printf(&text, "run\n%s\n%s\n%s\n", r->name, r->definition, r->input);
    int rc = buf_ok(&text) ? sha256_hex(text.data, text.len, ret, err)
                           : err_set(err, -E_NO_MEMORY, "no memory for a run");
    buf_release(&text);
    return rc;
}

/* *ret_own is set when the definition came with the request: run_def_free it. */
static int find_definition(struct service *s, const struct run_request *request,
                           const struct run_def **ret, struct run_def **ret_own,
                           struct buf *mistakes, struct err *err)
{
    struct run_def_rules rules = pipelines_rules(s->parts.config);

    *ret_own = NULL;
    if (request->definition) {
        int rc = run_def_parse(request->definition, strlen(request->definition), "definition.",
                               request->name, &rules, ret_own, mistakes, err);
        *ret = *ret_own;
        return rc;
    }
    *ret = service_pipeline_find(s, request->name);
    return *ret ? 0 : err_set(err, -E_NOT_FOUND, "there is no pipeline '%.64s'", request->name);
}

static int fill_run(const struct run_def *def, const char *input_take, struct run *r,
                    struct err *err)
{
    memset(r, 0, sizeof *r);
    id_new(r->id);
    snprintf(r->name, sizeof r->name, "%s", run_def_name(def));
    r->state = TASK_PROCESSING;
    r->version = 1;
    r->input = (char *)(uintptr_t)input_take;
    r->definition = run_def_text(def);
    r->step_count = run_def_step_count(def);
    r->steps = calloc(r->step_count, sizeof *r->steps);
    if (!r->definition || !r->steps)
        return err_set(err, -E_NO_MEMORY, "no memory for a run");
    for (size_t i = 0; i < r->step_count; i++)
        snprintf(r->steps[i].name, sizeof r->steps[i].name, "%s", run_def_step(def, i).name);
    return 0;
}

/* A full backlog refuses what is new; a repeat gets its first answer: 1. */
static int admit(struct service *s, const struct run_submission *item,
                 struct submit_result *ret, struct err *err)
{
    struct err ignored = ERR_INIT;

    if (service_check_backlog(s, &ignored) == 0)
        return 0;
    ret->outcome = SUBMIT_ACCEPTED;
    int rc = item->key ? store_run_look_up(s->parts.store, item, ret, err) : 0;
    if (rc)
        return rc;
    return ret->outcome == SUBMIT_ACCEPTED ? service_check_backlog(s, err) : 1;
}

static int add_run(struct service *s, const struct run_def *def, const struct run *r,
                   const char *key, struct submit_result *ret, struct err *err)
{
    struct run_draft *d = calloc(1, sizeof *d);
    struct run kept = *r; /* as it is stored */
    char *sealed = NULL;
    struct run_submission item = {.run = &kept, .client = "", .key = key};

    if (!d)
        return err_set(err, -E_NO_MEMORY, "no memory for a run");
    run_draft_init(d, r, actor);
    item.begin = &d->change;
    int rc = run_draft_begin(s, d, def, r, 0, err);
    if (!rc && d->change.error) /* nothing has begun that could fail */
        rc = err_set(err, -E_BAD_VALUE, "%s", d->change.error->message);
    if (!rc && key)
        rc = request_digest(r, item.request_sha256, err);
    if (!rc)
        rc = admit(s, &item, ret, err);
    if (!rc && run_def_has_secrets(def)) {
        sealed = secrets_seal_text(s, RUN_SEAL, r->input, err);
        kept.input = sealed;
        rc = sealed ? 0 : err->code;
    }
    if (!rc)
        rc = store_run_add(s->parts.store, &item, s->announce, ret, err);
    if (rc > 0)
        rc = 0;
    if (!rc && ret->outcome == SUBMIT_MISMATCH)
        rc =
            err_set(err, -E_MISMATCH,
                    "Idempotency-Key: was used for another request; a new run needs a new key");
    if (!rc && ret->outcome == SUBMIT_ACCEPTED) {
        metric_add(METRIC_RUNS_STARTED, 1);
        log_info("run.started", LOG_S("run_id", r->id), LOG_S("pipeline", r->name));
        run_draft_note(s, d, r->name);
        FAILPOINT(run_started);
        service_announce(s);
    }
    free(sealed);
    run_draft_release(d);
    free(d);
    return rc;
}

int service_run_start(struct service *s, const struct run_request *request,
                      struct submit_result *ret, struct buf *mistakes, struct err *err)
{
    const struct run_def *def = NULL;
    struct run_def *own = NULL;
    struct run r = {.definition = NULL};
    char *input = NULL;
    int rc = request->idempotency_key ? submit_check_key(request->idempotency_key, err) : 0;

    if (!rc)
        rc = find_definition(s, request, &def, &own, mistakes, err);
    if (!rc)
        rc = run_def_input(def, request->input, &input, mistakes, err);
    if (!rc)
        rc = fill_run(def, input, &r, err);
    if (!rc)
        rc = add_run(s, def, &r, request->idempotency_key, ret, err);
    run_release(&r); /* the input too */
    run_def_free(own);
    return rc;
}

/* -- cancel -- */

static int not_from(const struct run *r, const char *what, struct err *err)
{
    return err_set(err, -E_BAD_STATE, "run %s is %s and cannot be %s", r->id,
                   task_state_name(r->state), what);
}

/* From here on no step begins, and whoever looks at the run ends its task. 1: told. */
static int tell_to_end(struct service *s, const struct run *r, struct err *err)
{
    struct run_draft *d = calloc(1, sizeof *d);

    if (!d)
        return err_set(err, -E_NO_MEMORY, "no memory for a run");
    run_draft_init(d, r, actor);
    d->change.is_cancelling = true;
    d->change.leaves_mark = true;
    d->change.detail = "told to end";
    int rc = store_run_change(s->parts.store, &d->change, 1, s->announce, err);
    if (!rc && d->change.is_made) {
        FAILPOINT(run_told_to_end);
        rc = 1;
    }
    free(d);
    return rc;
}

int service_run_cancel(struct service *s, const char *id, struct run *ret, struct err *err)
{
    int rc = 0;

    for (int i = 0; i < TRIES && rc == 0; i++) {
        rc = service_run_get(s, id, ret, err);
        if (rc)
            return rc;
        if (ret->state == TASK_CANCELLED)
            return 0;
        if (task_state_is_terminal(ret->state))
            rc = not_from(ret, "cancelled", err);
        else
            rc = ret->is_cancelling ? 1 : tell_to_end(s, ret, err);
        run_release(ret);
    }
    if (rc <= 0)
        return rc ? rc : err_set(err, -E_BAD_STATE, "run %s keeps changing; try again", id);
    struct err why = ERR_INIT;
    if (runs_advance(s, &id, 1, NULL, &why))
        log_warn("run.left_to_sweep", LOG_S("run_id", id), LOG_S("reason", why.text));
    rc = service_run_get(s, id, ret, err);
    if (!rc && task_state_is_terminal(ret->state) && ret->state != TASK_CANCELLED) {
        rc = not_from(ret, "cancelled", err);
        run_release(ret);
    }
    return rc;
}

/* -- resume -- */

static int draft_resume(struct service *s, struct run *r, int index, struct run_draft *d,
                        struct err *err)
{
    struct run_def *def = NULL;

    assert(d);
    run_draft_init(d, r, actor);
    d->change.is_cancelling = false;
    d->change.detail = "resumed";
    if ((size_t)index == r->step_count) {
        d->change.to = TASK_DONE;
        d->change.step = "";
        d->change.at = index;
        return 0;
    }
    for (size_t i = (size_t)index; i < r->step_count; i++) { /* they are not to be read */
        free(r->steps[i].output);
        r->steps[i].output = NULL;
    }
    for (size_t i = (size_t)index + 1; i < r->step_count; i++)
        run_draft_step(d, r, (int)i, TASK_RECEIVED);
    int rc = run_definition_of(r, &def, err);
    if (!rc)
        rc = run_draft_begin(s, d, def, r, index, err);
    run_def_free(def);
    return rc;
}

/* 1: resumed, 0: somebody was faster. */
static int resume_once(struct service *s, struct run *r, const char *from, struct err *err)
{
    int index = 0, rc = run_resume_point(r, from, &index, err);
    struct run_draft *d = rc ? NULL : calloc(1, sizeof *d);

    if (!rc && !d)
        rc = err_set(err, -E_NO_MEMORY, "no memory for a run");
    if (!rc)
        rc = draft_resume(s, r, index, d, err);
    if (!rc)
        rc = store_run_change(s->parts.store, &d->change, 1, s->announce, err);
    if (!rc && d->change.is_made) {
        metric_add(METRIC_RUNS_RESUMED, 1);
        log_info("run.resumed", LOG_S("run_id", r->id), LOG_S("step", d->change.step));
        run_draft_note(s, d, r->name);
        service_announce(s);
        rc = 1;
    }
    if (d)
        run_draft_release(d);
    free(d);
    return rc;
}

int service_run_resume(struct service *s, const char *id, const char *from, struct run *ret,
                       struct err *err)
{
    int rc = service_check_backlog(s, err);

    for (int i = 0; i < TRIES && rc == 0; i++) {
        struct run r;
        rc = service_run_get(s, id, &r, err);
        if (rc)
            return rc;
        rc = resume_once(s, &r, from, err);
        run_release(&r);
    }
    if (rc == 0)
        return err_set(err, -E_BAD_STATE, "run %s keeps changing; try again", id);
    return rc < 0 ? rc : service_run_get(s, id, ret, err);
}
