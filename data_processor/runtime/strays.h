/* strays.h - processes that a job started and that outlived their parent.
 *
 * On Linux such a process becomes the child of its nearest living ancestor that is a
 * subreaper, whatever session or group it put itself into. So a process that adopts strays
 * can find, among its children, all that is left of a tree, and end it. */
#ifndef RUNTIME_STRAYS_H
#define RUNTIME_STRAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

/* This process is a subreaper from now on. */
int strays_adopt(struct err *err);

/* Is this child no stray? */
typedef bool strays_spare_fn(void *arg, pid_t pid);

/* Sends signum to every child but those that `spare` (NULL: none) claims. */
void strays_signal(int signum, strays_spare_fn *spare, void *arg);

/* Kills and collects them and what becomes a child by that. True when none is left; false when
 * some are after patience_ms, as one that waits for a dead disk. Blocks that long at most. */
bool strays_end(strays_spare_fn *spare, void *arg, int64_t patience_ms);

/* The children there are now, up to max; how many are in ret. */
size_t strays_list(pid_t *ret, size_t max);

#endif
