/* text.c - UTF-8, percent-escapes and file names as they come from clients. */
#include "text.h"

#include <string.h>

/* Length of the character at text[0..len) with its code point, or 0 when it is malformed. */
static size_t utf8_take(const char *text, size_t len, uint32_t *ret_point)
{
    static const struct {
        unsigned char mask, lead;
        uint32_t least;
    } forms[] = {
        {0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};
    unsigned char first = (unsigned char)text[0];

    for (size_t extra = 0; extra < sizeof forms / sizeof *forms; extra++) {
        if ((first & forms[extra].mask) != forms[extra].lead)
            continue;
        if (extra >= len)
            return 0;
        uint32_t point = first & (unsigned char)~forms[extra].mask;
        for (size_t i = 1; i <= extra; i++) {
            unsigned char next = (unsigned char)text[i];
            if ((next & 0xc0) != 0x80)
                return 0;
            point = (point << 6) | (next & 0x3fU);
        }
        if (point < forms[extra].least || point > 0x10ffff ||
            (point >= 0xd800 && point <= 0xdfff))
            return 0;
        *ret_point = point;
        return extra + 1;
    }
    return 0;
}

static bool point_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point <= 0x9f);
}

static bool point_hides(uint32_t point)
{
    return point == 0x061c || point == 0x200e || point == 0x200f || point == 0xfeff ||
           (point >= 0x2028 && point <= 0x202e) || (point >= 0x2066 && point <= 0x2069);
}

bool text_is_plain(const char *text, size_t len)
{
    while (len > 0) {
        uint32_t point;
        size_t size = utf8_take(text, len, &point);
        if (size == 0 || point_is_control(point))
            return false;
        text += size;
        len -= size;
    }
    return true;
}

void text_clean_filename(const char *name, char ret_clean[TEXT_NAME_MAX])
{
    const char *at = name;
    for (const char *p = name; *p; p++)
        if (*p == '/' || *p == '\\')
            at = p + 1;

    size_t used = 0, left = strlen(at);
    while (left > 0) {
        uint32_t point = 0;
        size_t size = utf8_take(at, left, &point);
        bool keep = size > 0 && !point_is_control(point) && !point_hides(point);
        if (size == 0)
            size = 1;
        if (keep && used + size >= TEXT_NAME_MAX)
            break;
        if (keep) {
            memcpy(ret_clean + used, at, size);
            used += size;
        }
        at += size;
        left -= size;
    }
    ret_clean[used] = '\0';
}

int text_hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t text_percent_decode(const char *src, size_t len, bool plus_is_space, char *dest)
{
    size_t used = 0;

    for (size_t i = 0; i < len; i++) {
        if (src[i] == '%' && i + 2 < len) {
            dest[used++] = (char)(text_hex_value(src[i + 1]) * 16 + text_hex_value(src[i + 2]));
            i += 2;
        } else {
            dest[used++] = plus_is_space && src[i] == '+' ? ' ' : src[i];
        }
    }
    dest[used] = '\0';
    return used;
}

bool text_is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}
