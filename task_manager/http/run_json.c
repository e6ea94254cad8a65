#include "run_json.h"

#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "task_json.h"

enum { SHOWN_EVENTS = 200 };

/* -- pipelines -- */

json_t *pipeline_to_json(const struct run_def *d, bool is_whole)
{
    char *text = run_def_text(d);
    json_t *whole = text ? json_loads(text, 0, NULL) : NULL;

    free(text);
    if (is_whole || !whole)
        return whole;
    json_t *steps = json_array(), *input = json_object_get(whole, "input");
    for (size_t i = 0; i < run_def_step_count(d); i++) {
        const struct run_def_step step = run_def_step(d, i);
        steps = json_append_take(steps, json_pack("{s:s,s:s,s:s}", "name", step.name, "type",
                                                  step.type, "queue", step.queue));
    }
    json_t *entry = json_pack("{s:s,s:o,s:O,s:o}", "name", run_def_name(d), "title",
                              text_or_null(run_def_title(d)), "input",
                              input ? input : json_object(), "steps", steps);
    if (!input && entry) /* O took a reference of its own */
        json_decref(json_object_get(entry, "input"));
    json_decref(whole);
    return entry;
}

/* -- runs -- */

json_t *run_entry_to_json(const struct run *r)
{
    return json_pack("{s:s,s:s,s:s,s:b,s:o,s:i,s:i,s:o,s:o,s:o}", "run_id", r->id, "pipeline",
                     r->name, "status", task_state_name(r->state), "cancelling",
                     (int)r->is_cancelling, "step", text_or_null(r->step), "steps_done", r->at,
                     "step_count", (int)r->step_count, "created_at",
                     time_to_json(r->created_ms), "finished_at", time_to_json(r->finished_ms),
                     "error", error_to_json(&r->error));
}

static json_t *step_to_json(const struct run_def *d, const struct run *r, size_t index)
{
    const struct run_step *s = &r->steps[index];
    const struct run_def_step step = run_def_step(d, index);
    bool is_shown = !r->has_lost_secrets; /* else nobody can say what in them was secret */

    return json_pack(
        "{s:s,s:s,s:s,s:s,s:o,s:i,s:i,s:o,s:o,s:o,s:o,s:o}", "name", s->name, "type", step.type,
        "queue", step.queue, "status", task_state_name(s->state), "task_id",
        text_or_null(s->task_id), "tries", s->tries, "attempts", s->attempts, "started_at",
        time_to_json(s->started_ms), "finished_at", time_to_json(s->finished_ms), "params",
        object_or_null(is_shown ? s->params : NULL), "output",
        object_or_null(is_shown ? s->output : NULL), "error", error_to_json(&s->error));
}

/* How far the task of the running step is; one that is gone has nothing to tell. */
static int add_task(const struct api *api, const struct run *r, json_t *steps, struct err *err)
{
    const struct run_step *s = (size_t)r->at < r->step_count ? &r->steps[r->at] : NULL;
    struct task t;
    struct err why = ERR_INIT;

    if (!s || s->state != TASK_PROCESSING)
        return 0;
    int rc = store_get(service_store(api->service), s->task_id, &t, &why);
    if (rc == -E_NOT_FOUND)
        return 0;
    if (rc)
        return err_set(err, rc, "%s", why.text);
    json_t *step = json_array_get(steps, (size_t)r->at);
    if (json_object_set_new(step, "attempts", json_integer(t.attempt)) ||
        json_object_set_new(step, "progress", json_real(t.progress)) ||
        json_object_set_new(step, "task_status", json_string(task_state_name(t.state))) ||
        json_object_set_new(step, "worker", text_or_null(t.worker)))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a run");
    task_release(&t);
    return rc;
}

static json_t *run_event_to_json(const struct run_event *e)
{
    return json_pack("{s:I,s:o,s:o,s:s,s:o,s:s,s:o}", "seq", (json_int_t)e->seq, "at",
                     time_to_json(e->at_ms), "from",
                     text_or_null(e->is_first ? "" : task_state_name(e->from)), "to",
                     task_state_name(e->to), "step", text_or_null(e->step), "actor", e->actor,
                     "detail", text_or_null(e->detail));
}

static int add_events(const struct api *api, const char *id, json_t *object, struct err *err)
{
    struct run_event *events = NULL;
    size_t count = 0;
    int rc =
        store_run_events(service_store(api->service), id, SHOWN_EVENTS, &events, &count, err);
    json_t *array = rc ? NULL : json_array();

    for (size_t i = 0; i < count; i++)
        array = json_append_take(array, run_event_to_json(&events[i]));
    free(events);
    if (!rc && json_object_set_new(object, "events", array))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a run");
    return rc;
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory to show a run");
}

