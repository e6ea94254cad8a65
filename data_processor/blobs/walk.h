/* walk.h - every file below a folder, by its path from there. Private to this room.
 *
 * Follows no symlink. Blocks on the disk; one walk belongs to one thread. */
#ifndef BLOBS_WALK_H
#define BLOBS_WALK_H

#include <sys/stat.h>

#include "err.h"

/* `path` is valid during the call; non-zero ends the walk with that value. */
typedef int walk_visit_fn(const char *path, const struct stat *st, void *arg, struct err *err);

/* Visits each regular file, in no order. -E_BAD_INPUT for a path of more than 4,096 bytes, for
 * folders too deep, and for what is neither file nor folder. dir_fd stays the caller's. */
int walk_files(int dir_fd, walk_visit_fn *visit, void *arg, struct err *err);

#endif
