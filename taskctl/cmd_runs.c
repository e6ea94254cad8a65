/* cmd_runs.c - runs of pipelines, newest first, page by page. */
#include "api.h"
#include "cmd.h"
#include "out.h"

static const struct arg_option options[] = {
    {"--status", 0, "STATUS", "only PROCESSING, DONE, FAILED or CANCELLED"},
    {"--pipeline", 0, "NAME", "only those of this pipeline"},
    {"--page", 0, "N", "the N-th page"},
    {"--page-size", 0, "N", "runs on a page"},
    ARGS_COMMON,
};

static int make_path(const struct args *args, struct buf *path, struct err *err)
{
    static const struct {
        const char *option, *key;
        bool is_number;
    } filters[] = {
        {"--status", "status", false},
        {"--pipeline", "pipeline", false},
        {"--page", "page", true},
        {"--page-size", "page_size", true},
    };
    char separator = '?';

    buf_append_str(path, "/v1/pipelines/runs");
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        const char *value = args_value(args, filters[i].option);
        int64_t number;
        if (!value)
            continue;
        int rc = filters[i].is_number
                     ? args_number(args, filters[i].option, 1, 1000000000, &number, err)
                     : 0;
        if (rc)
            return rc;
        buf_append_char(path, separator);
        buf_printf(path, "%s=", filters[i].key);
        http_escape(path, value);
        separator = '&';
    }
    return buf_ok(path) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the list");
}

static void print_page(const json_t *page, int64_t number)
{
    static const struct out_column columns[] = {
        {"ID", "run_id", false},          {"PIPELINE", "pipeline", false},
        {"STATUS", "status", false},      {"DONE", "steps_done", true},
        {"STEPS", "step_count", true},    {"STEP", "step", false},
        {"CREATED", "created_at", false}, {NULL, NULL, false},
    };
    const json_t *count = json_object_get(page, "count");

    out_table(stdout, columns, json_object_get(page, "runs"));
    if (json_is_integer(count))
        printf("%lld in all", (long long)json_integer_value(count));
    if (json_is_string(json_object_get(page, "next_url")))
        printf("%s--page %lld shows more", json_is_integer(count) ? "; " : "",
               (long long)number + 1);
    putchar('\n');
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    struct buf path = BUF_INIT;
    json_t *page = NULL;
    int64_t number = 1;
    int rc = make_path(args, &path, err);

    if (!rc)
        rc = args_number(args, "--page", 1, INT64_MAX, &number, err);
    if (!rc)
        rc = api_get(cli, &page, err, "%s", path.data);
    if (!rc && cli->json)
        out_json(stdout, page);
    else if (!rc)
        print_page(page, number);
    json_decref(page);
    buf_release(&path);
    return rc;
}

const struct command cmd_runs = {
    .name = "runs",
    .words = "",
    .help = "list runs of pipelines, newest first",
    .options = options,
    .run = run,
};
