#include "pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SMALL_PAGE = 4096 };

static size_t round_up(size_t bytes, size_t page)
{
    return (bytes + page - 1) / page * page;
}

size_t pages_held(size_t bytes)
{
    return bytes < PAGES_LEAST
               ? bytes
               : round_up(bytes, bytes < PAGES_LARGE ? SMALL_PAGE : PAGES_LARGE);
}

/* Address space, on a boundary when it is for large pages. */
static char *reserve(size_t size, int access)
{
    size_t extra = size < PAGES_LARGE ? 0 : PAGES_LARGE;
    char *all = mmap(NULL, size + extra, access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED || extra == 0)
        return all == MAP_FAILED ? NULL : all;
    size_t before = round_up((uintptr_t)all, PAGES_LARGE) - (uintptr_t)all;
    if (before)
        munmap(all, before);
    munmap(all + before + size, extra - before);
    return all + before;
}

static void *map(size_t size)
{
    char *at = reserve(size, PROT_READ | PROT_WRITE);

    if (at && size >= PAGES_LARGE)
        madvise(at, size, MADV_HUGEPAGE);
    return at;
}

void *pages_new(size_t bytes)
{
    return bytes < PAGES_LEAST ? calloc(1, bytes) : map(pages_held(bytes));
}

/* Pages move by their entries; nothing is copied. */
static void *move(void *old, size_t old_size, size_t size)
{
    char *at = reserve(size, PROT_NONE);

    if (!at)
        return NULL;
    if (mremap(old, old_size, size, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED) {
        munmap(at, size);
        return NULL;
    }
    if (size >= PAGES_LARGE)
        madvise(at, size, MADV_HUGEPAGE);
    return at;
}

void *pages_grow(void *old, size_t old_bytes, size_t bytes)
{
    size_t old_size = pages_held(old_bytes), size = pages_held(bytes);

    if (bytes < PAGES_LEAST)
        return realloc(old, bytes);
    if (old_bytes >= PAGES_LEAST)
        return old_size == size ? old : move(old, old_size, size);
    void *fresh = map(size);
    if (fresh && old) {
        memcpy(fresh, old, old_bytes);
        free(old);
    }
    return fresh;
}

void pages_free(void *array, size_t bytes)
{
    if (bytes < PAGES_LEAST)
        free(array);
    else
        munmap(array, pages_held(bytes));
}
