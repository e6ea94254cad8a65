#include "meta.h"

#include <endian.h>
#include <stdio.h>

#include "plain.h"
#include "thrift.h"

/* Numbers of parquet.thrift. */
enum { ENCODING_PLAIN = 0, ENCODING_RLE = 3, ENCODING_RLE_DICTIONARY = 8 };
enum { CODEC_ZSTD = 6, REQUIRED = 0, OPTIONAL = 1 };
enum { PAGE_TYPE_DATA = 0, PAGE_TYPE_DICTIONARY = 2 };

const char meta_mark[META_MARK_BYTES + 1] = "PAR1";

static const struct {
    int type, encoding;
} kinds[PAGE__COUNT] = {
    [PAGE_DICTIONARY] = {PAGE_TYPE_DICTIONARY, ENCODING_PLAIN},
    [PAGE_INDEXES] = {PAGE_TYPE_DATA, ENCODING_RLE_DICTIONARY},
    [PAGE_PLAIN] = {PAGE_TYPE_DATA, ENCODING_PLAIN},
};

void meta_page_header(struct buf *out, const struct page_facts *page)
{
    struct thrift t;

    thrift_begin(&t, out);
    thrift_i32(&t, 1, kinds[page->kind].type);
    thrift_i32(&t, 2, (int32_t)page->raw_bytes);
    thrift_i32(&t, 3, (int32_t)page->packed_bytes);
    thrift_i32(&t, 4, (int32_t)page->crc);
    thrift_struct(&t, page->kind == PAGE_DICTIONARY ? 7 : 5);
    thrift_i32(&t, 1, (int32_t)page->values);
    thrift_i32(&t, 2, kinds[page->kind].encoding);
    if (page->kind != PAGE_DICTIONARY) {
        thrift_i32(&t, 3, ENCODING_RLE); /* definition levels */
        thrift_i32(&t, 4, ENCODING_RLE); /* repetition levels, of which there are none */
    }
    thrift_end(&t);
    thrift_end(&t);
}

static void statistics(struct thrift *t, const struct stats *s)
{
    struct stats_bound least, most;
    bool has_least = stats_least(s, &least), has_most = stats_most(s, &most);

    thrift_i64(t, 3, (int64_t)s->nulls);
    if (has_most)
        thrift_binary(t, 5, most.bytes, most.len);
    if (has_least)
        thrift_binary(t, 6, least.bytes, least.len);
    if (has_most)
        thrift_bool(t, 7, most.exact);
    if (has_least)
        thrift_bool(t, 8, least.exact);
    thrift_end(t);
}

static void encodings(struct thrift *t, const struct chunk_facts *c)
{
    bool plain = c->pages[PAGE_PLAIN] > 0 || c->pages[PAGE_DICTIONARY] > 0;
    bool indexes = c->pages[PAGE_INDEXES] > 0;

    thrift_list(t, 2, THRIFT_I32, 1 + (size_t)plain + (size_t)indexes);
    if (plain)
        thrift_item_i32(t, ENCODING_PLAIN);
    thrift_item_i32(t, ENCODING_RLE);
    if (indexes)
        thrift_item_i32(t, ENCODING_RLE_DICTIONARY);
}

static void encoding_counts(struct thrift *t, const struct chunk_facts *c)
{
    size_t count = 0;

    for (int i = 0; i < PAGE__COUNT; i++)
        count += c->pages[i] > 0;
    thrift_list(t, 13, THRIFT_STRUCT, count);
    for (int i = 0; i < PAGE__COUNT; i++) {
        if (c->pages[i] == 0)
            continue;
        thrift_item_struct(t);
        thrift_i32(t, 1, kinds[i].type);
        thrift_i32(t, 2, kinds[i].encoding);
        thrift_i32(t, 3, (int32_t)c->pages[i]);
        thrift_end(t);
    }
}

static void chunk(struct thrift *t, const struct parquet_column *column,
                  const struct chunk_facts *c, uint64_t offset)
{
    bool dictionary = c->pages[PAGE_DICTIONARY] > 0;

    thrift_item_struct(t);
    thrift_i64(t, 2, 0); /* file_offset: the format wants 0 there now */
    thrift_struct(t, 3);
    thrift_i32(t, 1, plain_types[column->type].physical);
    encodings(t, c);
    thrift_list(t, 3, THRIFT_BINARY, 1);
    thrift_item_text(t, column->name);
    thrift_i32(t, 4, CODEC_ZSTD);
    thrift_i64(t, 5, (int64_t)c->values);
    thrift_i64(t, 6, (int64_t)c->raw_bytes);
    thrift_i64(t, 7, (int64_t)c->packed_bytes);
    thrift_i64(t, 9, (int64_t)(offset + (dictionary ? c->first_page_bytes : 0)));
    if (dictionary)
        thrift_i64(t, 11, (int64_t)offset);
    thrift_struct(t, 12);
    statistics(t, &c->stats);
    encoding_counts(t, c);
    thrift_end(t);
    thrift_end(t);
}

