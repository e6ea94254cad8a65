/* reader.h - cuts the input into blocks of whole rows.
 *
 * Also reads the header: the first line that is not empty. One thread at a time; blocks on the
 * input. What lies behind the last whole row of a block is kept for the next one. */
#ifndef CSV_READER_H
#define CSV_READER_H

#include "ledger.h"
#include "plan.h"
#include "source.h"
#include "split.h"
#include "worker.h"

struct reader {
    struct source *source;
    const struct csv_plan *plan;
    const struct scanner *scanner;
    struct columns *columns;
    bool has_header;
    uint64_t lines; /* up to the header's end; 0 once the first block has them */
    struct split split;
    char *tail; /* read, not handed out */
    size_t tail_len, tail_room;
    bool begun, eof;
    bool over;  /* nothing is left to hand out */
    int broken; /* the source failed: no byte will follow those that came */
    struct err broken_err;
};

/* Reads from `source`, fills *ret_columns before the first block is handed out (release it
 * after any outcome). */
void reader_init(struct reader *r, struct source *source, const struct csv_plan *plan,
                 struct columns *ret_columns);
void reader_release(struct reader *r);

/* Fills `b` with the next rows, growing it when a row is long; sets r->over instead when there
 * are none. E_BAD_INPUT for the header or damaged compressed data: the latter counts only if
 * no earlier row is bad. */
int reader_next(struct reader *r, struct block *b, struct err *err);

#endif
