/* songs.h - the songs of the input, one set for all workers.
 *
 * Each song is an entry in one arena and is found by its hash in one index. Looking up and
 * adding need no lock: a worker writes the entry on a page of its own and then puts it into
 * the first free slot by compare-and-swap; who comes second finds the first one's entry.
 * Whatever must be moved or made larger waits until its caller is alone (gate.h), so inside a
 * batch nothing moves. Hashes are seeded, so nobody can prepare colliding names.
 *
 * A song's number is its page and its place on it. Numbers have gaps where pages end. */
#ifndef CSV_SONGS_H
#define CSV_SONGS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum { PAGE_BITS = 13, PAGE_SONGS = 1 << PAGE_BITS };
enum { SONGS_NONE = 0, SONGS_FULL = 1 }; /* entry numbers start at 1 */

/* Entries lie on multiples of 8 bytes; an entry's number is its offset / 8 + 1. `start` and
 * `rows` are for the table, once all rows have come. */
struct entry {
    uint32_t id, len;
    uint32_t start, rows;
    char bytes[];
};

struct song_page {
    size_t at; /* of its first entry in the arena */
    uint32_t count;
};

struct songs {
    uint64_t seed;
    size_t page_bytes;
    uint32_t page_songs;
    unsigned sharers; /* workers at most */
    char *arena;
    size_t arena_len, arena_room;
    _Atomic(uint64_t) *index; /* upper half of the hash << 32 | entry, 0: free */
    size_t index_slots, claimed;
    struct song_page *pages;
    uint32_t page_count, page_room;
};

/* Where one worker writes new songs. All zero: no page yet. */
struct pen {
    size_t at, end;       /* on its page, in the arena */
    uint32_t id, id_end;  /* numbers left on it */
    size_t claim;         /* slots of the index that are kept for it */
    uint32_t page, count; /* its page; how many songs are on it */
};

void songs_init(struct songs *s, size_t budget, unsigned sharers, uint64_t seed);
void songs_release(struct songs *s); /* empty and usable again; pens must be zeroed */
size_t songs_held(const struct songs *s);

uint64_t songs_hash(const struct songs *s, const char *bytes, size_t len);

/* Room for `count` more songs of so many bytes in all? */
static inline bool pen_has_room(const struct pen *p, size_t count, size_t bytes)
{
    return p->claim >= count && p->id_end - p->id >= count &&
           p->end - p->at >= bytes + count * (sizeof(struct entry) + 8);
}

/* Alone: makes that room with at most `spare` more bytes. 0, SONGS_FULL, -E_NO_MEMORY. */
int songs_make_room(struct songs *s, struct pen *p, size_t count, size_t bytes, size_t spare);

/* Alone: notes how many songs are on the pen's page. */
void songs_note(struct songs *s, const struct pen *p);

/* The entry that has the song with this hash, or SONGS_NONE. */
uint32_t songs_find(const struct songs *s, const char *bytes, size_t len, uint64_t hash);

/* The entry of a song (1 to 2^32-1 bytes, copied) that was not there, or was added meanwhile;
 * the pen must have room. */
uint32_t songs_add(struct songs *s, struct pen *p, const char *bytes, size_t len,
                   uint64_t hash);

static inline struct entry *songs_entry(const struct songs *s, uint32_t entry)
{
    return (struct entry *)(void *)(s->arena + 8 * (size_t)(entry - 1));
}

static inline size_t entry_bytes(size_t song_len)
{
    return (offsetof(struct entry, bytes) + song_len + 7) / 8 * 8;
}

static inline size_t songs_slot(const struct songs *s, uint64_t hash)
{
    return (size_t)((hash >> 32) * s->index_slots >> 32);
}

/* What is in a slot; its entry can be read. */
static inline uint64_t songs_in_slot(const struct songs *s, size_t slot)
{
    return atomic_load_explicit(&s->index[slot], memory_order_acquire);
}

/* The first entry that may have this hash; to be checked by entry_is. */
static inline uint32_t songs_guess(const struct songs *s, uint64_t hash)
{
    for (size_t slot = songs_slot(s, hash);; slot = slot + 1 == s->index_slots ? 0 : slot + 1) {
        uint64_t value = songs_in_slot(s, slot);
        if (value == 0 || (value ^ hash) >> 32 == 0)
            return (uint32_t)value;
    }
}

/* What differs in 8 bytes of a name of at most 32. Where it has ended others are taken for
 * them: behind the entry another worker may be writing. */
static inline uint64_t entry_differs(const struct entry *e, const char *bytes, size_t len,
                                     size_t from)
{
    return (load64(e->bytes + (from < len ? from : 0)) ^ load64(bytes + from)) &
           mask64(len, from);
}

static inline bool entry_is(const struct entry *e, const char *bytes, size_t len)
{
    if (e->len != len)
        return false;
    if (len > 32)
        return memcmp(e->bytes, bytes, len) == 0;
    return (entry_differs(e, bytes, len, 0) | entry_differs(e, bytes, len, 8) |
            entry_differs(e, bytes, len, 16) | entry_differs(e, bytes, len, 24)) == 0;
}

#endif
