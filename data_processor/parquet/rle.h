/* rle.h - Parquet's hybrid of run lengths and bit packing, for levels and indexes. Pure. */
#ifndef PARQUET_RLE_H
#define PARQUET_RLE_H

#include <stddef.h>
#include <stdint.h>

#include "buf.h"

/* Bits that numbers up to `most` take, at least 1: a width of 0 is legal, and readers have
 * stumbled over it. */
unsigned rle_width(uint32_t most);

/* Appends `count` numbers below 2^width (1 to 32). The same numbers always give the same bytes.
 */
void rle_encode(struct buf *out, const uint32_t *numbers, size_t count, unsigned width);

#endif
