/* objstore.c - the front of the object store: picks the implementation by URL and checks
 * every key once, for all of them. */
#include "objstore.h"

#include <assert.h>
#include <string.h>
#include <unistd.h>

#include "objstore_ops.h"
#include "sha256.h"

static const struct objstore_ops *const implementations[] = {&objstore_local_ops,
                                                             &objstore_azure_ops};

static void assert_complete(const struct objstore_ops *ops)
{
    assert(ops->scheme && ops->check_place && ops->open && ops->close);
    assert(ops->put_begin && ops->put_write && ops->put_fd && ops->put_hold);
    assert(ops->put_commit_free && ops->put_abort_free);
    assert(ops->put_publish_free && ops->sync);
    assert(ops->get && ops->stat && ops->remove && ops->list);
    assert(ops->sweep_object && ops->sweep_parts && ops->free_bytes && ops->root &&
           ops->temp_dir);
}

bool objstore_key_is_valid(const char *key)
{
    return artifact_key_is_valid(key) && strchr(key, '/') != NULL;
}

static int check_key(const char *key, struct err *err)
{
    if (objstore_key_is_valid(key))
        return 0;
    return err_set(err, -E_BAD_VALUE, "'%.300s' is no valid object key", key ? key : "");
}

/* The implementation for a URL, and what stands behind its scheme. */
static const struct objstore_ops *find_implementation(const char *url, const char **ret_place,
                                                      struct err *err)
{
    size_t len = strcspn(url, ":");

    for (size_t i = 0; i < sizeof implementations / sizeof implementations[0]; i++) {
        const struct objstore_ops *ops = implementations[i];
        assert_complete(ops);
        if (url[len] == ':' && strlen(ops->scheme) == len &&
            strncmp(url, ops->scheme, len) == 0) {
            *ret_place = url + len + 1;
            return ops;
        }
    }
    err_set(err, -E_BAD_VALUE, "object store '%.300s' is neither file:DIR nor azure:CONTAINER",
            url);
    return NULL;
}

int objstore_check_url(const char *url, struct err *err)
{
    const char *place = NULL;
    const struct objstore_ops *ops = find_implementation(url, &place, err);

    return ops ? ops->check_place(place, err) : -E_BAD_VALUE;
}

int objstore_open(const char *url, struct objstore **ret, struct err *err)
{
    return objstore_open_on(url, NULL, ret, err);
}

int objstore_open_on(const char *url, const char *azure_connection, struct objstore **ret,
                     struct err *err)
{
    const char *place = NULL;
    const struct objstore_ops *ops = find_implementation(url, &place, err);
    int rc = ops ? ops->check_place(place, err) : -E_BAD_VALUE;

    return rc ? rc : ops->open(place, azure_connection, ret, err);
}

void objstore_close(struct objstore *s)
{
    if (s)
        s->ops->close(s);
}

int objstore_put_begin(struct objstore *s, const char *key, struct objstore_put **ret,
                       struct err *err)
{
    int rc = check_key(key, err);

    return rc ? rc : s->ops->put_begin(s, key, ret, err);
}

int objstore_put_write(struct objstore_put *p, const void *bytes, size_t len, struct err *err)
{
    return p->store->ops->put_write(p, bytes, len, err);
}

int objstore_put_fd(struct objstore_put *p)
{
    return p->store->ops->put_fd(p);
}

int objstore_put_hold(struct objstore_put *p)
{
    return p->store->ops->put_hold(p);
}

int objstore_put_commit_free(struct objstore_put *p, struct artifact *ret, struct err *err)
{
    return p->store->ops->put_commit_free(p, ret, err);
}

int objstore_put_publish_free(struct objstore_put *p, struct artifact *ret, struct err *err)
{
    return p->store->ops->put_publish_free(p, ret, err);
}

void objstore_sync(struct objstore *s, const char *const *keys, size_t count,
                   objstore_lost_fn *lost, void *arg)
{
    if (count > 0)
        s->ops->sync(s, keys, count, lost, arg);
}

void objstore_put_abort_free(struct objstore_put *p)
{
    if (p)
        p->store->ops->put_abort_free(p);
}

int objstore_get(struct objstore *s, const char *key, int *ret_fd, uint64_t *ret_size,
                 struct err *err)
{
    int rc = check_key(key, err);

    return rc ? rc : s->ops->get(s, key, ret_fd, ret_size, err);
}

int objstore_stat(struct objstore *s, const char *key, bool digest, struct artifact *ret,
                  struct err *err)
{
    int rc = check_key(key, err);

    return rc ? rc : s->ops->stat(s, key, digest, ret, err);
}

int objstore_stat_by_reading(struct objstore *s, const char *key, bool digest,
                             struct artifact *ret, struct err *err)
{
    struct artifact found = {.key = ""};
    int fd = -1;
    int rc = objstore_get(s, key, &fd, &found.size, err);

    if (rc)
        return rc;
    if (digest)
        rc = sha256_of_fd(fd, found.sha256, &found.size, err);
    close(fd);
    if (rc)
        return rc;
    memcpy(found.key, key, strlen(key) + 1);
    *ret = found;
    return 0;
}

int objstore_delete(struct objstore *s, const char *key, struct err *err)
{
    int rc = check_key(key, err);

    return rc ? rc : s->ops->remove(s, key, err);
}

int objstore_list(struct objstore *s, const char *prefix, objstore_visit_fn *visit, void *arg,
                  struct err *err)
{
    return s->ops->list(s, prefix, visit, arg, err);
}

int objstore_sweep_object(struct objstore *s, const char *key, int64_t older_than_ms,
                          bool *ret_removed, struct err *err)
{
    int rc = check_key(key, err);

    *ret_removed = false;
    return rc ? rc : s->ops->sweep_object(s, key, older_than_ms, ret_removed, err);
}

int objstore_sweep_parts(struct objstore *s, int64_t older_than_ms, uint64_t *ret_removed,
                         struct err *err)
{
    return s->ops->sweep_parts(s, older_than_ms, ret_removed, err);
}

int objstore_free_bytes(struct objstore *s, uint64_t *ret_bytes, struct err *err)
{
    return s->ops->free_bytes(s, ret_bytes, err);
}

int objstore_key_of(struct objstore *s, const char *path, char ret_key[ARTIFACT_KEY_MAX],
                    struct err *err)
{
    const char *root = s->ops->root(s);
    size_t len = root ? strlen(root) : 0;
    const char *key = path;

    if (len && strncmp(path, root, len) == 0 && path[len] == '/')
        key = path + len + 1;
    int rc = check_key(key, err);
    if (!rc)
        memcpy(ret_key, key, strlen(key) + 1);
    return rc;
}

const char *objstore_place(struct objstore *s)
{
    const char *root = s->ops->root(s);

    return root ? root : s->ops->scheme;
}

const char *objstore_root(struct objstore *s)
{
    return s->ops->root(s);
}

const char *objstore_temp_dir(struct objstore *s)
{
    return s->ops->temp_dir(s);
}
