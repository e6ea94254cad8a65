/* merge.h - many sorted runs of totals into one, equal keys added up. */
#ifndef CSV_MERGE_H
#define CSV_MERGE_H

#include "err.h"
#include "plan.h"
#include "spill.h"

/* Takes each total of the merged set, in order; non-zero stops the merge. `is_new`: the first
 * one of its song. */
struct merge_sink {
    int (*put)(void *arg, const struct song *song, bool is_new, const struct group *group,
               struct err *err);
    void *arg;
};

/* Merges runs within plan->merge_bytes, in several passes through `scratch` when there are
 * too many to hold a buffer for each. Called again it does the last pass again. */
int merge_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
               const struct merge_sink *sink, struct err *err);

#endif
