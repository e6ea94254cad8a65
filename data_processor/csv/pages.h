/* pages.h - large arrays of their own pages.
 *
 * Rows touch their songs in no order. With pages of 4 KiB each touch misses the cache of
 * addresses too; in a table of a million songs that was half of all time. From PAGES_LARGE on
 * an array lies on a boundary of 2 MiB and the kernel is asked for pages of that size. From
 * PAGES_LEAST on it is mapped, so that it grows without a copy and is gone when it is freed: a
 * heap keeps the holes that growing arrays leave, which the memory limit does not know of.
 * Smaller ones are malloc's. */
#ifndef CSV_PAGES_H
#define CSV_PAGES_H

#include <stddef.h>

enum { PAGES_LEAST = 64 << 10, PAGES_LARGE = 2 << 20 };

/* `bytes` zeros, or NULL. */
void *pages_new(size_t bytes);

/* Makes an array of `old_bytes` larger; what is new holds anything. NULL: nothing changed. */
void *pages_grow(void *old, size_t old_bytes, size_t bytes);

/* What an array of so many bytes takes once all of it was touched. */
size_t pages_held(size_t bytes);

void pages_free(void *array, size_t bytes);

#endif
