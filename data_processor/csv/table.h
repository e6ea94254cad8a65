/* table.h - the totals of one worker while rows come in.
 *
 * Songs are found by hash; each is one entry in an arena: its number, its bytes and where its
 * plays go. The first plays of a song go to the log (log.h). A song that has twice as
 * many rows as there are days gets a sum for each day, so a file with few songs is added up in
 * place and the log stays short. Plays too big for either go to the wide list.
 *
 * Memory is counted by what is reserved, not by what is used. table_reserve asks before a
 * batch of rows; within it nothing moves that a prefetched place depends on but through its
 * offset. An empty table takes a batch whatever the budget. Hashes are seeded per table, so
 * nobody can prepare colliding names.
 *
 * A table belongs to one thread at a time. Nothing blocks. */
#ifndef CSV_TABLE_H
#define CSV_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"
#include "dates.h"
#include "log.h"
#include "row.h"

enum { TABLE_FULL = 1 };
enum { TABLE_NO_SONG = 0 }; /* entry numbers start at 1 */

/* Entries lie on multiples of 8 bytes in the order of their ids; an entry's number is its
 * offset / 8 + 1. */
struct entry {
    uint32_t id, len;
    uint32_t logged; /* rows in the log; WIDE_BIT when there are some in the wide list */
    uint32_t dense;  /* block of sums, counted from 1; 0: none */
    uint32_t start;  /* once finished: where its rows start in its part of the log */
    char bytes[];
};
enum { WIDE_BIT = 1 << 30 };

/* Plays of one row, or what ran over in a sum: plays << 64 when `high`. */
struct wide {
    uint32_t song;
    uint32_t date : 31;
    uint32_t high : 1;
    uint64_t plays;
};

/* A song to sort: `key` is 8 bytes of its name. */
struct ranked {
    uint64_t key;
    uint32_t entry;
};

struct table {
    size_t budget;
    uint64_t seed;
    char *arena;
    size_t arena_len, arena_room;
    uint64_t *index; /* upper half of the hash << 32 | entry, 0: free */
    size_t index_slots;
    uint32_t song_count;
    struct dates dates;
    struct log log;
    uint64_t *dense; /* blocks of `stride` sums plus one, 0: no row came */
    size_t dense_count, dense_room, stride;
    struct wide *wide;
    size_t wide_count, wide_room;
    uint64_t rows;
    /* after table_finish */
    struct ranked *order; /* songs by bytes; lies where the index was */
};

void table_init(struct table *t, size_t budget, uint64_t seed);
void table_release(struct table *t); /* frees everything; t is empty and usable again */
size_t table_used(const struct table *t);

uint64_t table_hash(const struct table *t, const char *bytes, size_t len);

/* Room for `rows` rows with `song_bytes` of songs. 0, TABLE_FULL, -E_NO_MEMORY. */
int table_reserve(struct table *t, size_t rows, size_t song_bytes);

/* The entry that has the song with this hash, or TABLE_NO_SONG. */
uint32_t table_find(const struct table *t, const char *bytes, size_t len, uint64_t hash);

/* Adds a song that is not there (1 to 2^32-1 bytes, copied); room must be reserved. */
uint32_t table_add_song(struct table *t, const char *bytes, size_t len, uint64_t hash);

/* Adds the plays of one row where they cannot be added to a dense sum. */
int table_add_slowly(struct table *t, uint32_t entry, uint32_t date, uint128 plays);

/* A sum that nears 64 bits: moves it to the wide list. */
int table_flush_sum(struct table *t, uint32_t entry, uint32_t date, uint64_t *sum);

/* Puts everything in order. Afterwards the table can only be read and released. */
int table_finish(struct table *t);

static inline struct entry *table_entry(const struct table *t, uint32_t entry)
{
    return (struct entry *)(void *)(t->arena + 8 * (size_t)(entry - 1));
}

static inline size_t table_slot(const struct table *t, uint64_t hash)
{
    return (size_t)((hash >> 32) * t->index_slots >> 32);
}

/* The first entry that may have this hash; to be checked by table_entry_is. */
static inline uint32_t table_guess(const struct table *t, uint64_t hash)
{
    if (t->index_slots == 0)
        return TABLE_NO_SONG;
    for (size_t slot = table_slot(t, hash);; slot = slot + 1 == t->index_slots ? 0 : slot + 1)
        if (t->index[slot] == 0 || (t->index[slot] ^ hash) >> 32 == 0)
            return (uint32_t)t->index[slot];
}

static inline bool table_entry_is(const struct entry *e, const char *bytes, size_t len)
{
    if (e->len != len)
        return false;
    if (len > 32)
        return memcmp(e->bytes, bytes, len) == 0;
    uint64_t differ = 0;
    for (size_t i = 0; i < 32; i += 8)
        differ |= (load64(e->bytes + i) ^ load64(bytes + i)) & mask64(len, i);
    return differ == 0;
}

enum { DENSE_PLAYS_BITS = 62 }; /* smaller plays can be added to a sum below 2^63 */

/* Where plays of this song and day are added up, or 0: nowhere yet. */
static inline size_t table_sum_at(const struct table *t, const struct entry *e, uint32_t date)
{
    return e->dense && date < t->stride ? (e->dense - 1) * t->stride + date + 1 : 0;
}

static inline int table_add_dense(struct table *t, size_t at, uint32_t entry, uint32_t date,
                                  uint64_t plays)
{
    uint64_t *sum = &t->dense[at - 1];

    *sum += plays + (*sum == 0);
    return *sum >> 63 ? table_flush_sum(t, entry, date, sum) : 0;
}

/* Adds one row, the short way to do it all; the worker does it in steps. */
int table_add(struct table *t, uint32_t entry, uint32_t date, uint128 plays);

#endif
