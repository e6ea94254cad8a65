/* run.c - see run.h. */
#include "run.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api.h"
#include "out.h"

enum { POLL_FIRST_MS = 20, POLL_LAST_MS = 1000, DRAWN_MAX = 20 };

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static bool has_ended(const json_t *run)
{
    return strcmp(text_of(run, "status"), "PROCESSING") != 0;
}

/* -- the view -- */

struct view {
    bool is_quiet, draws;
    int drawn;     /* lines above the cursor that are ours */
    json_t *steps; /* as last shown; NULL: nothing yet */
};

/* "download   PROCESSING  40%  attempt 2", without control characters. */
static void append_step(struct buf *out, const json_t *step)
{
    const json_t *progress = json_object_get(step, "progress");
    json_int_t attempts = json_integer_value(json_object_get(step, "attempts"));
    const char *message = text_of(json_object_get(step, "error"), "message");
    const char *state = text_of(step, "status");
    struct buf name = BUF_INIT;

    out_escape(&name, text_of(step, "name"));
    buf_printf(out, "  %-20s ", name.data);
    buf_release(&name);
    out_escape(out, strcmp(state, "RECEIVED") == 0 ? "-" : state);
    if (json_is_number(progress) && json_number_value(progress) > 0)
        buf_printf(out, "  %d%%", (int)(json_number_value(progress) * 100));
    if (attempts > 1)
        buf_printf(out, "  attempt %lld", (long long)attempts);
    if (message[0]) {
        buf_append_str(out, "  ");
        out_escape(out, message);
    }
}

static void draw(struct view *v, const json_t *steps)
{
    size_t i;
    const json_t *step;

    if (v->drawn)
        fprintf(stderr, "\033[%dA", v->drawn);
    v->drawn = 0;
    json_array_foreach(steps, i, step)
    {
        struct buf line = BUF_INIT;
        append_step(&line, step);
        fprintf(stderr, "\r\033[K%s\n", line.data);
        v->drawn++;
        buf_release(&line);
    }
}

static bool is_news(const json_t *before, const json_t *step)
{
    json_int_t attempts = json_integer_value(json_object_get(step, "attempts"));

    if (!before)
        return strcmp(text_of(step, "status"), "RECEIVED") != 0;
    return strcmp(text_of(before, "status"), text_of(step, "status")) != 0 ||
           (attempts > 1 &&
            attempts != json_integer_value(json_object_get(before, "attempts")));
}

static void write_lines(const struct view *v, const json_t *steps)
{
    size_t i;
    const json_t *step;

    json_array_foreach(steps, i, step)
    {
        struct buf line = BUF_INIT;
        if (!is_news(json_array_get(v->steps, i), step))
            continue;
        append_step(&line, step);
        fprintf(stderr, "%s\n", line.data);
        buf_release(&line);
    }
}

/* True when something had changed. */
static bool show(struct view *v, json_t *run)
{
    json_t *steps = json_object_get(run, "steps");

    if (v->steps && json_equal(v->steps, steps))
        return false;
    if (!v->is_quiet && v->draws && json_array_size(steps) <= DRAWN_MAX)
        draw(v, steps);
    else if (!v->is_quiet)
        write_lines(v, steps);
    fflush(stderr);
    json_decref(v->steps);
    v->steps = json_incref(steps);
    return true;
}

int run_wait(struct cli *cli, const char *id, json_t **ret, struct err *err)
{
    struct view view = {.is_quiet = cli->json, .draws = isatty(STDERR_FILENO) == 1};
    int64_t pause_ms = POLL_FIRST_MS;
    char path[128];
    int rc;

    snprintf(path, sizeof path, "/v1/pipelines/runs/%s", id);
    for (;;) {
        struct http_call call = {.method = "GET", .path = path};
        rc = api_json(cli, &call, API_MANY, ret, err); /* a restart of the server is no end */
        if (rc)
            break;
        bool is_new = show(&view, *ret);
        if (has_ended(*ret))
            break;
        json_decref(*ret);
        *ret = NULL;
        pause_ms = is_new ? POLL_FIRST_MS : pause_ms + pause_ms / 2;
        if (pause_ms > POLL_LAST_MS)
            pause_ms = POLL_LAST_MS;
        if (!api_sleep_ms(pause_ms)) {
            rc = -E_CANCELLED;
            break;
        }
    }
    json_decref(view.steps);
    if (rc == -E_CANCELLED)
        return err_set(err, rc,
                       "stopped waiting, the run goes on: 'taskctl show --run %s' tells of it, "
                       "'taskctl cancel --run %s' ends it",
                       id, id);
    return rc;
}

int run_print(struct cli *cli, const json_t *run)
{
    static const char *const bad[] = {"FAILED", "CANCELLED"};
    const char *status = text_of(run, "status"), *step = text_of(run, "step");
    const char *message = text_of(json_object_get(run, "error"), "message");
    bool is_bad = strcmp(status, bad[0]) == 0 || strcmp(status, bad[1]) == 0;

    if (cli->json) {
        out_json(stdout, run);
        return is_bad ? EXIT_FAILED : 0;
    }
    out_text(stdout, status);
    if (step[0]) {
        fputs(" at ", stdout);
        out_text(stdout, step);
    }
    if (message[0]) {
        fputs(": ", stdout);
        out_text(stdout, message);
    }
    putchar('\n');
    if (is_bad) {
        fputs("'taskctl resume ", stderr);
        out_text(stderr, text_of(run, "run_id"));
        fputs("' goes on from there\n", stderr);
    }
    return is_bad ? EXIT_FAILED : 0;
}
