/* routes_pipelines.c - the pipelines there are, and the start of a run. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "routes.h"
#include "run_json.h"

void route_pipeline_list(struct exchange *x, void *context)
{
    const struct api *api = context;
    json_t *list = json_array();
    const struct run_def *d;

    for (size_t i = 0; (d = service_pipeline_at(api->service, i)) != NULL; i++)
        list = json_append_take(list, pipeline_to_json(d, false));
    reply_json_take(x, 200,
                    json_text_take(list ? json_pack("{s:o}", "pipelines", list) : NULL));
}

void route_pipeline_show(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *name = exchange_param(x, 0);
    const struct run_def *d = service_pipeline_find(api->service, name);

    if (d)
        reply_json_take(x, 200, json_text_take(pipeline_to_json(d, true)));
    else
        reply_problem(x, 404, NULL, "there is no pipeline '%.64s'", name);
}

/* -- start -- */

/* What a body asks for: texts on the heap. */
struct start {
    char *definition, *input;
};

static int member_text(const json_t *value, char **ret, struct err *err)
{
    *ret = value ? json_text(value, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    return value && !*ret ? err_set(err, -E_NO_MEMORY, "no memory for a run") : 0;
}

static int read_start(const char *body, size_t len, struct start *ret, struct err *err)
{
    json_t *root = NULL, *definition = NULL, *input = NULL;
    const struct json_field fields[] = {
        {"definition", JSON_FIELD_OBJECT, false, &definition, 0, 0, 0},
        {"input", JSON_FIELD_OBJECT, false, &input, 0, 0, 0},
        {0},
    };

    if (len == 0)
        return 0;
    int rc = json_read_text(body, len, &root, err);
    if (!rc)
        rc = json_read_object(root, "", fields, err);
    if (!rc)
        rc = member_text(definition, &ret->definition, err);
    if (!rc)
        rc = member_text(input, &ret->input, err);
    json_decref(root);
    return rc;
}

/* The problem with every mistake in a list of its own: [{"path", "detail"}]. */
static void reply_mistakes(struct exchange *x, const struct err *err, const char *lines)
{
    json_t *list = json_array();
    char detail[ERR_TEXT_MAX];

    while (*lines) {
        size_t len = strcspn(lines, "\n"), path = 0;
        const char *colon = strstr(lines, ": ");
        if (colon && colon < lines + len)
            path = (size_t)(colon - lines);
        const char *rest = lines + (path ? path + 2 : 0);
        list = json_append_take(list, json_pack("{s:s%,s:s%}", "path", lines, path, "detail",
                                                rest, (size_t)(lines + len - rest)));
        lines += len + (lines[len] == '\n');
    }
    reply_detail(err, detail);
    exchange_set_header(x, "Content-Type", "application/problem+json");
    reply_json_take(
        x, 400,
        json_text_take(json_pack("{s:s,s:s,s:i,s:s,s:s,s:o}", "type", "about:blank", "title",
                                 err_title(err->code), "status", 400, "detail", detail, "error",
                                 err_title(err->code), "mistakes", list)));
}

static void reply_started(struct exchange *x, const struct submit_result *result)
{
    char location[512];

    snprintf(location, sizeof location, "%.400s/v1/pipelines/runs/%s", exchange_base_url(x),
             result->id);
    exchange_set_header(x, "Location", location);
    if (result->outcome == SUBMIT_REPLAYED)
        exchange_set_header(x, "Idempotent-Replayed", "true");
    reply_json_take(x, 202, json_text_take(json_pack("{s:s}", "run_id", result->id)));
}

void route_run_start(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct start start = {NULL, NULL};
    struct submit_result result;
    struct buf mistakes = BUF_INIT;
    struct err err = ERR_INIT;
    size_t len;
    const char *body = exchange_body(x, &len);
    int rc = read_start(body, len, &start, &err);

    if (!rc) {
        const struct run_request request = {exchange_param(x, 0), start.definition, start.input,
                                            exchange_header(x, "Idempotency-Key")};
        rc = service_run_start(api->service, &request, &result, &mistakes, &err);
    }
    if (!rc)
        reply_started(x, &result);
    else if (rc == -E_BAD_VALUE && mistakes.len && buf_ok(&mistakes))
        reply_mistakes(x, &err, mistakes.data);
    else
        reply_err(x, &err);
    buf_release(&mistakes);
    free(start.definition);
    free(start.input);
}
