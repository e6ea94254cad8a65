/* worker_encode.c - the messages of worker_protocol.h as text. They are written for every
 * attempt, by hand and in one pass. */
#include "json_write.h"
#include "worker_protocol.h"

/* -- pieces that several messages share -- */

static void put_artifact(struct json_out *o, const char *name, const struct artifact *a)
{
    if (!a->key[0]) {
        json_out_null(o, name);
        return;
    }
    json_out_open(o, name, '{');
    json_out_string(o, "key", a->key);
    json_out_int(o, "size", (int64_t)a->size);
    json_out_string(o, "sha256", a->sha256);
    json_out_close(o, '}');
}

/* `{"worker": …, "<name>": [` … */
static void open_list(struct json_out *o, const char *worker, const char *name)
{
    json_out_init(o);
    json_out_open(o, NULL, '{');
    if (worker)
        json_out_string(o, "worker", worker);
    json_out_open(o, name, '[');
}

static char *close_list(struct json_out *o)
{
    json_out_close(o, ']');
    json_out_close(o, '}');
    return json_out_take(o);
}

/* -- claim -- */

char *claim_request_encode(const struct claim_request *r)
{
    struct json_out o;

    json_out_init(&o);
    json_out_open(&o, NULL, '{');
    json_out_string(&o, "worker", r->worker);
    json_out_open(&o, "queues", '[');
    for (size_t i = 0; i < r->queue_count; i++)
        json_out_string(&o, NULL, r->queues[i]);
    json_out_close(&o, ']');
    json_out_int(&o, "limit", r->limit);
    json_out_int(&o, "wait_ms", r->wait_ms);
    if (r->task_id[0])
        json_out_string(&o, "task_id", r->task_id);
    json_out_close(&o, '}');
    return json_out_take(&o);
}

/* Somebody's own object. What a decoder gave is JSON and compact, and so is what json_write.h
 * made; what a database or a job did otherwise has yet to prove it. */
enum origin { DECODED, UNCHECKED };

static void put_object(struct json_out *o, const char *name, const char *json,
                       enum origin origin)
{
    if (origin == DECODED)
        json_out_raw(o, name, json);
    else
        json_out_checked(o, name, json);
}

static bool is_empty_object(const char *json)
{
    return !json || (json[0] == '{' && json[1] == '}' && json[2] == '\0');
}

static void put_work(struct json_out *o, const struct work *w, enum origin params)
{
    json_out_open(o, NULL, '{');
    json_out_string(o, "task_id", w->task_id);
    json_out_string(o, "type", w->type);
    json_out_string(o, "queue", w->queue);
    json_out_int(o, "attempt", w->attempt);
    json_out_int(o, "max_attempts", w->max_attempts);
    json_out_string(o, "token", w->token);
    json_out_int(o, "lease_ms", w->lease_ms);
    json_out_int(o, "timeout_ms", w->timeout_ms);
    json_out_string(o, "output_prefix", w->output_prefix);
    if (w->output_stem[0])
        json_out_string(o, "output_stem", w->output_stem);
    json_out_string(o, "input_name", w->input_name);
    put_artifact(o, "input", &w->input);
    if (is_empty_object(w->params))
        json_out_raw(o, "params", "{}");
    else
        put_object(o, "params", w->params, params);
    json_out_close(o, '}');
}

char *work_encode(const struct work *w)
{
    struct json_out o;

    json_out_init(&o);
    put_work(&o, w, DECODED);
    return json_out_take(&o);
}

char *work_list_encode(const struct work *items, size_t count)
{
    struct json_out o;

    open_list(&o, NULL, "tasks");
    for (size_t i = 0; i < count; i++)
        put_work(&o, &items[i], UNCHECKED);
    return close_list(&o);
}

/* -- heartbeat -- */

char *heartbeat_list_encode(const char *worker, const struct heartbeat *items, size_t count)
{
    struct json_out o;

    open_list(&o, worker, "attempts");
    for (size_t i = 0; i < count; i++) {
        json_out_open(&o, NULL, '{');
        json_out_string(&o, "task_id", items[i].task_id);
        json_out_string(&o, "token", items[i].token);
        if (items[i].progress >= 0)
            json_out_real(&o, "progress", items[i].progress);
        json_out_close(&o, '}');
    }
    return close_list(&o);
}

char *heartbeat_verdicts_encode(const struct heartbeat_verdict *items, size_t count)
{
    struct json_out o;

    open_list(&o, NULL, "attempts");
    for (size_t i = 0; i < count; i++) {
        json_out_open(&o, NULL, '{');
        json_out_string(&o, "task_id", items[i].task_id);
        json_out_bool(&o, "held", items[i].held);
        json_out_int(&o, "lease_ms", items[i].lease_ms);
        json_out_string(&o, "state", items[i].state);
        json_out_close(&o, '}');
    }
    return close_list(&o);
}

/* -- report -- */

static void put_error(struct json_out *o, const struct task_error *e)
{
    if (e->class == ERROR_NONE) {
        json_out_null(o, "error");
        return;
    }
    json_out_open(o, "error", '{');
    json_out_string(o, "class", error_class_name(e->class));
    json_out_string(o, "code", e->code);
    json_out_string(o, "message", e->message);
    json_out_close(o, '}');
}

static void put_usage(struct json_out *o, const struct attempt_usage *u)
{
    json_out_open(o, "usage", '{');
    json_out_int(o, "wall_ms", u->wall_ms);
    json_out_int(o, "cpu_ms", u->cpu_ms);
    json_out_int(o, "peak_rss_bytes", u->peak_rss_bytes);
    json_out_int(o, "exit_code", u->exit_code);
    json_out_int(o, "signal", u->signal);
    json_out_close(o, '}');
}

static void put_report(struct json_out *o, const struct report *r, enum origin result)
{
    json_out_open(o, NULL, '{');
    json_out_string(o, "task_id", r->task_id);
    json_out_string(o, "token", r->token);
    json_out_string(o, "outcome", attempt_outcome_name(r->outcome));
    put_artifact(o, "output", &r->output);
    put_error(o, &r->error);
    put_usage(o, &r->usage);
    if (r->result)
        put_object(o, "result", r->result, r->result_is_sound ? DECODED : result);
    else
        json_out_null(o, "result");
    json_out_close(o, '}');
}

char *report_encode(const struct report *r)
{
    struct json_out o;

    json_out_init(&o);
    put_report(&o, r, UNCHECKED);
    return json_out_take(&o);
}

char *report_list_encode(const char *worker, const struct report *items, size_t count)
{
    struct json_out o;

    open_list(&o, worker, "reports");
    for (size_t i = 0; i < count; i++)
        put_report(&o, &items[i], DECODED);
    return close_list(&o);
}

char *report_verdicts_encode(const struct report_verdict *items, size_t count)
{
    struct json_out o;

    open_list(&o, NULL, "reports");
    for (size_t i = 0; i < count; i++) {
        json_out_open(&o, NULL, '{');
        json_out_string(&o, "task_id", items[i].task_id);
        json_out_string(&o, "status", report_word_name(items[i].word));
        json_out_string(&o, "state", items[i].state);
        json_out_string(&o, "detail", items[i].detail);
        json_out_close(&o, '}');
    }
    return close_list(&o);
}
