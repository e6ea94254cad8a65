/* ticker.h - tells the caller how far the work is, a few times a second.
 *
 * Reading counts for READ_SHARE of the work, merging and writing for the rest. Looking at the
 * clock costs nothing beside a block of rows or a buffer of output. One thread at a time. */
#ifndef CSV_TICKER_H
#define CSV_TICKER_H

#include "csv.h"

#define TICKER_READ_SHARE 0.7

struct ticker {
    const struct csv_options *options;
    struct csv_progress now;
    int64_t next_ms;
};

/* Time to tell? */
bool ticker_is_due(const struct ticker *t);

/* Tells how much has been read, or which part of the rest is done. */
void ticker_tell_read(struct ticker *t, uint64_t bytes, uint64_t rows);
void ticker_tell_written(struct ticker *t, double part);

#endif
