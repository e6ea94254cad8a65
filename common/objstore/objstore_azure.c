/* objstore_azure.c - the object store in a container of Azure Blob Storage ("azure:CONTAINER").
 *
 * What is written gathers in a temporary file that has no name, so nothing is left of it when
 * the process dies; commit uploads it on the condition that the key is free. What is read
 * comes into such a file first, whole and with its digest checked: readers want descriptors.
 *
 * Temporary files, and the locks of objstore_put_hold, are in /var/tmp/segue-UID. A lock keeps
 * sweeps of this machine away; those of others go by age alone. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "azure_list.h"
#include "azure_name.h"
#include "azure_range.h"
#include "azure_temp.h"
#include "azure_upload.h"
#include "clock.h"
#include "container_name.h"
#include "fs.h"
#include "objstore_ops.h"
#include "sha256.h"

struct azure_store {
    struct objstore base;
    struct azure *azure;
    char container[CONTAINER_NAME_MAX];
    char temp_dir[AZURE_TEMP_MAX];
};

struct azure_object {
    struct objstore_put base;
    int fd;
    char key[ARTIFACT_KEY_MAX];
    char token[TOKEN_TEXT_MAX];
    struct sha256 hash;
    uint64_t written;
    bool failed;
};

static struct azure_store *as_azure(struct objstore *s)
{
    return (struct azure_store *)(void *)s;
}

static struct azure_object *as_object(struct objstore_put *p)
{
    return (struct azure_object *)(void *)p;
}

/* --- opening --- */

static int azure_check_place(const char *place, struct err *err)
{
    if (container_name_is_valid(place) && strlen(place) >= 3)
        return 0;
    return err_set(err, -E_BAD_VALUE, "object store 'azure:%.100s' names no container of Azure",
                   place);
}

static int make_container(const struct azure_store *s, struct err *err)
{
    const struct azure_pair query[] = {{"restype", "container"}, {NULL, NULL}};
    const struct azure_request r = {.method = "PUT", .container = s->container, .query = query};
    struct http_answer answer;
    int rc = azure_call(s->azure, &r, &answer, NULL, err);

    if (!rc && answer.status != 201 && !azure_code_is(&answer, "ContainerAlreadyExists"))
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}

static void azure_store_close(struct objstore *base)
{
    azure_close(as_azure(base)->azure);
    free(base);
}

static int azure_store_open(const char *place, const char *connection, struct objstore **ret,
                            struct err *err)
{
    if (!connection || !*connection)
        return err_set(err, -E_BAD_VALUE,
                       "object store 'azure:%.100s' needs AZURE_STORAGE_CONNECTION_STRING",
                       place);
    struct azure_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the object store");
    s->base.ops = &objstore_azure_ops;
    snprintf(s->container, sizeof s->container, "%s", place);
    snprintf(s->temp_dir, sizeof s->temp_dir, "/var/tmp/segue-%lu", (unsigned long)geteuid());
    int rc = azure_open(connection, &s->azure, err);
    if (!rc)
        rc = azure_temp_make(s->temp_dir, err);
    if (!rc)
        rc = make_container(s, err);
    if (rc) {
        azure_store_close(&s->base);
        return rc;
    }
    *ret = &s->base;
    return 0;
}

/* A key as a blob; `url` and `what` are the caller's to release. */
static int make_target(const struct azure_store *s, const char *key, struct buf *url,
                       struct buf *what, struct azure_target *ret, struct err *err)
{
    struct buf encoded = BUF_INIT;
    int rc = azure_name_encode(key, &encoded, err);

    azure_url_append(url, encoded.data);
    buf_printf(what, "object '%s'", key);
    buf_release(&encoded);
    if (!rc && (!buf_ok(url) || !buf_ok(what)))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a key");
    *ret = (struct azure_target){
        .azure = s->azure, .container = s->container, .blob = url->data, .what = what->data};
    return rc;
}

static int head(const struct azure_store *s, const char *key, struct azure_facts *ret,
                struct err *err)
{
    struct buf url = BUF_INIT, what = BUF_INIT;
    struct azure_target target;
    int rc = make_target(s, key, &url, &what, &target, err);

    if (!rc)
        rc = azure_head_blob(&target, ret, err);
    buf_release(&url);
    buf_release(&what);
    return rc;
}

/* --- put --- */

static void azure_object_abort_free(struct objstore_put *base)
{
    struct azure_object *p = as_object(base);

    if (p->fd >= 0)
        close(p->fd);
    sha256_release(&p->hash);
    free(p);
}

static int azure_object_begin(struct objstore *base, const char *key, struct objstore_put **ret,
                              struct err *err)
{
    struct azure_store *s = as_azure(base);
    struct azure_facts facts;
    struct err why = ERR_INIT;
    int rc = head(s, key, &facts, &why);

