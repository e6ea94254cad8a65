/* sort.h - songs by their bytes, in place. Pure. */
#ifndef CSV_SORT_H
#define CSV_SORT_H

#include <stddef.h>

#include "songs.h"

/* A song to sort: `key` is 8 bytes of its name, the first ones to begin with. */
struct ranked {
    uint64_t key;
    uint32_t entry;
};

/* By bytes, as memcmp does, shorter first. Radix sort from the front (McIlroy, Bostic,
 * McIlroy, "Engineering Radix Sort", 1993) on 8 bytes of the name at a time that lie beside
 * its number. The work is bounded by the bytes of the names whatever they are. What is left
 * after the first byte in which they differ is shared among the threads. */
void sort_songs(const struct songs *s, struct ranked *order, size_t count, size_t threads);

/* <0, 0, >0 */
static inline int entry_compare(const struct entry *a, const struct entry *b)
{
    return bytes_compare(a->bytes, a->len, b->bytes, b->len, 0);
}

#endif
