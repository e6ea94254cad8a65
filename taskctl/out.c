/* out.c - see out.h. */
#include "out.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 10, COLUMN_WIDTH_MAX = 64 };

/* Length of the UTF-8 character at s and its code point (RFC 3629); 0 when it is none. */
static size_t decode(const unsigned char *s, uint32_t *ret_point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = *s < 0x80 ? 1 : *s >> 5 == 6 ? 2 : *s >> 4 == 14 ? 3 : *s >> 3 == 30 ? 4 : 0;

    if (len < 2) {
        *ret_point = *s;
        return len;
    }
    uint32_t point = *s & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if (s[i] >> 6 != 2)
            return 0;
        point = point << 6 | (s[i] & 0x3f);
    }
    *ret_point = point;
    return point < least[len] || point > 0x10ffff || point >> 11 == 0x1b ? 0 : len;
}

static bool is_harmless(uint32_t point)
{
    return point >= 0x20 && !(point >= 0x7f && point <= 0x9f) &&
           !(point >= 0x2028 && point <= 0x202e) && !(point >= 0x2066 && point <= 0x2069) &&
           point != 0x200e && point != 0x200f && point != 0xfeff;
}

void out_escape(struct buf *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;

    while (*s) {
        uint32_t point;
        size_t len = decode(s, &point);
        if (len && is_harmless(point))
            buf_append(out, s, len);
        else if (len > 1)
            buf_printf(out, "\\u%04x", (unsigned)point);
        else
            buf_printf(out, "\\x%02x", *s);
        s += len ? len : 1;
    }
}

void out_text(FILE *to, const char *text)
{
    struct buf safe = BUF_INIT;

    out_escape(&safe, text);
    fputs(buf_ok(&safe) ? safe.data : "(no memory)", to);
    buf_release(&safe);
}

void out_json(FILE *to, const json_t *value)
{
    json_dumpf(value, to, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
    fputc('\n', to);
}

void out_member(struct buf *out, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (!value || json_is_null(value)) {
        buf_append_char(out, '-');
    } else if (json_is_string(value)) {
        out_escape(out, json_string_value(value));
    } else {
        char *text = json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
                                           JSON_REAL_PRECISION(6));
        buf_append_str(out, text ? text : "(no memory)");
        free(text);
    }
}

/* Characters, as near to columns as plain C comes. */
static size_t width_of(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

static void put_cell(FILE *to, const char *text, size_t width, bool to_the_right, bool last)
{
    size_t used = width_of(text), pad = used < width ? width - used : 0;

    if (to_the_right)
        fprintf(to, "%*s", (int)pad, "");
    fputs(text, to);
    if (!to_the_right && !last)
        fprintf(to, "%*s", (int)pad, "");
    fputs(last ? "\n" : "  ", to);
}

static void measure(const struct out_column *columns, const json_t *objects, size_t *widths)
{
    size_t row;
    const json_t *object;

    for (int i = 0; columns[i].title; i++) {
        widths[i] = strlen(columns[i].title);
        json_array_foreach(objects, row, object)
        {
            struct buf cell = BUF_INIT;
            out_member(&cell, object, columns[i].key);
            size_t width = width_of(cell.data);
            if (width > widths[i])
                widths[i] = width < COLUMN_WIDTH_MAX ? width : COLUMN_WIDTH_MAX;
            buf_release(&cell);
        }
    }
}

void out_table(FILE *to, const struct out_column *columns, const json_t *objects)
{
    size_t widths[COLUMNS_MAX] = {0}, row;
    const json_t *object;

    measure(columns, objects, widths);
    for (int i = 0; columns[i].title; i++)
        put_cell(to, columns[i].title, widths[i], columns[i].to_the_right,
                 !columns[i + 1].title);
    json_array_foreach(objects, row, object)
    {
        for (int i = 0; columns[i].title; i++) {
            struct buf cell = BUF_INIT;
            out_member(&cell, object, columns[i].key);
            put_cell(to, cell.data, widths[i], columns[i].to_the_right, !columns[i + 1].title);
            buf_release(&cell);
        }
    }
}
