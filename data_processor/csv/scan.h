/* scan.h - rows of three columns found 64 bytes at a time.
 *
 * One function for each kind of processor, all with the same outcome; the best one that this
 * machine can run is chosen once. They read the rows that a file is made of - three fields,
 * at most 63 bytes, quotes as RFC 4180 has them, no line end inside quotes - and stop in front
 * of any other, which row_read() takes. Pure. */
#ifndef CSV_SCAN_H
#define CSV_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"

enum { WANT_SONG, WANT_DATE, WANT_PLAYS, WANTED };

/* A row as the worker needs it. */
struct item {
    const char *at[WANTED]; /* values, between the quotes when there are some */
    uint32_t len[WANTED];
    bool escaped; /* the song holds doubled quotes */
    int fault;    /* enum csv_reason or -1 */
    uint32_t fields;
    uint64_t line; /* line ends before the row */
    const char *row;
    size_t row_len;
    int64_t fault_column;
    uint64_t hash;
    uint32_t entry; /* what the table may know the song as */
    uint32_t song, day;
    uint32_t *place; /* of the song on the worker's sheet */
    uint128 plays;
};

struct scan {
    const char *at, *end;  /* BYTES_SLACK bytes behind `end` can be read, *end is '\n' */
    unsigned char want[3]; /* which of WANTED each column is */
    uint64_t lines;        /* line ends passed so far */
};

typedef size_t scan_rows_fn(struct scan *s, struct item *items, size_t room);

struct split;
typedef void scan_split_fn(struct split *s, const char *data, size_t len);

/* Where they are in 64 bytes. */
struct scan_marks {
    uint64_t comma, quote, line_end;
};

struct scanner {
    const char *name;
    scan_rows_fn *rows;   /* reads up to `room` rows, returns how many */
    scan_split_fn *split; /* does what it can of split_scan */
    bool (*runs_here)(void);
};

/* The best one for this machine. */
const struct scanner *scanner_best(void);

/* All that were built, the plain one last; for tests. Ends with a NULL name. */
extern const struct scanner scanners[];

#endif
