/* sort.h - in-place sorting of songs and groups: no memory beyond the stack, no bad case
 * that an outsider can prepare. Pure. */
#ifndef CSV_SORT_H
#define CSV_SORT_H

#include <stddef.h>
#include <stdint.h>

struct song;
struct group;

/* By bytes; quicksort with pivots drawn from `seed`. */
void sort_songs(struct song *songs, size_t count, uint64_t seed);

/* By key; American flag sort (McIlroy, Bostic, McIlroy, "Engineering Radix Sort", 1993). */
void sort_groups(struct group *groups, size_t count);

#endif
