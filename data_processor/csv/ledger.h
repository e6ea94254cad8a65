/* ledger.h - what became of the rows, in file order.
 *
 * Workers finish blocks in any order; each block's account is entered here in the order of
 * the file. Only then is it known on which line a block starts, so line numbers in accounts
 * count from the start of the block. Not thread safe: the pipeline's lock guards it. */
#ifndef CSV_LEDGER_H
#define CSV_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "csv.h"
#include "row.h"

enum { REJECTS_KEPT = 1000 };

struct reject {
    uint64_t line; /* line ends before the row */
    int64_t column;
    uint64_t fields; /* found in the row */
    enum csv_reason reason;
    char excerpt[EXCERPT_MAX];
};

/* The account of one block. lines_before: line ends of the header, counted in the first one. */
struct account {
    uint64_t lines_before, lines, rows, rejected[CSV_REASON__COUNT];
    struct reject *rejects; /* the first of them */
    size_t reject_count, reject_room;
};

/* Counts a refused row and keeps it while it is among the first REJECTS_KEPT of the block.
 * 0 or -E_NO_MEMORY. */
int account_reject(struct account *a, const struct reject *reject);
void account_clear(struct account *a); /* keeps the memory */
void account_release(struct account *a);

struct ledger {
    bool skip;   /* bad rows are passed over */
    bool failed; /* a bad row came and must not be passed over: rejects[0] */
    struct account sum;
};

/* Enters the next account of the file. 0 or -E_NO_MEMORY. */
int ledger_enter(struct ledger *l, const struct account *a);

/* The sentence about the bad row that failed the whole. */
int ledger_error(const struct ledger *l, const struct columns *c, struct err *err);

/* Writes the kept rejects as CSV. */
int ledger_write_rejects(const struct ledger *l, const struct columns *c, int fd,
                         struct err *err);

#endif
