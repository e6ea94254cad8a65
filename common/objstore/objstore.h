/* objstore.h - immutable files by key.
 *
 * Keys follow artifact.h, so none can leave the root. An object becomes visible whole or not
 * at all, and is never overwritten. Directories are made as needed, also again after somebody
 * removed them.
 *
 * A store may be used from any thread; one put belongs to one thread at a time. Calls block
 * on the disk or the network. Implementations: "local" (file:DIR): temp file, rename, fsync of
 * the file and its directory; a power cut within a commit may leave half a file under the key,
 * which no commit has returned and nobody knows. "azure" (azure:CONTAINER): Azure Blob Storage;
 * what is written or read passes through a temporary file, errors are those of container.h too,
 * there are no folders that could be in an object's way, and a second put of a key fails at its
 * commit. */
#ifndef OBJSTORE_OBJSTORE_H
#define OBJSTORE_OBJSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "artifact.h"
#include "err.h"

struct objstore;
struct objstore_put;

/* Is `url` one that objstore_open could try? E_BAD_VALUE says what is wrong; nothing is made.
 */
int objstore_check_url(const char *url, struct err *err);

/* Opens the store at `url` ("file:DIR"), creating its root, raw_data/ and processed_data/.
 * E_BAD_VALUE names what is wrong with the URL. */
int objstore_open(const char *url, struct objstore **ret, struct err *err);
/* The same with the connection string of a storage account, which azure:CONTAINER needs: makes
 * the container, for which http_client_global_init must have been called. */
int objstore_open_on(const char *url, const char *azure_connection, struct objstore **ret,
                     struct err *err);
void objstore_close(struct objstore *s);

/* A valid key of artifact.h that lies in a folder ("raw_data/x"): what else lives in the
 * root, such as the default SQLite file, is no object and can be neither read nor deleted.
 * Every call below answers any other key with E_BAD_VALUE. Pure. */
bool objstore_key_is_valid(const char *key);

/* Starts a new object. E_EXISTS when the key is taken or another put of it is under way.
 * Bytes go in either by objstore_put_write, which hashes them on the way, or by writing to
 * objstore_put_fd (the put's, at offset 0, also readable; do not close it), which commit or
 * publish then reads once more to hash; not both. E_NO_SPACE when the disk is full. After a
 * failed write the put is still to be aborted; a commit would fail. */
int objstore_put_begin(struct objstore *s, const char *key, struct objstore_put **ret,
                       struct err *err);
int objstore_put_write(struct objstore_put *p, const void *bytes, size_t len, struct err *err);
int objstore_put_fd(struct objstore_put *p);

/* A descriptor that keeps objstore_sweep_object away from the object, also after its commit or
 * publish,
 * until it is closed or the process ends: for the time in which nothing durable names the
 * object yet. -1 when there are no descriptors left. */
int objstore_put_hold(struct objstore_put *p);

/* Makes the object durable and visible and frees p; after a failure the object is not there
 * (a failed fsync is never tried again) and p is freed too. E_EXISTS when another put of the
 * same key was faster. */
int objstore_put_commit_free(struct objstore_put *p, struct artifact *ret, struct err *err);

/* As the commit, but durable only after objstore_sync has said so: who has many small objects
 * spares each the wait for the disk, which takes them together. Until then nobody else may be
 * told of the object. (What is too large to be quick is durable at once: more than 256 KiB, and
 * whatever goes to Azure.) */
int objstore_put_publish_free(struct objstore_put *p, struct artifact *ret, struct err *err);

/* Makes objects durable that were published, by whatever process; those that are already may
 * be among them. Calls lost for each that could not be: one whose sync failed was removed (it
 * is never tried again), one that could not be opened may be there (a local one that is not is
 * E_NOT_FOUND). Keys stay as they are until it returns. Blocks on the disk. */
typedef void objstore_lost_fn(size_t number, const struct err *why, void *arg);
void objstore_sync(struct objstore *s, const char *const *keys, size_t count,
                   objstore_lost_fn *lost, void *arg);

/* Drops it; NULL is fine. */
void objstore_put_abort_free(struct objstore_put *p);

/* Opens an object for reading; the caller closes the fd. E_NOT_FOUND, E_BAD_VALUE (key). */
int objstore_get(struct objstore *s, const char *key, int *ret_fd, uint64_t *ret_size,
                 struct err *err);

/* Size, and with `digest` also the SHA-256 (reads it all). */
int objstore_stat(struct objstore *s, const char *key, bool digest, struct artifact *ret,
                  struct err *err);

/* Removes an object, and the directories above it that are empty then; one that is not there
 * is success. A power loss may bring a deleted object back. */
int objstore_delete(struct objstore *s, const char *key, struct err *err);

/* Calls visit for every object whose key starts with prefix, in no order, with its age since
 * last written; a visit that returns non-zero ends the walk with that value. The visit may
 * delete the object. */
typedef int objstore_visit_fn(const char *key, uint64_t size, int64_t age_ms, void *arg);
int objstore_list(struct objstore *s, const char *prefix, objstore_visit_fn *visit, void *arg,
                  struct err *err);

/* As objstore_delete, unless somebody holds the object or has written to it within
 * older_than_ms. */
int objstore_sweep_object(struct objstore *s, const char *key, int64_t older_than_ms,
                          bool *ret_removed, struct err *err);

/* Removes unfinished puts (.part) that nobody has written to for older_than_ms and whose
 * process is gone, and folders within folders that have been empty for that long. Others may
 * make and remove objects and folders meanwhile; ret_removed counts the parts. */
int objstore_sweep_parts(struct objstore *s, int64_t older_than_ms, uint64_t *ret_removed,
                         struct err *err);

/* Free space for new objects, in bytes. Fails when the root is gone. */
int objstore_free_bytes(struct objstore *s, uint64_t *ret_bytes, struct err *err);

/* The key of an object named as old clients do: by its key, or by an absolute path under the
 * store's root. E_BAD_VALUE for anything else; the object need not exist. */
int objstore_key_of(struct objstore *s, const char *path, char ret_key[ARTIFACT_KEY_MAX],
                    struct err *err);

/* Where the store is, for messages to people: the absolute path of a local one. The string is
 * the store's. */
const char *objstore_place(struct objstore *s);

/* The absolute path of a store that is a folder; NULL for others. The string is the store's. */
const char *objstore_root(struct objstore *s);

/* A directory on the same disk for spill files of jobs (made if missing); the string is the
 * store's. */
const char *objstore_temp_dir(struct objstore *s);

#endif
