/* routes_submit.c - POST /v1/tasks: one task, or one a line. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "clock.h"
#include "json_read.h"
#include "params.h"
#include "routes.h"

static int read_run_at(const char *text, int64_t *ret_ms, struct err *err)
{
    if (text[0] && !clock_parse(text, ret_ms))
        return err_set(err, -E_BAD_VALUE,
                       "run_at: must be a time such as 2026-01-31T23:59:59Z");
    return 0;
}

/* *ret_params is the text that request->params points at; free() it. */
static int read_submit(const char *body, size_t len, struct submit_request *request,
                       char **ret_params, struct err *err)
{
    json_t *root = NULL, *params = NULL;
    char run_at[64] = "";
    int64_t priority = 0, max_attempts = 0, timeout_s = 0;
    const struct json_field fields[] = {
        {"type", JSON_FIELD_STRING, true, request->type, sizeof request->type, 0, 0},
        {"params", JSON_FIELD_OBJECT, false, &params, 0, 0, 0},
        {"queue", JSON_FIELD_STRING, false, request->queue, sizeof request->queue, 0, 0},
        {"priority", JSON_FIELD_INT, false, &priority, 0, -TASK_PRIORITY_LIMIT,
         TASK_PRIORITY_LIMIT},
        {"run_at", JSON_FIELD_STRING, false, run_at, sizeof run_at, 0, 0},
        {"max_attempts", JSON_FIELD_INT, false, &max_attempts, 0, 1, TASK_ATTEMPTS_LIMIT},
        {"timeout_s", JSON_FIELD_INT, false, &timeout_s, 0, 1, TASK_TIMEOUT_LIMIT_S},
        {0},
    };
    int rc = json_read_text(body, len, &root, err);

    if (!rc)
        rc = json_read_object(root, "", fields, err);
    if (!rc)
        rc = read_run_at(run_at, &request->run_at_ms, err);
    if (!rc && params) {
        *ret_params = json_text(params, JSON_COMPACT | JSON_SORT_KEYS);
        if (!*ret_params)
            rc = err_set(err, -E_NO_MEMORY, "no memory for params");
    }
    request->params = *ret_params;
    request->priority = (int)priority;
    request->max_attempts = (int)max_attempts;
    request->timeout_ms = timeout_s * 1000;
    json_decref(root);
    return rc;
}

static void submit_one(struct exchange *x, const struct api *api)
{
    struct submit_request request = {.idempotency_key = exchange_header(x, "Idempotency-Key")};
    const struct submit_reply reply = {route_submitted, x};
    struct err err = ERR_INIT;
    char *params = NULL;
    size_t len;
    const char *body = exchange_body(x, &len);

    if (read_submit(body, len, &request, &params, &err)) {
        free(params);
        reply_err(x, &err);
        return;
    }
    service_submit_later(api->service, &request, params, &reply);
}

/* -- lines -- */

enum {
    PART_LINES = 256,
    LINES_MAX = 10000, /* the answer to a short bad line is a hundred times as long */
    LINES_KEY_MAX = 233
};

/* A part of the lines at a time, so that memory does not grow with their number. */
struct part {
    struct submit_one items[PART_LINES];
    char *params[PART_LINES];
    char keys[PART_LINES][TASK_KEY_MAX];
    int64_t lines[PART_LINES];
    size_t count;
};

/* Of one key for the request, each line has its own: a repeat gets the same outcomes. */
static const char *key_of_line(struct part *p, const char *key, int64_t line)
{
    char *at = p->keys[p->count];

    snprintf(at, TASK_KEY_MAX, "%.*s/%lld", LINES_KEY_MAX, key, (long long)line);
    return at;
}

static void add_line(struct part *p, const char *text, size_t len, const char *key,
                     int64_t line)
{
    struct submit_one *one = &p->items[p->count];

    *one = (struct submit_one){.err = ERR_INIT};
    p->params[p->count] = NULL;
    p->lines[p->count] = line;
    if (key)
        one->request.idempotency_key = key_of_line(p, key, line);
    one->rc = read_submit(text, len, &one->request, &p->params[p->count], &one->err);
    p->count++;
}

static void append_outcome(struct buf *out, const struct submit_one *one, int64_t line)
{
    if (!one->rc) {
        buf_printf(out, "{\"line\":%lld,\"task_id\":\"%s\"%s}\n", (long long)line,
                   one->result.id,
                   one->result.outcome == SUBMIT_REPLAYED ? ",\"replayed\":true" : "");
        return;
    }
    char detail[ERR_TEXT_MAX];
    reply_detail(&one->err, detail);
    char *text = json_text_take(json_pack("{s:I, s:i, s:s, s:s}", "line", (json_int_t)line,
                                          "status", err_http_status(one->rc), "error",
                                          err_title(one->rc), "detail", detail));
    if (text) {
        buf_append_str(out, text);
        buf_append_char(out, '\n');
    } else {
        out->failed = true;
    }
    free(text);
}

static void submit_part(const struct api *api, struct part *p, struct buf *out)
{
    struct err err = ERR_INIT;
    int rc = service_submit_many(api->service, p->items, p->count, &err);

    for (size_t i = 0; i < p->count; i++) {
        struct submit_one *one = &p->items[i];
        if (rc && !one->rc) {
            one->rc = rc;
            one->err = err;
        }
        append_outcome(out, one, p->lines[i]);
        free(p->params[i]);
    }
    p->count = 0;
}

/* What is wrong with the request as a whole is said before any line is submitted. */
static int check_lines(const char *body, size_t len, const char *key, struct err *err)
{
    const char *at = body, *end = body + len;
    int lines = 0;

    if (key && (!*key || strlen(key) > LINES_KEY_MAX))
        return err_set(err, -E_BAD_VALUE, "Idempotency-Key: must be 1 to %d characters",
                       LINES_KEY_MAX);
    for (; at && at < end && lines <= LINES_MAX; lines++) {
        at = memchr(at, '\n', (size_t)(end - at));
        at = at ? at + 1 : NULL;
    }
    return lines > LINES_MAX
               ? err_set(err, -E_TOO_BIG, "the body has more than %d lines", LINES_MAX)
               : 0;
}

/* Without memory for the outcomes they are lost, as with a broken connection: a client that
 * cares sends an Idempotency-Key and asks again. */
static void submit_lines(struct exchange *x, const struct api *api)
{
    const char *key = exchange_header(x, "Idempotency-Key");
    struct part *p = malloc(sizeof *p);
    struct buf out = BUF_INIT;
    struct err err = ERR_INIT;
    size_t len;
    const char *at = exchange_body(x, &len), *end = at + len;
    int rc = p ? check_lines(at, len, key, &err)
               : err_set(&err, -E_NO_MEMORY, "no memory for a list of tasks");

    if (p)
        p->count = 0;
    for (int64_t line = 1; !rc && at < end; line++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t size = (size_t)((stop ? stop : end) - at);
        if (strspn(at, " \t\r") < size)
            add_line(p, at, size, key, line);
        if (p->count == PART_LINES)
            submit_part(api, p, &out);
        at = stop ? stop + 1 : end;
    }
    if (!rc && p->count)
        submit_part(api, p, &out);
    free(p);
    if (rc)
        reply_err(x, &err);
    else if (!buf_ok(&out))
        reply_problem(x, 503, "Out of memory",
                      "no memory for the outcomes; tasks may have been accepted");
    else
        reply_text(x, 200, "application/x-ndjson", out.data);
    buf_release(&out);
}

void route_task_submit(struct exchange *x, void *context)
{
    if (exchange_has_lines(x))
        submit_lines(x, context);
    else
        submit_one(x, context);
}
