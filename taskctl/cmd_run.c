/* cmd_run.c - start a run of a pipeline, and watch it. */
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "fs.h"
#include "id.h"
#include "out.h"
#include "run.h"

enum { FILE_MAX_BYTES = 1024 * 1024 };

static const struct arg_option options[] = {
    {"--input", 'i', "NAME=VALUE", "an input of the pipeline; may be given several times"},
    {"--input-file", 0, "NAME=FILE", "the same, with the value in a file: for secrets"},
    {"--definition", 0, "FILE", "run the pipeline in this file (JSON)"},
    {"--idempotency-key", 0, "KEY", "a repeat with the same KEY makes no second run"},
    {"--wait", 'w', NULL, "wait until the run has ended, showing its steps"},
    ARGS_COMMON,
};

static int read_definition(const char *file, json_t **ret, struct err *err)
{
    char *text = NULL;
    json_error_t why;
    int rc = fs_read_small(file, FILE_MAX_BYTES, &text, err);

    if (rc)
        return rc;
    *ret = json_loads(text, JSON_REJECT_DUPLICATES, &why);
    free(text);
    if (!json_is_object(*ret))
        return err_set(err, -E_BAD_VALUE, "'%s' is no JSON object: line %d: %s", file, why.line,
                       *ret ? "it is something else" : why.text);
    return 0;
}

/* The pipeline's own word on what an input is; what has no such word is told by its looks. */
static json_t *value_of(const json_t *inputs, const char *name, const char *text)
{
    const char *type =
        json_string_value(json_object_get(json_object_get(inputs, name), "type"));
    json_t *value = type && strcmp(type, "string") == 0
                        ? NULL
                        : json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

    return value ? value : json_string(text);
}

static int add_one(json_t *to, const json_t *inputs, const char *given, bool is_file,
                   struct err *err)
{
    size_t len = strcspn(given, "=");
    char name[256];
    char *text = NULL;
    int rc = 0;

    if (!given[len] || len == 0 || len >= sizeof name)
        return err_set(err, -E_BAD_VALUE, "an input is given as NAME=VALUE, not '%.100s'",
                       given);
    memcpy(name, given, len);
    name[len] = '\0';
    if (is_file)
        rc = fs_read_small(given + len + 1, FILE_MAX_BYTES, &text, err);
    if (rc)
        return rc;
    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    if (json_object_set_new(to, name, value_of(inputs, name, text ? text : given + len + 1)))
        rc = err_set(err, -E_BAD_VALUE, "the input '%s' is no UTF-8 text", name);
    free(text);
    return rc;
}

static int add_inputs(json_t *body, const json_t *inputs, const struct args *args,
                      struct err *err)
{
    static const char *const names[] = {"--input", "--input-file"};
    json_t *to = json_object();
    int rc = json_object_set_new(body, "input", to)
                 ? err_set(err, -E_NO_MEMORY, "no memory for the inputs")
                 : 0;

    for (int kind = 0; kind < 2; kind++) {
        const char *given;
        for (int i = 0; !rc && (given = args_value_at(args, names[kind], i)) != NULL; i++)
            rc = add_one(to, inputs, given, kind == 1, err);
    }
    return rc;
}

/* Its definition says of which type the inputs are. */
static int make_body(struct cli *cli, const struct args *args, const char *name, json_t *body,
                     struct err *err)
{
    const char *file = args_value(args, "--definition");
    json_t *definition = NULL;
    int rc = 0;

    if (file)
        rc = read_definition(file, &definition, err);
    else if (args_value(args, "--input") || args_value(args, "--input-file"))
        rc = api_get(cli, &definition, err, "/v1/pipelines/%s", name);
    if (!rc)
        rc = add_inputs(body, json_object_get(definition, "input"), args, err);
    if (!rc && file && json_object_set(body, "definition", definition))
        rc = err_set(err, -E_NO_MEMORY, "no memory for the definition");
    json_decref(definition);
    return rc;
}

static int start(struct cli *cli, const struct args *args, char ret_id[], json_t **ret,
                 struct err *err)
{
    struct buf name = BUF_INIT, path = BUF_INIT;
    json_t *body = json_object();
    char *text = NULL;

    http_escape(&name, args->words[0]);
    buf_printf(&path, "/v1/pipelines/%s/runs", name.data);
    int rc = body && buf_ok(&name) && buf_ok(&path)
                 ? make_body(cli, args, name.data, body, err)
                 : err_set(err, -E_NO_MEMORY, "no memory for the run");
    if (!rc && !(text = json_dumps(body, JSON_COMPACT)))
        rc = err_set(err, -E_NO_MEMORY, "no memory for the run");
    if (!rc) {
        struct http_call call = {.method = "POST",
                                 .path = path.data,
                                 .content_type = "application/json",
                                 .body = text,
                                 .body_len = strlen(text)};
        rc = api_create(cli, &call, args_value(args, "--idempotency-key"), ret_id, ret, err);
    }
    free(text);
    json_decref(body);
    buf_release(&path);
    buf_release(&name);
    return rc;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    bool waits = args_value(args, "--wait") != NULL;
    char id[ID_TEXT_MAX];
    json_t *answer = NULL, *ended = NULL;
    int rc = start(cli, args, id, &answer, err);

    if (rc)
        return rc;
    if (cli->json && !waits)
        out_json(stdout, answer);
    if (!cli->json)
        printf("%s\n", id);
    fflush(stdout);
    json_decref(answer);
    if (!waits)
        return 0;
    rc = run_wait(cli, id, &ended, err);
    if (!rc)
        rc = run_print(cli, ended);
    json_decref(ended);
    return rc;
}

const struct command cmd_run = {
    .name = "run",
    .words = "NAME",
    .help = "start a run of a pipeline; prints its id",
    .options = options,
    .word_count = 1,
    .run = run,
};
