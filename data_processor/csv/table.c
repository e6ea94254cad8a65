#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "sort.h"

enum {
    FIRST_ARENA = 4096,
    FIRST_INDEX = 256,
    FIRST_WIDE = 64,
    CHUNK_BITS_LEAST = 4,
    CHUNK_BITS_MOST = 10,
    STRIDE_STEP = 64,
    DENSE_ROWS_LEAST = 64,
    HURRY_BUDGET = 4 << 20,
};

void table_init(struct table *t, size_t budget, uint64_t seed)
{
    unsigned bits = CHUNK_BITS_LEAST;

    while (bits < CHUNK_BITS_MOST && ((size_t)8 << bits) * 1024 < budget)
        bits++;
    *t = (struct table){.budget = budget, .seed = seed};
    log_init(&t->log, bits);
}

void table_release(struct table *t)
{
    pages_free(t->arena, t->arena_room);
    pages_free(t->index, t->index_slots * sizeof *t->index);
    dates_release(&t->dates);
    log_release(&t->log);
    pages_free(t->dense, t->dense_room * t->stride * sizeof *t->dense);
    free(t->wide);
    table_init(t, t->budget, t->seed);
}

/* Of a large array only the pages that were touched are there. */
static size_t arena_held(const struct table *t)
{
    size_t touched = (t->arena_len / PAGES_LARGE + 1) * PAGES_LARGE;

    return t->arena_room < touched ? t->arena_room : touched;
}

size_t table_used(const struct table *t)
{
    return arena_held(t) + pages_held(t->index_slots * sizeof *t->index) +
           dates_bytes(t->dates.count) +
           (t->dates.recent ? DATES_RECENT * sizeof(struct date_slot) : 0) + log_held(&t->log) +
           pages_held(t->dense_room * t->stride * sizeof *t->dense) +
           t->wide_room * sizeof *t->wide;
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
uint64_t table_hash(const struct table *t, const char *bytes, size_t len)
{
    uint64_t state = t->seed ^ len;

    for (; len > 32; bytes += 16, len -= 16)
        state = fold(load64(bytes) ^ salt[0] ^ t->seed, load64(bytes + 8) ^ state);
    uint64_t a = fold((load64(bytes) & mask64(len, 0)) ^ state,
                      (load64(bytes + 8) & mask64(len, 8)) ^ salt[1]);
    uint64_t b = fold((load64(bytes + 16) & mask64(len, 16)) ^ salt[2],
                      (load64(bytes + 24) & mask64(len, 24)) ^ t->seed ^ salt[3]);
    return fold(a ^ salt[3], b ^ state);
}

/* May so much be reserved in all? An empty table may always grow. */
static bool allowed(const struct table *t, size_t bytes)
{
    return t->rows == 0 || bytes <= t->budget;
}

/* A larger size for an array of `item` bytes each of which `least` are needed: at best half
 * as many again, else as many as the budget lets; 0 when that is too few. `twice`: old and new
 * are there at once for a moment. */
static size_t next_room(const struct table *t, size_t room, size_t first, size_t least,
                        size_t item, bool twice)
{
    size_t used = table_used(t), held = twice ? 0 : room;
    size_t best = room + room / 2 > first ? room + room / 2 : first;

    best = best > least ? best : least;
    if (allowed(t, used + (best - held) * item))
        return best;
    size_t most = used < t->budget ? held + (t->budget - used) / item : 0;
    if (most > best)
        most = best;
    /* not by a few at a time */
    return most >= least && most >= room + room / 16 ? most : 0;
}

static int reserve_arena(struct table *t, size_t more)
{
    size_t least = t->arena_len + more + BYTES_SLACK;

    if (least <= t->arena_room)
        return 0;
    size_t room = next_room(t, t->arena_room, FIRST_ARENA, least, 1, false);
    if (room < least && t->arena_room >= PAGES_LARGE && allowed(t, table_used(t) + more))
        room = t->arena_room + t->arena_room / 4; /* address space is no memory */
    if (room < least || room / 8 >= UINT32_MAX)
        return TABLE_FULL;
    char *arena = pages_grow(t->arena, t->arena_room, room);
    if (!arena)
        return -E_NO_MEMORY;
    t->arena = arena;
    t->arena_room = room;
    return 0;
}

static void index_put(struct table *t, uint64_t slot_value)
{
    size_t slot = table_slot(t, slot_value);

    while (t->index[slot])
        if (++slot == t->index_slots)
            slot = 0;
    t->index[slot] = slot_value;
}

/* Keeps the index at most half full. A slot says where it belongs: no name is looked at. */
static int reserve_index(struct table *t, size_t more)
{
    size_t least = 2 * (t->song_count + more), old_slots = t->index_slots;

    if (least <= old_slots)
        return 0;
    size_t slots = next_room(t, old_slots, FIRST_INDEX, least, sizeof *t->index, true);
    if (slots == 0)
        return TABLE_FULL;
    uint64_t *old = t->index, *index = pages_new(slots * sizeof *index);
    if (!index)
        return -E_NO_MEMORY;
    t->index = index;
    t->index_slots = slots;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i])
            index_put(t, old[i]);
    pages_free(old, old_slots * sizeof *old);
    return 0;
}

