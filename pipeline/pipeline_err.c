#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "text.h"

static const char *const names[PIPELINE_E__COUNT] = {
    [0] = "OK",
    [PIPELINE_E_NO_MEMORY] = "NO_MEMORY",
    [PIPELINE_E_BAD_VALUE] = "BAD_VALUE",
    [PIPELINE_E_BAD_STATE] = "BAD_STATE",
    [PIPELINE_E_NOT_FOUND] = "NOT_FOUND",
    [PIPELINE_E_EXISTS] = "EXISTS",
    [PIPELINE_E_STALE] = "STALE",
    [PIPELINE_E_BUSY] = "BUSY",
    [PIPELINE_E_UNKNOWN] = "UNKNOWN",
    [PIPELINE_E_CALLBACK] = "CALLBACK",
    [PIPELINE_E_UNAVAILABLE] = "UNAVAILABLE",
    [PIPELINE_E_UNKNOWN_OUTCOME] = "UNKNOWN_OUTCOME",
    [PIPELINE_E_NO_SPACE] = "NO_SPACE",
    [PIPELINE_E_CORRUPT] = "CORRUPT",
};

const char *pipeline_code_name(int code)
{
    int index = code < 0 && code > -PIPELINE_E__COUNT ? -code : code;

    return index >= 0 && index < PIPELINE_E__COUNT ? names[index] : "?";
}

int pipeline_err_set(struct pipeline_err *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        int len = vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        err->code = code;
        if (len >= (int)sizeof err->text) {
            /* The cut may have split a character; the text before it is whole. */
            size_t back = sizeof err->text - 1;
            while (back > 0 && ((unsigned char)err->text[back - 1] & 0xC0) == 0x80)
                back--;
            if (back > 0 && (unsigned char)err->text[back - 1] >= 0xC0 &&
                text_utf8(&err->text[back - 1], err->text + sizeof err->text - 1) == 0)
                err->text[back - 1] = '\0';
        }
    }
    return code;
}
