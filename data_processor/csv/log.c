#include "log.h"

#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pages.h"

enum { FIRST_SLABS = 64 };

void log_init(struct log *l, unsigned chunk_bits)
{
    *l = (struct log){.chunk_bits = chunk_bits};
}

static size_t chunk_bytes(const struct log *l)
{
    return sizeof(uint64_t) << l->chunk_bits;
}

static uint64_t *take_chunk(struct log *l)
{
    uint64_t *chunk = l->free_at;

    if (chunk == l->free_end) {
        size_t bytes = l->large && l->slab_count >= FIRST_SLABS ? PAGES_LARGE : chunk_bytes(l);
        if (l->slab_count == l->slab_room) {
            uint32_t room = l->slab_room ? 2 * l->slab_room : FIRST_SLABS;
            struct slab *slabs = realloc(l->slabs, room * sizeof *slabs);
            if (!slabs)
                return NULL;
            l->bytes += (room - l->slab_room) * sizeof *slabs;
            l->slabs = slabs;
            l->slab_room = room;
        }
        chunk = pages_grow(NULL, 0, bytes);
        if (!chunk)
            return NULL;
        l->bytes += bytes;
        l->slabs[l->slab_count++] = (struct slab){chunk, bytes};
        l->free_end = chunk + bytes / sizeof *chunk;
    }
    l->free_at = chunk + ((size_t)1 << l->chunk_bits);
    return chunk;
}

void log_release(struct log *l)
{
    for (uint32_t i = 0; i < l->part_count; i++)
        free(l->parts[i].chunks);
    for (uint32_t i = 0; i < l->slab_count; i++)
        pages_free(l->slabs[i].records, l->slabs[i].bytes);
    free(l->parts);
    free(l->slabs);
    log_init(l, l->chunk_bits);
}

static int grow_parts(struct log *l, uint32_t part)
{
    if (part >= l->part_room) {
        uint32_t room = 2 * part > 8 ? 2 * part : 8;
        struct log_part *parts = realloc(l->parts, room * sizeof *parts);
        if (!parts)
            return -E_NO_MEMORY;
        l->bytes += (room - l->part_room) * sizeof *parts;
        l->parts = parts;
        l->part_room = room;
    }
    while (l->part_count <= part)
        l->parts[l->part_count++] = (struct log_part){0};
    return 0;
}

int log_grow(struct log *l, uint32_t song)
{
    uint32_t part = song >> PAGE_BITS;

    if (part >= l->part_count && grow_parts(l, part) != 0)
        return -E_NO_MEMORY;

    struct log_part *p = &l->parts[part];
    if (p->at != p->end)
        return 0;
    if (p->count == p->room) {
        uint32_t room = p->room ? 2 * p->room : 4;
        uint64_t **chunks = realloc(p->chunks, room * sizeof *chunks);
        if (!chunks)
            return -E_NO_MEMORY;
        l->bytes += 2 * (room - p->room) * sizeof *chunks; /* and once more when sorted */
        p->chunks = chunks;
        p->room = room;
    }
    uint64_t *chunk = take_chunk(l);
    if (!chunk)
        return -E_NO_MEMORY;
    p->chunks[p->count++] = chunk;
    if (p->count > l->most_chunks)
        l->most_chunks = p->count;
    p->at = chunk;
    p->end = chunk + ((size_t)1 << l->chunk_bits);
    return 0;
}

size_t log_part_records(const struct log *l, uint32_t part)
{
    if (part >= l->part_count)
        return 0;
    const struct log_part *p = &l->parts[part];
    return ((size_t)p->count << l->chunk_bits) - (size_t)(p->end - p->at);
}

/* Counting sort: out of the chunks into `scratch` and back. */
void log_sort_part(const struct log *const *logs, size_t count, uint32_t part, uint32_t songs,
                   uint64_t *scratch, uint64_t **ret_chunks, uint32_t *ret_starts)
{
    const unsigned shift = DATE_BITS + PLAYS_BITS, bits = logs[0]->chunk_bits;
    size_t size = (size_t)1 << bits, records = 0, chunks = 0;
    uint32_t *ends = ret_starts + 1, sum = 0;

    memset(ret_starts, 0, (songs + (size_t)1) * sizeof *ret_starts);
    for (size_t i = 0; i < count; i++) {
        size_t left = log_part_records(logs[i], part);
        for (uint32_t k = 0; k < log_part_chunks(logs[i], part); k++) {
            uint64_t *chunk = logs[i]->parts[part].chunks[k];
            size_t step = left < size ? left : size;
            ret_chunks[chunks++] = chunk;
            memcpy(scratch + records, chunk, step * sizeof *scratch);
            for (size_t at = records; at < records + step; at++)
                ends[scratch[at] >> shift]++;
            records += step;
            left -= step;
        }
    }
    for (uint32_t song = 0; song < songs; song++) {
        uint32_t here = ends[song];
        ends[song] = sum;
        sum += here;
    }
    for (size_t at = 0; at < records; at++) { /* moves each start to its end */
        uint32_t place = ends[scratch[at] >> shift]++;
        ret_chunks[place >> bits][place & (size - 1)] = scratch[at];
    }
}
