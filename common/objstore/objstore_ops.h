/* objstore_ops.h - what an implementation of the object store provides. Private to this room.
 *
 * Contracts are those of objstore.h; the front (objstore.c) has already checked every key, so
 * an implementation sees valid ones only. Every method is required. An implementation embeds
 * the two structs below as the first members of its own. */
#ifndef OBJSTORE_OPS_H
#define OBJSTORE_OPS_H

#include "objstore.h"

struct objstore_ops {
    const char *scheme; /* of the URL, without the colon */

    /* `place` is what follows the scheme and colon. */
    int (*check_place)(const char *place, struct err *err);
    /* connection: of the storage account, for those that have one; NULL or "" without. */
    int (*open)(const char *place, const char *connection, struct objstore **ret,
                struct err *err);
    void (*close)(struct objstore *s);

    int (*put_begin)(struct objstore *s, const char *key, struct objstore_put **ret,
                     struct err *err);
    int (*put_write)(struct objstore_put *p, const void *bytes, size_t len, struct err *err);
    int (*put_fd)(struct objstore_put *p);
    int (*put_hold)(struct objstore_put *p);
    int (*put_commit_free)(struct objstore_put *p, struct artifact *ret, struct err *err);
    int (*put_publish_free)(struct objstore_put *p, struct artifact *ret, struct err *err);
    /* Has to check its keys itself: one that is no key is lost. */
    void (*sync)(struct objstore *s, const char *const *keys, size_t count,
                 objstore_lost_fn *lost, void *arg);
    void (*put_abort_free)(struct objstore_put *p);

    int (*get)(struct objstore *s, const char *key, int *ret_fd, uint64_t *ret_size,
               struct err *err);
    int (*stat)(struct objstore *s, const char *key, bool digest, struct artifact *ret,
                struct err *err);
    int (*remove)(struct objstore *s, const char *key, struct err *err);
    int (*list)(struct objstore *s, const char *prefix, objstore_visit_fn *visit, void *arg,
                struct err *err);
    int (*sweep_object)(struct objstore *s, const char *key, int64_t older_than_ms,
                        bool *ret_removed, struct err *err);
    int (*sweep_parts)(struct objstore *s, int64_t older_than_ms, uint64_t *ret_removed,
                       struct err *err);
    int (*free_bytes)(struct objstore *s, uint64_t *ret_bytes, struct err *err);
    const char *(*root)(struct objstore *s); /* absolute path, or NULL where there is none */
    const char *(*temp_dir)(struct objstore *s);
};

struct objstore {
    const struct objstore_ops *ops;
};

struct objstore_put {
    struct objstore *store;
};

extern const struct objstore_ops objstore_local_ops, objstore_azure_ops;

/* The method `stat` by way of `get`. */
int objstore_stat_by_reading(struct objstore *s, const char *key, bool digest,
                             struct artifact *ret, struct err *err);

#endif
