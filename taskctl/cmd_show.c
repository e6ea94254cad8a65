/* cmd_show.c - everything the server tells about one task. */
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "out.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--run", 0, NULL, "ID is that of a run of a pipeline"}, ARGS_COMMON};

/* A list of objects (attempts, events) reads best with one object on a line. */
static void print_list(const char *key, const json_t *list)
{
    size_t i;
    const json_t *item;

    printf("%s\n", key);
    json_array_foreach(list, i, item)
    {
        fputs("  ", stdout);
        out_json(stdout, item);
    }
}

static void print_members(json_t *task)
{
    const char *key;
    json_t *value;

    json_object_foreach(task, key, value)
    {
        struct buf name = BUF_INIT, text = BUF_INIT;
        out_escape(&name, key);
        if (json_is_array(value) && json_array_size(value) > 0) {
            print_list(name.data, value);
        } else {
            out_member(&text, task, key);
            printf("%-16s %s\n", name.data, text.data);
        }
        buf_release(&name);
        buf_release(&text);
    }
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    const char *id;
    json_t *task = NULL;
    int rc = task_id_of(args, &id, err);

    if (!rc)
        rc = api_get(cli, &task, err, "/v1/%s/%s",
                     args_value(args, "--run") ? "pipelines/runs" : "tasks", id);
    if (!rc && cli->json)
        out_json(stdout, task);
    else if (!rc)
        print_members(task);
    json_decref(task);
    return rc;
}

const struct command cmd_show = {
    .name = "show",
    .words = "ID",
    .help = "show everything known about a task or a run",
    .options = options,
    .word_count = 1,
    .run = run,
};
