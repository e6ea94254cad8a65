/* reader.h - cuts the input into blocks of whole rows and feeds them to the pipeline.
 *
 * Also reads the header: the first line that is not empty. Runs in the caller's thread and
 * blocks on the input. */
#ifndef CSV_READER_H
#define CSV_READER_H

#include "pipeline.h"
#include "source.h"

/* Called with the bytes read so far; may be NULL. */
struct reader_progress {
    void (*call)(void *arg, uint64_t bytes_read, uint64_t bytes_total);
    void *arg;
    uint64_t total;
};

/* Reads all of `source`, or as far as it matters. Fills *ret_columns (release it after any
 * outcome) before the first block is submitted. E_BAD_INPUT for the header or damaged
 * compressed data: the latter counts only if no earlier row is bad. */
int reader_run(struct source *source, struct pipeline *pipeline, const struct csv_plan *plan,
               const struct reader_progress *progress, struct columns *ret_columns,
               struct err *err);

#endif
