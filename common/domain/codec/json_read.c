#include "json_read.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool json_is_deeper(const json_t *value, int limit)
{
    const char *name;
    json_t *child;
    size_t i;

    if (limit == 0)
        return json_is_object(value) || json_is_array(value);
    json_object_foreach((json_t *)(uintptr_t)value, name, child)
    {
        if (json_is_deeper(child, limit - 1))
            return true;
    }
    json_array_foreach(value, i, child)
    {
        if (json_is_deeper(child, limit - 1))
            return true;
    }
    return false;
}

/* jansson 2.14 tells many a failed allocation as a mistake in the text, and passes over others:
 * json_dumps then leaves out the name of a member. So its allocations are watched. */
static _Thread_local bool ran_short;
static _Thread_local unsigned shortages;

static void *watched_malloc(size_t size)
{
    void *p = malloc(size);

    ran_short |= !p;
    shortages += !p;
    return p;
}

static void set_watch(void)
{
    json_set_alloc_funcs(watched_malloc, free);
}

static void watch_memory(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, set_watch);
    ran_short = false;
}

unsigned json_shortages(void)
{
    return shortages;
}

int json_read_deep_text(const char *text, size_t len, json_t **ret, struct err *err)
{
    json_error_t why;

    watch_memory();
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    if (ran_short) {
        json_decref(value);
        return err_set(err, -E_NO_MEMORY, "no memory to read JSON");
    }
    if (!value)
        return err_set(err, -E_BAD_VALUE, "malformed JSON at line %d, column %d: %s", why.line,
                       why.column, why.text);
    *ret = value;
    return 0;
}

int json_read_text(const char *text, size_t len, json_t **ret, struct err *err)
{
    json_t *value = NULL;
    int rc = json_read_deep_text(text, len, &value, err);

    if (rc)
        return rc;
    if (json_is_deeper(value, JSON_DEPTH_LIMIT)) {
        json_decref(value);
        return err_set(err, -E_BAD_VALUE, "JSON is nested deeper than %d levels",
                       JSON_DEPTH_LIMIT);
    }
    *ret = value;
    return 0;
}

static const char *dot(const char *path)
{
    return *path ? "." : "";
}

static int read_string(const json_t *value, const char *path, const struct json_field *f,
                       struct err *err)
{
    if (!json_is_string(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be a string", path, dot(path), f->name);
    if (json_string_length(value) >= f->size)
        return err_set(err, -E_BAD_VALUE, "%s%s%s: longer than %zu bytes", path, dot(path),
                       f->name, f->size - 1);
    memcpy(f->out, json_string_value(value), json_string_length(value) + 1);
    return 0;
}

static int read_int(const json_t *value, const char *path, const struct json_field *f,
                    struct err *err)
{
    if (!json_is_integer(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be a whole number", path, dot(path),
                       f->name);
    int64_t number = json_integer_value(value);
    if (number < f->min || number > f->max)
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be %" PRId64 " to %" PRId64, path,
                       dot(path), f->name, f->min, f->max);
    memcpy(f->out, &number, sizeof number);
    return 0;
}

static int read_number(const json_t *value, const char *path, const struct json_field *f,
                       struct err *err)
{
    if (!json_is_number(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be a number", path, dot(path), f->name);
    double number = json_number_value(value);
    if (!(number >= (double)f->min && number <= (double)f->max))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be %" PRId64 " to %" PRId64, path,
                       dot(path), f->name, f->min, f->max);
    memcpy(f->out, &number, sizeof number);
    return 0;
}

static int read_bool(const json_t *value, const char *path, const struct json_field *f,
                     struct err *err)
{
    if (!json_is_boolean(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be true or false", path, dot(path),
                       f->name);
    bool truth = json_is_true(value);
    memcpy(f->out, &truth, sizeof truth);
    return 0;
}

static int read_object(const json_t *value, const char *path, const struct json_field *f,
                       struct err *err)
{
    if (!json_is_object(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be an object", path, dot(path),
                       f->name);
    memcpy(f->out, &value, sizeof value);
    return 0;
}

static int read_array(const json_t *value, const char *path, const struct json_field *f,
                      struct err *err)
{
    if (!json_is_array(value))
        return err_set(err, -E_BAD_VALUE, "%s%s%s: must be an array", path, dot(path), f->name);
    if ((int64_t)json_array_size(value) > f->max)
        return err_set(err, -E_BAD_VALUE, "%s%s%s: more than %" PRId64 " elements", path,
                       dot(path), f->name, f->max);
    memcpy(f->out, &value, sizeof value);
    return 0;
}

typedef int read_fn(const json_t *, const char *, const struct json_field *, struct err *);

static read_fn *const readers[] = {
    [JSON_FIELD_STRING] = read_string, [JSON_FIELD_INT] = read_int,
    [JSON_FIELD_NUMBER] = read_number, [JSON_FIELD_BOOL] = read_bool,
    [JSON_FIELD_OBJECT] = read_object, [JSON_FIELD_ARRAY] = read_array,
};

static const struct json_field *find_field(const struct json_field *fields, const char *name)
{
    for (; fields->name; fields++) {
        if (strcmp(fields->name, name) == 0)
            return fields;
    }
    return NULL;
}

int json_read_object(const json_t *object, const char *path, const struct json_field *fields,
                     struct err *err)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        if (!find_field(fields, name))
            return err_set(err, -E_BAD_VALUE, "%s%s%.60s: unknown member", path, dot(path),
                           name);
    }
    return json_read_object_open(object, path, fields, err);
}

int json_read_object_open(const json_t *object, const char *path,
                          const struct json_field *fields, struct err *err)
{
    if (!json_is_object(object))
        return err_set(err, -E_BAD_VALUE, "%s: must be an object", *path ? path : "the body");
    for (const struct json_field *f = fields; f->name; f++) {
        const json_t *value = json_object_get(object, f->name);
        if (!value || json_is_null(value)) {
            if (f->required)
                return err_set(err, -E_BAD_VALUE, "%s%s%s: is missing", path, dot(path),
                               f->name);
            continue;
        }
        int rc = readers[f->kind](value, path, f, err);
        if (rc)
            return rc;
    }
    return 0;
}

char *json_text(const json_t *value, size_t flags)
{
    watch_memory();
    char *text = value ? json_dumps(value, flags) : NULL;
    if (!ran_short)
        return text;
    free(text);
    return NULL;
}

char *json_text_take(json_t *value)
{
    char *text = json_text(value, JSON_COMPACT);

    json_decref(value);
    return text;
}

json_t *json_append_take(json_t *array, json_t *value)
{
    if (array && json_array_append_new(array, value) == 0)
        return array;
    if (!array)
        json_decref(value);
    json_decref(array);
    return NULL;
}

json_t *json_member_take(json_t *object, const char *name, json_t *value)
{
    if (object && json_object_set_new(object, name, value) == 0)
        return object;
    if (!object)
        json_decref(value);
    json_decref(object);
    return NULL;
}
