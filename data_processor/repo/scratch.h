/* scratch.h - a folder for the time of one attempt, outside of the object store's trees. */
#ifndef REPO_SCRATCH_H
#define REPO_SCRATCH_H

#include "err.h"

enum { SCRATCH_PATH_MAX = 4000 };

struct scratch {
    int dir_fd, lock_fd;
    char name[64], path[SCRATCH_PATH_MAX];
};

/* Makes an empty folder below `dir`. Those that processes have left which live no more are
 * removed first. */
int scratch_make(const char *dir, struct scratch *ret, struct err *err);
void scratch_remove(struct scratch *s);

#endif
