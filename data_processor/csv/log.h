/* log.h - plays that were not added up yet, eight bytes a row.
 *
 * Where a file has almost as many songs and days as rows, each row would miss the cache on
 * its own sum. Here rows are only appended, to one part for each page of songs; at the end the
 * parts that all threads have for a page are put in order of songs together, in the cache.
 * Parts start as small as they can: a small file has one. A log belongs to one thread. */
#ifndef CSV_LOG_H
#define CSV_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "songs.h"

enum { DATE_BITS = 16 };

/* song % PAGE_SONGS, date, plays, from the top down. */
enum { PLAYS_BITS = 64 - PAGE_BITS - DATE_BITS };

struct log_part {
    uint64_t *at, *end; /* where the next record goes in the last chunk */
    uint64_t **chunks;
    uint32_t count, room;
};

/* Chunks are cut from these: at first one by one, so that a small file takes little, then as
 * many as fill a large page. */
struct slab {
    uint64_t *records;
    size_t bytes;
};

struct log {
    struct log_part *parts;
    uint32_t part_count, part_room;
    uint32_t most_chunks; /* in one part: so much scratch will be needed */
    unsigned chunk_bits;  /* records in a chunk: 2 to this power */
    size_t bytes;         /* reserved */
    struct slab *slabs;
    uint32_t slab_count, slab_room;
    uint64_t *free_at, *free_end; /* what is left of the last slab */
    bool large;                   /* there is memory for a large page at a time */
};

void log_init(struct log *l, unsigned chunk_bits);
void log_release(struct log *l);

/* A new chunk for the part of a song. 0 or -E_NO_MEMORY. */
int log_grow(struct log *l, uint32_t song);

/* Records in a part. */
size_t log_part_records(const struct log *l, uint32_t part);

/* Puts the parts that `count` logs (cut alike) have for a page in order of its songs, which
 * are so many, by way of `scratch`, which holds as many records. They end up in the chunks of
 * all of them, which ret_chunks lists; ret_starts[song % PAGE_SONGS] becomes the place of the
 * song's first record, ret_starts[songs] how many there are. */
void log_sort_part(const struct log *const *logs, size_t count, uint32_t part, uint32_t songs,
                   uint64_t *scratch, uint64_t **ret_chunks, uint32_t *ret_starts);

/* Chunks in a part. */
static inline uint32_t log_part_chunks(const struct log *l, uint32_t part)
{
    return part < l->part_count ? l->parts[part].count : 0;
}

static inline uint64_t log_record(uint32_t song, uint32_t date, uint64_t plays)
{
    return (uint64_t)(song & (PAGE_SONGS - 1)) << (DATE_BITS + PLAYS_BITS) |
           (uint64_t)date << PLAYS_BITS | plays;
}

static inline uint32_t log_date(uint64_t record)
{
    return (uint32_t)(record >> PLAYS_BITS) & ((1U << DATE_BITS) - 1);
}

static inline uint64_t log_plays(uint64_t record)
{
    return record & ((UINT64_C(1) << PLAYS_BITS) - 1);
}

static inline int log_add(struct log *l, uint32_t song, uint32_t date, uint64_t plays)
{
    uint32_t part = song >> PAGE_BITS;

    if (part >= l->part_count || l->parts[part].at == l->parts[part].end) {
        int rc = log_grow(l, song);
        if (rc)
            return rc;
    }
    *l->parts[part].at++ = log_record(song, date, plays);
    return 0;
}

#endif
