#include "plan.h"

#include <sched.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

/* What a small input is, and all that one needs, however much its rows are unlike each other:
 * tables made for more cost more than to read it. */
enum { SMALL_INPUT = 64 << 10, SMALL_MEMORY = 4 << 20 };

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

/* A small part for the input at hand and for the output, the rest for the totals; when these
 * are spilled and gone, half of all serves the merge. */
void csv_plan_make(const struct csv_options *options, struct csv_plan *ret_plan)
{
    size_t memory = options->memory_bytes > 0 ? (size_t)options->memory_bytes : 256 * MIB;
    unsigned threads = options->threads ? options->threads : core_count();

    threads = threads > THREADS_MAX ? THREADS_MAX : threads;
    size_t share = memory / threads;
    size_t block = clamp(share / 16, 4 * KIB, 256 * KIB);
    size_t run_buffer = clamp(share / 8, 4 * KIB, 64 * KIB);
    size_t out = clamp(share / 16, 4 * KIB, 1 * MIB);
    /* small tables grow in steps that are large for them */
    size_t spare = share < 16 * MIB ? share / 16 : 0;
    size_t other = block + out + run_buffer + spare;
    *ret_plan = (struct csv_plan){
        .threads = threads,
        .block_bytes = block,
        .row_max = ROW_MAX_BYTES,
        .table_bytes = share > 2 * other ? share - other : share / 2,
        .out_bytes = out,
        .run_buffer_bytes = run_buffer,
        .merge_bytes = memory / 2,
        .merge_fan_in = 1024,
    };
}

/* What is compressed may turn out to be large after all: then it spills, as it would with this
 * limit. */
void csv_plan_make_for(const struct csv_options *options, uint64_t input_bytes,
                       struct csv_plan *ret_plan)
{
    struct csv_options fitting = *options;

    if (input_bytes > 0 && input_bytes <= SMALL_INPUT) {
        fitting.threads = 1;
        if (fitting.memory_bytes <= 0 || fitting.memory_bytes > SMALL_MEMORY)
            fitting.memory_bytes = SMALL_MEMORY;
    }
    csv_plan_make(&fitting, ret_plan);
}
