/* container.h - containers of named blobs: the files of a repository, as they are called there.
 *
 * The object store (objstore.h) keeps immutable files under keys of our own making; a container
 * keeps whatever names a repository has. A blob's name is any string of 1 to 4,096 bytes but
 * NUL, told apart byte by byte ("A" and "a" are two, and so are "a" and "a/b"); nothing in it
 * has a meaning for the file system, so none can leave the container. A container's name
 * follows container_name.h.
 *
 * A blob becomes visible whole or not at all, also when its writer is killed half way, and
 * replaces an older one of its name in one step; who reads the older one goes on reading that.
 *
 * Two implementations:
 *   local  below the object store's folder: containers/NAME/blobs/HH/HASH, a file for each
 *          blob, named by the SHA-256 of its name. It holds the content and behind it the
 *          name and the digest. What was put survives a power loss after container_flush.
 *   azure  Azure Blob Storage. A blob keeps its name, but for what Azure cannot tell apart
 *          or would change (bytes that are no UTF-8, control characters, '\', segments that are
 *          "." or ".." or end in a dot, ...): these bytes become %XX, and so does a '%' that
 * two hex digits follow. At most 1,024 characters, else -E_BAD_VALUE.
 *
 * A store and a container may be used from any thread; a put, a reader and a list belong to
 * one thread at a time, and are to be ended before the container is closed, as that is before
 * its store. Calls block on the disk or the network. Errors of all calls, beside those named:
 * -E_NO_MEMORY, -E_IO, -E_NO_SPACE, and on Azure, after some tries with growing pauses,
 * -E_UNAVAILABLE, -E_TIMEOUT, or -E_REFUSED when the account's key or rights do not suffice. No
 * error text holds a key or a signature. */
#ifndef OBJSTORE_CONTAINER_H
#define OBJSTORE_CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "artifact.h"
#include "container_name.h"
#include "err.h"
#include "objstore.h"

enum {
    BLOB_NAME_MAX = 4097,
    CONTAINER_COMMIT_MAX = 129 /* text of [A-Za-z0-9._-] */
};

struct container_store;
struct container;
struct container_put;
struct container_list;
struct blob_reader;

struct blob {
    char name[BLOB_NAME_MAX];
    uint64_t size;
    char sha256[SHA256_TEXT_MAX]; /* lower-case hex; "" for a blob of Azure that others put */
};

/* Is it a connection string that container_store_open could use, or none? -E_BAD_VALUE says
 * what is wrong, without showing it. Pure. */
int container_check_settings(const char *azure_connection, struct err *err);

/* `azure_connection` NULL or "": the containers of the object store `objects`, which has to be
 * a local one (-E_UNSUPPORTED) and stays open for as long as the containers. Otherwise those of
 * the storage account that this connection string names (-E_BAD_VALUE says what is wrong in
 * it). Nothing is asked of the network yet; http_client_global_init must have been called. */
int container_store_open(struct objstore *objects, const char *azure_connection,
                         struct container_store **ret, struct err *err);
void container_store_close(struct container_store *s); /* NULL is fine */

/* Can containers be read and made there now? One short try. */
int container_store_check(struct container_store *s, struct err *err);

/* "local" or "azure". */
const char *container_store_kind(struct container_store *s);

/* --- containers --- */

/* A handle; asks nothing, the container need not exist. -E_BAD_VALUE for the name. */
int container_open(struct container_store *s, const char *name, struct container **ret,
                   struct err *err);
void container_close(struct container *c); /* NULL is fine */
const char *container_name(const struct container *c);

/* Makes the container unless it is there. */
int container_ensure(struct container *c, bool *ret_existed, struct err *err);

/* 0, or -E_NOT_FOUND. */
int container_exists(struct container *c, struct err *err);

/* Removes it with all it holds; one that is not there is success. On Azure its name may stay
 * taken for some 30 s. */
int container_remove(struct container *c, struct err *err);

/* E_BAD_VALUE for what cannot be the note of a commit. Pure. */
int container_check_commit(const char *commit, struct err *err);

/* The commit that the blobs came from: a note for whoever reads them; "" when there is none.
 * -E_NOT_FOUND without the container. */
int container_set_commit(struct container *c, const char *commit, struct err *err);
int container_commit(struct container *c, char ret_commit[CONTAINER_COMMIT_MAX],
                     struct err *err);

/* Makes durable all that was put until now. Needed once, after the last put; until then a power
 * loss may take blobs away (whole). */
int container_flush(struct container *c, struct err *err);

/* --- writing: all of these -E_NOT_FOUND without the container, a put by its commit --- */

/* A blob of unknown size, piece by piece. *ret is NULL after a failure. */
int container_put_begin(struct container *c, const char *name, struct container_put **ret,
                        struct err *err);
int container_put_write(struct container_put *p, const void *bytes, size_t len,
                        struct err *err);
/* Makes the blob visible and frees p, also after a failure; ret may be NULL. */
int container_put_commit_free(struct container_put *p, struct blob *ret, struct err *err);
void container_put_abort_free(struct container_put *p); /* NULL is fine */

/* The regular file `fd` from its start to its end (its offset stays where it is). On Azure a
 * large one goes up in blocks, several at a time; after a fault, also of the whole process, the
 * next put of the same content sends only the blocks that are missing. -E_IO when the file
 * changes meanwhile. */
int container_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                       struct err *err);

/* One that is not there is success. */
int container_delete(struct container *c, const char *name, struct err *err);

/* --- reading --- */

/* -E_NOT_FOUND when the blob, or the container, is not there. */
int container_stat(struct container *c, const char *name, struct blob *ret, struct err *err);

/* The blob from its start; ret_blob may be NULL. */
int container_get(struct container *c, const char *name, struct blob_reader **ret,
                  struct blob *ret_blob, struct err *err);

/* The next bytes, at most `size`: *ret_got is 0 at the end only. The end is checked against the
 * digest: -E_CORRUPT. -E_STALE when the blob was replaced meanwhile (Azure). */
int blob_read(struct blob_reader *r, void *to, size_t size, size_t *ret_got, struct err *err);
void blob_close(struct blob_reader *r); /* NULL is fine */

/* All blobs whose name starts with prefix ("" for all), each once, ascending by name: locally
 * by its bytes, on Azure in the service's order. Memory is bounded whatever the container
 * holds. Blobs that are put or deleted meanwhile may be in it or not. -E_NOT_FOUND. */
int container_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                         struct err *err);
/* *ret is NULL after the last one, else valid until the next call. */
int container_list_next(struct container_list *l, const struct blob **ret, struct err *err);
void container_list_free(struct container_list *l); /* NULL is fine */

#endif
