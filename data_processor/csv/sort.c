#include "sort.h"

enum { FEW = 20, BUCKETS = 256, AHEAD = 8 };

/* Names that are alike up to `depth`, by the 8 bytes there and then by the rest. */
static bool is_before(const struct table *t, const struct ranked *a, const struct ranked *b,
                      size_t depth)
{
    if (a->key != b->key)
        return a->key < b->key;
    const struct entry *x = table_entry(t, a->entry), *y = table_entry(t, b->entry);
    return bytes_compare(x->bytes, x->len, y->bytes, y->len, depth + 8) < 0;
}

static void insert_songs(const struct table *t, struct ranked *songs, size_t count,
                         size_t depth)
{
    for (size_t i = 1; i < count; i++) {
        struct ranked held = songs[i];
        size_t k = i;
        for (; k > 0 && is_before(t, &held, &songs[k - 1], depth); k--)
            songs[k] = songs[k - 1];
        songs[k] = held;
    }
}

/* Loads the keys of names that are alike up to `depth`. Those that end there come first (names
 * are all different and hold no NUL, so there is at most one); it is left out. */
static size_t load_keys(const struct table *t, struct ranked *songs, size_t count, size_t depth)
{
    size_t ended = 0;

    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            prefetch(table_entry(t, songs[i + AHEAD].entry)->bytes + depth);
        const struct entry *e = table_entry(t, songs[i].entry);
        if (e->len > depth) {
            songs[i].key = load_prefix(e->bytes + depth, e->len - depth);
            continue;
        }
        struct ranked held = songs[i];
        songs[i] = songs[ended];
        songs[ended++] = held;
    }
    return ended;
}

/* Where the first byte is in which the keys differ: its shift, or 64 for nowhere. */
static unsigned first_difference(const struct ranked *songs, size_t count)
{
    uint64_t differ = 0;

    for (size_t i = 1; i < count; i++)
        differ |= songs[i].key ^ songs[0].key;
    return differ ? (unsigned)(63 - __builtin_clzll(differ)) / 8 * 8 : 64;
}

/* Moves every song to the bucket of its byte by following cycles. */
static void deal(struct ranked *songs, size_t count, unsigned shift, size_t ends[BUCKETS])
{
    size_t next[BUCKETS], sum = 0;

    memset(ends, 0, BUCKETS * sizeof *ends);
    for (size_t i = 0; i < count; i++)
        ends[songs[i].key >> shift & 0xFF]++;
    for (size_t i = 0; i < BUCKETS; i++) {
        next[i] = sum;
        sum += ends[i];
        ends[i] = sum;
    }
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        while (next[bucket] < ends[bucket]) {
            struct ranked held = songs[next[bucket]];
            size_t home = held.key >> shift & 0xFF;
            while (home != bucket) {
                struct ranked other = songs[next[home]];
                songs[next[home]++] = held;
                held = other;
                home = held.key >> shift & 0xFF;
            }
            songs[next[bucket]++] = held;
        }
}

/* The keys are loaded for `depth`. The largest bucket is done by going on, so that the stack
 * stays below log2(count) calls. */
static void sort_from(const struct table *t, struct ranked *songs, size_t count, size_t depth)
{
    while (count > FEW) {
        unsigned shift = first_difference(songs, count);
        if (shift == 64) {
            depth += 8;
            size_t ended = load_keys(t, songs, count, depth);
            songs += ended;
            count -= ended;
            continue;
        }
        size_t ends[BUCKETS], largest = 0, from = 0, most = 0;
        deal(songs, count, shift, ends);
        for (size_t i = 0; i < BUCKETS; from = ends[i++])
            if (ends[i] - from > most) {
                most = ends[i] - from;
                largest = i;
            }
        from = 0;
        for (size_t i = 0; i < BUCKETS; from = ends[i++])
            if (i != largest && ends[i] - from > 1)
                sort_from(t, songs + from, ends[i] - from, depth);
        songs += ends[largest] - most;
        count = most;
    }
    insert_songs(t, songs, count, depth);
}

void sort_songs(const struct table *t, struct ranked *songs, size_t count)
{
    size_t ended = load_keys(t, songs, count, 0);

    sort_from(t, songs + ended, count - ended, 0);
}
