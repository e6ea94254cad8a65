/* plays.h - daily totals of song plays as a Parquet file: the CSV engine (csv.h) on one side,
 * the Parquet writer (parquet.h) on the other.
 *
 * Columns Song (string), Date (date), Number of Plays (64 bit integer; DECIMAL(38, 0) if one
 * total of the file does not fit), ordered by the first two. */
#ifndef PLAYS_PLAYS_H
#define PLAYS_PLAYS_H

#include "csv.h"
#include "parquet.h"

/* Where the file goes. `begin` gives an empty place to write to, and may be called a second
 * time: then what was written is to be forgotten. */
struct plays_target {
    int (*begin)(void *arg, struct parquet_sink *ret, struct err *err);
    void *arg;
};

/* As csv_aggregate. E_BAD_INPUT also when a total has more than 38 digits. */
int plays_to_parquet(int in_fd, const struct plays_target *target, int rejects_fd,
                     const struct csv_options *options, struct csv_stats *ret_stats,
                     struct err *err);

#endif
