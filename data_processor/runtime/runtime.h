/* runtime.h - the door of the worker: claim, run in child processes, report.
 *
 *             claims                    lines on a socketpair
 *   source ----------> board <----> main thread <----> slots (child processes)
 *                      |    ^
 *        heartbeat <---'    '---> reporter
 *
 * Four threads share one board (board.h): the source claims attempts while there are slots
 * for them, the main thread alone talks to slots and starts and ends their processes, the
 * heartbeat keeps leases alive, the reporter hands results back. Each thread but the main one
 * has an HTTP connection of its own. */
#ifndef RUNTIME_RUNTIME_H
#define RUNTIME_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "container.h"
#include "err.h"
#include "objstore.h"
#include "worker_protocol.h"

struct runtime_options {
    const char *manager_url, *amqp_url; /* amqp_url "": no broker */
    const char *worker;                 /* name shown in attempts */
    struct objstore *store;             /* the caller's; to remove what a lost attempt wrote */
    char queues[WORKER_QUEUES_MAX][TASK_QUEUE_MAX];
    size_t queue_count;
    unsigned slots;
    const char *program;          /* what a slot runs; normally /proc/self/exe */
    const char *const *slot_args; /* after `slot <pid of the worker>`; NULL-terminated */
    const char *slot_secret;      /* NAME=value for a slot's environment; NULL: none */
    const char *health_socket;    /* path; "": none */
    int64_t health_after_ms;      /* trouble shorter than this is none */
    int64_t kill_grace_ms, heartbeat_ms, poll_ms, stop_grace_ms;
};

/* Runs until SIGTERM or SIGINT and until what was running then has ended: 0. Negative when it
 * could not start. Blocks. Call it from the process's first thread, before there are others
 * (children die with the thread that started them, and signals are blocked in all). Logs.
 * http_client_global_init must have been called. */
int runtime_run(const struct runtime_options *options, struct err *err);

/* Asks the worker that listens at `path` whether it is consuming: 0, and what it said in
 * ret_line; or negative with the reason in err. Waits up to patience_ms. */
int runtime_ask_health(const char *path, int64_t patience_ms, char *ret_line, size_t size,
                       struct err *err);

/* -- inside a slot's process -- */

enum { SLOT_FD = 3, SLOT_TICKETS_FD = 4, SLOT_LINE_MAX = 1 << 20 };

/* What a slot says beside reports and progress: first that it is ready, perhaps for attempts
 * ahead as well (tickets.h); later that it came by a line which had been taken back. */
#define SLOT_READY       "{\"ready\":true}"
#define SLOT_READY_AHEAD "{\"ready\":true,\"ahead\":true}"
#define SLOT_SKIPPED     "{\"skipped\":true}"

struct child_options {
    struct objstore *store;
    struct container_store *containers;
    const struct config *config;
    unsigned threads;
    int64_t memory_bytes, max_inflated_bytes;
};

/* The first thing a slot's process does: no core files, no foreign files open, and a split in
 * two (keeper.h). Returns in the one that runs jobs, the first victim when memory runs out; it
 * and all that it starts die with the worker. -E_STALE when that is gone already. */
int child_setup(long worker_pid, int64_t kill_grace_ms, struct err *err);

/* Reads works from SLOT_FD, runs each and writes progress and report there, until the other
 * side closes it: 0. Negative when the socket or memory fails. */
int child_serve(const struct child_options *options, struct err *err);

#endif
