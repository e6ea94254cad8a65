/* merge.h - many sorted sets of totals into one, equal keys added up. */
#ifndef CSV_MERGE_H
#define CSV_MERGE_H

#include "err.h"
#include "plan.h"
#include "spill.h"

/* Takes each total of the merged set, in order; non-zero stops the merge. */
struct merge_sink {
    int (*put)(void *arg, const struct song *song, const struct group *group, struct err *err);
    void *arg;
};

/* Merges sorted tables in memory. */
int merge_tables(struct table *const *tables, size_t count, const struct merge_sink *sink,
                 struct err *err);

/* Merges runs within plan->merge_bytes, in several passes through `scratch` when there are
 * too many to hold a buffer for each. `runs` is used up. */
int merge_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
               const struct merge_sink *sink, struct err *err);

#endif
