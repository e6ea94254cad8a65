/* emit.h - from totals in memory or in runs to the bytes of the output. */
#ifndef CSV_EMIT_H
#define CSV_EMIT_H

#include "merge.h"
#include "totals.h"
#include "writer.h"

enum { EMIT_BY_RUNS = 1 };

/* Writes what finished tables hold: as many threads as there are tables take the ranges of
 * songs as they come. EMIT_BY_RUNS: nothing was done, there are too many different days. */
int emit_tables(struct table *const *tables, size_t count, const struct csv_plan *plan,
                struct output *output, struct err *err);

/* Writes what spilled runs hold; they are used up. */
int emit_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
              struct output *output, struct err *err);

#endif
