/* parquet.h - columns in, a Parquet file out, in bounded memory.
 *
 * The door of the Parquet writer. Flat tables only: every column has one value or NULL per row.
 * Pages are compressed with zstd and carry a CRC; column chunks have a dictionary where one
 * pays, and statistics. docs/parquet.md tells what a file looks like inside.
 *
 * The file is written front to back, so it can go to a pipe or an object store. A row group is
 * held until it is complete: compressed, in memory first and then in a temporary file without a
 * name; a value of any size up to PARQUET_VALUE_MAX passes through in pieces. The same rows
 * give the same bytes with any number of threads and whatever way they were put in.
 *
 * One thread at a time uses a struct parquet; it starts threads of its own for compression, as
 * far as the options allow. Calls block on the sink, the temporary file and those threads.
 *
 * After a call has failed, all that is left to do is parquet_abort_free. */
#ifndef PARQUET_PARQUET_H
#define PARQUET_PARQUET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct parquet;

enum parquet_type {
    PARQUET_STRING,    /* well-formed UTF-8: BYTE_ARRAY with logical type STRING */
    PARQUET_BINARY,    /* any bytes: BYTE_ARRAY */
    PARQUET_INT64,     /* INT64 */
    PARQUET_DATE,      /* days since 1970-01-01: INT32 with logical type DATE */
    PARQUET_DECIMAL38, /* whole numbers of up to 38 digits: DECIMAL(38, 0) in 16 bytes */
    PARQUET_TYPE__COUNT
};

struct parquet_column {
    const char *name; /* UTF-8 */
    enum parquet_type type;
    bool optional; /* may be NULL */
};

/* Where the bytes go, in order. 0 or a negative code with err set. */
struct parquet_sink {
    int (*write)(void *arg, const void *bytes, size_t len, struct err *err);
    void *arg;
};

/* A sink that writes to the file descriptor at `fd`, which stays the caller's. */
struct parquet_sink parquet_fd_sink(const int *fd);

struct parquet_options {
    const struct parquet_column *columns; /* all of this is copied */
    size_t column_count;                  /* 1 to PARQUET_COLUMNS_MAX */
    size_t sorted;        /* so many first columns order the rows, ascending: told to readers */
    uint64_t group_rows;  /* in a row group, at most; 0: PARQUET_GROUP_ROWS */
    uint64_t group_bytes; /* of values in it, see parquet_room; 0: PARQUET_GROUP_BYTES */
    int64_t memory_bytes; /* so many threads that they fit in it; 0: never mind */
    unsigned threads;     /* the caller's included; 0 and 1: no others */
    const char *temp_dir; /* for row groups too large for memory; NULL: /var/tmp */
};

enum { PARQUET_COLUMNS_MAX = 64 };
enum { PARQUET_GROUP_ROWS = 256 * 1024, PARQUET_GROUP_BYTES = 64 * 1024 * 1024 };
enum { PARQUET_VALUE_MAX = INT32_MAX - 1024 }; /* a page knows its size as 31 bits */

/* Starts a file. E_NO_MEMORY, or what the sink answers. `sink` is copied. */
int parquet_open(const struct parquet_options *options, const struct parquet_sink *sink,
                 struct parquet **ret, struct err *err);

/* Values for one column, `column` counting from 0. Every column gets as many as parquet_rows
 * says afterwards. STRING and BINARY: E_BAD_INPUT when a STRING is not UTF-8, E_TOO_BIG past
 * PARQUET_VALUE_MAX. `times`: the same value in so many rows. DECIMAL38: E_BAD_INPUT past 38
 * digits. */
int parquet_put_bytes(struct parquet *p, size_t column, const void *bytes, size_t len,
                      uint64_t times, struct err *err);
int parquet_put_int64(struct parquet *p, size_t column, const int64_t *values, size_t count,
                      struct err *err);
int parquet_put_dates(struct parquet *p, size_t column, const int32_t *days, size_t count,
                      struct err *err);
int parquet_put_decimals(struct parquet *p, size_t column, const __int128 *values, size_t count,
                         struct err *err);
int parquet_put_null(struct parquet *p, size_t column, uint64_t times, struct err *err);

/* One BINARY value of `len` bytes that comes in pieces: begin, then pieces of `len` bytes in
 * all. It goes through a few hundred kilobytes of memory, whatever its size. */
int parquet_begin_large(struct parquet *p, size_t column, uint64_t len, struct err *err);
int parquet_add_large(struct parquet *p, const void *bytes, size_t len, struct err *err);
int parquet_end_large(struct parquet *p, struct err *err);

/* How many rows of `row_bytes` bytes each (lengths of STRING and BINARY, 8, 4, 16 for the
 * others) the row group takes before it is full, at least 1. */
uint64_t parquet_room(const struct parquet *p, uint64_t row_bytes);

/* `count` rows of `row_bytes` bytes each are complete; at most parquet_room of them. Ends the
 * row group when it is full. */
int parquet_rows(struct parquet *p, uint64_t count, uint64_t row_bytes, struct err *err);

struct parquet_info {
    uint64_t rows, bytes, groups;
};

/* Writes what is left and the footer, and frees p, also after a failure. */
int parquet_close_free(struct parquet *p, struct parquet_info *ret, struct err *err);

/* Frees p without an end of the file. NULL is fine. */
void parquet_abort_free(struct parquet *p);

/* Bytes of the file so far, without the row group at hand: to bound a file's size. */
uint64_t parquet_written(const struct parquet *p);

#endif
