#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

static const struct {
    const char *name;
    enum err_class class;
    int status;
    const char *title;
} table[E__COUNT] = {
    [E_OK] = {"OK", ERR_CALLER, 200, "OK"},
#define E(name, class, status, text) [E_##name] = {#name, ERR_##class, status, text},
#include "err.def"
#undef E
};

static int table_index(int code)
{
    int index = code < 0 ? -code : code;

    return index < E__COUNT ? index : E_BUG;
}

/* Ends `text` before a character that the cut at the buffer's end has split. */
static void trim_partial_utf8(char *text)
{
    size_t len = strlen(text), back = 0;

    while (back < len && back < 4 && ((unsigned char)text[len - 1 - back] & 0xC0) == 0x80)
        back++;
    if (back < len && ((unsigned char)text[len - 1 - back] & 0xC0) == 0xC0) {
        unsigned char lead = (unsigned char)text[len - 1 - back];
        size_t need = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (back < need)
            text[len - 1 - back] = '\0';
    }
}

/* A sentence quotes what came from outside, and a "%.60s" cuts it anywhere: nobody can show or
 * store half a character. */
static void mend_utf8(char *text)
{
    size_t len = strlen(text), n;

    for (size_t at = 0; at < len; at += n ? n : 1) {
        n = utf8_char(text + at, len - at);
        if (n == 0)
            text[at] = '?';
    }
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err) {
        int saved = errno;
        va_list args;
        va_start(args, fmt);
        int len = vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
        err->code = code;
        if (len >= (int)sizeof err->text)
            trim_partial_utf8(err->text);
        mend_utf8(err->text);
        errno = saved;
    }
    return code;
}

int err_set_errno(struct err *err, int code, int errnum, const char *fmt, ...)
{
    if (err) {
        char head[ERR_TEXT_MAX], reason[128];
        va_list args;
        va_start(args, fmt);
        vsnprintf(head, sizeof head, fmt, args);
        va_end(args);
        err_set(err, code, "%s: %s", head, strerror_r(errnum, reason, sizeof reason));
    }
    return code;
}

int err_from_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
        return -E_NO_SPACE;
    case ENOENT:
    case ENOTDIR:
        return -E_NOT_FOUND;
    case EEXIST:
        return -E_EXISTS;
    case ENOMEM:
        return -E_NO_MEMORY;
    default:
        return -E_IO;
    }
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -E_BUG;

    char head[ERR_TEXT_MAX], tail[ERR_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(head, sizeof head, fmt, args);
    va_end(args);
    memcpy(tail, err->text, sizeof tail);
    return err_set(err, err->code, "%s: %s", head, tail);
}

const char *err_name(int code)
{
    return table[table_index(code)].name;
}

const char *err_title(int code)
{
    return table[table_index(code)].title;
}

int err_http_status(int code)
{
    return table[table_index(code)].status;
}

enum err_class err_class_of(int code)
{
    return table[table_index(code)].class;
}
