/* cmd_retry.c - give a FAILED task another chance. */
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
    snprintf(path, sizeof path, "/v1/tasks/%s/retry", id);
    struct http_call call = {.method = "POST", .path = path};
    rc = api_json(cli, &call, API_ONCE, &answer, err);
    if (!rc && cli->json)
        out_json(stdout, answer);
    else if (!rc)
        printf("%s waits again\n", id);
    json_decref(answer);
    return rc;
}

const struct command cmd_retry = {
    .name = "retry",
    .words = "ID",
    .help = "let a FAILED task run again",
    .options = options,
    .word_count = 1,
    .run = run,
};
