/* routes_file.c - files in and out: upload, download, and completion by foreign workers. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "params.h"
#include "routes.h"

/* -- upload -- */

static int sink_begin(void *context, const struct exchange *x, int64_t expected_size,
                      void **ret_sink, struct err *err)
{
    const struct api *api = context;
    struct service_upload *u = NULL;
    bool has_key = exchange_header(x, "Idempotency-Key") != NULL;
    int rc = service_upload_begin(api->service, expected_size, has_key, &u, err);

    *ret_sink = u;
    return rc;
}

static int sink_write(void *sink, const void *bytes, size_t len, struct err *err)
{
    return service_upload_write(sink, bytes, len, err);
}

static void sink_abort_free(void *sink)
{
    service_upload_abort_free(sink);
}

struct http_sink api_sink(void)
{
    return (struct http_sink){sink_begin, sink_write, sink_abort_free};
}

/* A choice made in the query or, for forms, in a field of its own. */
static const char *choice(struct exchange *x, const char *name)
{
    const char *value = exchange_query(x, name);

    return value ? value : exchange_form(x, name);
}

/* What the upload says about the job, as text to free; NULL when it says nothing. */
static int read_upload_params(struct exchange *x, char **ret_params, struct err *err)
{
    static const struct {
        const char *name, *words;
    } choices[] = {{"on_bad_row", "fail or skip"}, {"format", "csv or parquet"}};
    json_t *params = json_object();

    for (size_t i = 0; i < sizeof choices / sizeof choices[0]; i++) {
        const char *value = choice(x, choices[i].name);
        if (value && !task_word_is_valid(value)) { /* what may be no JSON either */
            json_decref(params);
            return err_set(err, -E_BAD_VALUE, "%s: must be %s", choices[i].name,
                           choices[i].words);
        }
        if (value)
            params = json_member_take(params, choices[i].name, json_string(value));
    }
    if (json_object_size(params) > 0)
        *ret_params = json_text_take(params);
    else if (params)
        json_decref(params);
    return params ? 0 : err_set(err, -E_NO_MEMORY, "no memory for params");
}

/* Everything about the task that the upload's parameters say; params as text to free. */
static int read_upload_request(struct exchange *x, const struct upload *up,
                               struct submit_request *request, char **ret_params,
                               struct err *err)
{
    const char *queue = choice(x, "queue");

    request->idempotency_key = exchange_header(x, "Idempotency-Key");
    snprintf(request->type, sizeof request->type, "csv_plays");
    snprintf(request->input_name, sizeof request->input_name, "%s", up->filename);
    if (queue && !task_word_is_valid(queue))
        return err_set(err, -E_BAD_VALUE, "queue: is no queue name");
    snprintf(request->queue, sizeof request->queue, "%s", queue ? queue : "");
    int rc = read_upload_params(x, ret_params, err);
    request->params = *ret_params;
    return rc;
}

void route_upload(struct exchange *x, void *context)
{
    static const char *const known[] = {"filename", "format", "on_bad_row", "queue", NULL};
    const struct api *api = context;
    const struct submit_reply reply = {route_submitted, x};
    struct submit_request request = {0};
    struct err err = ERR_INIT;
    char *params = NULL;

    if (!route_query_is_known(x, known))
        return;
    struct upload *up = exchange_take_upload(x);
    if (read_upload_request(x, up, &request, &params, &err)) {
        service_upload_abort_free(up->sink);
        free(params);
        reply_err(x, &err);
        return;
    }
    service_upload_submit_later(api->service, up->sink, &request, params, &reply);
}

/* -- download -- */

/* 400 while there is nothing to download, in the words that old clients know. */
static bool is_downloadable(struct exchange *x, const struct task *t)
{
    static const char *const words[TASK_STATE__COUNT] = {
        [TASK_RECEIVED] = "Task processing",
        [TASK_PROCESSING] = "Task processing",
        [TASK_FAILED] = "Task failed",
        [TASK_CANCELLED] = "Task cancelled",
    };

    if (t->state == TASK_DONE)
        return true;
    reply_problem(x, 400, words[t->state], "task %s is %s%s%s", t->id,
                  task_state_name(t->state), t->state == TASK_FAILED ? ": " : "",
                  t->state == TASK_FAILED ? t->error.message : "");
    return false;
}

/* The result's "rejects": {"key", "size", "sha256"}, written by the csv_plays job. Whoever
 * wrote the result may only point to the task's own files. */
