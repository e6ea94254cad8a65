/* worker.h - turns blocks of whole rows into totals.
 *
 * A worker belongs to one thread; it shares nothing but the columns, which nobody changes
 * while workers run. Rows go through in batches: all are hashed, then all are looked up, then
 * all are added, so that the waits for memory of one row overlap with the work on the others.
 */
#ifndef CSV_WORKER_H
#define CSV_WORKER_H

#include "ledger.h"
#include "plan.h"
#include "scan.h"
#include "spill.h"
#include "table.h"

/* A piece of the input that starts at the start of a row and ends at a row end (or at the
 * end of the input). BYTES_SLACK bytes behind `cap` are there for sentinel and scanner. */
struct block {
    char *data;
    size_t start, len, cap; /* rows lie in [start, len) */
    bool too_long;          /* the head of one row longer than row_max, account filled in */
    uint64_t number;
    struct account account;
};

int block_grow(struct block *b, size_t cap, struct err *err);
void block_release(struct block *b);

enum { BATCH = 64 };

/* Plays on their way to a sum. */
struct addend {
    size_t at;
    uint64_t plays;
    uint32_t entry, date;
};

struct worker {
    const struct columns *columns;
    const struct csv_plan *plan;
    bool skip;
    const struct scanner *scanner;
    struct table table;
    struct spill_file file;
    struct run_list runs;
    struct block block;
    size_t batch;
    struct item items[BATCH];
    struct addend addends[BATCH];
};

int worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                bool skip, const char *temp_dir, struct err *err);
void worker_release(struct worker *w);

/* Adds the rows of the worker's block to the totals and fills its account. Unless skipping,
 * stops behind the first bad row. E_NO_SPACE, E_IO, E_NO_MEMORY. */
int worker_take(struct worker *w, struct err *err);

/* All rows have come: sorts what is in the table, or spills it like the rest. */
int worker_finish(struct worker *w, struct err *err);

/* Writes the finished table as a run and forgets it. */
int worker_spill_finished(struct worker *w, struct err *err);

#endif
