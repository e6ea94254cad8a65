/* upload.h - a folder of plain files, or an archive of them, into a container: every file a
 * blob, named by its path.
 *
 * Several threads upload, the caller's walks. A file whose blob is there already with the same
 * digest is not sent again, so an upload that was cut short goes on where it was. Blocks as
 * long as it takes. */
#ifndef BLOBS_UPLOAD_H
#define BLOBS_UPLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "container.h"

enum { UPLOAD_WORKERS = 8 };

struct upload_stats {
    uint64_t files, bytes;           /* all there are */
    uint64_t sent_files, sent_bytes; /* of these, those that were not there already */
    uint64_t stale, pruned;          /* blobs that the folder does not have */
};

struct upload_options {
    int dir_fd, tar_fd;          /* the folder, or else (dir_fd -1) the archive (untar.h);
                                    the caller's */
    struct container *container; /* which is there */
    bool may_hold;               /* it may hold some of the files already */
    bool prune;                  /* delete blobs that the folder does not have */
    unsigned workers;            /* 1 to 64 */
    /* After each file, from any thread but one at a time; may be NULL. */
    void (*progress)(void *arg, const struct upload_stats *so_far);
    void *progress_arg;
};

/* All files, flushed (container_flush). The first failure ends it; what was uploaded until then
 * stays. -E_BAD_INPUT for a folder that holds what no repository can have. */
int upload_folder(const struct upload_options *options, struct upload_stats *ret,
                  struct err *err);

#endif
