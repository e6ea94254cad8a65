/* executor.h - a bounded queue and the threads that run what is in it.
 *
 * Safe from any thread. executor_submit never blocks. */
#ifndef HTTP_EXECUTOR_H
#define HTTP_EXECUTOR_H

#include <stddef.h>

#include "err.h"

struct executor;

/* Part of the caller's object; must live until run or drop got it. */
struct executor_job {
    struct executor_job *next;
    void (*run)(struct executor_job *job);
    void (*drop)(struct executor_job *job); /* it will not run: the executor stopped */
};

/* E_NO_MEMORY, or E_UNAVAILABLE when a thread cannot be started. */
int executor_start(int threads, size_t capacity, struct executor **ret, struct err *err);

/* 0; -E_OVERLOAD when the queue is full, -E_UNAVAILABLE after executor_stop. */
int executor_submit(struct executor *e, struct executor_job *job);

/* Drops the queue, waits for the jobs that run. Then only submit (which refuses) and free may
 * be called. */
void executor_stop(struct executor *e);
void executor_free(struct executor *e);

#endif
