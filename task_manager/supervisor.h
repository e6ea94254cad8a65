/* supervisor.h - keeps one data_processor running beside the task manager (WORKERS).
 *
 * For the one-machine set-up: the worker is an ordinary data_processor that talks HTTP like
 * any other. It is started again with a back-off when it ends, and ends by itself when the
 * task manager dies. Used from the main thread only: the kernel's parent-death signal
 * follows the thread that started the child. SIGCHLD has to be blocked in every thread. */
#ifndef TASK_MANAGER_SUPERVISOR_H
#define TASK_MANAGER_SUPERVISOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "config.h"

struct supervisor {
    const struct config *config;
    int slots;     /* 0: no worker is wanted */
    char url[128]; /* of this task manager */
    pid_t pid;     /* 0 while none runs */
    int64_t started_at_ms, restart_at_ms;
    unsigned failures; /* in a row, without a minute of life in between */
};

/* Starts the worker; `address` is where this task manager listens ("0.0.0.0:5000"). */
void supervisor_start(struct supervisor *s, const struct config *config, const char *address);

/* To be called after SIGCHLD and when supervisor_wait_ms has passed: collects the dead worker
 * and starts the next one when it is time. */
void supervisor_step(struct supervisor *s);

/* Milliseconds until the next step is due; -1: only after SIGCHLD. */
int64_t supervisor_wait_ms(const struct supervisor *s);

/* Asks the worker to end, which it does within three quarters of STOP_GRACE; a few seconds
 * later it is killed. */
void supervisor_stop(struct supervisor *s);

#endif
