/* container.c - the front of the containers: picks the implementation and checks every name
 * once, for both. */
#include "container.h"

#include <stdlib.h>
#include <string.h>

#include "azure_account.h"
#include "container_ops.h"

static int check_blob_name(const char *name, struct err *err)
{
    size_t len = strlen(name);

    if (len > 0 && len < BLOB_NAME_MAX)
        return 0;
    return err_set(err, -E_BAD_VALUE, "a blob's name has 1 to %d bytes, not %zu",
                   BLOB_NAME_MAX - 1, len);
}

int container_check_settings(const char *azure_connection, struct err *err)
{
    struct azure_account account;

    if (!azure_connection || !*azure_connection)
        return 0;
    int rc = azure_account_parse(azure_connection, &account, err);
    explicit_bzero(&account, sizeof account);
    return rc;
}

int container_store_open(struct objstore *objects, const char *azure_connection,
                         struct container_store **ret, struct err *err)
{
    if (azure_connection && *azure_connection)
        return container_azure_open(azure_connection, ret, err);
    return container_local_open(objects, ret, err);
}

void container_store_close(struct container_store *s)
{
    if (s)
        s->ops->store_close(s);
}

int container_store_check(struct container_store *s, struct err *err)
{
    return s->ops->store_check(s, err);
}

const char *container_store_kind(struct container_store *s)
{
    return s->ops->kind;
}

int container_open(struct container_store *s, const char *name, struct container **ret,
                   struct err *err)
{
    if (!container_name_is_valid(name))
        return err_set(err, -E_BAD_VALUE, "'%.100s' is no valid container name", name);
    struct container *c = calloc(1, sizeof *c);
    if (!c)
        return err_set(err, -E_NO_MEMORY, "no memory for container '%s'", name);
    c->store = s;
    memcpy(c->name, name, strlen(name) + 1);
    *ret = c;
    return 0;
}

void container_close(struct container *c)
{
    free(c);
}

const char *container_name(const struct container *c)
{
    return c->name;
}

int container_ensure(struct container *c, bool *ret_existed, struct err *err)
{
    return c->store->ops->ensure(c, ret_existed, err);
}

int container_exists(struct container *c, struct err *err)
{
    return c->store->ops->exists(c, err);
}

int container_remove(struct container *c, struct err *err)
{
    return c->store->ops->remove(c, err);
}

int container_check_commit(const char *commit, struct err *err)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t len = strlen(commit);

    if (len >= CONTAINER_COMMIT_MAX || strspn(commit, allowed) != len)
        return err_set(err, -E_BAD_VALUE, "'%.100s' is no name of a commit", commit);
    return 0;
}

int container_set_commit(struct container *c, const char *commit, struct err *err)
{
    int rc = container_check_commit(commit, err);

    return rc ? rc : c->store->ops->set_commit(c, commit, err);
}

int container_commit(struct container *c, char ret_commit[CONTAINER_COMMIT_MAX],
                     struct err *err)
{
    return c->store->ops->commit(c, ret_commit, err);
}

int container_flush(struct container *c, struct err *err)
{
    return c->store->ops->flush(c, err);
}

int container_put_begin(struct container *c, const char *name, struct container_put **ret,
                        struct err *err)
{
    int rc = check_blob_name(name, err);

    *ret = NULL;
    return rc ? rc : c->store->ops->put_begin(c, name, ret, err);
}

int container_put_write(struct container_put *p, const void *bytes, size_t len, struct err *err)
{
    return p->container->store->ops->put_write(p, bytes, len, err);
}

int container_put_commit_free(struct container_put *p, struct blob *ret, struct err *err)
{
    return p->container->store->ops->put_commit_free(p, ret, err);
}

void container_put_abort_free(struct container_put *p)
{
    if (p)
        p->container->store->ops->put_abort_free(p);
}

int container_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                       struct err *err)
{
    int rc = check_blob_name(name, err);

    return rc ? rc : c->store->ops->put_file(c, name, fd, ret, err);
}

int container_delete(struct container *c, const char *name, struct err *err)
{
    int rc = check_blob_name(name, err);

    return rc ? rc : c->store->ops->remove_blob(c, name, err);
}

int container_stat(struct container *c, const char *name, struct blob *ret, struct err *err)
{
    int rc = check_blob_name(name, err);

    return rc ? rc : c->store->ops->stat(c, name, ret, err);
}

int container_get(struct container *c, const char *name, struct blob_reader **ret,
                  struct blob *ret_blob, struct err *err)
{
    int rc = check_blob_name(name, err);

    *ret = NULL;
    return rc ? rc : c->store->ops->get(c, name, ret, ret_blob, err);
}

int blob_read(struct blob_reader *r, void *to, size_t size, size_t *ret_got, struct err *err)
{
    return r->container->store->ops->read(r, to, size, ret_got, err);
}

void blob_close(struct blob_reader *r)
{
    if (r)
        r->container->store->ops->read_close(r);
}

int container_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                         struct err *err)
{
    *ret = NULL;
    return c->store->ops->list_begin(c, prefix, ret, err);
}

int container_list_next(struct container_list *l, const struct blob **ret, struct err *err)
{
    *ret = NULL;
    return l->container->store->ops->list_next(l, ret, err);
}

void container_list_free(struct container_list *l)
{
    if (l)
        l->container->store->ops->list_free(l);
}
