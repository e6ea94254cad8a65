/* parallel.h - one piece of work shared by several threads. */
#ifndef CSV_PARALLEL_H
#define CSV_PARALLEL_H

#include <stdatomic.h>
#include <stddef.h>

/* Calls fn(arg, 0) here and fn(arg, 1), fn(arg, 2)... on threads of their own, `threads` in
 * all, and returns when all are through. Where a thread cannot be started its call is left
 * out: each takes what is left to do until nothing is. */
void parallel_run(size_t threads, void (*fn)(void *arg, size_t me), void *arg);

/* Takes the next of `count` things to do; false when none is left. */
static inline int parallel_next(atomic_size_t *next, size_t count, size_t *ret_index)
{
    *ret_index = atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
    return *ret_index < count;
}

/* As many threads as are worth starting for so many records, at most `threads`. */
static inline size_t parallel_worth(size_t threads, size_t records)
{
    size_t worth = records / 32768 + 1;

    return worth < threads ? worth : threads;
}

#endif
