#include "table.h"

#include <stdlib.h>
#include <string.h>

#include "sort.h"

enum {
    CHUNK_BYTES = 64 * 1024,
    FIRST_SONGS = 64,
    FIRST_INDEX = 256,
    FIRST_GROUPS = 256,
};

struct chunk {
    struct chunk *next;
    size_t size, used; /* of bytes[] */
    char bytes[];
};

void table_init(struct table *t, size_t budget, uint64_t seed)
{
    *t = (struct table){.budget = budget, .seed = seed};
}

void table_release(struct table *t)
{
    while (t->chunks) {
        struct chunk *next = t->chunks->next;
        free(t->chunks);
        t->chunks = next;
    }
    free(t->songs);
    free(t->index);
    free(t->groups);
    table_init(t, t->budget, t->seed);
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply and fold, 8 bytes a step, after wyhash (Wang Yi, public domain). The odd
 * constants are the fractional digits of pi. */
uint64_t table_hash(const struct table *t, const char *bytes, size_t len)
{
    uint64_t state = t->seed ^ len, word;

    for (; len > 8; bytes += 8, len -= 8) {
        memcpy(&word, bytes, 8);
        state = fold(state ^ word, UINT64_C(0x243F6A8885A308D3));
    }
    word = 0;
    memcpy(&word, bytes, len);
    return fold(state ^ word ^ UINT64_C(0xA4093822299F31D1), UINT64_C(0x13198A2E03707345));
}

/* A slot for a hash: its upper half, scaled. */
static size_t slot_of(uint64_t hash, size_t slots)
{
    return (size_t)((uint128)hash * slots >> 64);
}

uint64_t song_prefix(const char *bytes, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, bytes, len < 8 ? len : 8);
    return __builtin_bswap64(word);
}

int song_compare(const struct song *a, const struct song *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    size_t shorter = a->len < b->len ? a->len : b->len;
    int order = memcmp(a->bytes, b->bytes, shorter);
    if (order)
        return order;
    return (a->len > b->len) - (a->len < b->len);
}

/* May `extra` bytes be reserved? An empty table may always grow. */
static bool allowed(const struct table *t, size_t extra)
{
    return t->group_count == 0 || (t->used <= t->budget && extra <= t->budget - t->used);
}

/* The next number of slots of `size` bytes, when old and new must both fit for a moment: at
 * best double, at least a quarter more, else 0. */
static size_t next_slots(const struct table *t, size_t slots, size_t first, size_t size)
{
    if (slots == 0)
        return first;
    if (allowed(t, 2 * slots * size))
        return 2 * slots;
    size_t most = t->used < t->budget ? (t->budget - t->used) / size : 0;
    return most >= slots + slots / 4 ? most : 0;
}

uint32_t table_find(const struct table *t, const char *bytes, size_t len, uint64_t hash)
{
    if (t->index_slots == 0)
        return TABLE_NO_SONG;
    for (size_t slot = slot_of(hash, t->index_slots);;) {
        uint32_t id = t->index[slot];
        if (id == TABLE_NO_SONG)
            return id;
        const struct song *s = &t->songs[id];
        if (s->tag == (uint32_t)hash && s->len == len && memcmp(s->bytes, bytes, len) == 0)
            return id;
        if (++slot == t->index_slots)
            slot = 0;
    }
}

static void index_put(struct table *t, uint64_t hash, uint32_t id)
{
    size_t slot = slot_of(hash, t->index_slots);

    while (t->index[slot] != TABLE_NO_SONG)
        if (++slot == t->index_slots)
            slot = 0;
    t->index[slot] = id;
}

/* Keeps the index at most half full. The old one goes first: songs can be put anew. */
static int index_grow(struct table *t)
{
    if (t->song_count < t->index_slots / 2)
        return 0;

    size_t old = t->index_slots * sizeof *t->index;
    size_t slots = next_slots(t, t->index_slots, FIRST_INDEX, sizeof *t->index);
    if (slots == 0)
        return TABLE_FULL;
    uint32_t *index = malloc(slots * sizeof *index);
    if (!index)
        return -E_NO_MEMORY;
    memset(index, 0xFF, slots * sizeof *index);
    free(t->index);
    t->index = index;
    t->index_slots = slots;
    t->used += slots * sizeof *index - old;
    for (uint32_t id = 0; id < t->song_count; id++)
        index_put(t, table_hash(t, t->songs[id].bytes, t->songs[id].len), id);
    return 0;
}

