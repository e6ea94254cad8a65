/* parquet_out.h - the command's output as Parquet. */
#ifndef DATA_PROCESSOR_PARQUET_OUT_H
#define DATA_PROCESSOR_PARQUET_OUT_H

#include "csv.h"
#include "outfile.h"

/* plays_to_parquet into `out`. What cannot be written twice (a pipe, standard output) gets the
 * file in one go at the end, from a temporary one. */
int parquet_out_run(int in_fd, const struct outfile *out, int rejects_fd,
                    const struct csv_options *options, struct csv_stats *ret_stats,
                    struct err *err);

#endif