static void sorting(struct thrift *t, size_t sorted)
{
    if (sorted == 0)
        return;
    thrift_list(t, 4, THRIFT_STRUCT, sorted);
    for (size_t i = 0; i < sorted; i++) {
        thrift_item_struct(t);
        thrift_i32(t, 1, (int32_t)i);
        thrift_bool(t, 2, false); /* descending */
        thrift_bool(t, 3, false); /* NULLs first */
        thrift_end(t);
    }
}

void meta_group(struct buf *out, const struct parquet_column *columns,
                const struct chunk_facts *const *chunks, size_t count, size_t sorted,
                uint64_t rows, uint64_t offset, uint64_t number)
{
    struct thrift t;
    uint64_t raw = 0, packed = 0;

    thrift_begin(&t, out);
    thrift_list(&t, 1, THRIFT_STRUCT, count);
    for (size_t i = 0; i < count; i++) {
        chunk(&t, &columns[i], chunks[i], offset + packed);
        raw += chunks[i]->raw_bytes;
        packed += chunks[i]->packed_bytes;
    }
    thrift_i64(&t, 2, (int64_t)raw);
    thrift_i64(&t, 3, (int64_t)rows);
    sorting(&t, sorted);
    thrift_i64(&t, 5, (int64_t)offset);
    thrift_i64(&t, 6, (int64_t)packed);
    if (number <= INT16_MAX)
        thrift_i16(&t, 7, (int16_t)number);
    thrift_end(&t);
}

static void logical_type(struct thrift *t, int logical)
{
    thrift_struct(t, 10);
    thrift_struct(t, logical);
    if (logical == PLAIN_LOGICAL_DECIMAL) {
        thrift_i32(t, 1, 0); /* scale */
        thrift_i32(t, 2, DECIMAL_DIGITS);
    }
    thrift_end(t);
    thrift_end(t);
}

static void schema_column(struct thrift *t, const struct parquet_column *column)
{
    const struct plain_type *type = &plain_types[column->type];

    thrift_item_struct(t);
    thrift_i32(t, 1, type->physical);
    if (column->type == PARQUET_DECIMAL38)
        thrift_i32(t, 2, (int32_t)type->width);
    thrift_i32(t, 3, column->optional ? OPTIONAL : REQUIRED);
    thrift_text(t, 4, column->name);
    if (type->converted >= 0)
        thrift_i32(t, 6, type->converted);
    if (column->type == PARQUET_DECIMAL38) {
        thrift_i32(t, 7, 0); /* scale */
        thrift_i32(t, 8, DECIMAL_DIGITS);
    }
    if (type->logical)
        logical_type(t, type->logical);
    thrift_end(t);
}

static void schema(struct thrift *t, const struct parquet_column *columns, size_t count)
{
    thrift_list(t, 2, THRIFT_STRUCT, count + 1);
    thrift_item_struct(t);
    thrift_text(t, 4, "schema");
    thrift_i32(t, 5, (int32_t)count);
    thrift_end(t);
    for (size_t i = 0; i < count; i++)
        schema_column(t, &columns[i]);
}

/* Every column is ordered as its type says. */
static void column_orders(struct thrift *t, size_t count)
{
    thrift_list(t, 7, THRIFT_STRUCT, count);
    for (size_t i = 0; i < count; i++) {
        thrift_item_struct(t);
        thrift_struct(t, 1);
        thrift_end(t);
        thrift_end(t);
    }
}

void meta_footer(struct buf *out, const struct parquet_column *columns, size_t count,
                 uint64_t rows, const struct buf *groups, uint64_t group_count)
{
    struct thrift t;
    size_t start = out->len;

    thrift_begin(&t, out);
    thrift_i32(&t, 1, 1);
    schema(&t, columns, count);
    thrift_i64(&t, 3, (int64_t)rows);
    thrift_list(&t, 4, THRIFT_STRUCT, group_count);
    thrift_item_raw(&t, groups);
    thrift_text(&t, 6, "Segue version " SEGUE_VERSION);
    column_orders(&t, count);
    thrift_end(&t);
    uint32_t len = htole32((uint32_t)(out->len - start));
    buf_append(out, &len, sizeof len);
    buf_append_str(out, meta_mark);
}