static int songs_grow(struct table *t)
{
    if (t->song_count < t->song_room)
        return 0;

    size_t room = next_slots(t, t->song_room, FIRST_SONGS, sizeof *t->songs);
    if (room == 0 || room >= TABLE_NO_SONG)
        return TABLE_FULL;
    struct song *songs = realloc(t->songs, room * sizeof *songs);
    if (!songs)
        return -E_NO_MEMORY;
    t->used += (room - t->song_room) * sizeof *songs;
    t->songs = songs;
    t->song_room = (uint32_t)room;
    return 0;
}

/* Room for the bytes of a song, in a chunk of its own when it is long. */
static int chunk_take(struct table *t, size_t len, char **ret_at)
{
    struct chunk *c = t->chunks;

    if (!c || c->size - c->used < len) {
        size_t size = len > CHUNK_BYTES / 8 ? len : CHUNK_BYTES;
        if (size == CHUNK_BYTES && t->budget < 16 * CHUNK_BYTES)
            size = len > 1024 ? len : 1024;
        if (!allowed(t, sizeof *c + size))
            return TABLE_FULL;
        struct chunk *fresh = malloc(sizeof *c + size);
        if (!fresh)
            return -E_NO_MEMORY;
        *fresh = (struct chunk){.size = size};
        t->used += sizeof *c + size;
        bool keep_first = c && size == len; /* go on filling the chunk at hand */
        struct chunk **link = keep_first ? &c->next : &t->chunks;
        fresh->next = *link;
        *link = fresh;
        c = fresh;
    }
    *ret_at = c->bytes + c->used;
    c->used += len;
    return 0;
}

int table_add_song(struct table *t, const char *bytes, size_t len, uint64_t hash,
                   uint32_t *ret_id)
{
    char *copy = NULL;
    int rc = index_grow(t);

    if (rc == 0)
        rc = songs_grow(t);
    if (rc == 0)
        rc = chunk_take(t, len, &copy);
    if (rc)
        return rc;
    memcpy(copy, bytes, len);
    *ret_id = t->song_count++;
    t->songs[*ret_id] =
        (struct song){song_prefix(bytes, len), copy, (uint32_t)len, (uint32_t)hash};
    index_put(t, hash, *ret_id);
    return 0;
}

/* The slot of the group, or the free slot where it belongs. */
static struct group *group_slot(const struct table *t, uint64_t key)
{
    size_t slot = slot_of(fold(key ^ t->seed, UINT64_C(0x9E3779B97F4A7C15)), t->group_slots);

    while (t->groups[slot].key && ((t->groups[slot].key ^ key) | 1) != 1)
        if (++slot == t->group_slots)
            slot = 0;
    return &t->groups[slot];
}

/* Keeps the groups at most three quarters full. */
static int groups_grow(struct table *t)
{
    if (t->group_count < t->group_slots / 4 * 3)
        return 0;

    size_t old_slots = t->group_slots;
    size_t slots = next_slots(t, old_slots, FIRST_GROUPS, sizeof *t->groups);
    if (slots == 0)
        return TABLE_FULL;
    struct group *old = t->groups, *groups = calloc(slots, sizeof *groups);
    if (!groups)
        return -E_NO_MEMORY;
    t->groups = groups;
    t->group_slots = slots;
    t->used += (slots - old_slots) * sizeof *groups;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].key)
            *group_slot(t, old[i].key) = old[i];
    free(old);
    return 0;
}

int table_add(struct table *t, uint32_t song, uint32_t day, uint128 plays)
{
    uint64_t key = (uint64_t)song << 32 | (uint64_t)day << 1;
    struct group *g = t->group_slots ? group_slot(t, key) : NULL;

    if (!g || g->key == 0) {
        int rc = groups_grow(t);
        if (rc)
            return rc;
        g = group_slot(t, key);
        g->key = key;
        t->group_count++;
    }
    uint128 sum;
    if (__builtin_add_overflow(group_sum(g), plays, &sum))
        g->key |= 1;
    g->low = (uint64_t)sum;
    g->high = (uint64_t)(sum >> 64);
    return 0;
}

void table_sort(struct table *t)
{
    size_t count = 0;

    for (size_t i = 0; i < t->group_slots; i++)
        if (t->groups[i].key)
            t->groups[count++] = t->groups[i];
    for (uint32_t id = 0; id < t->song_count; id++)
        t->songs[id].tag = id;
    sort_songs(t->songs, t->song_count, t->seed);
    /* the index has done its work: it becomes the map from id to place */
    for (uint32_t place = 0; place < t->song_count; place++)
        t->index[t->songs[place].tag] = place;
    for (size_t i = 0; i < count; i++)
        t->groups[i].key =
            (uint64_t)t->index[t->groups[i].key >> 32] << 32 | (uint32_t)t->groups[i].key;
    sort_groups(t->groups, count);
}
