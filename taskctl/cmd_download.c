/* cmd_download.c - fetch what a task made. */
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "out.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--output", 'o', "OUT", "save as OUT (- for stdout); without it under the server's name"},
    {"--rejects", 0, NULL, "the rows that were skipped, instead of the result"},
    ARGS_COMMON,
};

static void print_saved(struct cli *cli, const char *id, const char *path)
{
    json_t *saved = json_pack("{s:s, s:s}", "task_id", id, "output", path);

    if (cli->json) {
        out_json(stdout, saved);
    } else {
        out_text(stdout, path);
        putchar('\n');
    }
    json_decref(saved);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    const char *id;
    struct buf path = BUF_INIT;
    int rc = task_id_of(args, &id, err);

    if (!rc)
        rc = task_download(cli, id, args_value(args, "--output"),
                           args_value(args, "--rejects") != NULL, &path, err);
    if (!rc && strcmp(path.data, "-") != 0)
        print_saved(cli, id, path.data);
    buf_release(&path);
    return rc;
}

const struct command cmd_download = {
    .name = "download",
    .words = "ID",
    .help = "fetch a task's result; prints the file's name",
    .options = options,
    .word_count = 1,
    .run = run,
};
