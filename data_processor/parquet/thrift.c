#include "thrift.h"

#include <assert.h>
#include <string.h>

enum { LIST_SHORT_MAX = 14, FIELD_STEP_MAX = 15 };

void thrift_varint(struct buf *out, uint64_t n)
{
    char bytes[10];
    size_t len = 0;

    for (; n >= 0x80; n >>= 7)
        bytes[len++] = (char)(n | 0x80);
    bytes[len++] = (char)n;
    buf_append(out, bytes, len);
}

/* Small numbers of either sign become small varints. */
static void zigzag(struct buf *out, int64_t n)
{
    thrift_varint(out, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

static void field(struct thrift *t, int number, enum thrift_type type)
{
    int step = number - t->last[t->depth];

    assert(step > 0);
    t->last[t->depth] = number;
    if (step <= FIELD_STEP_MAX) {
        buf_append_char(t->out, (char)(step << 4 | (int)type));
        return;
    }
    buf_append_char(t->out, (char)type);
    zigzag(t->out, number);
}

static void open_struct(struct thrift *t)
{
    assert(t->depth + 1 < THRIFT_DEPTH_MAX);
    t->last[++t->depth] = 0;
}

void thrift_begin(struct thrift *t, struct buf *out)
{
    *t = (struct thrift){.out = out};
    open_struct(t);
}

void thrift_bool(struct thrift *t, int number, bool value)
{
    field(t, number, value ? THRIFT_TRUE : THRIFT_FALSE);
}

void thrift_i16(struct thrift *t, int number, int16_t value)
{
    field(t, number, THRIFT_I16);
    zigzag(t->out, value);
}

void thrift_i32(struct thrift *t, int number, int32_t value)
{
    field(t, number, THRIFT_I32);
    zigzag(t->out, value);
}

void thrift_i64(struct thrift *t, int number, int64_t value)
{
    field(t, number, THRIFT_I64);
    zigzag(t->out, value);
}

static void binary(struct buf *out, const void *bytes, size_t len)
{
    thrift_varint(out, len);
    buf_append(out, bytes, len);
}

void thrift_binary(struct thrift *t, int number, const void *bytes, size_t len)
{
    field(t, number, THRIFT_BINARY);
    binary(t->out, bytes, len);
}

void thrift_text(struct thrift *t, int number, const char *text)
{
    thrift_binary(t, number, text, strlen(text));
}

void thrift_struct(struct thrift *t, int number)
{
    field(t, number, THRIFT_STRUCT);
    open_struct(t);
}

void thrift_list(struct thrift *t, int number, enum thrift_type type, size_t count)
{
    field(t, number, THRIFT_LIST);
    if (count <= LIST_SHORT_MAX) {
        buf_append_char(t->out, (char)(count << 4 | (unsigned)type));
        return;
    }
    buf_append_char(t->out, (char)(0xF0 | (unsigned)type));
    thrift_varint(t->out, count);
}

void thrift_item_i32(struct thrift *t, int32_t value)
{
    zigzag(t->out, value);
}

void thrift_item_text(struct thrift *t, const char *text)
{
    binary(t->out, text, strlen(text));
}

void thrift_item_struct(struct thrift *t)
{
    open_struct(t);
}

void thrift_item_raw(struct thrift *t, const struct buf *items)
{
    buf_append(t->out, items->data, items->len);
}

void thrift_end(struct thrift *t)
{
    assert(t->depth > 0);
    buf_append_char(t->out, 0);
    t->depth--;
}
