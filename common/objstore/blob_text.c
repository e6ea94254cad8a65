#include "blob_text.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

static bool is_escape(const char *at)
{
    return at[0] == '%' && isxdigit((unsigned char)at[1]) && isxdigit((unsigned char)at[2]);
}

size_t blob_text(const char *name, char ret_text[BLOB_TEXT_MAX])
{
    size_t len = strlen(name), at = 0, out = 0;
    bool is_text = utf8_is_valid(name, len);

    while (at < len) {
        size_t step = utf8_char(name + at, len - at);
        if (step > 0 && (is_text || !is_escape(name + at))) {
            memcpy(ret_text + out, name + at, step);
            out += step;
            at += step;
            continue;
        }
        snprintf(ret_text + out, 4, "%%%02X", (unsigned char)name[at++]);
        out += 3;
    }
    ret_text[out] = '\0';
    return out;
}

static char hex_value(char digit)
{
    return (char)(digit <= '9' ? digit - '0' : (digit | 0x20) - 'a' + 10);
}

/* The name that is no UTF-8 and has this text; false when there is none. */
static bool name_of(const char *text, char ret_name[BLOB_NAME_MAX])
{
    char again[BLOB_TEXT_MAX];
    size_t out = 0;

    for (const char *at = text; *at; out++) {
        if (out == BLOB_NAME_MAX - 1)
            return false;
        ret_name[out] = is_escape(at) ? (char)(hex_value(at[1]) * 16 + hex_value(at[2])) : *at;
        if (ret_name[out] == '\0')
            return false;
        at += is_escape(at) ? 3 : 1;
    }
    ret_name[out] = '\0';
    blob_text(ret_name, again);
    return strcmp(again, text) == 0 && !utf8_is_valid(ret_name, out);
}

int blob_text_find(struct container *c, const char *text, struct blob *ret, struct err *err)
{
    char name[BLOB_NAME_MAX];
    size_t len = strlen(text);
    int rc = len == 0 || len >= BLOB_NAME_MAX || !utf8_is_valid(text, len)
                 ? -E_NOT_FOUND
                 : container_stat(c, text, ret, err);

    if (rc == -E_NOT_FOUND && len < BLOB_TEXT_MAX && name_of(text, name))
        rc = container_stat(c, name, ret, err);
    if (rc == -E_NOT_FOUND)
        return err_set(err, -E_NOT_FOUND, "there is no blob '%.200s' in container '%s'", text,
                       container_name(c));
    return rc;
}
