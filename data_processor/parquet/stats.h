/* stats.h - least and greatest value of a column chunk, and its NULLs. Pure.
 *
 * Of long byte strings only the first STATS_BYTES are kept: cut strings keep their order, so
 * the least cut string is the least string, cut. What is written for a greatest value that was
 * cut is a little greater than it (UTF-8 stays UTF-8), and marked as not exact. */
#ifndef PARQUET_STATS_H
#define PARQUET_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "parquet.h"

enum { STATS_BYTES = 64 };

struct stats_bound {
    unsigned char bytes[STATS_BYTES];
    size_t len;
    bool exact;
};

struct stats {
    enum parquet_type type;
    bool any; /* there was a value */
    uint64_t nulls;
    __int128 low, high;             /* numbers */
    struct stats_bound least, most; /* byte strings */
};

void stats_init(struct stats *s, enum parquet_type type);

/* `len` may be more than the STATS_BYTES that must be there. */
void stats_add_bytes(struct stats *s, const void *bytes, uint64_t len);

static inline void stats_add_number(struct stats *s, __int128 n)
{
    if (!s->any || n < s->low)
        s->low = n;
    if (!s->any || n > s->high)
        s->high = n;
    s->any = true;
}

/* The bounds as the footer has them; false when there is none. */
bool stats_least(const struct stats *s, struct stats_bound *ret);
bool stats_most(const struct stats *s, struct stats_bound *ret);

#endif
