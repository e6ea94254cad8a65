/* container_azure.c - containers of a storage account of Azure: making them, their note, taking
 * them away. */
#include "container_azure.h"

#include <stdlib.h>
#include <string.h>

#include "azure_name.h"

enum { CHECK_TIMEOUT_MS = 10000 };

int azure_place_init(struct azure_place *p, const struct container *c, const char *name,
                     struct err *err)
{
    struct buf encoded = BUF_INIT;

    *p = (struct azure_place){.url = BUF_INIT, .what = BUF_INIT};
    int rc = azure_name_encode(name, &encoded, err);
    if (!rc) {
        azure_url_append(&p->url, encoded.data);
        buf_printf(&p->what, "blob '%.300s' in container '%s'", name, c->name);
        if (!buf_ok(&p->url) || !buf_ok(&p->what))
            rc = err_set(err, -E_NO_MEMORY, "no memory for the name of a blob");
    }
    buf_release(&encoded);
    p->target = (struct azure_target){
        .azure = azure_of(c), .container = c->name, .blob = p->url.data, .what = p->what.data};
    return rc;
}

void azure_place_release(struct azure_place *p)
{
    buf_release(&p->url);
    buf_release(&p->what);
}

/* A request about the container itself; 0 for `status`, *ret is the caller's to release. */
static int call_container(const struct container *c, const char *method, const char *comp,
                          const struct azure_pair *headers, struct http_answer *ret,
                          struct azure_request *ret_request, struct err *err)
{
    static const struct azure_pair plain[] = {{"restype", "container"}, {NULL, NULL}};
    static const struct azure_pair metadata[] = {
        {"restype", "container"}, {"comp", "metadata"}, {NULL, NULL}};

    *ret_request = (struct azure_request){.method = method,
                                          .container = c->name,
                                          .query = comp ? metadata : plain,
                                          .headers = headers};
    return azure_call(azure_of(c), ret_request, ret, NULL, err);
}

static int azure_ensure(struct container *c, bool *ret_existed, struct err *err)
{
    struct azure_request r;
    struct http_answer answer;
    int rc = call_container(c, "PUT", NULL, NULL, &answer, &r, err);

    if (!rc) {
        *ret_existed = answer.status == 409 && azure_code_is(&answer, "ContainerAlreadyExists");
        if (!*ret_existed && answer.status != 201)
            rc = azure_unexpected(&r, &answer, err);
    }
    http_answer_release(&answer);
    return rc;
}

static int no_container(const struct container *c, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "there is no container '%s'", c->name);
}

static int azure_exists(struct container *c, struct err *err)
{
    char commit[CONTAINER_COMMIT_MAX];

    return c->store->ops->commit(c, commit, err);
}

static int azure_remove(struct container *c, struct err *err)
{
    struct azure_request r;
    struct http_answer answer;
    int rc = call_container(c, "DELETE", NULL, NULL, &answer, &r, err);

    if (!rc && answer.status != 202 && answer.status != 404)
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

static int azure_set_commit(struct container *c, const char *commit, struct err *err)
{
    const struct azure_pair headers[] = {{"x-ms-meta-commit", *commit ? commit : NULL},
                                         {NULL, NULL}};
    struct azure_request r;
    struct http_answer answer;
    int rc = call_container(c, "PUT", "metadata", headers, &answer, &r, err);

    if (!rc && answer.status == 404)
        rc = no_container(c, err);
    else if (!rc && answer.status != 200)
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

static int azure_commit(struct container *c, char ret_commit[CONTAINER_COMMIT_MAX],
                        struct err *err)
{
    struct azure_request r;
    struct http_answer answer;
    int rc = call_container(c, "HEAD", NULL, NULL, &answer, &r, err);

    if (!rc && answer.status == 404)
        rc = no_container(c, err);
    else if (!rc && answer.status != 200)
        rc = azure_unexpected(&r, &answer, err);
    if (!rc)
        http_answer_field(&answer, "x-ms-meta-commit", ret_commit, CONTAINER_COMMIT_MAX);
    http_answer_release(&answer);
    return rc;
}

/* Azure answers once it is safe. */
static int azure_flush(struct container *c, struct err *err)
{
    (void)c, (void)err;
    return 0;
}

static int azure_remove_blob(struct container *c, const char *name, struct err *err)
{
    struct azure_place place;
    struct http_answer answer = {.status = 0};
    int rc = azure_place_init(&place, c, name, err);
    const struct azure_request r = {
        .method = "DELETE", .container = c->name, .blob = place.target.blob};

    if (!rc) {
        rc = azure_call(azure_of(c), &r, &answer, NULL, err);
        bool is_gone = answer.status == 404 && !azure_code_is(&answer, "ContainerNotFound");
        if (!rc && answer.status != 202 && !is_gone)
            rc = azure_unexpected(&r, &answer, err);
        http_answer_release(&answer);
    }
    azure_place_release(&place);
    return rc;
}

static int azure_stat(struct container *c, const char *name, struct blob *ret, struct err *err)
{
    struct azure_place place;
    struct azure_facts facts;
    int rc = azure_place_init(&place, c, name, err);

    if (!rc)
        rc = azure_head_blob(&place.target, &facts, err);
    azure_place_release(&place);
    if (rc)
        return rc;
    memcpy(ret->name, name, strlen(name) + 1);
    ret->size = facts.size;
    memcpy(ret->sha256, facts.sha256, sizeof ret->sha256);
    return 0;
}

static void azure_store_close(struct container_store *base)
{
    azure_close(((struct azure_containers *)(void *)base)->azure);
    free(base);
}

static int azure_store_check(struct container_store *base, struct err *err)
{
    static const struct azure_pair query[] = {
        {"comp", "list"}, {"maxresults", "1"}, {NULL, NULL}};
    const struct azure_request r = {
        .method = "GET", .query = query, .tries = 1, .timeout_ms = CHECK_TIMEOUT_MS};
    struct http_answer answer;
    int rc =
        azure_call(((struct azure_containers *)(void *)base)->azure, &r, &answer, NULL, err);

    if (!rc && answer.status != 200)
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

static const struct container_ops azure_ops = {
    .kind = "azure",
    .store_close = azure_store_close,
    .store_check = azure_store_check,
    .ensure = azure_ensure,
    .exists = azure_exists,
    .remove = azure_remove,
    .set_commit = azure_set_commit,
    .commit = azure_commit,
    .flush = azure_flush,
    .put_begin = azure_put_begin,
    .put_write = azure_put_write,
    .put_commit_free = azure_put_commit_free,
    .put_abort_free = azure_put_abort_free,
    .put_file = azure_put_file,
    .remove_blob = azure_remove_blob,
    .stat = azure_stat,
    .get = azure_get,
    .read = azure_read,
    .read_close = azure_read_close,
    .list_begin = azure_list_begin,
    .list_next = azure_list_next,
    .list_free = azure_list_free,
};

int container_azure_open(const char *connection, struct container_store **ret, struct err *err)
{
    struct azure_containers *s = calloc(1, sizeof *s);

    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the containers");
    s->base.ops = &azure_ops;
    int rc = azure_open(connection, &s->azure, err);
    if (rc) {
        free(s);
        return rc;
    }
    *ret = &s->base;
    return 0;
}
