/* cmd_change.c - one request that changes a task's state: cancel and retry. */
#include <stdio.h>

#include "api.h"
#include "cmd.h"
#include "out.h"
#include "task.h"

static const struct arg_option options[] = {ARGS_COMMON};
static const struct arg_option cancel_options[] = {
    {"--run", 0, NULL, "ID is that of a run of a pipeline"}, ARGS_COMMON};

struct change {
    const char *method, *path, *path_end; /* in front of the ID and behind it */
    enum api_patience patience; /* a retry whose answer was lost must not be asked twice */
    const char *done;           /* what is true of the task afterwards */
};

static int ask(struct cli *cli, const struct args *args, const struct change *change,
               struct err *err)
{
    char path[128];
    const char *id;
    json_t *answer = NULL;
    int rc = task_id_of(args, &id, err);

    if (rc)
        return rc;
    snprintf(path, sizeof path, "%s%s%s", change->path, id, change->path_end);
    struct http_call call = {.method = change->method, .path = path};
    rc = api_json(cli, &call, change->patience, &answer, err);
    if (!rc && cli->json)
        out_json(stdout, answer);
    else if (!rc)
        printf("%s %s\n", id, change->done);
    json_decref(answer);
    return rc;
}

static int cancel(struct cli *cli, const struct args *args, struct err *err)
{
    static const struct change task = {"DELETE", "/v1/tasks/", "", API_FEW, "cancelled"};
    static const struct change run = {"DELETE", "/v1/pipelines/runs/", "", API_FEW,
                                      "cancelled"};

    return ask(cli, args, args_value(args, "--run") ? &run : &task, err);
}

static int retry(struct cli *cli, const struct args *args, struct err *err)
{
    static const struct change change = {"POST", "/v1/tasks/", "/retry", API_ONCE,
                                         "waits again"};

    return ask(cli, args, &change, err);
}

const struct command cmd_cancel = {
    .name = "cancel",
    .words = "ID",
    .help = "end a task that waits or runs, or a run",
    .options = cancel_options,
    .word_count = 1,
    .run = cancel,
};

const struct command cmd_retry = {
    .name = "retry",
    .words = "ID",
    .help = "let a FAILED task run again",
    .options = options,
    .word_count = 1,
    .run = retry,
};