/* More days than the sums have places for: all blocks get more. */
static int widen_dense(struct table *t)
{
    size_t stride = (t->dates.count * 3 / 2 + STRIDE_STEP) / STRIDE_STEP * STRIDE_STEP;
    size_t bytes = t->dense_room * stride * sizeof *t->dense;

    if (t->dense_count == 0 || t->dates.count <= t->stride ||
        !allowed(t, table_used(t) + bytes))
        return 0;
    uint64_t *dense = pages_new(bytes);
    if (!dense)
        return -E_NO_MEMORY;
    for (size_t i = 0; i < t->dense_count; i++)
        memcpy(dense + i * stride, t->dense + i * t->stride, t->stride * sizeof *dense);
    pages_free(t->dense, t->dense_room * t->stride * sizeof *dense);
    t->dense = dense;
    t->stride = stride;
    return 0;
}

int table_reserve(struct table *t, size_t rows, size_t song_bytes_more)
{
    size_t arena = song_bytes_more + rows * (sizeof(struct entry) + 8);

    /* each row may need a chunk of the log and a place in the wide list */
    if (!allowed(t, table_used(t) + (rows << t->log.chunk_bits) * sizeof(uint64_t) +
                        rows * sizeof(struct wide) + dates_bytes((uint32_t)rows)) ||
        t->dates.count + rows > DATES_MAX)
        return TABLE_FULL;
    t->log.large = t->budget >= 16 * PAGES_LARGE && allowed(t, table_used(t) + 2 * PAGES_LARGE);
    if (!t->dates.recent && t->budget >= HURRY_BUDGET && dates_hurry(&t->dates) != 0)
        return -E_NO_MEMORY;
    int rc = reserve_arena(t, arena);
    if (rc == 0)
        rc = reserve_index(t, rows);
    return rc ? rc : widen_dense(t);
}

uint32_t table_find(const struct table *t, const char *bytes, size_t len, uint64_t hash)
{
    if (t->index_slots == 0)
        return TABLE_NO_SONG;
    for (size_t slot = table_slot(t, hash);;) {
        uint64_t value = t->index[slot];
        if (value == 0)
            return TABLE_NO_SONG;
        if ((value ^ hash) >> 32 == 0 &&
            table_entry_is(table_entry(t, (uint32_t)value), bytes, len))
            return (uint32_t)value;
        if (++slot == t->index_slots)
            slot = 0;
    }
}

static size_t entry_bytes(size_t song_len)
{
    return (offsetof(struct entry, bytes) + song_len + 7) / 8 * 8;
}

uint32_t table_add_song(struct table *t, const char *bytes, size_t len, uint64_t hash)
{
    uint32_t entry = (uint32_t)(t->arena_len / 8) + 1;
    struct entry *e = table_entry(t, entry);

    *e = (struct entry){.id = t->song_count, .len = (uint32_t)len};
    memcpy(e->bytes, bytes, len);
    t->arena_len += entry_bytes(len);
    t->song_count++;
    index_put(t, hash >> 32 << 32 | entry);
    return entry;
}

static int add_wide(struct table *t, uint32_t entry, uint32_t date, bool high, uint64_t plays)
{
    if (t->wide_count == t->wide_room) {
        size_t room =
            next_room(t, t->wide_room, FIRST_WIDE, t->wide_count + 1, sizeof *t->wide, false);
        room = room ? room : t->wide_room + FIRST_WIDE; /* the batch was let in */
        struct wide *wide = realloc(t->wide, room * sizeof *wide);
        if (!wide)
            return -E_NO_MEMORY;
        t->wide = wide;
        t->wide_room = room;
    }
    struct entry *e = table_entry(t, entry);
    t->wide[t->wide_count++] = (struct wide){e->id, date & INT32_MAX, high, plays};
    e->logged |= WIDE_BIT;
    return 0;
}

