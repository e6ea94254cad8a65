#include "utf8.h"

#include <stdint.h>
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
