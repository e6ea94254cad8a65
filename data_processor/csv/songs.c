#include "songs.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "err.h"
#include "pages.h"
#include "row.h"

enum {
    PAGE_BYTES_LEAST = 2048,
    PAGE_BYTES_MOST = 256 << 10,
    BYTES_PER_SONG = 32, /* of a page, at least */
    PAGES_OF_EACH = 64,  /* so many pages for each worker fill a table */
    FIRST_INDEX = 256,
    FIRST_PAGES = 8,
};

void songs_init(struct songs *s, size_t budget, unsigned sharers, uint64_t seed)
{
    size_t bytes = PAGE_BYTES_LEAST;

    while (bytes < PAGE_BYTES_MOST && 2 * bytes * PAGES_OF_EACH <= budget / sharers)
        bytes *= 2;
    *s = (struct songs){.seed = seed,
                        .page_bytes = bytes,
                        .page_songs = (uint32_t)(bytes / BYTES_PER_SONG),
                        .sharers = sharers};
}

void songs_release(struct songs *s)
{
    pages_free(s->arena, s->arena_room);
    pages_free((void *)s->index, s->index_slots * sizeof *s->index);
    free(s->pages);
    *s = (struct songs){.seed = s->seed,
                        .page_bytes = s->page_bytes,
                        .page_songs = s->page_songs,
                        .sharers = s->sharers};
}

/* Of a large array only the pages that were touched are there. */
static size_t arena_held(size_t len, size_t room)
{
    size_t touched = (len / PAGES_LARGE + 1) * PAGES_LARGE;

    return room < touched ? room : touched;
}

