/* json_read.h - strict reading of JSON that an outsider wrote.
 *
 * Members are listed in a table; anything unknown, doubled, of the wrong type, out of range
 * or too long is refused with the path of the mistake ("reports[2].token: ..."). For files
 * that include jansson themselves (codec, http, jobs never). Any thread; nothing blocks. */
#ifndef CODEC_JSON_READ_H
#define CODEC_JSON_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum {
    JSON_DEPTH_LIMIT = 16,
    PARAMS_DEPTH_LIMIT = 12 /* of params and results: messages wrap them a few levels deeper */
};

/* Parses one JSON value; duplicate members, NUL in strings, trailing data and nesting past
 * JSON_DEPTH_LIMIT are refused (-E_BAD_VALUE), with line and column; -E_NO_MEMORY when that is
 * all that is wrong. *ret is new: json_decref it. */
int json_read_text(const char *text, size_t len, json_t **ret, struct err *err);

/* The same without that limit (jansson's own is 2048): for a caller who checks the parts. */
int json_read_deep_text(const char *text, size_t len, json_t **ret, struct err *err);

enum json_kind {
    JSON_FIELD_STRING, /* char[size] */
    JSON_FIELD_INT,    /* int64_t within min..max */
    JSON_FIELD_NUMBER, /* double within min..max */
    JSON_FIELD_BOOL,   /* bool */
    JSON_FIELD_OBJECT, /* json_t *, borrowed */
    JSON_FIELD_ARRAY   /* json_t *, borrowed, at most max elements */
};

struct json_field {
    const char *name; /* NULL ends the table */
    enum json_kind kind;
    bool required;
    void *out; /* left alone when the member is missing or null */
    size_t size;
    int64_t min, max;
};

/* Reads the members of `object`. `path` goes in front of names in errors ("" at the top). */
int json_read_object(const json_t *object, const char *path, const struct json_field *fields,
                     struct err *err);

/* The same, but further members are passed over: for answers of a server that may be newer. */
int json_read_object_open(const json_t *object, const char *path,
                          const struct json_field *fields, struct err *err);

/* Is value nested deeper than `limit` levels? */
bool json_is_deeper(const json_t *value, int limit);

/* json_dumps with these flags, but whole or NULL: when value is NULL or memory is short. */
char *json_text(const json_t *value, size_t flags);
/* The same in compact form, and a decref. */
char *json_text_take(json_t *value);

/* How often jansson has wanted for memory in this thread. Much that it then does looks like a
 * mistake in the text, or is not to be seen at all: whoever does many things with it asks
 * before and after. */
unsigned json_shortages(void);

/* Appends or adds `value` (taken) and returns the array or object; when one of both is NULL or
 * memory is short nothing is left of either: NULL. */
json_t *json_append_take(json_t *array, json_t *value);
json_t *json_member_take(json_t *object, const char *name, json_t *value);

#endif
