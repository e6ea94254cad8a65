/* untar.h - the files in a POSIX archive (ustar and pax), without unpacking it. Private to this
 * room.
 *
 * What repo_download packs where the object store is no folder: regular files only. */
#ifndef BLOBS_UNTAR_H
#define BLOBS_UNTAR_H

#include <stdint.h>

#include "err.h"

/* The file's bytes are `size` at `at` of the archive; `path` is valid during the call;
 * non-zero ends the walk with that value. */
typedef int untar_visit_fn(const char *path, uint64_t at, uint64_t size, void *arg,
                           struct err *err);

/* Visits each file in the order of the archive; fd stays where it is. -E_BAD_INPUT for what is
 * no such archive, or is cut short. Blocks on the disk. */
int untar_files(int fd, untar_visit_fn *visit, void *arg, struct err *err);

#endif
