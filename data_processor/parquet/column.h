/* column.h - one column of the row group at hand.
 *
 * Values are numbered by a dictionary first. When that grows too large, or at the end, it is
 * kept where it pays; otherwise its values are written out again, PLAIN. From then on the
 * column is PLAIN and its pages leave as they fill. A value larger than a page gets one of its
 * own.
 *
 * One thread at a time; pages come back through press.h. */
#ifndef PARQUET_COLUMN_H
#define PARQUET_COLUMN_H

#include "dict.h"
#include "press.h"
#include "spool.h"

enum {
    PAGE_BYTES = 1024 * 1024, /* a PLAIN page is full then */
    PAGE_ROWS = 64 * 1024,    /* so is any page */
    DICT_BYTES = 1024 * 1024,
    LARGE_STEP = 256 * 1024, /* pieces that a large value is cut into */
};

struct numbers {
    uint32_t *at;
    size_t count, room;
};

/* A value larger than a page, on its way. */
struct large {
    bool open;
    uint64_t len, came;
    uint64_t place; /* in the spool, for its header */
    struct buf step;
    struct stream stream;
};

struct column {
    const struct parquet_column *def;
    struct press *press;
    bool plain; /* no dictionary any more */
    struct dict dict;
    struct numbers indexes; /* of all values, while there is a dictionary */
    struct numbers levels;  /* of rows that are in no page yet; 1: a value (optional columns) */
    uint64_t value_bytes;   /* of the indexed values as PLAIN has them */
    struct buf raw;         /* values of the page at hand, PLAIN */
    struct buf body;
    uint32_t page_rows; /* in `raw`, NULLs too */
    uint64_t rows;      /* of the row group */
    struct large large;
    struct spool spool;
    struct chunk_facts facts;
};

/* `def` and `press` must outlive it; `press` must give pages to column_take. */
void column_init(struct column *c, const struct parquet_column *def, struct press *press,
                 uint64_t seed, const char *temp_dir);
void column_release(struct column *c);

/* What the press has done with a page of the column. */
int column_take(void *column, const struct page *page, struct err *err);

int column_put_bytes(struct column *c, const void *bytes, size_t len, uint64_t times,
                     struct err *err);
int column_put_number(struct column *c, __int128 number, struct err *err);
int column_put_null(struct column *c, uint64_t times, struct err *err);

int column_begin_large(struct column *c, uint64_t len, struct err *err);
int column_add_large(struct column *c, const void *bytes, size_t len, struct err *err);
int column_end_large(struct column *c, struct err *err);

/* The row group is complete: all its pages are on their way to the press. Once that is drained,
 * `spool` and `facts` are the column chunk. */
int column_end(struct column *c, struct err *err);

/* For the next row group. */
void column_reset(struct column *c);

#endif