    if (!rc)
        return err_set(err, -E_EXISTS, "object '%s' exists already", key);
    if (rc != -E_NOT_FOUND)
        return err_set(err, rc, "%s", why.text);
    struct azure_object *p = calloc(1, sizeof *p);
    if (!p)
        return err_set(err, -E_NO_MEMORY, "no memory to write object '%s'", key);
    p->base.store = base;
    snprintf(p->key, sizeof p->key, "%s", key);
    token_new(p->token);
    p->fd = azure_temp_open(s->temp_dir, err);
    rc = p->fd < 0 ? p->fd : sha256_init(&p->hash, err);
    if (rc) {
        azure_object_abort_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return 0;
}

static int azure_object_write(struct objstore_put *base, const void *bytes, size_t len,
                              struct err *err)
{
    struct azure_object *p = as_object(base);
    int rc = fs_write_all(p->fd, bytes, len, p->key, err);

    if (!rc)
        rc = sha256_add(&p->hash, bytes, len, err);
    p->failed = p->failed || rc;
    p->written += len;
    return rc;
}

static int azure_object_fd(struct objstore_put *base)
{
    return as_object(base)->fd;
}

static int describe(struct azure_object *p, struct artifact *ret, struct err *err)
{
    struct stat st;

    if (p->failed)
        return err_set(err, -E_IO, "object '%s' is incomplete: a write failed", p->key);
    if (fstat(p->fd, &st) != 0)
        return err_set_errno(err, -E_IO, errno, "read the size of '%s'", p->key);
    snprintf(ret->key, sizeof ret->key, "%s", p->key);
    ret->size = (uint64_t)st.st_size;
    if (ret->size == p->written)
        return sha256_end(&p->hash, ret->sha256, err);
    return sha256_of_fd(p->fd, ret->sha256, &ret->size, err);
}

static int upload(struct azure_object *p, const struct artifact *described, struct err *err)
{
    struct buf url = BUF_INIT, what = BUF_INIT;
    struct azure_target target;
    int rc = make_target(as_azure(p->base.store), p->key, &url, &what, &target, err);

    target.must_be_new = true;
    memcpy(target.token, p->token, sizeof target.token);
    if (!rc)
        rc = azure_upload_file(&target, p->fd, described->size, described->sha256, err);
    if (rc == -E_NOT_FOUND) /* the container is gone: no matter of this key */
        rc = err ? (err->code = -E_IO) : -E_IO;
    buf_release(&url);
    buf_release(&what);
    return rc;
}

static int azure_object_commit_free(struct objstore_put *base, struct artifact *ret,
                                    struct err *err)
{
    struct artifact described = {.key = ""};
    int rc = describe(as_object(base), &described, err);

    if (!rc)
        rc = upload(as_object(base), &described, err);
    azure_object_abort_free(base);
    if (!rc)
        *ret = described;
    return rc;
}

/* The service has answered the upload: nothing is left to do. */
static void azure_sync(struct objstore *s, const char *const *keys, size_t count,
                       objstore_lost_fn *lost, void *arg)
{
    (void)s;
    (void)keys;
    (void)count;
    (void)lost;
    (void)arg;
}

static int azure_object_hold(struct objstore_put *base)
{
    const struct azure_store *s = as_azure(base->store);

    return azure_temp_hold(s->temp_dir, s->container, as_object(base)->key);
}

/* --- get, delete --- */

static int copy_down(const struct azure_target *t, int fd, struct azure_facts *facts,
                     struct err *err)
{
    struct buf piece = BUF_INIT;
    char digest[SHA256_TEXT_MAX];
    uint64_t at = 0;
    int rc;

    do {
        rc = azure_read_range(t, at, facts, &piece, err);
        if (!rc)
            rc = fs_write_all(fd, piece.data, piece.len, t->what, err);
        at += piece.len;
    } while (!rc && at < facts->size);
    buf_release(&piece);
    if (!rc && facts->sha256[0])
        rc = sha256_of_fd(fd, digest, &facts->size, err);
    if (!rc && facts->sha256[0] && strcmp(digest, facts->sha256) != 0)
        rc = err_set(err, -E_CORRUPT, "%.300s is damaged", t->what);
    if (!rc && lseek(fd, 0, SEEK_SET) != 0)
        rc = err_set_errno(err, -E_IO, errno, "rewind a temporary file");
    return rc;
}

static int azure_object_get(struct objstore *base, const char *key, int *ret_fd,
                            uint64_t *ret_size, struct err *err)
{
    struct azure_store *s = as_azure(base);
    struct buf url = BUF_INIT, what = BUF_INIT;
    struct azure_facts facts = {.size = 0};
    struct azure_target target;
    int rc = make_target(s, key, &url, &what, &target, err);
    int fd = rc ? rc : azure_temp_open(s->temp_dir, err);

    rc = fd < 0 ? fd : copy_down(&target, fd, &facts, err);
    buf_release(&url);
    buf_release(&what);
    if (rc) {
        if (fd >= 0)
            close(fd);
        return rc;
    }
    *ret_fd = fd;
    *ret_size = facts.size;
    return 0;
}

static int azure_object_stat(struct objstore *base, const char *key, bool digest,
                             struct artifact *ret, struct err *err)
{
    struct azure_facts facts;
    int rc = head(as_azure(base), key, &facts, err);

