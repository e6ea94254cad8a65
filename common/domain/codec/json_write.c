#include "json_write.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"

void json_out_init(struct json_out *o)
{
    buf_init(&o->text);
    o->is_first = true;
    o->is_bad = false;
}

static void put(struct json_out *o, const char *text)
{
    buf_append(&o->text, text, strlen(text));
}

static void begin(struct json_out *o, const char *name)
{
    if (!o->is_first)
        buf_append_char(&o->text, ',');
    o->is_first = false;
    if (!name)
        return;
    buf_append_char(&o->text, '"');
    put(o, name);
    buf_append(&o->text, "\":", 2);
}

void json_out_open(struct json_out *o, const char *name, char bracket)
{
    begin(o, name);
    buf_append_char(&o->text, bracket);
    o->is_first = true;
}

void json_out_close(struct json_out *o, char bracket)
{
    buf_append_char(&o->text, bracket);
    o->is_first = false;
}

static bool is_plain(unsigned char c)
{
    return c >= 0x20 && c != '"' && c != '\\' && c < 0x80;
}

/* Rare in what workers and the manager say to each other, so jansson judges it. */
static bool is_utf8(const char *text)
{
    json_t *value = json_string(text);

    json_decref(value);
    return value != NULL;
}

static void escape(struct json_out *o, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    const char code[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};

    if (c == '"' || c == '\\') {
        const char pair[2] = {'\\', (char)c};
        buf_append(&o->text, pair, 2);
    } else {
        buf_append(&o->text, code, 6);
    }
}

void json_out_string(struct json_out *o, const char *name, const char *text)
{
    bool is_ascii = true;

    begin(o, name);
    buf_append_char(&o->text, '"');
    for (const char *at = text; *at;) {
        const char *from = at;
        while (is_plain((unsigned char)*at) || (unsigned char)*at >= 0x80)
            is_ascii &= (unsigned char)*at++ < 0x80;
        buf_append(&o->text, from, (size_t)(at - from));
        if (*at)
            escape(o, (unsigned char)*at++);
    }
    buf_append_char(&o->text, '"');
    o->is_bad |= !is_ascii && !is_utf8(text);
}

void json_out_int(struct json_out *o, const char *name, int64_t number)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do
        digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) > 0);
    if (number < 0)
        digits[--at] = '-';
    begin(o, name);
    buf_append(&o->text, digits + at, sizeof digits - at);
}

/* 17 digits give the same number back (IEEE 754 binary64). */
void json_out_real(struct json_out *o, const char *name, double number)
{
    begin(o, name);
    buf_printf(&o->text, "%.17g", number);
}

void json_out_bool(struct json_out *o, const char *name, bool truth)
{
    json_out_raw(o, name, truth ? "true" : "false");
}

void json_out_null(struct json_out *o, const char *name)
{
    json_out_raw(o, name, "null");
}

void json_out_raw(struct json_out *o, const char *name, const char *json)
{
    begin(o, name);
    put(o, json);
}

void json_out_checked(struct json_out *o, const char *name, const char *json)
{
    json_t *value = NULL;

    if (json_read_deep_text(json, strlen(json), &value, NULL) != 0) {
        o->is_bad = true;
        return;
    }
    char *text = json_text_take(value);
    if (text)
        json_out_raw(o, name, text);
    o->is_bad |= !text;
    free(text);
}

char *json_out_take(struct json_out *o)
{
    char *text = o->is_bad ? NULL : buf_steal(&o->text);

    buf_release(&o->text);
    return text;
}
