/* plain.h - facts of the column types, and numbers as Parquet's PLAIN encoding has them. */
#ifndef PARQUET_PLAIN_H
#define PARQUET_PLAIN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#include "parquet.h"

enum { PLAIN_WIDTH_MAX = 16, PLAIN_LENGTH_BYTES = 4 };

struct plain_type {
    int physical;  /* format::Type */
    size_t width;  /* of a value; 0: byte strings */
    int converted; /* format::ConvertedType, -1: none */
    int logical;   /* field of format::LogicalType, 0: none */
};

extern const struct plain_type plain_types[PARQUET_TYPE__COUNT];

enum { PLAIN_LOGICAL_DECIMAL = 5, DECIMAL_DIGITS = 38 };

/* Little endian for the integers, big endian for decimals. */
static inline void plain_number(enum parquet_type type, __int128 n, char ret[PLAIN_WIDTH_MAX])
{
    uint64_t high = htobe64((uint64_t)((unsigned __int128)n >> 64)), low = (uint64_t)n;

    if (type != PARQUET_DECIMAL38) {
        low = htole64(low);
        memcpy(ret, &low, sizeof low);
        return;
    }
    low = htobe64(low);
    memcpy(ret, &high, sizeof high);
    memcpy(ret + sizeof high, &low, sizeof low);
}

#endif
