/* csv_run.h - one aggregation over bytes in memory, for the tests of the engine. */
#ifndef TEST_CSV_RUN_H
#define TEST_CSV_RUN_H

#include <stdbool.h>
#include <stddef.h>

#include "csv.h"
#include "plan.h"

enum csv_packing { CSV_PLAIN, CSV_GZIP, CSV_ZSTD };

struct csv_case {
    const char *data;
    size_t len;
    const struct csv_plan *plan; /* NULL: made from the options */
    struct csv_options options;  /* temp_dir NULL: /tmp */
    size_t pipe_chunk;           /* 0: a file; else a pipe fed in writes of this size */
    int out_fd;                  /* 0: a file in memory */
};

struct csv_result {
    int rc;
    struct err err;
    struct csv_stats stats;
    char *out, *rejects; /* NUL-terminated; free by csv_result_release */
    size_t out_len, rejects_len;
};

void csv_run(const struct csv_case *c, struct csv_result *ret_result);
void csv_result_release(struct csv_result *r);

/* Compressed copy in two members (the split is at half); free() it. */
char *csv_pack(enum csv_packing packing, const char *data, size_t len, size_t *ret_len);

/* A plan in which a few bytes fill a block and a few rows fill a table. */
struct csv_plan csv_tiny_plan(unsigned threads, size_t block_bytes, size_t table_bytes);

#endif
