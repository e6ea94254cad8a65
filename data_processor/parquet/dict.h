/* dict.h - the different values of a column chunk, numbered as they come.
 *
 * They lie as Parquet's PLAIN encoding has them, so the dictionary page is there already. Which
 * number a value gets does not depend on the seed of the hash, which only keeps strangers from
 * preparing collisions. One thread at a time. */
#ifndef PARQUET_DICT_H
#define PARQUET_DICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"

enum { DICT_FULL = -1, DICT_NO_MEMORY = -2 };

struct dict {
    size_t width;     /* of every value; 0: a length of 4 bytes stands before each */
    size_t bytes_max; /* of `values` */
    uint64_t seed;
    struct buf values;
    uint32_t count;
    uint32_t *ends;  /* where each ends in `values` (width 0) */
    uint64_t *slots; /* upper half of the hash << 32 | number + 1; 0: free */
    uint32_t ends_room, slot_count, last; /* `last`: the one that was asked for before */
};

void dict_init(struct dict *d, size_t width, size_t bytes_max, uint64_t seed);
void dict_clear(struct dict *d); /* empty and usable again, keeps its memory */
void dict_release(struct dict *d);

/* The number of a value (0 and up), which is added when it is new. DICT_FULL: it is new and
 * would take `values` past bytes_max; DICT_NO_MEMORY. */
int64_t dict_number(struct dict *d, const void *bytes, size_t len, bool *ret_new);

/* The value of a number; its bytes are the dictionary's. */
const char *dict_value(const struct dict *d, uint32_t number, size_t *ret_len);

#endif
