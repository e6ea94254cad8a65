#include "task_json.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "json_read.h"
#include "params.h"

json_t *time_to_json(int64_t ms)
{
    char text[CLOCK_TEXT_MAX];

    if (ms == 0)
        return json_null();
    clock_format(ms, text);
    return json_string(text);
}

json_t *text_or_null(const char *text)
{
    return text && *text ? json_string(text) : json_null();
}

json_t *object_or_null(const char *text)
{
    return text ? json_loads(text, JSON_DECODE_ANY, NULL) : json_null();
}

static json_t *artifact_to_json(const struct artifact *a)
{
    if (!a->key[0])
        return json_null();
    return json_pack("{s:s,s:I,s:o}", "key", a->key, "size", (json_int_t)a->size, "sha256",
                     text_or_null(a->sha256));
}

json_t *error_to_json(const struct task_error *e)
{
    if (e->class == ERROR_NONE)
        return json_null();
    return json_pack("{s:s,s:s,s:s}", "class", error_class_name(e->class), "code", e->code,
                     "message", e->message);
}

json_t *task_entry_to_json(const struct task *t)
{
    /* The first line is what clients of the old API read. */
    return json_pack(
        "{s:s,s:s,s:s,s:o,s:o,s:o,"
        "s:s,s:i,s:i,s:i,s:f,s:o,s:o,s:o,s:o,s:f,s:o,s:o,s:o,s:o,s:o,s:o}",
        "id", t->id, "task_type", t->type, "status", task_state_name(t->state),
        "file_input_path", text_or_null(t->input.key), "file_output_path",
        text_or_null(t->output.key), "time_stamp", time_to_json(t->created_ms), /**/
        "queue", t->queue, "priority", t->priority, "attempt", t->attempt, "max_attempts",
        t->max_attempts, "timeout_s", (double)t->timeout_ms / 1000.0, "created_at",
        time_to_json(t->created_ms), "run_at", time_to_json(t->run_at_ms), "started_at",
        time_to_json(t->started_ms), "finished_at", time_to_json(t->finished_ms), "progress",
        t->progress, "worker", text_or_null(t->worker), "input_name",
        text_or_null(t->input_name), "input", artifact_to_json(&t->input), "output",
        artifact_to_json(&t->output), "error", error_to_json(&t->error), "run_id",
        text_or_null(t->run_id));
}

static char *hide(void *arg, const char *text, struct err *err)
{
    (void)arg, (void)text, (void)err;
    return strdup("***");
}

/* Secrets are sealed in the database, and not even that is shown. */
static json_t *params_to_json(const struct task *t)
{
    char *shown = NULL;
    struct err ignored = ERR_INIT;

    if (params_seal(t->type, t->params, hide, NULL, &shown, &ignored) != 0)
        return NULL;
    json_t *params = object_or_null(shown ? shown : t->params);
    free(shown);
    return params;
}

json_t *task_to_json(const struct task *t)
{
    json_t *task = task_entry_to_json(t);

    if (json_object_set_new(task, "params", params_to_json(t)) ||
        json_object_set_new(task, "result", object_or_null(t->result))) {
        json_decref(task);
        return NULL;
    }
    return task;
}

static json_t *attempt_to_json(const struct attempt *a)
{
    return json_pack(
        "{s:i,s:s,s:s,s:o,s:o,s:o,s:{s:I,s:I,s:I,s:i,s:i}}", "attempt", a->number, "worker",
        a->worker, "outcome", attempt_outcome_name(a->outcome), "started_at",
        time_to_json(a->started_ms), "ended_at", time_to_json(a->ended_ms), "error",
        error_to_json(&a->error), "usage", "wall_ms", (json_int_t)a->usage.wall_ms, "cpu_ms",
        (json_int_t)a->usage.cpu_ms, "peak_rss_bytes", (json_int_t)a->usage.peak_rss_bytes,
        "exit_code", a->usage.exit_code, "signal", a->usage.signal);
}

static json_t *event_to_json(const struct task_event *e)
{
    return json_pack("{s:I,s:o,s:o,s:s,s:i,s:s,s:o}", "seq", (json_int_t)e->seq, "at",
                     time_to_json(e->at_ms), "from",
                     text_or_null(e->is_first ? "" : task_state_name(e->from)), "to",
                     task_state_name(e->to), "attempt", e->attempt, "actor", e->actor, "detail",
                     text_or_null(e->detail));
}

json_t *attempts_to_json(const struct attempt *items, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        array = json_append_take(array, attempt_to_json(&items[i]));
    return array;
}

json_t *events_to_json(const struct task_event *items, size_t count)
{
    json_t *array = json_array();

    for (size_t i = 0; i < count; i++)
        array = json_append_take(array, event_to_json(&items[i]));
    return array;
}
