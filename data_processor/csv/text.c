#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* The ranges of table 3-7: what may follow each lead byte. */
static const struct {
    unsigned char lead_from, lead_to, second_from, second_to, length;
} forms[] = {
    {0x00, 0x7F, 0, 0, 1},       {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
    {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
    {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
};

size_t utf8_char(const char *at, size_t len)
{
    const unsigned char *c = (const unsigned char *)at;

    if (len == 0)
        return 0;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (c[0] < forms[i].lead_from || c[0] > forms[i].lead_to)
            continue;
        if (len < forms[i].length)
            return 0;
        if (forms[i].length > 1 && (c[1] < forms[i].second_from || c[1] > forms[i].second_to))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((c[k] & 0xC0) != 0x80)
                return 0;
        return forms[i].length;
    }
    return 0;
}

bool utf8_is_valid(const char *text, size_t len)
{
    size_t at = 0;

    while (at < len) {
        uint64_t word;
        if (len - at >= sizeof word) {
            memcpy(&word, text + at, sizeof word);
            if ((word & UINT64_C(0x8080808080808080)) == 0) {
                at += sizeof word;
                continue;
            }
        }
        size_t step = utf8_char(text + at, len - at);
        if (step == 0)
            return false;
        at += step;
    }
    return true;
}

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
