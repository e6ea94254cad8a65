/* metadata.c - a reader of JSON that keeps nothing: it checks, and finds one member. So the
 * metadata of a user stay as they were written, numbers and order and all, and the library
 * needs no other one. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum { DEPTH_MAX = 64 };

static const char member[] = "current_step";

struct scan {
    const char *text, *at, *end;
    int depth;
    const char *value, *value_end; /* of the member, once it was met */
    const char *problem;           /* NULL while all is well */
};

static bool refuse(struct scan *s, const char *problem)
{
    if (!s->problem)
        s->problem = problem;
    return false;
}

static void skip_space(struct scan *s)
{
    while (s->at < s->end && strchr(" \t\r\n", *s->at))
        s->at++;
}

static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->at == s->end || *s->at != c)
        return false;
    s->at++;
    return true;
}

static size_t take_digits(struct scan *s)
{
    const char *from = s->at;

    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    return (size_t)(s->at - from);
}

static bool scan_number(struct scan *s)
{
    if (*s->at == '-')
        s->at++;
    bool zero = s->at < s->end && *s->at == '0';
    size_t digits = take_digits(s);
    if (digits == 0 || (zero && digits > 1))
        return refuse(s, "a number is no JSON number");
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        if (take_digits(s) == 0)
            return refuse(s, "a number is no JSON number");
    }
    if (s->at < s->end && (*s->at == 'e' || *s->at == 'E')) {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        if (take_digits(s) == 0)
            return refuse(s, "a number is no JSON number");
    }
    return true;
}

/* Four hex digits, or -1. */
static int take_unit(struct scan *s)
{
    int unit = 0;

    for (int i = 0; i < 4; i++, s->at++) {
        char c = s->at < s->end ? *s->at : ' ';
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* Behind "\u": the character, which two escapes make when it is beyond the first plane. */
static int take_escaped(struct scan *s)
{
    int unit = take_unit(s);

    if (unit < 0xD800 || unit > 0xDFFF)
        return unit;
    if (unit > 0xDBFF || s->end - s->at < 2 || s->at[0] != '\\' || s->at[1] != 'u')
        return -1;
    s->at += 2;
    int low = take_unit(s);
    return low < 0xDC00 || low > 0xDFFF ? -1 : 0x10000 + ((unit - 0xD800) << 10) + low - 0xDC00;
}

/* A text, with the quotes. ret_is_member: does it spell the name of the member? */
static bool scan_text(struct scan *s, bool *ret_is_member)
{
    static const char plain[] = "\"\\/bfnrt";
    size_t matched = 0;
    bool same = true;

    s->at++;
    while (s->at < s->end && *s->at != '"') {
        int c = (unsigned char)*s->at;
        if (c == '\\') {
            s->at++;
            if (s->at < s->end && *s->at == 'u') {
                s->at++;
                c = take_escaped(s);
                if (c <= 0)
                    return refuse(s, "a text holds an escape that is no character");
            } else if (s->at < s->end && *s->at && strchr(plain, *s->at)) {
                s->at++; /* none of them is a letter of the member's name */
            } else {
                return refuse(s, "a text holds an escape that JSON does not have");
            }
        } else {
            size_t size = text_utf8(s->at, s->end);
            if (size == 0 || c < 0x20)
                return refuse(s, "a text holds a byte that is no character");
            s->at += size;
        }
        same = same && matched < sizeof member - 1 && c == member[matched];
        matched++;
    }
    if (s->at == s->end)
        return refuse(s, "a text does not end");
    s->at++;
    if (ret_is_member)
        *ret_is_member = same && matched == sizeof member - 1;
    return true;
}

static bool scan_value(struct scan *s);

static bool scan_list(struct scan *s)
{
    s->at++;
    if (take(s, ']'))
        return true;
    do {
        if (!scan_value(s))
            return false;
    } while (take(s, ','));
    return take(s, ']') || refuse(s, "a list does not end");
}

static bool scan_member(struct scan *s)
{
    bool is_member = false;

    skip_space(s);
    if (s->at == s->end || *s->at != '"')
        return refuse(s, "a member of an object has no name");
    if (!scan_text(s, &is_member))
        return false;
    if (!take(s, ':'))
        return refuse(s, "a member of an object has no value");
    skip_space(s);
    const char *value = s->at;
    if (!scan_value(s))
        return false;
    if (!is_member || s->depth != 1)
        return true;
    if (s->value)
        return refuse(s, "there are two members \"current_step\"");
    s->value = value;
    s->value_end = s->at;
    return true;
}

static bool scan_object(struct scan *s)
{
    s->at++;
    if (take(s, '}'))
        return true;
    do {
        if (!scan_member(s))
            return false;
    } while (take(s, ','));
    return take(s, '}') || refuse(s, "an object does not end");
}

static bool scan_word(struct scan *s)
{
    static const char *const words[] = {"true", "false", "null"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t len = strlen(words[i]);
        if ((size_t)(s->end - s->at) >= len && memcmp(s->at, words[i], len) == 0) {
            s->at += len;
            return true;
        }
    }
    return refuse(s, "a value is missing, or no JSON");
}

static bool scan_value(struct scan *s)
{
    bool ok;

    skip_space(s);
    char c = s->at < s->end ? *s->at : '\0';
    if (c == '{' || c == '[') {
        if (s->depth == DEPTH_MAX)
            return refuse(s, "it is nested too deeply");
        s->depth++;
        ok = c == '{' ? scan_object(s) : scan_list(s);
        s->depth--;
        return ok;
    }
    if (c == '"')
        return scan_text(s, NULL);
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s);
    return scan_word(s);
}

static bool scan(struct scan *s, const char *json)
{
    *s = (struct scan){.text = json, .at = json, .end = json + strlen(json)};
    skip_space(s);
    if (s->at == s->end || *s->at != '{')
        return refuse(s, "it is no object");
    if (!scan_value(s))
        return false;
    skip_space(s);
    return s->at == s->end || refuse(s, "something comes behind the object");
}

int metadata_check(const char *json, struct pipeline_err *err)
{
    struct scan s;

    if (!json)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE, "there are no metadata");
    if (strnlen(json, PIPELINE_METADATA_MAX) == PIPELINE_METADATA_MAX)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "the metadata have %d bytes or more", PIPELINE_METADATA_MAX);
    if (!scan(&s, json))
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "the metadata are no JSON object: %s, at byte %zu", s.problem,
                                (size_t)(s.at - json));
    return 0;
}

