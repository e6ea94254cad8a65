#include "sort.h"

#include "table.h"

enum { FEW = 24, KEY_BITS = 64, DIGIT_BITS = 8, BUCKETS = 1 << DIGIT_BITS };

static void swap_songs(struct song *a, struct song *b)
{
    struct song held = *a;

    *a = *b;
    *b = held;
}

static void insert_songs(struct song *songs, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && song_compare(&songs[k], &songs[k - 1]) < 0; k--)
            swap_songs(&songs[k], &songs[k - 1]);
}

/* xorshift64 (G. Marsaglia, 2003): good enough to deny a prepared bad case. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Puts a random song at its final place, smaller ones before it; returns the place. */
static size_t part_songs(struct song *songs, size_t count, uint64_t *random)
{
    size_t place = 0;

    swap_songs(&songs[next_random(random) % count], &songs[count - 1]);
    for (size_t i = 0; i + 1 < count; i++)
        if (song_compare(&songs[i], &songs[count - 1]) < 0)
            swap_songs(&songs[i], &songs[place++]);
    swap_songs(&songs[place], &songs[count - 1]);
    return place;
}

void sort_songs(struct song *songs, size_t count, uint64_t seed)
{
    uint64_t random = seed | 1;

    while (count > FEW) {
        size_t place = part_songs(songs, count, &random), right = count - place - 1;
        /* the smaller side by recursion, so that the depth stays below log2(count) */
        if (place < right) {
            sort_songs(songs, place, random);
            songs += place + 1;
            count = right;
        } else {
            sort_songs(songs + place + 1, right, random);
            count = place;
        }
    }
    insert_songs(songs, count);
}

static void insert_groups(struct group *groups, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct group held = groups[i];
        size_t k = i;
        for (; k > 0 && groups[k - 1].key > held.key; k--)
            groups[k] = groups[k - 1];
        groups[k] = held;
    }
}

static size_t digit_of(const struct group *g, unsigned shift)
{
    return g->key >> shift & (BUCKETS - 1);
}

/* Moves every group to the bucket of its digit by following cycles. */
static void deal(struct group *groups, unsigned shift, const size_t ends[BUCKETS],
                 size_t next[BUCKETS])
{
    for (size_t bucket = 0; bucket < BUCKETS; bucket++) {
        while (next[bucket] < ends[bucket]) {
            struct group held = groups[next[bucket]];
            size_t home = digit_of(&held, shift);
            while (home != bucket) {
                struct group other = groups[next[home]];
                groups[next[home]++] = held;
                held = other;
                home = digit_of(&held, shift);
            }
            groups[next[bucket]++] = held;
        }
    }
}

static void sort_from(struct group *groups, size_t count, unsigned shift)
{
    size_t ends[BUCKETS] = {0}, next[BUCKETS], sum = 0;

    for (size_t i = 0; i < count; i++)
        ends[digit_of(&groups[i], shift)]++;
    for (size_t i = 0; i < BUCKETS; i++) {
        next[i] = sum;
        sum += ends[i];
        ends[i] = sum;
    }
    deal(groups, shift, ends, next);
    for (size_t i = 0, from = 0; shift > 0 && i < BUCKETS; from = ends[i++]) {
        size_t size = ends[i] - from;
        if (size > FEW)
            sort_from(groups + from, size, shift - DIGIT_BITS);
        else
            insert_groups(groups + from, size);
    }
}

void sort_groups(struct group *groups, size_t count)
{
    if (count > FEW)
        sort_from(groups, count, KEY_BITS - DIGIT_BITS);
    else
        insert_groups(groups, count);
}
