#include "stats.h"

#include <string.h>

#include "plain.h"
#include "utf8.h"

void stats_init(struct stats *s, enum parquet_type type)
{
    *s = (struct stats){.type = type};
}

static int compare(const struct stats_bound *b, const void *bytes, size_t len)
{
    int order = memcmp(bytes, b->bytes, len < b->len ? len : b->len);

    return order ? order : (len > b->len) - (len < b->len);
}

static void take(struct stats_bound *b, const void *bytes, size_t len, bool exact)
{
    memcpy(b->bytes, bytes, len);
    b->len = len;
    b->exact = exact;
}

void stats_add_bytes(struct stats *s, const void *bytes, uint64_t len)
{
    bool exact = len <= STATS_BYTES;
    size_t kept = exact ? (size_t)len : STATS_BYTES;
    int least = s->any ? compare(&s->least, bytes, kept) : -1;
    int most = s->any ? compare(&s->most, bytes, kept) : 1;

    s->any = true;
    if (least < 0)
        take(&s->least, bytes, kept, exact);
    else if (least == 0)
        s->least.exact = s->least.exact || exact; /* the shorter one is the lesser one */
    if (most > 0)
        take(&s->most, bytes, kept, exact);
    else if (most == 0)
        s->most.exact = s->most.exact && exact;
}

static bool number_bound(const struct stats *s, __int128 n, struct stats_bound *ret)
{
    char plain[PLAIN_WIDTH_MAX];

    plain_number(s->type, n, plain);
    take(ret, plain, plain_types[s->type].width, true);
    return true;
}

/* A cut string may end in the middle of a character. */
static void to_whole_characters(struct stats_bound *b)
{
    size_t at = 0;

    for (size_t step = 1; step > 0 && at < b->len; at += step)
        step = utf8_char((const char *)b->bytes + at, b->len - at);
    b->len = at;
}

bool stats_least(const struct stats *s, struct stats_bound *ret)
{
    if (!s->any)
        return false;
    if (plain_types[s->type].width)
        return number_bound(s, s->low, ret);
    *ret = s->least;
    if (!ret->exact && s->type == PARQUET_STRING)
        to_whole_characters(ret);
    return true;
}

/* The next byte string of the same length or less; false when all bytes are 0xFF. */
static bool raise_bytes(struct stats_bound *b)
{
    while (b->len > 0 && b->bytes[b->len - 1] == 0xFF)
        b->len--;
    if (b->len == 0)
        return false;
    b->bytes[b->len - 1]++;
    return true;
}

/* The next character of the same length; false when there is none. Surrogates are passed over
 * (The Unicode Standard, table 3-7). */
static bool raise_char(unsigned char *c, size_t len)
{
    if (len == 1) {
        if (c[0] == 0x7F)
            return false;
        c[0]++;
        return true;
    }
    for (size_t i = len - 1; i > 0; i--) {
        bool last_before_surrogates = i == 1 && c[0] == 0xED && c[1] == 0x9F;
        bool last_of_all = i == 1 && c[0] == 0xF4 && c[1] == 0x8F;
        if (c[i] < 0xBF && !last_before_surrogates && !last_of_all) {
            c[i]++;
            return true;
        }
        c[i] = 0x80;
    }
    if (c[0] == 0xDF || c[0] == 0xEF || c[0] == 0xF4)
        return false;
    c[0]++;
    return true;
}

static bool raise_text(struct stats_bound *b)
{
    to_whole_characters(b);
    while (b->len > 0) {
        size_t start = b->len - 1;
        while (start > 0 && (b->bytes[start] & 0xC0) == 0x80)
            start--;
        if (raise_char(b->bytes + start, b->len - start))
            return true;
        b->len = start; /* a greater character before it will do */
    }
    return false;
}

bool stats_most(const struct stats *s, struct stats_bound *ret)
{
    if (!s->any)
        return false;
    if (plain_types[s->type].width)
        return number_bound(s, s->high, ret);
    *ret = s->most;
    if (ret->exact)
        return true;
    return s->type == PARQUET_STRING ? raise_text(ret) : raise_bytes(ret);
}
