/* cmd_submit.c - hand over a task of any type. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "clock.h"
#include "cmd.h"
#include "id.h"
#include "out.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--params", 0, "JSON", "an object with the parameters of the type"},
    {"--queue", 0, "NAME", "the queue; the type's own without it"},
    {"--priority", 0, "N", "higher goes first; 0 without it"},
    {"--run-at", 0, "TIME", "not before, as 2026-01-31T23:59:59Z"},
    {"--max-attempts", 0, "N", "give up after so many attempts"},
    {"--timeout", 0, "SECONDS", "end an attempt that takes longer"},
    {"--idempotency-key", 0, "KEY", "a repeat with the same KEY makes no second task"},
    {"--wait", 'w', NULL, "wait until the task has ended"},
    ARGS_COMMON,
};

static int add_params(json_t *body, const struct args *args, struct err *err)
{
    const char *text = args_value(args, "--params");
    json_error_t why;

    if (!text)
        return 0;
    json_t *params = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    if (!params)
        return err_set(err, -E_BAD_VALUE, "--params is no JSON object: %s", why.text);
    if (!json_is_object(params)) {
        json_decref(params);
        return err_set(err, -E_BAD_VALUE, "--params is JSON, but no object");
    }
    if (json_object_set_new(body, "params", params) != 0)
        return err_set(err, -E_NO_MEMORY, "no memory for the parameters");
    return 0;
}

static int add_text(json_t *body, const char *key, const char *text, struct err *err)
{
    if (text && json_object_set_new(body, key, json_string(text)) != 0)
        return err_set(err, -E_BAD_VALUE, "the %s is no UTF-8 text", key);
    return 0;
}

static int add_numbers(json_t *body, const struct args *args, struct err *err)
{
    static const struct {
        const char *option, *key;
        int64_t min, max;
    } numbers[] = {
        {"--priority", "priority", -1000, 1000},
        {"--max-attempts", "max_attempts", 1, 100},
        {"--timeout", "timeout_s", 1, INT64_C(30) * 86400},
    };

    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        int64_t number = 0;
        int rc =
            args_number(args, numbers[i].option, numbers[i].min, numbers[i].max, &number, err);
        if (rc)
            return rc;
        if (args_value(args, numbers[i].option) &&
            json_object_set_new(body, numbers[i].key, json_integer(number)) != 0)
            return err_set(err, -E_NO_MEMORY, "no memory for the task");
    }
    return 0;
}

static int make_body(const struct args *args, json_t *body, struct err *err)
{
    const char *run_at = args_value(args, "--run-at");
    int64_t ms;

    if (run_at && !clock_parse(run_at, &ms))
        return err_set(err, -E_BAD_VALUE,
                       "--run-at takes a time such as 2026-01-31T23:59:59Z, not '%.100s'",
                       run_at);
    int rc = add_text(body, "type", args->words[0], err);
    if (!rc)
        rc = add_params(body, args, err);
    if (!rc)
        rc = add_text(body, "queue", args_value(args, "--queue"), err);
    if (!rc)
        rc = add_text(body, "run_at", run_at, err);
    return rc ? rc : add_numbers(body, args, err);
}

static int send_task(struct cli *cli, const struct args *args, char ret_id[], json_t **ret,
                     struct err *err)
{
    json_t *body = json_object();
    char *text = NULL;
    int rc = body ? make_body(args, body, err)
                  : err_set(err, -E_NO_MEMORY, "no memory for the task");

    if (!rc && !(text = json_dumps(body, JSON_COMPACT)))
        rc = err_set(err, -E_NO_MEMORY, "no memory for the task");
    json_decref(body);
    if (rc)
        return rc;
    struct http_call call = {.method = "POST",
                             .path = "/v1/tasks",
                             .content_type = "application/json",
                             .body = text,
                             .body_len = strlen(text)};
    rc = api_create(cli, &call, args_value(args, "--idempotency-key"), ret_id, ret, err);
    free(text);
    return rc;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    bool waits = args_value(args, "--wait") != NULL;
    char id[ID_TEXT_MAX];
    json_t *answer = NULL;
    int rc = send_task(cli, args, id, &answer, err);

    if (rc)
        return rc;
    if (cli->json && !waits)
        out_json(stdout, answer);
    if (!cli->json)
        printf("%s\n", id);
    fflush(stdout);
    json_decref(answer);
    if (!waits)
        return 0;

    json_t *status = NULL;
    rc = task_wait(cli, id, &status, err);
    if (!rc)
        rc = task_print_status(cli, id, status);
    json_decref(status);
    return rc;
}

const struct command cmd_submit = {
    .name = "submit",
    .words = "TYPE",
    .help = "hand over a task of any type; prints its id",
    .options = options,
    .word_count = 1,
    .run = run,
};
