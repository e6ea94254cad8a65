/* cmd_pipelines.c - the pipelines that the task manager knows. */
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "out.h"

static const struct arg_option options[] = {ARGS_COMMON};

/* The names of the members or elements, with commas. */
static json_t *names_of(const json_t *steps, const json_t *input)
{
    struct buf text = BUF_INIT;
    const char *name;
    json_t *value;
    size_t i;

    json_array_foreach(steps, i, value)
    {
        name = json_string_value(json_object_get(value, "name"));
        buf_printf(&text, "%s%s", i ? "," : "", name ? name : "?");
    }
    json_object_foreach((json_t *)(uintptr_t)input, name, value)
    {
        bool is_required = json_is_true(json_object_get(value, "required"));
        buf_printf(&text, "%s%s%s", text.len ? "," : "", name, is_required ? "*" : "");
    }
    json_t *names = json_string(text.len ? text.data : "-");
    buf_release(&text);
    return names;
}

static void print_list(const json_t *list)
{
    static const struct out_column columns[] = {
        {"NAME", "name", false},
        {"STEPS", "step_names", false},
        {"INPUT", "input_names", false},
        {"TITLE", "title", false},
        {NULL, NULL, false},
    };
    size_t i;
    json_t *one;

    json_array_foreach(list, i, one)
    {
        json_object_set_new(one, "step_names", names_of(json_object_get(one, "steps"), NULL));
        json_object_set_new(one, "input_names", names_of(NULL, json_object_get(one, "input")));
    }
    out_table(stdout, columns, list);
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    json_t *answer = NULL;
    int rc = api_get(cli, &answer, err, "/v1/pipelines");

    (void)args;
    if (!rc && cli->json)
        out_json(stdout, answer);
    else if (!rc)
        print_list(json_object_get(answer, "pipelines"));
    json_decref(answer);
    return rc;
}

const struct command cmd_pipelines = {
    .name = "pipelines",
    .words = "",
    .help = "list the pipelines there are",
    .options = options,
    .run = run,
};
