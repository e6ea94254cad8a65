/* container_ops.h - what an implementation of the containers provides. Private to this room.
 *
 * Contracts are those of container.h; the front (container.c) has checked every name. Every
 * method is required. An implementation embeds the structs below as first members of its own.
 */
#ifndef OBJSTORE_CONTAINER_OPS_H
#define OBJSTORE_CONTAINER_OPS_H

#include "container.h"

struct container_ops {
    const char *kind;

    void (*store_close)(struct container_store *s);
    int (*store_check)(struct container_store *s, struct err *err);

    int (*ensure)(struct container *c, bool *ret_existed, struct err *err);
    int (*exists)(struct container *c, struct err *err);
    int (*remove)(struct container *c, struct err *err);
    int (*set_commit)(struct container *c, const char *commit, struct err *err);
    int (*commit)(struct container *c, char ret_commit[CONTAINER_COMMIT_MAX], struct err *err);
    int (*flush)(struct container *c, struct err *err);

    int (*put_begin)(struct container *c, const char *name, struct container_put **ret,
                     struct err *err);
    int (*put_write)(struct container_put *p, const void *bytes, size_t len, struct err *err);
    int (*put_commit_free)(struct container_put *p, struct blob *ret, struct err *err);
    void (*put_abort_free)(struct container_put *p);
    int (*put_file)(struct container *c, const char *name, int fd, struct blob *ret,
                    struct err *err);
    int (*remove_blob)(struct container *c, const char *name, struct err *err);

    int (*stat)(struct container *c, const char *name, struct blob *ret, struct err *err);
    int (*get)(struct container *c, const char *name, struct blob_reader **ret,
               struct blob *ret_blob, struct err *err);
    int (*read)(struct blob_reader *r, void *to, size_t size, size_t *ret_got, struct err *err);
    void (*read_close)(struct blob_reader *r);

    int (*list_begin)(struct container *c, const char *prefix, struct container_list **ret,
                      struct err *err);
    int (*list_next)(struct container_list *l, const struct blob **ret, struct err *err);
    void (*list_free)(struct container_list *l);
};

struct container_store {
    const struct container_ops *ops;
};

struct container {
    struct container_store *store;
    char name[CONTAINER_NAME_MAX];
};

struct container_put {
    struct container *container;
};

struct blob_reader {
    struct container *container;
};

struct container_list {
    struct container *container;
};

/* Of the folder of `objects`, which stays the caller's and open. */
int container_local_open(struct objstore *objects, struct container_store **ret,
                         struct err *err);
int container_azure_open(const char *connection, struct container_store **ret, struct err *err);

#endif
