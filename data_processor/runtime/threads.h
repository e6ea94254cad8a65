/* threads.h - the three threads beside the main one. Private to this room. */
#ifndef RUNTIME_THREADS_H
#define RUNTIME_THREADS_H

#include "board.h"
#include "manager.h"
#include "runtime.h"

struct broker;

/* What a thread works with; nothing but the board is shared. */
struct service {
    const struct runtime_options *options;
    struct board *board;
    struct manager manager;
    struct broker *broker; /* the source's */
};

/* pthread start routines; `arg` is the struct service. Each ends when the board says so: the
 * source once claims have stopped, the others at board_quit. */
void *source_run(void *arg);
void *heartbeat_run(void *arg);
void *reporter_run(void *arg);

#endif
