/* container_local.h - what the files of the local containers share. Private to this room.
 *
 *   <root>/containers/NAME/info         makes the folder a container; "commit=…" when known
 *   <root>/containers/NAME/blobs/HH/H…  a blob: HHH… is the SHA-256 of its name
 *   <root>/containers/NAME/blobs/T.part a blob on its way, locked with flock while its writer
 *                                       lives: the sweep of the object store takes orphans
 *
 * A blob's file is its content, its name, and a trailer of LOCAL_TRAILER_BYTES that tells the
 * size of both and the digest of the content. A file whose sizes do not add up (a power loss
 * before a flush) is no blob. */
#ifndef OBJSTORE_CONTAINER_LOCAL_H
#define OBJSTORE_CONTAINER_LOCAL_H

#include "container_ops.h"

enum { LOCAL_TRAILER_BYTES = 56, LOCAL_SHARD_MAX = 3, LOCAL_SHARDS = 256 };

#define LOCAL_BLOBS "blobs"

struct local_containers {
    struct container_store base;
    struct objstore *objects;
    const char *root; /* the object store's */
};

static inline struct local_containers *local_store_of(const struct container *c)
{
    return (struct local_containers *)(void *)c->store;
}

/* The folder of a container that exists, or -E_NOT_FOUND. */
int local_container_dir(const struct container *c, struct err *err);

/* Its folder of blobs, made if `make`; -E_NOT_FOUND when the container, or without `make` the
 * folder, is not there: *ret_no_container tells the two apart and may be NULL. */
int local_blobs_dir(const struct container *c, bool make, bool *ret_no_container,
                    struct err *err);

/* The sentence of a blob that is not there. Returns -E_NOT_FOUND. */
int local_no_blob(const struct container *c, const char *name, struct err *err);

/* Fills ret from the file of a blob; -E_NOT_FOUND when it is none, without a sentence. */
int local_read_trailer(int fd, struct blob *ret, struct err *err);

/* -- the methods, by file: container_local_put.c, ..._get.c, ..._list.c -- */

int local_put_begin(struct container *c, const char *name, struct container_put **ret,
                    struct err *err);
int local_put_write(struct container_put *p, const void *bytes, size_t len, struct err *err);
int local_put_commit_free(struct container_put *p, struct blob *ret, struct err *err);
void local_put_abort_free(struct container_put *p);
int local_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                   struct err *err);
int local_remove_blob(struct container *c, const char *name, struct err *err);

int local_stat(struct container *c, const char *name, struct blob *ret, struct err *err);
int local_get(struct container *c, const char *name, struct blob_reader **ret,
              struct blob *ret_blob, struct err *err);
int local_read(struct blob_reader *r, void *to, size_t size, size_t *ret_got, struct err *err);
void local_read_close(struct blob_reader *r);

int local_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                     struct err *err);
int local_list_next(struct container_list *l, const struct blob **ret, struct err *err);
void local_list_free(struct container_list *l);

/* The path of a blob below the folder of blobs. */
enum { LOCAL_PATH_MAX = SHA256_TEXT_MAX + 1 };
int local_blob_path(const char *name, char ret_path[LOCAL_PATH_MAX], struct err *err);

#endif
