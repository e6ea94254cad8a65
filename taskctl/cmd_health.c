/* cmd_health.c - does the task manager answer? */
#include "api.h"
#include "cmd.h"
#include "out.h"

static const struct arg_option options[] = {ARGS_COMMON};

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    json_t *health = NULL;
    struct buf status = BUF_INIT;

    (void)args;
    int rc = api_get(cli, &health, err, "/v1/tasks/health");
    if (rc)
        return rc;
    out_member(&status, health, "status");
    if (cli->json)
        out_json(stdout, health);
    else
        printf("%s %s\n", status.data, cli->url);
    buf_release(&status);
    json_decref(health);
    return 0;
}

const struct command cmd_health = {
    .name = "health",
    .words = "",
    .help = "ask whether the task manager answers",
    .options = options,
    .run = run,
};
