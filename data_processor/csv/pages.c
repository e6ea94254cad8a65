#include "pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static const size_t page = (size_t)2 << 20;

static size_t whole_pages(size_t bytes)
{
    return (bytes + page - 1) / page * page;
}

/* Address space on a boundary, without access until something is mapped there. */
static char *reserve(size_t size)
{
    char *all = mmap(NULL, size + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (all == MAP_FAILED)
        return NULL;
    size_t before = whole_pages((uintptr_t)all) - (uintptr_t)all;
    if (before)
        munmap(all, before);
    munmap(all + before + size, page - before);
    return all + before;
}

static void *map(size_t bytes)
{
    size_t size = whole_pages(bytes);
    char *at = reserve(size);

    if (!at)
        return NULL;
    if (mprotect(at, size, PROT_READ | PROT_WRITE) != 0) {
        munmap(at, size);
        return NULL;
    }
    madvise(at, size, MADV_HUGEPAGE);
    return at;
}

size_t pages_held(size_t bytes)
{
    return bytes < PAGES_LEAST ? bytes : whole_pages(bytes);
}

void *pages_new(size_t bytes)
{
    return bytes < PAGES_LEAST ? calloc(1, bytes) : map(bytes);
}

void *pages_grow(void *old, size_t old_bytes, size_t bytes)
{
    if (bytes < PAGES_LEAST)
        return realloc(old, bytes);
    if (old_bytes >= PAGES_LEAST && whole_pages(old_bytes) == whole_pages(bytes))
        return old;
    if (old_bytes < PAGES_LEAST) {
        void *fresh = map(bytes);
        if (fresh && old) {
            memcpy(fresh, old, old_bytes);
            free(old);
        }
        return fresh;
    }
    char *at = reserve(whole_pages(bytes));
    if (!at)
        return NULL;
    /* whole pages move by their entries; nothing is copied */
    void *moved = mremap(old, whole_pages(old_bytes), whole_pages(bytes),
                         MREMAP_MAYMOVE | MREMAP_FIXED, at);
    if (moved == MAP_FAILED) {
        munmap(at, whole_pages(bytes));
        return NULL;
    }
    return moved;
}

void pages_free(void *array, size_t bytes)
{
    if (bytes < PAGES_LEAST)
        free(array);
    else
        munmap(array, whole_pages(bytes));
}
