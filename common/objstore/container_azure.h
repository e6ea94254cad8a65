/* container_azure.h - what the files of the containers on Azure share. Private to this room. */
#ifndef OBJSTORE_CONTAINER_AZURE_H
#define OBJSTORE_CONTAINER_AZURE_H

#include "azure.h"
#include "azure_upload.h"
#include "container_ops.h"

struct azure_containers {
    struct container_store base;
    struct azure *azure;
};

static inline struct azure *azure_of(const struct container *c)
{
    return ((struct azure_containers *)(void *)c->store)->azure;
}

/* A blob by its name: the texts of the target live in the two bufs, which the caller releases
 * also after a failure. */
struct azure_place {
    struct buf url, what;
    struct azure_target target;
};

int azure_place_init(struct azure_place *p, const struct container *c, const char *name,
                     struct err *err);
void azure_place_release(struct azure_place *p);

int azure_put_begin(struct container *c, const char *name, struct container_put **ret,
                    struct err *err);
int azure_put_write(struct container_put *p, const void *bytes, size_t len, struct err *err);
int azure_put_commit_free(struct container_put *p, struct blob *ret, struct err *err);
void azure_put_abort_free(struct container_put *p);
int azure_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                   struct err *err);

int azure_get(struct container *c, const char *name, struct blob_reader **ret,
              struct blob *ret_blob, struct err *err);
int azure_read(struct blob_reader *r, void *to, size_t size, size_t *ret_got, struct err *err);
void azure_read_close(struct blob_reader *r);

int azure_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                     struct err *err);
int azure_list_next(struct container_list *l, const struct blob **ret, struct err *err);
void azure_list_free(struct container_list *l);

#endif
