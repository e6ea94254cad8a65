#include "text.h"

#include <stdint.h>
#include <string.h>

size_t text_utf8(const char *at, const char *end)
{
    /* Lead bytes, and the range of the byte behind them: no overlong forms, no surrogates. */
    static const struct {
        uint8_t first, last, low, high;
        size_t length;
    } forms[] = {
        {0x01, 0x7F, 0x00, 0xFF, 1}, {0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
        {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3}, {0xEE, 0xEF, 0x80, 0xBF, 3},
        {0xF0, 0xF0, 0x90, 0xBF, 4}, {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4},
    };
    const uint8_t *b = (const uint8_t *)at;
    size_t room = (size_t)(end - at);

    for (size_t i = 0; room && i < sizeof forms / sizeof forms[0]; i++) {
        if (b[0] < forms[i].first || b[0] > forms[i].last)
            continue;
        if (forms[i].length > room)
            return 0;
        if (forms[i].length > 1 && (b[1] < forms[i].low || b[1] > forms[i].high))
            return 0;
        for (size_t k = 2; k < forms[i].length; k++) {
            if ((b[k] & 0xC0) != 0x80)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

void text_reason(const char *text, char ret[PIPELINE_REASON_MAX])
{
    const char *at = text ? text : "", *end = at + strlen(at);
    size_t len = 0;

    while (at < end) {
        size_t size = text_utf8(at, end), take = size ? size : 1;
        if (len + take >= PIPELINE_REASON_MAX)
            break;
        if (size)
            memcpy(ret + len, at, size);
        else
            ret[len] = '?';
        len += take;
        at += take;
    }
    ret[len] = '\0';
}

int text_check_name(const char *name, const char *what, struct pipeline_err *err)
{
    size_t len = name ? strlen(name) : 0;

    if (len == 0)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE, "%s needs a name", what);
    if (len >= PIPELINE_NAME_MAX)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "the name of %s has %zu bytes and may have %d", what, len,
                                PIPELINE_NAME_MAX - 1);
    for (const char *at = name; *at;) {
        size_t size = text_utf8(at, name + len);
        if (size == 0 || (unsigned char)*at < 0x20 || *at == 0x7F)
            return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                    "the name of %s is no printable UTF-8", what);
        at += size;
    }
    return 0;
}
