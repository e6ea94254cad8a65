/* routes_containers.c - the calls of the repository services that look into containers. They
 * ask the storage account themselves, on threads that may wait for it (HTTP_LANE_REMOTE). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "blob_text.h"
#include "json_read.h"
#include "service_body.h"

enum {
    NAMES_BYTES_MAX = 16 * 1024 * 1024, /* of names in one answer */
    NAMES_MAX = 200000
};

void route_check_connection(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct err err = ERR_INIT;

    if (container_store_check(api->containers, &err))
        service_reply(x, api,
                      json_pack("{s:s, s:s, s:s}", "status", "error", "message",
                                "Failed to connect to Azure Blob Storage.", "error", err.text));
    else
        service_reply(x, api,
                      json_pack("{s:s, s:s}", "status", "success", "message",
                                "Connection to Azure Blob Storage is successful."));
}

/* An answer {status, details}, and content when the call has one (taken). */
static void answer(struct exchange *x, const struct api *api, bool ok, const char *details,
                   json_t *content)
{
    json_t *object = json_pack("{s:b, s:s}", "status", ok, "details", details);

    service_reply(x, api, content ? json_member_take(object, "content", content) : object);
}

/* Opens the container, which must be there. Any name that is none is one that is not there. */
static int open_existing(const struct api *api, const char *name, struct container **ret,
                         struct err *err)
{
    int rc = container_open(api->containers, name, ret, err);

    if (!rc) {
        rc = container_exists(*ret, err);
        if (rc == -E_NOT_FOUND)
            rc = err_set(err, -E_NOT_FOUND, "there is no container '%s'", name);
        if (rc) {
            container_close(*ret);
            *ret = NULL;
        }
    }
    return rc;
}

void route_access_container(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *name = NULL;
    const struct service_field fields[] = {{"container_name", SERVICE_TEXT, &name}, {0}};
    struct container *c = NULL;
    struct err err = ERR_INIT;
    char details[128];
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    int rc = open_existing(api, name, &c, &err);
    snprintf(details, sizeof details, "Container %.63s can be accessed", name);
    answer(x, api, rc == 0, rc ? err.text : details, NULL);
    container_close(c);
    json_decref(root);
}

/* -- lists -- */

struct names {
    json_t *array; /* NULL when memory was short */
    size_t count, bytes;
    bool is_cut;
};

/* "py" and ".py" mean the same; case does not matter. */
static bool has_extension(const char *name, const char *extension)
{
    size_t len = strlen(name), size = strlen(extension);

    if (size == 0)
        return true;
    if (len <= size + (*extension != '.'))
        return *extension == '.' && len == size && strcasecmp(name, extension) == 0;
    return strcasecmp(name + len - size, extension) == 0 &&
           (*extension == '.' || name[len - size - 1] == '.');
}

static void add_name(struct names *n, const char *name)
{
    char text[BLOB_TEXT_MAX];
    size_t len = blob_text(name, text);

    n->is_cut = n->count == NAMES_MAX || n->bytes + len > NAMES_BYTES_MAX;
    if (n->is_cut)
        return;
    n->array = json_append_take(n->array, json_stringn(text, len));
    n->count++;
    n->bytes += len;
}

static int list_names(struct container *c, const char *extension, struct names *n,
                      struct err *err)
{
    struct container_list *list = NULL;
    const struct blob *blob = NULL;
    int rc = container_list_begin(c, "", &list, err);

    if (!rc)
        rc = container_list_next(list, &blob, err);
    while (!rc && blob && n->array && !n->is_cut) {
        if (has_extension(blob->name, extension))
            add_name(n, blob->name);
        rc = container_list_next(list, &blob, err);
    }
    container_list_free(list);
    return rc;
}

static void answer_names(struct exchange *x, const struct api *api, const char *name,
                         const char *extension)
{
    struct names n = {.array = json_array()};
    struct container *c = NULL;
    struct err err = ERR_INIT;
    struct err told = ERR_INIT; /* cuts between characters */
    int rc = open_existing(api, name, &c, &err);

    if (!rc)
        rc = list_names(c, extension, &n, &err);
    container_close(c);
    err_set(&told, -E_BUG, "Container %.63s has %s%zu files%s%.100s", name,
            n.is_cut ? "more than " : "", n.count, *extension ? " of type " : "", extension);
    if (rc)
        json_array_clear(n.array);
    if (!n.array)
        service_reply(x, api, NULL);
    else
        answer(x, api, rc == 0, rc ? err.text : told.text, n.array);
}

void route_get_container(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *name = NULL;
    const struct service_field fields[] = {{"container_name", SERVICE_TEXT, &name}, {0}};
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    answer_names(x, api, name, "");
    json_decref(root);
}

void route_files_by_type(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *name = NULL, *extension = NULL;
    const struct service_field fields[] = {
        {"container_name", SERVICE_TEXT, &name},
        {"file_extension", SERVICE_TEXT, &extension},
        {0},
    };
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    answer_names(x, api, name, extension);
    json_decref(root);
}

/* -- one blob -- */

void route_specific_blob(struct exchange *x, void *context)
{
    const struct api *api = context;
    const char *name = NULL, *text = NULL;
    const struct service_field fields[] = {
        {"container_name", SERVICE_TEXT, &name},
        {"blob_name", SERVICE_TEXT, &text},
        {0},
    };
    struct container *c = NULL;
    struct err err = ERR_INIT;
    struct blob blob;
    json_t *root;

    if (!service_body_read(x, api, fields, &root))
        return;
    int rc = open_existing(api, name, &c, &err);
    if (!rc)
        rc = blob_text_find(c, text, &blob, &err);
    if (!rc) /* cut between characters */
        err_set(&err, -E_BUG, "Blob %.300s of container %s has %llu bytes%s%s", text, name,
                (unsigned long long)blob.size, blob.sha256[0] ? ", SHA-256 " : "", blob.sha256);
    answer(x, api, rc == 0, err.text, NULL);
    container_close(c);
    json_decref(root);
}