/* Every string of *object, without the secrets of the input. */
static int hide(const struct run_def *d, const char *input, json_t **object, struct err *err)
{
    if (!run_def_has_secrets(d))
        return 0;
    char *text = json_text(*object, JSON_COMPACT);
    char *clean = text ? run_def_hide_json(d, input, text) : NULL;
    json_decref(*object);
    *object = clean ? json_loads(clean, 0, NULL) : NULL;
    free(text);
    free(clean);
    return *object ? 0 : no_memory(err);
}

static int open_definition(const struct run *r, struct run_def **ret, struct err *err)
{
    struct err why = ERR_INIT;
    int rc =
        run_def_parse(r->definition, strlen(r->definition), "", NULL, NULL, ret, NULL, &why);

    if (!rc && run_def_step_count(*ret) != r->step_count) {
        run_def_free(*ret);
        *ret = NULL;
        rc = -E_CORRUPT;
    }
    if (rc && rc != -E_NO_MEMORY)
        return err_set(err, -E_CORRUPT, "the definition of run %s is damaged", r->id);
    return rc ? no_memory(err) : 0;
}

static json_t *steps_to_json(const struct run_def *d, const struct run *r)
{
    json_t *steps = json_array();

    for (size_t i = 0; i < r->step_count; i++)
        steps = json_append_take(steps, step_to_json(d, r, i));
    return steps;
}

int run_to_json(const struct api *api, const struct run *r, json_t **ret, struct err *err)
{
    struct run_def *d = NULL;
    int rc = open_definition(r, &d, err);

    *ret = NULL;
    if (rc)
        return rc;
    char *input = run_def_shown_input(d, r->input);
    json_t *steps = steps_to_json(d, r);
    json_t *object = run_entry_to_json(r);
    if (!object || !steps || !input ||
        json_object_set_new(object, "title", text_or_null(run_def_title(d))) ||
        json_object_set_new(object, "input", json_loads(input, 0, NULL)) ||
        json_object_set(object, "steps", steps))
        rc = no_memory(err);
    if (!rc)
        rc = add_task(api, r, steps, err);
    if (!rc)
        rc = add_events(api, r->id, object, err);
    if (!rc)
        rc = hide(d, r->input, &object, err);
    json_decref(steps);
    free(input);
    run_def_free(d);
    if (rc)
        json_decref(object);
    else
        *ret = object;
    return rc;
}

/* -- the task of a step -- */

static int hide_in_task(const struct run *r, const char *task_id, json_t **object,
                        struct err *err)
{
    struct run_def *d = NULL;
    json_t *params = NULL;
    int rc = open_definition(r, &d, err);

    if (!rc && run_def_has_secrets(d)) {
        for (size_t i = 0; i < r->step_count && !params; i++) {
            if (strcmp(r->steps[i].task_id, task_id) == 0)
                params = object_or_null(r->steps[i].params);
        }
        if (json_object_set_new(*object, "params", params ? params : json_null()))
            rc = no_memory(err);
        if (!rc)
            rc = hide(d, r->input, object, err);
    }
    run_def_free(d);
    return rc;
}

int run_hide_task(const struct api *api, const struct task *t, json_t **object, struct err *err)
{
    struct run r;
    struct err why = ERR_INIT;
    int rc = 0;

    if (!*object || !t->run_id[0])
        return 0;
    rc = service_run_get(api->service, t->run_id, &r, &why);
    if (rc == -E_NOT_FOUND || (!rc && r.has_lost_secrets)) {
        /* nobody can say any more what was secret */
        run_release(&r);
        json_object_set_new(*object, "params", json_null());
        json_object_set_new(*object, "result", json_null());
        return 0;
    }
    if (!rc)
        rc = hide_in_task(&r, t->id, object, &why);
    run_release(&r);
    if (!rc)
        return 0;
    json_decref(*object);
    *object = NULL;
    return err_set(err, rc, "%s", why.text);
}

/* -- a resume, before it is made -- */

json_t *run_plan_to_json(const struct run *r, int index)
{
    json_t *runs = json_array(), *reused = json_array();

    for (size_t i = 0; i < r->step_count; i++) {
        json_t **list = i < (size_t)index ? &reused : &runs;
        *list = json_append_take(*list, json_string(r->steps[i].name));
    }
    bool is_end = (size_t)index == r->step_count;
    return json_pack("{s:s,s:s,s:s,s:b,s:o,s:o,s:o}", "run_id", r->id, "pipeline", r->name,
                     "status", task_state_name(r->state), "dry_run", 1, "from",
                     is_end ? json_null() : json_string(r->steps[index].name), "runs", runs,
                     "reuses", reused);
}
