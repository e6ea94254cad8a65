/* expect.h - what readers must find in a Parquet file, as text: a line per row, cells separated
 * by tabs: `-` for NULL, numbers in decimal (a date: days since 1970), byte strings as
 * LENGTH:HEX, or LENGTH:SHA256 past 32 bytes. */
#ifndef READERS_EXPECT_H
#define READERS_EXPECT_H

#include <stddef.h>
#include <stdio.h>

#include "err.h"

/* Ends the program with err's sentence unless rc is 0. */
void expect_ok(int rc, const struct err *err);

void expect_bytes(FILE *out, const void *bytes, size_t len);
void expect_number(FILE *out, __int128 n);

#endif
