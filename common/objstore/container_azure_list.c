/* container_azure_list.c - the blobs of a container on Azure, under their own names. */
#include <stdlib.h>
#include <string.h>

#include "azure_list.h"
#include "azure_name.h"
#include "container_azure.h"

struct azure_names {
    struct container_list base;
    struct azure_list list;
    struct azure_entry entry;
    struct blob blob;
    char *server_prefix, *prefix;
    bool has_entry; /* the first was read to see whether there is a container at all */
};

void azure_list_free(struct container_list *base)
{
    struct azure_names *n = (struct azure_names *)(void *)base;

    azure_list_release(&n->list);
    free(n->server_prefix);
    free(n->prefix);
    free(n);
}

int azure_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                     struct err *err)
{
    struct azure_names *n = calloc(1, sizeof *n);

    if (!n)
        return err_set(err, -E_NO_MEMORY, "no memory to list a container");
    n->base.container = c;
    n->prefix = strdup(prefix);
    n->server_prefix = strndup(prefix, azure_name_plain_prefix(prefix));
    n->list = (struct azure_list){
        .azure = azure_of(c), .container = c->name, .prefix = n->server_prefix};
    int rc = n->prefix && n->server_prefix
                 ? azure_list_entry(&n->list, &n->entry, err)
                 : err_set(err, -E_NO_MEMORY, "no memory to list a container");
    if (rc < 0) {
        azure_list_free(&n->base);
        return rc;
    }
    n->has_entry = rc > 0;
    *ret = &n->base;
    return 0;
}

int azure_list_next(struct container_list *base, const struct blob **ret, struct err *err)
{
    struct azure_names *n = (struct azure_names *)(void *)base;

    for (;;) {
        int rc = n->has_entry ? 1 : azure_list_entry(&n->list, &n->entry, err);
        n->has_entry = false;
        if (rc <= 0)
            return rc;
        if (!azure_name_decode(n->entry.name, n->blob.name) ||
            strncmp(n->blob.name, n->prefix, strlen(n->prefix)) != 0)
            continue;
        n->blob.size = n->entry.size;
        memcpy(n->blob.sha256, n->entry.sha256, sizeof n->blob.sha256);
        *ret = &n->blob;
        return 0;
    }
}
