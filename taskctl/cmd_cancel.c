/* cmd_cancel.c - end a task that waits or runs. */
#include <stdio.h>

#include "api.h"
#include "cmd.h"
#include "out.h"
#include "task.h"

static const struct arg_option options[] = {ARGS_COMMON};

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    char path[128];
    const char *id;
    json_t *answer = NULL;
    int rc = task_id_of(args, &id, err);

    if (rc)
        return rc;
    snprintf(path, sizeof path, "/v1/tasks/%s", id);
    struct http_call call = {.method = "DELETE", .path = path};
    rc = api_json(cli, &call, API_FEW, &answer, err);
    if (!rc && cli->json)
        out_json(stdout, answer);
    else if (!rc)
        printf("%s cancelled\n", id);
    json_decref(answer);
    return rc;
}

const struct command cmd_cancel = {
    .name = "cancel",
    .words = "ID",
    .help = "end a task that waits or runs",
    .options = options,
    .word_count = 1,
    .run = run,
};
