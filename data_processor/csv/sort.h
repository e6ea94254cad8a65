/* sort.h - songs by their bytes, in place. Pure. */
#ifndef CSV_SORT_H
#define CSV_SORT_H

#include <stddef.h>

#include "table.h"

/* By bytes, as memcmp does, shorter first. Radix sort from the front (McIlroy, Bostic,
 * McIlroy, "Engineering Radix Sort", 1993) on 8 bytes of the name at a time that lie beside
 * its number. The work is bounded by the bytes of the names whatever they are. */
void sort_songs(const struct table *t, struct ranked *songs, size_t count);

/* <0, 0, >0 */
static inline int entry_compare(const struct entry *a, const struct entry *b)
{
    return bytes_compare(a->bytes, a->len, b->bytes, b->len, 0);
}

#endif
