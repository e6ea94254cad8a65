/* routes_services.c - the calls of the repository services that do work (docs/services.md).
 * Each becomes a task and is answered when that has ended, in the words of the services that
 * came before: what went wrong in the work is a 200 with a message. Nothing waits but the
 * connection.
 *
 * The task is named by the headers Task-Id and Location, so a client that does not want to wait
 * any longer, or could not, finds it again. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob_text.h"
#include "json_read.h"
#include "service_body.h"
#include "text.h"

#define NO_CONNECTION "Failed to connect to Azure Blob Storage."

struct call;

/* What becomes of the end of a task. */
struct call_kind {
    const char *type;
    json_t *(*done)(const struct call *c, const struct task *t, const json_t *result);
    json_t *(*failed)(const char *why);
    bool sends_file; /* the task's output, when it is done; then `done` is not asked */
};

struct call {
    struct exchange *x;
    const struct api *api;
    const struct call_kind *kind;
    char task_id[ID_TEXT_MAX];
    struct artifact output; /* of sends_file */
    char *named;            /* repository, container or blob, as the client has named it */
};

static void call_free(struct call *c)
{
    free(c->named);
    free(c);
}

/* -- answers -- */

static json_t *download_done(const struct call *c, const struct task *t, const json_t *result)
{
    (void)t;
    return json_pack("{s:s, s:O, s:s}", "message", "Repository successfully cloned.", "path",
                     json_object_get(result, "path"), "Url", c->named);
}

static json_t *download_failed(const char *why)
{
    (void)why;
    return json_pack("{s:s}", "message", "cloning error");
}

static json_t *upload_done(const struct call *c, const struct task *t, const json_t *result)
{
    (void)c, (void)t;
    return json_pack("{s:s, s:O, s:O}", "status", "success", "message",
                     json_object_get(result, "message"), "container_name",
                     json_object_get(result, "container_name"));
}

static json_t *upload_failed(const char *why)
{
    return json_pack("{s:s, s:s, s:s}", "status", "error", "message", NO_CONNECTION, "error",
                     why);
}

/* Where the key is for who shares the object store's folder; else the key itself. */
static void path_of(const struct api *api, const char *key, char *ret, size_t size)
{
    const char *root = objstore_root(service_objects(api->service));

    snprintf(ret, size, "%s%s%s", root ? root : "", root ? "/" : "", key);
}

static json_t *transform_done(const struct call *c, const struct task *t, const json_t *result)
{
    const char *part = json_string_value(json_object_get(result, "parquet_path"));
    const char *folder = json_string_value(json_object_get(result, "folder"));
    char path[8192], message[8500];

    (void)t;
    path_of(c->api, part ? part : folder ? folder : "", path, sizeof path);
    snprintf(message, sizeof message, "Container %.64s converted to Parquet and saved to %s",
             c->named, path);
    return json_pack("{s:b, s:s, s:s?}", "status", 1, "message", message, "parquet_path",
                     part ? path : NULL);
}

static json_t *transform_failed(const char *why)
{
    return json_pack("{s:b, s:s, s:n}", "status", 0, "message", why, "parquet_path");
}

static json_t *blob_failed(const char *why)
{
    return json_pack("{s:b, s:s}", "status", 0, "message", why);
}

static const struct call_kind download = {"repo_download", download_done, download_failed,
                                          false};
static const struct call_kind upload = {"blob_upload", upload_done, upload_failed, false};
static const struct call_kind transform = {"parquet_export", transform_done, transform_failed,
                                           false};
static const struct call_kind transform_blob = {"parquet_export", NULL, blob_failed, true};

/* -- the end of the task -- */

static void name_task(const struct call *c)
{
    char location[512];

    snprintf(location, sizeof location, "%.400s/v1/tasks/%s", exchange_base_url(c->x),
             c->task_id);
    exchange_set_header(c->x, "Location", location);
    exchange_set_header(c->x, "Task-Id", c->task_id);
}

/* "<blob>.parquet", of characters that a header can hold. */
static void file_name(const char *blob, char *ret, size_t size)
{
    snprintf(ret, size, "%.180s.parquet", blob);
    for (char *at = ret; *at; at++)
        if (!text_is_token_char(*at))
            *at = '_';
}

/* Fetching it may mean the network, so this is on a thread that may wait. */
static void send_file(void *arg, bool is_dropped)
{
    struct call *c = arg;
    char name[200];
    struct err err = ERR_INIT;
    struct file_reply file = {
        .etag = c->output.sha256, .content_type = "application/octet-stream", .filename = name};
    int rc = is_dropped ? err_set(&err, -E_OVERLOAD, "too many requests are waiting")
                        : objstore_get(service_objects(c->api->service), c->output.key,
                                       &file.fd, &file.size, &err);

    file_name(c->named, name, sizeof name);
    service_allow_origin(c->x, c->api);
    if (rc)
        reply_err(c->x, &err);
    else
        reply_file(c->x, &file);
    call_free(c);
}

