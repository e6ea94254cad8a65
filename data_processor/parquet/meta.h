/* meta.h - page headers and the footer. Pure. */
#ifndef PARQUET_META_H
#define PARQUET_META_H

#include "buf.h"
#include "parquet.h"
#include "stats.h"

enum page_kind { PAGE_DICTIONARY, PAGE_INDEXES, PAGE_PLAIN, PAGE__COUNT };

struct page_facts {
    enum page_kind kind;
    uint32_t values; /* NULLs too */
    uint32_t crc;    /* of the packed bytes */
    uint64_t raw_bytes, packed_bytes;
};

/* What the footer tells of a column chunk. */
struct chunk_facts {
    uint64_t values;                  /* NULLs too */
    uint64_t raw_bytes, packed_bytes; /* of its pages, headers included */
    uint64_t first_page_bytes;        /* with its header */
    uint32_t pages[PAGE__COUNT];
    struct stats stats;
};

void meta_page_header(struct buf *out, const struct page_facts *page);

/* Appends a row group that starts at `offset` in the file: an item of the footer's list. */
void meta_group(struct buf *out, const struct parquet_column *columns,
                const struct chunk_facts *const *chunks, size_t count, size_t sorted,
                uint64_t rows, uint64_t offset, uint64_t number);

/* Appends the footer, with its length and mark. */
void meta_footer(struct buf *out, const struct parquet_column *columns, size_t count,
                 uint64_t rows, const struct buf *groups, uint64_t group_count);

enum { META_MARK_BYTES = 4 };
extern const char meta_mark[META_MARK_BYTES + 1];

#endif
