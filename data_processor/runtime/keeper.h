/* keeper.h - what stands between a worker and a job's process. Private to this room. */
#ifndef RUNTIME_KEEPER_H
#define RUNTIME_KEEPER_H

#include <stdint.h>

#include "err.h"

/* Splits a slot's process in two. Returns in the child, which is to run jobs: 0, or negative
 * when it is an orphan already. In the other one, the keeper, it returns only when there is no
 * child: -E_STALE when the worker is gone, or what fork said. grace_ms: between a SIGTERM and
 * the end of all that is left. Call it while there is one thread. */
int keeper_split(long worker_pid, int64_t grace_ms, struct err *err);

#endif
