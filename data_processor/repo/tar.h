/* tar.h - a sink that packs the files into one object (POSIX pax), for stores that are no
 * folder. */
#ifndef REPO_TAR_H
#define REPO_TAR_H

#include "objstore.h"
#include "repo.h"

struct tar {
    struct objstore_put *put; /* the caller's */
    unsigned padding;         /* of the file being written: what fills its last block */
};

/* The sink of a put that the caller has begun and commits after tar_end. */
struct repo_sink tar_sink(struct tar *t);
int tar_end(struct tar *t, struct err *err);

#endif