static bool rejects_of(const struct task *t, struct artifact *ret)
{
    json_t *result = t->result ? json_loads(t->result, 0, NULL) : NULL;
    const json_t *rejects = json_object_get(result, "rejects");
    const char *key = json_string_value(json_object_get(rejects, "key"));
    const char *sha256 = json_string_value(json_object_get(rejects, "sha256"));

    memset(ret, 0, sizeof *ret);
    if (key && sha256 && artifact_key_is_valid(key) && service_wrote_key(t->id, key)) {
        snprintf(ret->key, sizeof ret->key, "%s", key);
        snprintf(ret->sha256, sizeof ret->sha256, "%s", sha256);
    }
    json_decref(result);
    return ret->key[0] != '\0';
}

static bool choose_artifact(struct exchange *x, const struct task *t, struct artifact *ret,
                            const char **ret_label)
{
    const char *which = exchange_query(x, "artifact");

    *ret = t->output;
    *ret_label = "processed";
    if (which && strcmp(which, "rejects") == 0) {
        *ret_label = "rejects";
        if (!rejects_of(t, ret)) {
            reply_problem(x, 404, "Not found", "task %s has no rejects", t->id);
            return false;
        }
        return true;
    }
    if (which && strcmp(which, "output") != 0) {
        reply_problem(x, 400, NULL, "artifact: must be output or rejects");
        return false;
    }
    if (!t->output.key[0])
        reply_problem(x, 404, "Not found", "task %s made no file", t->id);
    return t->output.key[0] != '\0';
}

/* How a file is sent, by the end of its key. The last row is for all others: a foreign worker's
 * totals have any name. */
static const struct {
    const char *suffix, *content_type;
} file_types[] = {
    {".parquet", "application/vnd.apache.parquet"},
    {".csv", "text/csv; charset=utf-8"},
};
enum { FILE_TYPES = sizeof file_types / sizeof file_types[0] };

static bool has_suffix(const char *key, const char *suffix)
{
    size_t len = strlen(key), suffix_len = strlen(suffix);

    return len >= suffix_len && strcmp(key + len - suffix_len, suffix) == 0;
}

static unsigned file_type_of(const char *key)
{
    unsigned i = 0;

    while (i + 1 < FILE_TYPES && !has_suffix(key, file_types[i].suffix))
        i++;
    return i;
}

static void send_artifact(struct exchange *x, const struct api *api, const struct task *t,
                          const struct artifact *a, const char *label)
{
    char filename[96];
    struct err err = ERR_INIT;
    unsigned type = file_type_of(a->key);
    struct file_reply file = {
        .etag = a->sha256, .content_type = file_types[type].content_type, .filename = filename};

    snprintf(filename, sizeof filename, "%s_%s%s", label, t->id, file_types[type].suffix);
    int rc = objstore_get(service_objects(api->service), a->key, &file.fd, &file.size, &err);
    if (rc == -E_NOT_FOUND)
        reply_problem(x, 404, "Not found", "the file of task %s is gone", t->id);
    else if (rc)
        reply_err(x, &err);
    else
        reply_file(x, &file);
}

void route_download(struct exchange *x, void *context)
{
    static const char *const known[] = {"artifact", NULL};
    const struct api *api = context;
    const char *id = route_id(x), *label;
    struct task t;
    struct artifact artifact;
    struct err err = ERR_INIT;

    if (!id || !route_query_is_known(x, known))
        return;
    if (store_get(service_store(api->service), id, &t, &err)) {
        reply_err(x, &err);
        return;
    }
    if (is_downloadable(x, &t) && choose_artifact(x, &t, &artifact, &label))
        send_artifact(x, api, &t, &artifact, label);
    task_release(&t);
}

/* -- completion by a foreign worker -- */

void route_notify(struct exchange *x, void *context)
{
    const struct api *api = context;
    char id[ID_TEXT_MAX] = "", status[32] = "", path[1024] = "";
    json_t *root = NULL;
    struct err err = ERR_INIT;
    size_t len;
    const struct json_field fields[] = {
        {"task_id", JSON_FIELD_STRING, true, id, sizeof id, 0, 0},
        {"status", JSON_FIELD_STRING, true, status, sizeof status, 0, 0},
        {"file_output_path", JSON_FIELD_STRING, true, path, sizeof path, 0, 0},
        {0},
    };
    const char *body = exchange_body(x, &len);
    int rc = json_read_text(body, len, &root, &err);

    if (!rc)
        rc = json_read_object(root, "", fields, &err);
    if (!rc && !id_is_valid(id))
        rc = err_set(&err, -E_BAD_VALUE, "task_id: is no task id");
    json_decref(root);
    if (rc) {
        reply_problem(x, err_http_status(rc), "Invalid data", "%s", err.text);
        return;
    }
    rc = service_notify(api->service, id, strcmp(status, "DONE") == 0, path, &err);
    if (rc == -E_BAD_STATE)
        reply_problem(x, 400, "Task not processing", "%s", err.text);
    else if (rc)
        reply_err(x, &err);
    else
        reply_json_take(x, 200, json_text_take(json_pack("{s:s}", "task_id", id)));
}