size_t songs_held(const struct songs *s)
{
    return arena_held(s->arena_len, s->arena_room) +
           pages_held(s->index_slots * sizeof *s->index) + s->page_room * sizeof *s->pages;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* The odd constants are the fractional digits of pi. */
static const uint64_t salt[4] = {UINT64_C(0x243F6A8885A308D3), UINT64_C(0x13198A2E03707345),
                                 UINT64_C(0xA4093822299F31D1), UINT64_C(0x082EFA98EC4E6C89)};

/* Multiply and fold, after wyhash (Wang Yi, public domain). Up to 32 bytes without a branch
 * on the length, which no processor can foresee. */
uint64_t songs_hash(const struct songs *s, const char *bytes, size_t len)
{
    uint64_t state = s->seed ^ len;

    for (; len > 32; bytes += 16, len -= 16)
        state = fold(load64(bytes) ^ salt[0] ^ s->seed, load64(bytes + 8) ^ state);
    uint64_t a = fold((load64(bytes) & mask64(len, 0)) ^ state,
                      (load64(bytes + 8) & mask64(len, 8)) ^ salt[1]);
    uint64_t b = fold((load64(bytes + 16) & mask64(len, 16)) ^ salt[2],
                      (load64(bytes + 24) & mask64(len, 24)) ^ s->seed ^ salt[3]);
    return fold(a ^ salt[3], b ^ state);
}

/* Takes what an array grew by off `spare`; false when it is too much. */
static bool spend(size_t *spare, size_t before, size_t after)
{
    if (after > before && after - before > *spare)
        return false;
    *spare -= after > before ? after - before : 0;
    return true;
}

/* Room for a page of so many bytes at the end of the arena. */
static int grow_arena(struct songs *s, size_t bytes, size_t *spare)
{
    size_t len = s->arena_len + bytes, least = len + BYTES_SLACK;
    size_t held = arena_held(s->arena_len, s->arena_room), room = s->arena_room;

    if (least > room) {
        room = least > room + room / 2 ? least : room + room / 2;
        if (arena_held(len, room) > held + *spare)
            room = least;
        if (room / 8 >= UINT32_MAX)
            return SONGS_FULL;
    }
    if (!spend(spare, held, arena_held(len, room)))
        return SONGS_FULL;
    if (room == s->arena_room)
        return 0;
    char *arena = pages_grow(s->arena, s->arena_room, room);
    if (!arena)
        return -E_NO_MEMORY;
    s->arena = arena;
    s->arena_room = room;
    return 0;
}

static int turn_page(struct songs *s, struct pen *p, size_t count, size_t bytes, size_t *spare)
{
    assert(count <= s->page_songs);
    bytes = bytes > s->page_bytes ? (bytes + 7) / 8 * 8 : s->page_bytes;
    if (s->page_count == UINT32_MAX >> PAGE_BITS)
        return SONGS_FULL;
    if (s->page_count == s->page_room) {
        uint32_t room = s->page_room ? 2 * s->page_room : FIRST_PAGES;
        if (!spend(spare, s->page_room * sizeof *s->pages, room * sizeof *s->pages))
            return SONGS_FULL;
        struct song_page *pages = realloc(s->pages, room * sizeof *pages);
        if (!pages)
            return -E_NO_MEMORY;
        s->pages = pages;
        s->page_room = room;
    }
    int rc = grow_arena(s, bytes, spare);
    if (rc)
        return rc;
    songs_note(s, p);
    uint32_t page = s->page_count++, first = page << PAGE_BITS;
    s->pages[page] = (struct song_page){.at = s->arena_len};
    *p = (struct pen){.at = s->arena_len,
                      .end = s->arena_len + bytes,
                      .id = first,
                      .id_end = first + s->page_songs,
                      .claim = p->claim,
                      .page = page};
    s->arena_len += bytes;
    return 0;
}

/* A slot says where it belongs, so no name is looked at; old and new slots are in the same
 * order, so both are gone through from front to back. */
static int resize_index(struct songs *s, size_t slots)
{
    size_t old_slots = s->index_slots;
    _Atomic(uint64_t) *old = s->index, *index = pages_new(slots * sizeof *index);

    if (!index)
        return -E_NO_MEMORY;
    s->index = index;
    s->index_slots = slots;
    for (size_t i = 0; i < old_slots; i++) {
        uint64_t value = atomic_load_explicit(&old[i], memory_order_relaxed);
        size_t slot = songs_slot(s, value);
        if (value == 0)
            continue;
        while (atomic_load_explicit(&index[slot], memory_order_relaxed))
            slot = slot + 1 == slots ? 0 : slot + 1;
        atomic_store_explicit(&index[slot], value, memory_order_relaxed);
    }
    pages_free((void *)old, old_slots * sizeof *old);
    return 0;
}

/* Keeps the index at most half full. Old and new are there at once for a moment. */
static int claim_slots(struct songs *s, struct pen *p, size_t count, size_t spare)
{
    size_t more = count - p->claim, least = 2 * (s->claimed + more), slots = s->index_slots;

    if (least > slots) {
        size_t half = slots + slots / 2;
        slots = 2 * slots > FIRST_INDEX ? 2 * slots : FIRST_INDEX;
        if (slots * sizeof *s->index > spare / 4)
            slots = half;
        slots = slots > least ? slots : least;
        if (pages_held(slots * sizeof *s->index) > spare)
            slots = spare / sizeof *s->index / 512 * 512; /* whole pages of 4 KiB */
        if (slots < least || slots < s->index_slots + s->index_slots / 16)
            return SONGS_FULL; /* not by a few at a time */
        int rc = resize_index(s, slots);
        if (rc)
            return rc;
    }
    /* some in advance, so that it is not asked for every batch */
    size_t free = slots / 2 - s->claimed - more, advance = free / 4 / s->sharers;
    more += advance < s->page_songs ? advance : s->page_songs;
    s->claimed += more;
    p->claim += more;
    return 0;
}

int songs_make_room(struct songs *s, struct pen *p, size_t count, size_t bytes, size_t spare)
{
    size_t need = bytes + count * (sizeof(struct entry) + 8);
    int rc = 0;

    if (p->end - p->at < need || p->id_end - p->id < count)
        rc = turn_page(s, p, count, need, &spare);
    if (rc == 0 && p->claim < count)
        rc = claim_slots(s, p, count, spare);
    return rc;
}

void songs_note(struct songs *s, const struct pen *p)
{
    if (p->end)
        s->pages[p->page].count = p->count;
}

uint32_t songs_find(const struct songs *s, const char *bytes, size_t len, uint64_t hash)
{
    for (size_t slot = songs_slot(s, hash);; slot = slot + 1 == s->index_slots ? 0 : slot + 1) {
        uint64_t value = songs_in_slot(s, slot);
        if (value == 0)
            return SONGS_NONE;
        if ((value ^ hash) >> 32 == 0 && entry_is(songs_entry(s, (uint32_t)value), bytes, len))
            return (uint32_t)value;
    }
}

uint32_t songs_add(struct songs *s, struct pen *p, const char *bytes, size_t len, uint64_t hash)
{
    uint32_t entry = (uint32_t)(p->at / 8) + 1;
    struct entry *e = songs_entry(s, entry);
    size_t slot = songs_slot(s, hash);

    *e = (struct entry){.id = p->id, .len = (uint32_t)len};
    memcpy(e->bytes, bytes, len);
    for (;; slot = slot + 1 == s->index_slots ? 0 : slot + 1) {
        uint64_t value = 0;
        if (atomic_compare_exchange_strong_explicit(&s->index[slot], &value,
                                                    hash >> 32 << 32 | entry,
                                                    memory_order_acq_rel, memory_order_acquire))
            break;
        if ((value ^ hash) >> 32 == 0 && entry_is(songs_entry(s, (uint32_t)value), bytes, len))
            return (uint32_t)value; /* another worker was faster; the place is used again */
    }
    p->at += entry_bytes(len);
    p->id++;
    p->count++;
    p->claim--;
    return entry;
}
