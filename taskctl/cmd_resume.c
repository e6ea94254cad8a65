/* cmd_resume.c - let a run that has ended go on. */
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "out.h"
#include "run.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--from", 0, "STEP", "from this step; without it, the first that is not DONE"},
    {"--dry-run", 0, NULL, "only say what would run and what would be reused"},
    {"--wait", 'w', NULL, "wait until the run has ended, showing its steps"},
    ARGS_COMMON,
};

static int make_path(const struct args *args, struct buf *path, struct err *err)
{
    const char *id, *from = args_value(args, "--from");
    int rc = task_id_of(args, &id, err);

    if (rc)
        return rc;
    buf_printf(path, "/v1/pipelines/runs/%s/resume?dry_run=%d", id,
               args_value(args, "--dry-run") != NULL);
    if (from) {
        buf_append_str(path, "&from=");
        http_escape(path, from);
    }
    return buf_ok(path) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the request");
}

static void print_names(const char *what, const json_t *names)
{
    size_t i;
    const json_t *name;

    printf("%-7s", what);
    json_array_foreach(names, i, name)
    {
        putchar(' ');
        out_text(stdout, json_string_value(name) ? json_string_value(name) : "?");
    }
    fputs(json_array_size(names) ? "\n" : " -\n", stdout);
}

static void print_plan(struct cli *cli, const json_t *plan)
{
    if (cli->json) {
        out_json(stdout, plan);
        return;
    }
    print_names("reuses", json_object_get(plan, "reuses"));
    print_names("runs", json_object_get(plan, "runs"));
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    struct buf path = BUF_INIT;
    json_t *answer = NULL;
    int rc = make_path(args, &path, err);
    bool is_dry = args_value(args, "--dry-run") != NULL;

    if (!rc) {
        /* One whose answer was lost must not be asked twice: the run may have failed again. */
        struct http_call call = {.method = "POST", .path = path.data};
        rc = api_json(cli, &call, is_dry ? API_FEW : API_ONCE, &answer, err);
    }
    if (!rc && is_dry) {
        print_plan(cli, answer);
    } else if (!rc && args_value(args, "--wait")) {
        json_decref(answer);
        answer = NULL;
        rc = run_wait(cli, args->words[0], &answer, err);
        if (!rc)
            rc = run_print(cli, answer);
    } else if (!rc) {
        rc = run_print(cli, answer);
    }
    json_decref(answer);
    buf_release(&path);
    return rc;
}

const struct command cmd_resume = {
    .name = "resume",
    .words = "RUN",
    .help = "let a run that FAILED or was CANCELLED go on",
    .options = options,
    .word_count = 1,
    .run = run,
};
