#include "walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

static uint64_t varint(const unsigned char **at, const unsigned char *end)
{
    uint64_t n = 0;

    for (unsigned shift = 0;; shift += 7) {
        assert_true(*at < end && shift < 64);
        n |= (uint64_t)(**at & 0x7F) << shift;
        if (*(*at)++ < 0x80)
            return n;
    }
}

static int64_t zigzag(uint64_t n)
{
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

/* The value of a field or list item of that type; the place behind it. */
static const unsigned char *value(const unsigned char *at, const unsigned char *end, int type,
                                  struct fields *to, unsigned field)
{
    struct fields inner;

    to->has[field] = true;
    to->at[field] = at;
    if (type == 1 || type == 2) {
        to->number[field] = type == 1;
    } else if (type >= 4 && type <= 6) {
        to->number[field] = zigzag(varint(&at, end));
    } else if (type == 8) {
        to->number[field] = (int64_t)varint(&at, end);
        to->at[field] = at;
        at += to->number[field];
    } else if (type == 12) {
        at = walk_struct(at, end, &inner);
    } else {
        assert_int_equal(type, 9);
        uint64_t count = *at >> 4;
        int item = *at++ & 15;
        if (count == 15)
            count = varint(&at, end);
        to->number[field] = (int64_t)count;
        to->at[field] = at;
        for (uint64_t i = 0; i < count; i++)
            at = value(at, end, item, &inner, 0);
    }
    assert_true(at <= end);
    return at;
}

const unsigned char *walk_struct(const unsigned char *at, const unsigned char *end,
                                 struct fields *ret)
{
    unsigned field = 0;

    memset(ret, 0, sizeof *ret);
    for (;;) {
        assert_true(at < end);
        unsigned head = *at++;
        if (head == 0)
            return at;
        field = head >> 4 ? field + (head >> 4) : (unsigned)zigzag(varint(&at, end));
        assert_true(field < WALK_FIELDS && !ret->has[field]);
        at = value(at, end, (int)(head & 15), ret, field);
    }
}

void walk_footer(const unsigned char *file, size_t len, struct fields *ret)
{
    uint32_t size;

    assert_true(len >= 12);
    assert_memory_equal(file, "PAR1", 4);
    assert_memory_equal(file + len - 4, "PAR1", 4);
    memcpy(&size, file + len - 8, sizeof size);
    assert_true(size <= len - 12);
    const unsigned char *start = file + len - 8 - size;
    assert_ptr_equal(walk_struct(start, file + len - 8, ret), file + len - 8);
}

/* A page at `at`; the place behind it. */
static const unsigned char *page(const unsigned char *at, const unsigned char *end,
                                 struct walk_chunk *ret)
{
    struct fields header, data;
    const unsigned char *bytes = walk_struct(at, end, &header);
    size_t raw = (size_t)header.number[2], packed = (size_t)header.number[3];
    char *text = malloc(raw + 1);

    assert_true(header.has[4] && packed <= (size_t)(end - bytes));
    assert_int_equal((uint32_t)header.number[4], crc32(0, bytes, (uInt)packed));
    assert_int_equal(ZSTD_getFrameContentSize(bytes, packed), raw);
    assert_int_equal(ZSTD_decompress(text, raw, bytes, packed), raw);
    free(text);
    if (header.number[1] == 2) {
        assert_int_equal(ret->pages, 0); /* a dictionary comes first */
        ret->dictionaries++;
    } else {
        assert_int_equal(header.number[1], 0);
        walk_struct(header.at[5], end, &data);
        ret->values += data.number[1];
    }
    ret->pages++;
    if ((int64_t)raw > ret->largest_page)
        ret->largest_page = (int64_t)raw;
    return bytes + packed;
}

void walk_chunk(const unsigned char *file, size_t len, const unsigned char *chunk,
                struct walk_chunk *ret)
{
    struct fields outer, meta;

    memset(ret, 0, sizeof *ret);
    walk_struct(chunk, file + len, &outer);
    walk_struct(outer.at[3], file + len, &meta);
    const unsigned char *start = file + (meta.has[11] ? meta.number[11] : meta.number[9]);
    const unsigned char *at = start, *end = start + meta.number[7];
    assert_true(end <= file + len);
    while (at < end) {
        if (ret->pages == (meta.has[11] ? 1U : 0U))
            assert_int_equal(at - file, meta.number[9]);
        at = page(at, end, ret);
    }
    assert_ptr_equal(at, end);
    assert_int_equal(ret->values, meta.number[5]);
    assert_int_equal(ret->dictionaries, meta.has[11]);
    walk_struct(meta.at[12], file + len, &ret->statistics);
    ret->meta = meta;
}