    if (rc)
        return rc;
    if (digest && !facts.sha256[0])
        return objstore_stat_by_reading(base, key, true, ret, err);
    *ret = (struct artifact){.size = facts.size};
    snprintf(ret->key, sizeof ret->key, "%s", key);
    if (digest)
        memcpy(ret->sha256, facts.sha256, sizeof ret->sha256);
    return 0;
}

static int azure_object_remove(struct objstore *base, const char *key, struct err *err)
{
    struct azure_store *s = as_azure(base);
    struct buf url = BUF_INIT, what = BUF_INIT;
    struct azure_target target;
    struct http_answer answer;
    int rc = make_target(s, key, &url, &what, &target, err);

    if (!rc) {
        const struct azure_request r = {
            .method = "DELETE", .container = s->container, .blob = target.blob};
        rc = azure_call(s->azure, &r, &answer, NULL, err);
        if (!rc && answer.status != 202 && answer.status != 404)
            rc = azure_unexpected(&r, &answer, err);
        http_answer_release(&answer);
    }
    buf_release(&url);
    buf_release(&what);
    return rc;
}

/* --- lists and sweeps --- */

static int azure_object_list(struct objstore *base, const char *prefix,
                             objstore_visit_fn *visit, void *arg, struct err *err)
{
    struct azure_store *s = as_azure(base);
    char *server_prefix = strndup(prefix, azure_name_plain_prefix(prefix));
    struct azure_list list = {
        .azure = s->azure, .container = s->container, .prefix = server_prefix};
    struct azure_entry *entry = malloc(sizeof *entry);
    char *name = malloc(BLOB_NAME_MAX);
    int rc = server_prefix && entry && name
                 ? 0
                 : err_set(err, -E_NO_MEMORY, "no memory to list objects");
    int more = 0;

    while (!rc && (more = azure_list_entry(&list, entry, err)) > 0) {
        int64_t age_ms = clock_wall_ms() - entry->written_ms;
        if (azure_name_decode(entry->name, name) && objstore_key_is_valid(name) &&
            strncmp(name, prefix, strlen(prefix)) == 0)
            rc = visit(name, entry->size, age_ms > 0 ? age_ms : 0, arg);
    }
    azure_list_release(&list);
    free(server_prefix);
    free(entry);
    free(name);
    /* A container that somebody deleted is an empty store. */
    return rc ? rc : more == -E_NOT_FOUND ? 0 : more;
}

static int azure_sweep_object(struct objstore *base, const char *key, int64_t older_than_ms,
                              bool *ret_removed, struct err *err)
{
    struct azure_store *s = as_azure(base);
    struct azure_facts facts;
    struct err why = ERR_INIT;
    int rc = head(s, key, &facts, &why);

    if (rc)
        return rc == -E_NOT_FOUND ? 0 : err_set(err, rc, "%s", why.text);
    if (facts.age_ms < older_than_ms || azure_temp_is_held(s->temp_dir, s->container, key))
        return 0;
    rc = azure_object_remove(base, key, err);
    *ret_removed = rc == 0;
    return rc;
}

/* Unfinished puts are files without a name; blocks that wait for their end go after a week.
 * What can be left are the files of holds. */
static int azure_sweep_parts(struct objstore *base, int64_t older_than_ms,
                             uint64_t *ret_removed, struct err *err)
{
    *ret_removed = 0;
    return azure_temp_sweep(as_azure(base)->temp_dir, older_than_ms, err);
}

/* Of the disk that everything passes through. */
static int azure_free_bytes(struct objstore *base, uint64_t *ret_bytes, struct err *err)
{
    const struct azure_store *s = as_azure(base);
    int rc = azure_temp_make(s->temp_dir, err);
    int fd = rc ? rc : fs_open_dir(s->temp_dir, err);

    if (fd < 0)
        return fd;
    rc = fs_free_bytes(fd, ret_bytes, err);
    close(fd);
    return rc;
}

static const char *azure_root(struct objstore *base)
{
    (void)base;
    return NULL;
}

static const char *azure_temp_dir(struct objstore *base)
{
    const struct azure_store *s = as_azure(base);

    azure_temp_make(s->temp_dir, NULL); /* using it will say why it failed */
    return s->temp_dir;
}

const struct objstore_ops objstore_azure_ops = {
    .scheme = "azure",
    .check_place = azure_check_place,
    .open = azure_store_open,
    .close = azure_store_close,
    .put_begin = azure_object_begin,
    .put_write = azure_object_write,
    .put_fd = azure_object_fd,
    .put_hold = azure_object_hold,
    .put_commit_free = azure_object_commit_free,
    .put_publish_free = azure_object_commit_free,
    .sync = azure_sync,
    .put_abort_free = azure_object_abort_free,
    .get = azure_object_get,
    .stat = azure_object_stat,
    .remove = azure_object_remove,
    .list = azure_object_list,
    .sweep_object = azure_sweep_object,
    .sweep_parts = azure_sweep_parts,
    .free_bytes = azure_free_bytes,
    .root = azure_root,
    .temp_dir = azure_temp_dir,
};
