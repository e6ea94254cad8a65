/* column_impl.h - what the files of a column share. Private to this room. */
#ifndef PARQUET_COLUMN_IMPL_H
#define PARQUET_COLUMN_IMPL_H

#include "column.h"

int column_no_memory(struct err *err);

/* Into the dictionary or the page at hand. `number` NULL: bytes, else the number that they are.
 */
int column_put(struct column *c, const void *bytes, size_t len, const __int128 *number,
               uint64_t times, struct err *err);

/* From here on the column is PLAIN. */
int column_leave_dict(struct column *c, struct err *err);

/* Hands the page at hand to the press. */
int column_flush(struct column *c, struct err *err);

/* What stands before the values of a page of an optional column: are they there? */
void column_append_levels(struct buf *out, const uint32_t *levels, size_t count);

/* Notes a page whose header takes so many bytes. */
void column_count_page(struct column *c, const struct page_facts *page, size_t header_bytes);

#endif
