/* worker.h - turns blocks of whole rows into totals.
 *
 * A worker belongs to one thread; what workers share is the columns, which nobody changes
 * while they run, the table and where it is spilled. Rows go through in batches: all are
 * hashed, then all are looked up, then all are added, so that the waits for memory of one row
 * overlap with the work on the others. */
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

/* Where the totals go when there are too many. Whoever is alone with the table uses it. */
struct spills {
    struct spill_file *files; /* one for each thread that spills */
    size_t file_count;
    struct run_list runs;
};

int spills_init(struct spills *s, size_t threads, const char *dir, struct err *err);
void spills_release(struct spills *s);

/* Alone: writes the table's totals as runs and empties it, also on failure. */
int spills_take(struct spills *s, struct table *t, const struct csv_plan *plan,
                struct err *err);

/* Plays on their way to a sum. */
struct addend {
    size_t at; /* of the sum: blocks may move meanwhile */
    uint64_t plays;
    uint32_t song, date;
};

struct worker {
    const struct columns *columns;
    const struct csv_plan *plan;
    bool skip;
    const struct scanner *scanner;
    struct table *table;
    struct spills *spills;
    struct sheet sheet;
    struct block block;
    size_t batch;
    struct item items[BATCH];
    struct addend addends[BATCH];
};

/* Joins the table, which gives back the sheet's memory. */
void worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                 bool skip, struct table *table, struct spills *spills);

/* Adds the rows of the worker's block to the totals and fills its account. Unless skipping,
 * stops behind the first bad row. E_NO_SPACE, E_IO, E_NO_MEMORY. */
int worker_take(struct worker *w, struct err *err);

#endif
