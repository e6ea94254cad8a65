/* cmd_status.c - where a task stands. */
#include "api.h"
#include "cmd.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--wait", 'w', NULL, "wait until the task has ended"},
    ARGS_COMMON,
};

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    const char *id;
    json_t *status = NULL;
    int rc = task_id_of(args, &id, err);

    if (!rc && args_value(args, "--wait"))
        rc = task_wait(cli, id, &status, err);
    else if (!rc)
        rc = api_get(cli, &status, err, "/v1/tasks/status/%s", id);
    if (!rc)
        rc = task_print_status(cli, id, status);
    json_decref(status);
    return rc;
}

const struct command cmd_status = {
    .name = "status",
    .words = "ID",
    .help = "say where a task stands",
    .options = options,
    .word_count = 1,
    .run = run,
};
