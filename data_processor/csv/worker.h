/* worker.h - turns blocks of whole rows into totals.
 *
 * A worker belongs to one thread; it shares nothing but the columns, which nobody changes
 * while workers run. */
#ifndef CSV_WORKER_H
#define CSV_WORKER_H

#include "ledger.h"
#include "plan.h"
#include "spill.h"
#include "table.h"

/* A piece of the input that starts at the start of a row and ends at a row end (or at the
 * end of the input). One byte behind `len` is there for the parser's sentinel. */
struct block {
    char *data;
    size_t start, len, cap; /* rows lie in [start, len) */
    bool too_long;          /* the head of one row longer than row_max, account filled in */
    uint64_t number;
    bool done;
    struct account account;
};

struct worker {
    const struct columns *columns;
    const struct csv_plan *plan;
    bool skip;
    struct table table;
    struct spill_file file;
    struct run_list runs;
    char *unescaped; /* a song without doubled quotes */
    size_t unescaped_room;
};

int worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                bool skip, const char *temp_dir, struct err *err);
void worker_release(struct worker *w);

/* Adds the rows of `b` to the totals and fills its account. Unless skipping, stops behind
 * the first bad row. E_NO_SPACE, E_IO, E_NO_MEMORY. */
int worker_take(struct worker *w, struct block *b, struct err *err);

/* Writes the totals so far as a run and forgets them. */
int worker_spill(struct worker *w, struct err *err);

#endif
