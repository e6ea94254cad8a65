#include "text.h"

#include <stdio.h>
#include <string.h>

/* U+0000 to U+001F, U+007F and U+0080 to U+009F: a terminal may obey those. */
static bool is_control(const unsigned char *c, size_t length)
{
    return (length == 1 && (c[0] < 0x20 || c[0] == 0x7F)) ||
           (length == 2 && c[0] == 0xC2 && c[1] < 0xA0);
}

/* The shown form of what stands at `at`; returns the bytes it stands for. */
static size_t show(const char *at, size_t len, char ret_piece[8])
{
    const unsigned char *c = (const unsigned char *)at;
    size_t length = utf8_char(at, len);

    if (length > 0 && !is_control(c, length) && *at != '\\') {
        memcpy(ret_piece, at, length);
        ret_piece[length] = '\0';
        return length;
    }
    const char *named = *at == '\n'   ? "\\n"
                        : *at == '\r' ? "\\r"
                        : *at == '\t' ? "\\t"
                        : *at == '\\' ? "\\\\"
                                      : NULL;
    if (named)
        snprintf(ret_piece, 8, "%s", named);
    else
        snprintf(ret_piece, 8, "\\x%02x", c[0]);
    return 1;
}

size_t excerpt_make(char ret_text[EXCERPT_MAX], const char *bytes, size_t len)
{
    size_t at = 0, out = 0;

    while (at < len) {
        char piece[8];
        size_t step = show(bytes + at, len - at, piece), size = strlen(piece);
        if (out + size > EXCERPT_BYTES) {
            memcpy(ret_text + out, "...", 3);
            out += 3;
            break;
        }
        memcpy(ret_text + out, piece, size);
        out += size;
        at += step;
    }
    ret_text[out] = '\0';
    return out;
}
