#include "plan.h"

#include <sched.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static size_t clamp(size_t n, size_t least, size_t most)
{
    return n < least ? least : n > most ? most : n;
}

static unsigned core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return (unsigned)CPU_COUNT(&set);
}

/* A quarter for the input under way, the rest for the totals; when these are spilled and
 * gone, half of all serves the merge. */
void csv_plan_make(const struct csv_options *options, struct csv_plan *ret_plan)
{
    size_t memory = options->memory_bytes > 0 ? (size_t)options->memory_bytes : 256 * MIB;
    unsigned threads = options->threads ? options->threads : core_count();

    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    unsigned blocks = threads == 1 ? 2 : 2 * threads + 2;
    size_t run_buffer = clamp(memory / 8 / threads, 4 * KIB, 64 * KIB);
    size_t tables = memory - memory / 4;
    size_t table = tables / threads;
    *ret_plan = (struct csv_plan){
        .threads = threads,
        .blocks = blocks,
        .block_bytes = clamp(memory / 4 / blocks, 4 * KIB, 256 * KIB),
        .blocks_bytes = memory / 4,
        .row_max = ROW_MAX_BYTES,
        .table_bytes = table > 2 * run_buffer ? table - run_buffer : table / 2,
        .run_buffer_bytes = run_buffer,
        .merge_bytes = memory / 2,
        .merge_fan_in = 1024,
    };
}
