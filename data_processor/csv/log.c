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
    uint32_t part = song >> PART_BITS;

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
        l->bytes += (room - p->room) * sizeof *chunks;
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

static size_t part_records(const struct log *l, const struct log_part *p)
{
    return ((size_t)p->count << l->chunk_bits) - (size_t)(p->end - p->at);
}

size_t log_largest_part(const struct log *l)
{
    size_t most = 0;

    for (uint32_t i = 0; i < l->part_count; i++) {
        size_t records = part_records(l, &l->parts[i]);
        most = records > most ? records : most;
    }
    return most;
}

/* Counting sort: out of the chunks into `scratch` and back. */
void log_sort_part(struct log *l, uint32_t part, uint64_t *scratch,
                   uint32_t ret_starts[PART_SONGS])
{
    const struct log_part *p = &l->parts[part];
    const unsigned shift = DATE_BITS + PLAYS_BITS;
    size_t records = part_records(l, p), size = (size_t)1 << l->chunk_bits;
    uint32_t *starts = ret_starts, sum = 0;

    memset(starts, 0, PART_SONGS * sizeof *starts);
    for (size_t done = 0, i = 0; done < records; i++) {
        size_t step = records - done < size ? records - done : size;
        memcpy(scratch + done, p->chunks[i], step * sizeof *scratch);
        for (size_t k = done; k < done + step; k++)
            starts[scratch[k] >> shift]++;
        done += step;
    }
    for (uint32_t song = 0; song < PART_SONGS; song++) {
        uint32_t count = starts[song];
        starts[song] = sum;
        sum += count;
    }
    for (size_t k = 0; k < records; k++) {
        uint32_t place = starts[scratch[k] >> shift]++;
        p->chunks[place >> l->chunk_bits][place & (size - 1)] = scratch[k];
    }
    /* now each is where the next one starts */
    memmove(starts + 1, starts, (PART_SONGS - 1) * sizeof *starts);
    starts[0] = 0;
    l->records += records;
}
