/* table.h - the totals of all workers while rows come in.
 *
 * All share one set of songs (songs.h) and one calendar (dates.h), so that no song is learned
 * or sorted twice; each has a sheet of its own for the plays (sheet.h).
 *
 * Memory is counted by what is reserved, not by what is used. A worker reserves before each
 * batch of rows, inside the gate (gate.h): within a batch nothing moves that others look at.
 * When no more can be had, one worker stays alone to spill it all. An empty table takes a
 * batch whatever the budget. */
#ifndef CSV_TABLE_H
#define CSV_TABLE_H

#include "gate.h"
#include "plan.h"
#include "sheet.h"
#include "sort.h"

enum { TABLE_FULL = 1 };

/* In entry.rows once finished: where else than in the log the song has plays. */
enum { ROWS_DENSE = 1 << 30, ROWS_WIDE = 1 << 29, ROWS_LOGGED = ROWS_WIDE - 1 };

struct table {
    size_t budget, threads;
    struct gate gate;
    struct songs songs;
    struct calendar calendar;
    struct sheet *sheets[THREADS_MAX];
    size_t sheet_count;
    atomic_size_t held; /* by all sheets */
    unsigned chunk_bits;
    bool empty;
    /* after table_finish */
    struct ranked *order; /* songs by bytes; lies where the index was */
    size_t song_count;
    uint64_t ***chunks; /* by page: its records in order of songs */
    size_t records;
};

void table_init(struct table *t, size_t budget, size_t threads, uint64_t seed);
void table_release(struct table *t); /* sheets and all */
size_t table_used(const struct table *t);

/* Adds a worker's sheet, before any of them starts; it must outlive the table's use. */
void table_join(struct table *t, struct sheet *s);

/* Inside: room for `rows` rows with `song_bytes` of songs. TABLE_FULL: the caller is alone
 * now; he spills what is there, reserves once more (which cannot find it full) and opens the
 * gate. 0, -E_NO_MEMORY: still inside, not alone. */
int table_reserve(struct table *t, struct sheet *s, size_t rows, size_t song_bytes);
int table_reserve_alone(struct table *t, struct sheet *s, size_t rows, size_t song_bytes);

/* Bytes that may still be taken. */
size_t table_spare(struct table *t);

/* Alone: puts everything in order. Afterwards the table can only be read and cleared. */
int table_finish(struct table *t);

/* Alone, also after a failed finish: empty and usable again. */
void table_clear(struct table *t);

/* After table_finish: record `index` of a page. */
static inline const uint64_t *table_record(const struct table *t, uint32_t page, uint32_t index)
{
    return &t->chunks[page][index >> t->chunk_bits][index & ((1U << t->chunk_bits) - 1)];
}

#endif
