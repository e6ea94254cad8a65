/* sort.h - songs by their bytes, in place. Pure. */
#ifndef CSV_SORT_H
#define CSV_SORT_H

#include <stddef.h>

#include "table.h"

/* By bytes, as memcmp does, shorter first. Radix sort from the front (McIlroy, Bostic,
 * McIlroy, "Engineering Radix Sort", 1993) on 8 bytes of the name at a time that lie beside
 * its number. The work is bounded by the bytes of the names whatever they are. */
void sort_songs(const struct table *t, struct ranked *songs, size_t count);

/* <0, 0, >0. By words, for most names are short and much alike; what is read behind a name
 * lies in the arena and is put aside. */
static inline int entry_compare(const struct entry *a, const struct entry *b)
{
    size_t shorter = a->len < b->len ? a->len : b->len;

    for (size_t at = 0; at < shorter; at += 8) {
        uint64_t x = load64_big(a->bytes + at), y = load64_big(b->bytes + at);
        if (x == y)
            continue;
        size_t differ = at + (size_t)__builtin_clzll(x ^ y) / 8;
        return differ >= shorter ? (a->len > b->len) - (a->len < b->len) : x < y ? -1 : 1;
    }
    return (a->len > b->len) - (a->len < b->len);
}

#endif
