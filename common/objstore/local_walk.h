/* local_walk.h - listing and sweeping the tree of a local object store. Private to this room.
 *
 * `root` is the store's directory; one that is not there is an empty store. Contracts are
 * those of objstore_list and objstore_sweep_parts. */
#ifndef OBJSTORE_LOCAL_WALK_H
#define OBJSTORE_LOCAL_WALK_H

#include "objstore.h"

/* What an unfinished put is called: the key with this at the end. */
#define PART_SUFFIX ".part"
enum { PART_NAME_MAX = ARTIFACT_KEY_MAX + sizeof PART_SUFFIX };

int local_walk_list(const char *root, const char *prefix, objstore_visit_fn *visit, void *arg,
                    struct err *err);

/* Removes a file that nobody has written to for older_than_ms and whose flock nobody holds;
 * true when it is gone now by this. */
bool local_walk_sweep_file(int dir_fd, const char *name, int64_t older_than_ms);

/* Takes away the parts whose flock nobody holds, and folders that are empty. Trees (tree.h) are
 * passed over: their files may be called what they like. */
int local_walk_sweep(const char *root, int64_t older_than_ms, uint64_t *ret_removed,
                     struct err *err);

#endif
