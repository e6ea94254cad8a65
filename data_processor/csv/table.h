/* table.h - the totals of one worker: songs by their bytes, sums by song and day.
 *
 * Memory is counted by what is reserved, not by what is used, and a growth that would pass
 * the budget is refused with TABLE_FULL; an empty table takes one song and one sum whatever
 * the budget. Hashes are seeded per table, so nobody can prepare colliding names.
 *
 * A table belongs to one thread at a time. Nothing blocks. */
#ifndef CSV_TABLE_H
#define CSV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "row.h"

enum { TABLE_FULL = 1 };
enum { TABLE_NO_SONG = UINT32_MAX };

struct song {
    uint64_t prefix; /* first 8 bytes, big-endian, zeros behind: orders most pairs */
    const char *bytes;
    uint32_t len;
    uint32_t tag; /* part of the hash; the song's first id once sorted */
};

/* key: song id << 32 | day << 1 | overflow; 0 marks a free slot, for no day is 0. A sum that
 * passed 128 bits only sets the flag: whether that matters is known at the end. */
struct group {
    uint64_t key, low, high;
};

struct table {
    size_t budget, used;
    uint64_t seed;
    struct song *songs;
    uint32_t song_count, song_room;
    uint32_t *index; /* song ids, TABLE_NO_SONG marks a free slot */
    size_t index_slots;
    struct group *groups;
    size_t group_count, group_slots;
    struct chunk *chunks; /* where the bytes of the songs live */
};

void table_init(struct table *t, size_t budget, uint64_t seed);
void table_release(struct table *t); /* frees everything; t is empty and usable again */

uint64_t table_hash(const struct table *t, const char *bytes, size_t len);

/* The id of a song that is there, or TABLE_NO_SONG. */
uint32_t table_find(const struct table *t, const char *bytes, size_t len, uint64_t hash);

/* Adds a song that is not there (1 to 2^32-1 bytes, copied). 0, TABLE_FULL, -E_NO_MEMORY. */
int table_add_song(struct table *t, const char *bytes, size_t len, uint64_t hash,
                   uint32_t *ret_id);

/* Adds plays to the sum of a song and day. 0, TABLE_FULL, -E_NO_MEMORY. */
int table_add(struct table *t, uint32_t song, uint32_t day, uint128 plays);

/* Sorts songs by bytes and groups by (song, day): groups[0 .. group_count) with the song's
 * place in songs[] in their key. Afterwards the table can only be read and released. */
void table_sort(struct table *t);

uint64_t song_prefix(const char *bytes, size_t len);
/* <0, 0, >0 in byte order; names hold no NUL. */
int song_compare(const struct song *a, const struct song *b);

static inline uint128 group_sum(const struct group *g)
{
    return (uint128)g->high << 64 | g->low;
}

static inline uint32_t group_day(const struct group *g)
{
    return (uint32_t)g->key >> 1;
}

static inline bool group_overflowed(const struct group *g)
{
    return g->key & 1;
}

#endif
