/* totals.h - a finished table as one sorted set of totals.
 *
 * The set is cut into ranges of songs, which any number of threads can take in any order;
 * each song's rows are added up day by day in a small array that stays in the cache. */
#ifndef CSV_TOTALS_H
#define CSV_TOTALS_H

#include "err.h"
#include "spill.h"
#include "table.h"

struct totals {
    const struct table *table;
    uint32_t *days;  /* all, ascending */
    uint32_t *ranks; /* place in days by number */
    uint32_t day_count;
    size_t ranges;
};

/* `table` must outlive it. 0, -E_NO_MEMORY; release after any. */
int totals_init(struct totals *t, const struct table *table);
void totals_release(struct totals *t);

/* What one thread adds up in. */
struct sums {
    uint128 *sum;
    uint64_t *bits, *over, *top; /* by day; past 128 bits; words of `bits` that are not 0 */
    struct group *groups;
    uint32_t day_count;
};

int sums_init(struct sums *s, uint32_t day_count);
void sums_release(struct sums *s);

/* Takes each song of a range in order, with its totals; non-zero stops. */
struct totals_sink {
    int (*put)(void *arg, const struct song *song, const struct group *groups, size_t count,
               struct err *err);
    void *arg;
};

int totals_range(const struct totals *t, size_t range, struct sums *sums,
                 const struct totals_sink *sink, struct err *err);

/* Writes a finished table as runs, several threads one each; `files` are for as many. */
int table_spill(const struct table *t, struct spill_file *files, size_t buffer_bytes,
                struct run_list *runs, struct err *err);

#endif
