/* plan.h - how the memory limit is shared out. Not the door: tests use it to force tiny
 * blocks, early spills and many merge passes. */
#ifndef CSV_PLAN_H
#define CSV_PLAN_H

#include <stddef.h>

#include "csv.h"

enum { ROW_MAX_BYTES = 4 * 1024 * 1024, THREADS_MAX = 256 };

struct scanner;

struct csv_plan {
    unsigned threads;        /* workers, at most THREADS_MAX; 1: the caller does all */
    size_t block_bytes;      /* input that a worker takes at a time, unless a row is longer */
    size_t row_max;          /* a longer row is bad; at least ROW_MAX_LEAST */
    size_t table_bytes;      /* totals of one worker, beyond which it spills */
    size_t out_bytes;        /* buffer for the output in each thread */
    size_t run_buffer_bytes; /* to write or read one run */
    size_t merge_bytes;      /* buffers of one merge */
    size_t merge_fan_in;     /* runs merged at once, at most */
    const struct scanner *scanner; /* NULL: the best for this machine */
};

enum { ROW_MAX_LEAST = 160 };

void csv_plan_make(const struct csv_options *options, struct csv_plan *ret_plan);

/* For an input of so many bytes, as they lie on disk; 0: not known. */
void csv_plan_make_for(const struct csv_options *options, uint64_t input_bytes,
                       struct csv_plan *ret_plan);

/* csv_aggregate with a plan of the caller's. */
int csv_aggregate_planned(int in_fd, int out_fd, int rejects_fd,
                          const struct csv_options *options, const struct csv_plan *plan,
                          struct csv_stats *ret_stats, struct err *err);
int csv_aggregate_planned_to(int in_fd, const struct csv_sink *sink, int rejects_fd,
                             const struct csv_options *options, const struct csv_plan *plan,
                             struct csv_stats *ret_stats, struct err *err);

#endif