int metadata_with_step(const char *json, const char *uuid, char **ret, struct pipeline_err *err)
{
    struct scan s;
    char value[PIPELINE_UUID_MAX + 2];

    if (!scan(&s, json))
        return pipeline_err_set(err, -PIPELINE_E_CORRUPT,
                                "the stored metadata are no JSON object: %s", s.problem);
    if (*uuid)
        snprintf(value, sizeof value, "\"%s\"", uuid);
    else
        memcpy(value, "null", sizeof "null");

    size_t size = strlen(json) + sizeof value + sizeof member + 8;
    char *text = malloc(size);
    if (!text)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for metadata");
    if (s.value) {
        snprintf(text, size, "%.*s%s%s", (int)(s.value - json), json, value, s.value_end);
    } else {
        const char *rest = strchr(json, '{') + 1, *first = rest + strspn(rest, " \t\r\n");
        snprintf(text, size, "%.*s\"%s\":%s%s%s", (int)(rest - json), json, member, value,
                 *first == '}' ? "" : ",", rest);
    }
    *ret = text;
    return 0;
}

void metadata_step(const char *json, char ret_uuid[PIPELINE_UUID_MAX])
{
    struct scan s;

    ret_uuid[0] = '\0';
    if (!scan(&s, json) || !s.value || s.value_end - s.value != PIPELINE_UUID_MAX + 1)
        return;
    memcpy(ret_uuid, s.value + 1, PIPELINE_UUID_MAX - 1);
    ret_uuid[PIPELINE_UUID_MAX - 1] = '\0';
    if (strchr(ret_uuid, '"') || strchr(ret_uuid, '\\'))
        ret_uuid[0] = '\0';
}
