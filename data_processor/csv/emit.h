/* emit.h - from totals in memory or in runs to the bytes of the output. */
#ifndef CSV_EMIT_H
#define CSV_EMIT_H

#include "merge.h"
#include "totals.h"
#include "writer.h"

/* Writes what a finished table holds: several threads take the ranges of songs as they come. */
int emit_table(const struct table *t, const struct csv_plan *plan, struct output *output,
               struct err *err);

/* Writes what spilled runs hold. */
int emit_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
              struct output *output, struct err *err);

#endif
