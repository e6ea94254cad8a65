/* walk.h - takes a Parquet file apart: its footer, and every page with its CRC and size. */
#ifndef TESTS_WALK_H
#define TESTS_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WALK_FIELDS = 32 };

/* A struct of the compact protocol, one level: where each field's value stands, and the numbers
 * among them. */
struct fields {
    bool has[WALK_FIELDS];
    int64_t number[WALK_FIELDS]; /* of a bool: 0 or 1; of a binary or list: its length */
    const unsigned char *at[WALK_FIELDS]; /* a struct, the first item of a list, bytes */
};

/* Reads the struct at `at`; returns the place behind it. Fails the test when it is none. */
const unsigned char *walk_struct(const unsigned char *at, const unsigned char *end,
                                 struct fields *ret);

/* The footer of a whole file: its FileMetaData. */
void walk_footer(const unsigned char *file, size_t len, struct fields *ret);

struct walk_chunk {
    struct fields meta, statistics;
    unsigned pages, dictionaries; /* dictionaries among the pages */
    int64_t values;               /* of the data pages */
    int64_t largest_page;         /* raw bytes */
};

/* Checks a column chunk against its pages: places, sizes, CRC, what zstd makes of them. `chunk`
 * is a ColumnChunk. */
void walk_chunk(const unsigned char *file, size_t len, const unsigned char *chunk,
                struct walk_chunk *ret);

#endif
