/* executor.h - bounded queues and the threads that run what is in them.
 *
 * There are two lanes with a queue each. Jobs start in the order in which they came, but
 * common jobs never hold the last quarter of the threads (at least one, if there are two), so
 * that jobs of the reserved lane go on when common ones block for long.
 *
 * Safe from any thread. executor_submit never blocks. */
#ifndef HTTP_EXECUTOR_H
#define HTTP_EXECUTOR_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct executor;

enum executor_lane { EXECUTOR_COMMON, EXECUTOR_RESERVED, EXECUTOR_LANE__COUNT };

/* Part of the caller's object; must live until run or drop got it. */
struct executor_job {
    struct executor_job *next;
    uint64_t ticket;
    void (*run)(struct executor_job *job);
    void (*drop)(struct executor_job *job); /* it will not run: the executor stopped */
};

/* `capacity` is that of each lane. E_NO_MEMORY, or E_UNAVAILABLE when a thread cannot be
 * started. */
int executor_start(int threads, size_t capacity, struct executor **ret, struct err *err);

/* 0; -E_OVERLOAD when the lane's queue is full, -E_UNAVAILABLE after executor_stop. */
int executor_submit(struct executor *e, enum executor_lane lane, struct executor_job *job);

/* Drops the queues, waits for the jobs that run. Then only submit (which refuses) and free may
 * be called. */
void executor_stop(struct executor *e);
void executor_free(struct executor *e);

#endif
