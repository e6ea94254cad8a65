/* outfile.h - an output file that is whole or not there, for the command. */
#ifndef DATA_PROCESSOR_OUTFILE_H
#define DATA_PROCESSOR_OUTFILE_H

#include <limits.h>
#include <stdbool.h>

#include "err.h"

struct outfile {
    int fd;
    bool owned;          /* the fd is ours to close */
    char path[PATH_MAX]; /* where it shall stand; "" when written in place */
    char part[PATH_MAX]; /* where it grows; "" once there is none */
};

/* Opens an output: "-" is standard output; a device or pipe is written in place; anything
 * else grows in a `.part` file beside it. */
int outfile_open(struct outfile *f, const char *path, struct err *err);

/* Makes what was written durable and puts it in its place. */
int outfile_commit(struct outfile *f, struct err *err);

/* Closes and removes what was not committed. Safe after a failed open or a commit. */
void outfile_close(struct outfile *f);

/* Removes the part file by a call that is safe in a signal handler. */
void outfile_unlink_part(const struct outfile *f);

#endif
