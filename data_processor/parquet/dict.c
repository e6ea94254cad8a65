#include "dict.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 4, SLOTS_LEAST = 1024 };

void dict_init(struct dict *d, size_t width, size_t bytes_max, uint64_t seed)
{
    *d = (struct dict){.width = width, .bytes_max = bytes_max, .seed = seed};
    buf_init(&d->values);
}

void dict_clear(struct dict *d)
{
    buf_clear(&d->values);
    d->count = d->last = 0;
    if (d->slots)
        memset(d->slots, 0, d->slot_count * sizeof *d->slots);
}

void dict_release(struct dict *d)
{
    buf_release(&d->values);
    free(d->ends);
    free(d->slots);
    *d = (struct dict){0};
    buf_init(&d->values);
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint64_t word_at(const char *at, size_t len)
{
    uint64_t word = 0;

    memcpy(&word, at, len < sizeof word ? len : sizeof word);
    return word;
}

/* Numbers differ in few bits, which one multiplication spreads. */
static uint64_t hash_of(const struct dict *d, const char *bytes, size_t len)
{
    static const uint64_t odd = UINT64_C(0x9E3779B97F4A7C15);
    uint64_t hash = d->seed ^ len;

    if (d->width == sizeof hash)
        return fold(word_at(bytes, sizeof hash) ^ hash, odd);
    if (d->width == sizeof(uint32_t))
        return fold(word_at(bytes, sizeof(uint32_t)) ^ hash, odd);
    for (; len > sizeof hash; bytes += sizeof hash, len -= sizeof hash)
        hash = fold(hash ^ word_at(bytes, sizeof hash), odd);
    return fold(fold(hash ^ word_at(bytes, len), odd), d->seed | 1);
}

const char *dict_value(const struct dict *d, uint32_t number, size_t *ret_len)
{
    if (d->width) {
        *ret_len = d->width;
        return d->values.data + number * d->width;
    }
    size_t start = (number ? d->ends[number - 1] : 0) + LENGTH_BYTES;
    *ret_len = d->ends[number] - start;
    return d->values.data + start;
}

static bool is_value(const struct dict *d, uint32_t number, const char *bytes, size_t len)
{
    size_t known_len;
    const char *known = dict_value(d, number, &known_len);

    if (d->width == sizeof(uint64_t)) /* compilers make one comparison of it */
        return memcmp(known, bytes, sizeof(uint64_t)) == 0;
    if (d->width == sizeof(uint32_t))
        return memcmp(known, bytes, sizeof(uint32_t)) == 0;
    return known_len == len && memcmp(known, bytes, len) == 0;
}

static uint64_t *slot_of(const struct dict *d, uint64_t hash, const char *bytes, size_t len)
{
    uint32_t mask = d->slot_count - 1;

    for (uint32_t at = (uint32_t)hash & mask;; at = (at + 1) & mask) {
        uint64_t *slot = &d->slots[at];
        if (*slot == 0 ||
            (*slot >> 32 == hash >> 32 && is_value(d, (uint32_t)*slot - 1, bytes, len)))
            return slot;
    }
}

static bool grow_slots(struct dict *d)
{
    uint32_t count = d->slot_count ? 2 * d->slot_count : SLOTS_LEAST;
    uint64_t *slots = calloc(count, sizeof *slots);

    if (!slots)
        return false;
    for (uint32_t i = 0; i < d->count; i++) {
        size_t len;
        const char *value = dict_value(d, i, &len);
        uint64_t hash = hash_of(d, value, len);
        uint32_t at = (uint32_t)hash & (count - 1);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = (hash >> 32 << 32) | (i + 1);
    }
    free(d->slots);
    d->slots = slots;
    d->slot_count = count;
    return true;
}

static bool grow_ends(struct dict *d)
{
    uint32_t room = d->ends_room ? 2 * d->ends_room : SLOTS_LEAST;
    uint32_t *ends = realloc(d->ends, room * sizeof *ends);

    if (!ends)
        return false;
    d->ends = ends;
    d->ends_room = room;
    return true;
}

static bool add_value(struct dict *d, const char *bytes, size_t len)
{
    uint32_t length = htole32((uint32_t)len);

    if (!d->width && d->count == d->ends_room && !grow_ends(d))
        return false;
    if (!d->width)
        buf_append(&d->values, &length, sizeof length);
    buf_append(&d->values, bytes, len);
    if (!buf_ok(&d->values))
        return false;
    if (!d->width)
        d->ends[d->count] = (uint32_t)d->values.len;
    d->count++;
    return true;
}

int64_t dict_number(struct dict *d, const void *bytes, size_t len, bool *ret_new)
{
    *ret_new = false;
    if (d->count && is_value(d, d->last, bytes, len))
        return d->last; /* what is sorted repeats itself */
    if ((d->slot_count == 0 || d->count >= d->slot_count / 2) && !grow_slots(d))
        return DICT_NO_MEMORY;
    uint64_t hash = hash_of(d, bytes, len), *slot = slot_of(d, hash, bytes, len);
    if (*slot == 0) {
        size_t more = len + (d->width ? 0 : LENGTH_BYTES);
        if (more > d->bytes_max || d->values.len > d->bytes_max - more)
            return DICT_FULL;
        if (!add_value(d, bytes, len))
            return DICT_NO_MEMORY;
        *slot = (hash >> 32 << 32) | d->count;
        *ret_new = true;
    }
    d->last = (uint32_t)*slot - 1;
    return d->last;
}
