#include "sort.h"

#include <string.h>

#include "parallel.h"

enum { FEW = 20, BUCKETS = 256, AHEAD = 8 };

/* Names that are alike up to `depth`, by the 8 bytes there and then by the rest. */
static bool is_before(const struct songs *s, const struct ranked *a, const struct ranked *b,
                      size_t depth)
{
    if (a->key != b->key)
        return a->key < b->key;
    const struct entry *x = songs_entry(s, a->entry), *y = songs_entry(s, b->entry);
    return bytes_compare(x->bytes, x->len, y->bytes, y->len, depth + 8) < 0;
}

static void insert_songs(const struct songs *s, struct ranked *order, size_t count,
                         size_t depth)
{
    for (size_t i = 1; i < count; i++) {
        struct ranked held = order[i];
        size_t k = i;
        for (; k > 0 && is_before(s, &held, &order[k - 1], depth); k--)
            order[k] = order[k - 1];
        order[k] = held;
    }
}

/* Loads the keys of names that are alike up to `depth`. Those that end there come first (names
 * are all different and hold no NUL, so there is at most one); it is left out. */
static size_t load_keys(const struct songs *s, struct ranked *order, size_t count, size_t depth)
{
    size_t ended = 0;

    for (size_t i = 0; i < count; i++) {
        if (i + AHEAD < count)
            prefetch(songs_entry(s, order[i + AHEAD].entry)->bytes + depth);
        const struct entry *e = songs_entry(s, order[i].entry);
        if (e->len > depth) {
            order[i].key = load_prefix(e->bytes + depth, e->len - depth);
            continue;
        }
        struct ranked held = order[i];
        order[i] = order[ended];
        order[ended++] = held;
    }
    return ended;
}

/* Where the first byte is in which the keys differ: its shift, or 64 for nowhere. */
static unsigned first_difference(const struct ranked *order, size_t count)
{
    uint64_t differ = 0;

    for (size_t i = 1; i < count; i++)
        differ |= order[i].key ^ order[0].key;
    return differ ? (unsigned)(63 - __builtin_clzll(differ)) / 8 * 8 : 64;
}

/* Moves every song to the bucket of its byte by following cycles. */
static void deal(struct ranked *order, size_t count, unsigned shift, size_t ends[BUCKETS])
{
    size_t next[BUCKETS], sum = 0;

    memset(ends, 0, BUCKETS * sizeof *ends);
    for (size_t i = 0; i < count; i++)
        ends[order[i].key >> shift & 0xFF]++;
    for (size_t i = 0; i < BUCKETS; i++) {
        next[i] = sum;
        sum += ends[i];
        ends[i] = sum;
    }
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        while (next[bucket] < ends[bucket]) {
            struct ranked held = order[next[bucket]];
            size_t home = held.key >> shift & 0xFF;
            while (home != bucket) {
                struct ranked other = order[next[home]];
                order[next[home]++] = held;
                held = other;
                home = held.key >> shift & 0xFF;
            }
            order[next[bucket]++] = held;
        }
}

/* The keys are loaded for `depth`. The largest bucket is done by going on, so that the stack
 * stays below log2(count) calls. */
static void sort_from(const struct songs *s, struct ranked *order, size_t count, size_t depth)
{
    while (count > FEW) {
        unsigned shift = first_difference(order, count);
        if (shift == 64) {
            depth += 8;
            size_t ended = load_keys(s, order, count, depth);
            order += ended;
            count -= ended;
            continue;
        }
        size_t ends[BUCKETS], largest = 0, from = 0, most = 0;
        deal(order, count, shift, ends);
        for (size_t i = 0; i < BUCKETS; from = ends[i++])
            if (ends[i] - from > most) {
                most = ends[i] - from;
                largest = i;
            }
        from = 0;
        for (size_t i = 0; i < BUCKETS; from = ends[i++])
            if (i != largest && ends[i] - from > 1)
                sort_from(s, order + from, ends[i] - from, depth);
        order += ends[largest] - most;
        count = most;
    }
    insert_songs(s, order, count, depth);
}

/* What is left to be sorted, shared among threads. */
struct sorting {
    const struct songs *songs;
    struct ranked *order;
    size_t depth, starts[BUCKETS + 1];
    size_t by_size[BUCKETS];
    atomic_size_t next;
};

static void sort_buckets(void *arg, size_t me)
{
    struct sorting *g = arg;

    (void)me;
    for (size_t i; parallel_next(&g->next, BUCKETS, &i);) {
        const size_t *start = &g->starts[g->by_size[i]];
        sort_from(g->songs, g->order + start[0], start[1] - start[0], g->depth);
    }
}

/* The largest bucket first, so that all threads end at the same time. */
static void list_by_size(struct sorting *g)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        size_t size = g->starts[i + 1] - g->starts[i], at = i;
        for (; at > 0; at--) {
            size_t other = g->by_size[at - 1];
            if (g->starts[other + 1] - g->starts[other] >= size)
                break;
            g->by_size[at] = other;
        }
        g->by_size[at] = i;
    }
}

void sort_songs(const struct songs *s, struct ranked *order, size_t count, size_t threads)
{
    struct sorting g = {.songs = s, .order = order};
    unsigned shift = 64;

    if (threads == 1) {
        sort_from(s, order, count, 0);
        return;
    }
    while (count > FEW && (shift = first_difference(g.order, count)) == 64) {
        g.depth += 8;
        size_t ended = load_keys(s, g.order, count, g.depth);
        g.order += ended;
        count -= ended;
    }
    if (count <= FEW) {
        insert_songs(s, g.order, count, g.depth);
        return;
    }
    deal(g.order, count, shift, g.starts + 1);
    list_by_size(&g);
    parallel_run(threads, sort_buckets, &g);
}