/* Nothing is lost: the task goes on, and here is its name. */
static void reply_unfinished(const struct call *c, int rc, const struct err *why)
{
    int status = rc == -E_TIMEOUT ? 504 : err_http_status(rc);
    struct err told = ERR_INIT;

    err_set(&told, rc, "task %s goes on, ask for it at /v1/tasks/%s: %s", c->task_id,
            c->task_id,
            rc == -E_NO_MEMORY ? "the server is out of memory at the moment" : why->text);
    service_allow_origin(c->x, c->api);
    exchange_set_header(c->x, "Content-Type", "application/problem+json");
    reply_json_take(
        c->x, status,
        json_text_take(json_pack("{s:s, s:s, s:i, s:s, s:s, s:s}", "type", "about:blank",
                                 "title", status == 504 ? "Gateway Timeout" : err_title(rc),
                                 "status", status, "detail", told.text, "error",
                                 "Task processing", "task_id", c->task_id)));
}

static json_t *render(const struct call *c, const struct task *t)
{
    if (t->state == TASK_CANCELLED)
        return c->kind->failed("the task was cancelled");
    if (t->state != TASK_DONE)
        return c->kind->failed(t->error.message);
    json_t *result = json_loads(t->result ? t->result : "{}", 0, NULL);
    json_t *answer = result ? c->kind->done(c, t, result) : NULL;
    json_decref(result);
    /* A worker of somebody's own has ended it without what this call tells. */
    return answer ? answer : c->kind->failed("the task has left no result");
}

static void ended(void *arg, int rc, const struct task *t, const struct err *err)
{
    struct call *c = arg;

    name_task(c);
    if (!rc && t->state == TASK_DONE && c->kind->sends_file) {
        c->output = t->output;
        exchange_go_on(c->x, send_file, c);
        return;
    }
    if (rc == -E_NOT_FOUND)
        service_reply_err(c->x, c->api, err);
    else if (rc)
        reply_unfinished(c, rc, err);
    else
        service_reply(c->x, c->api, render(c, t));
    call_free(c);
}

static bool is_alive(void *arg)
{
    const struct call *c = arg;

    return exchange_is_alive(c->x);
}

/* Submits a task of the kind with these params (taken) and waits. What the params break is an
 * answer of the service, what the server cannot do now is a fault. */
static void start(struct exchange *x, const struct api *api, const struct call_kind *kind,
                  const char *named, json_t *params)
{
    struct submit_request request = {.idempotency_key = exchange_header(x, "Idempotency-Key")};
    struct submit_result result;
    struct err err = ERR_INIT;
    char *text = params ? json_text(params, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    struct call *c = calloc(1, sizeof *c);

    json_decref(params);
    if (c)
        *c = (struct call){.x = x, .api = api, .kind = kind, .named = strdup(named)};
    snprintf(request.type, sizeof request.type, "%s", kind->type);
    request.params = text;
    int rc = c && c->named && text ? service_submit(api->service, &request, &result, &err)
                                   : err_set(&err, -E_NO_MEMORY, "no memory for a call");
    free(text);
    if (rc == 0) {
        const struct await_reply reply = {ended, is_alive, c};
        memcpy(c->task_id, result.id, sizeof c->task_id);
        service_await(api->service, result.id, api->config->service_wait_ms, &reply);
        return;
    }
    if (rc == -E_BAD_VALUE)
        service_reply(x, api, kind->failed(err.text));
    else
        service_reply_err(x, api, &err);
    if (c)
        call_free(c);
}

/* -- the calls -- */

void route_download_repository(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *repository = NULL, *token = NULL;
    const struct service_field fields[] = {
        {"repository", SERVICE_TEXT, &repository},
        {"token", SERVICE_OPTIONAL_TEXT, &token},
        {0},
    };
    char url[REPOSITORY_URL_MAX];
    struct err err = ERR_INIT;
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    if (service_repository_url(api->service, repository, url, &err)) {
        service_reply(x, api,
                      json_pack("{s:s}", "message", "Link to repository invalid or not found"));
    } else {
        json_t *params = json_pack("{s:s}", "repository", url);
        if (token && *token)
            params = json_member_take(params, "token", json_string(token));
        start(x, api, &download, repository, params);
    }
    json_decref(root);
}

void route_repo_upload(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *path = service_query_read(x, api, "repo_path");
    struct err err = ERR_INIT;

    if (!path)
        return;
    struct download *found = calloc(1, sizeof *found);
    int rc = found ? service_find_download(api->service, path, found, &err)
                   : err_set(&err, -E_NO_MEMORY, "no memory for a path");
    if (rc == -E_NOT_FOUND)
        service_reply(x, api, upload_failed(err.text));
    else if (rc)
        service_reply_err(x, api, &err);
    else
        start(x, api, &upload, path,
              json_pack("{s:s, s:s}", "repo_path", found->key, "commit", found->commit));
    free(found);
}

void route_transform_container(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *container = NULL;
    bool single = false;
    const struct service_field fields[] = {
        {"container_name", SERVICE_TEXT, &container},
        {"single_parquet", SERVICE_OPTIONAL_BOOL, &single},
        {0},
    };
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    start(x, api, &transform, container,
          json_pack("{s:s, s:b}", "container", container, "single_parquet", single));
    json_decref(root);
}

void route_transform_blob(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *container = NULL, *blob = NULL;
    const struct service_field fields[] = {
        {"container_name", SERVICE_TEXT, &container},
        {"blob_name", SERVICE_TEXT, &blob},
        {0},
    };
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    start(x, api, &transform_blob, blob,
          json_pack("{s:s, s:s}", "container", container, "blob", blob));
    json_decref(root);
}