int table_flush_sum(struct table *t, uint32_t entry, uint32_t date, uint64_t *sum)
{
    uint64_t held = *sum - 1;

    *sum = 0;
    return add_wide(t, entry, date, false, held);
}

/* Gives a song a sum for each day, if memory allows. Its rows in the log stay there. That it
 * has twice as many as there are days bounds what this can waste to half of what they take. */
static int make_dense(struct table *t, struct entry *e)
{
    if (t->dense_count == t->dense_room) {
        if (t->dense_room == 0)
            t->stride = (t->dates.count + STRIDE_STEP - 1) / STRIDE_STEP * STRIDE_STEP;
        size_t item = t->stride * sizeof *t->dense;
        size_t room = next_room(t, t->dense_room, 4, t->dense_count + 1, item, false);
        uint64_t *dense = room ? pages_grow(t->dense, t->dense_room * item, room * item) : NULL;
        if (!room)
            return 0;
        if (!dense)
            return -E_NO_MEMORY;
        t->dense = dense;
        t->dense_room = room;
    }
    memset(t->dense + t->dense_count * t->stride, 0, t->stride * sizeof *t->dense);
    e->dense = (uint32_t)++t->dense_count;
    return 0;
}

int table_add_slowly(struct table *t, uint32_t entry, uint32_t date, uint128 plays)
{
    struct entry *e = table_entry(t, entry);

    t->rows++;
    if (plays >> PLAYS_BITS == 0) {
        uint32_t logged = ++e->logged & (WIDE_BIT - 1);
        if (!e->dense && logged >= DENSE_ROWS_LEAST && logged / 2 >= t->dates.count) {
            int rc = make_dense(t, e);
            if (rc)
                return rc;
        }
        return log_add(&t->log, e->id, date, (uint64_t)plays);
    }
    int rc = add_wide(t, entry, date, false, (uint64_t)plays);
    if (rc == 0 && plays >> 64)
        rc = add_wide(t, entry, date, true, (uint64_t)(plays >> 64));
    return rc;
}

int table_add(struct table *t, uint32_t entry, uint32_t date, uint128 plays)
{
    const struct entry *e = table_entry(t, entry);
    size_t at = table_sum_at(t, e, date);

    if (at == 0 || plays >> DENSE_PLAYS_BITS)
        return table_add_slowly(t, entry, date, plays);
    return table_add_dense(t, at, entry, date, (uint64_t)plays);
}

static int compare_wide(const void *a, const void *b)
{
    const struct wide *x = a, *y = b;

    return (x->song > y->song) - (x->song < y->song);
}

static struct entry *next_entry(struct entry *e)
{
    return (struct entry *)(void *)((char *)e + entry_bytes(e->len));
}

/* Sorts the log and notes in the entries where their rows are. */
static int sort_log(struct table *t)
{
    struct entry *e = (struct entry *)(void *)t->arena;
    uint32_t starts[PART_SONGS];
    size_t bytes = log_largest_part(&t->log) * sizeof(uint64_t);
    uint64_t *scratch = pages_grow(NULL, 0, bytes + 1);

    if (!scratch)
        return -E_NO_MEMORY;
    for (uint32_t part = 0; part < t->log.part_count; part++) {
        uint32_t first = part * PART_SONGS, last = first + PART_SONGS;
        log_sort_part(&t->log, part, scratch, starts);
        for (uint32_t id = first; id < last && id < t->song_count; id++, e = next_entry(e))
            e->start = starts[id - first];
    }
    pages_free(scratch, bytes + 1);
    return 0;
}

/* The songs are sorted in the memory of the index, which has two slots for each. */
static_assert(sizeof(struct ranked) <= 2 * sizeof(uint64_t), "the order fits into the index");

int table_finish(struct table *t)
{
    struct entry *e = (struct entry *)(void *)t->arena;

    if (t->song_count == 0)
        return 0;
    if (sort_log(t) != 0)
        return -E_NO_MEMORY;
    t->order = (struct ranked *)(void *)t->index; /* which has done its work */
    for (uint32_t id = 0; id < t->song_count; id++, e = next_entry(e))
        t->order[id].entry = (uint32_t)(((char *)e - t->arena) / 8) + 1;
    sort_songs(t, t->order, t->song_count);
    if (t->wide_count)
        qsort(t->wide, t->wide_count, sizeof *t->wide, compare_wide);
    return 0;
}
