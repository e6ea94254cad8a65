/* threads.h - the four threads beside the main one. Private to this room. */
#ifndef RUNTIME_THREADS_H
#define RUNTIME_THREADS_H

#include "board.h"
#include "manager.h"
#include "runtime.h"

struct broker;

/* What a thread works with; nothing but the board and what is atomic is shared. */
struct service {
    const struct runtime_options *options;
    struct board *board;
    struct manager manager;
    struct broker *broker; /* the source's */

    /* The source's, for the worker's health: when it will be through with its step unless
     * something hangs, and how it stands with the broker (enum hints_link). */
    _Atomic int64_t back_by_ms;
    atomic_int link;
};

/* pthread start routines; `arg` is the struct service. Each ends when the board says so: the
 * source once claims have stopped, the others at board_quit. */
void *source_run(void *arg);
void *heartbeat_run(void *arg);
void *syncer_run(void *arg);
void *reporter_run(void *arg);

#endif
