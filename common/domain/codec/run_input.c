/* run_input.c - the input of a run: checked, filled in, and shown without its secrets. */
#include <stdlib.h>
#include <string.h>

#include "run_definition_impl.h"

enum {
    HIDE_WITHIN_FROM = 4, /* characters: a shorter secret is no secret within a text */
    CUT_FROM = 100        /* bytes: a shorter text has not been cut */
};

/* -- the input of a run -- */

static void check_given(const struct run_def *d, const json_t *given, struct complaints *c)
{
    const char *name;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)given, name, value)
    {
        const json_t *spec = json_object_get(d->input, name);
        const char *type = json_string_value(json_object_get(spec, "type"));
        if (!spec)
            complain(c, "input.%.60s: this pipeline has no such input", name);
        else if (!json_is_null(value) && type && !def_type_fits(type, value))
            complain(c, "input.%.60s: must be of the type '%s'", name, type);
    }
}

static json_t *fill_in(const struct run_def *d, const json_t *given, struct complaints *c)
{
    json_t *whole = json_object(), *spec;
    const char *name;

    json_object_foreach(d->input, name, spec)
    {
        json_t *value = json_object_get(given, name);
        if (!value || json_is_null(value))
            value = json_object_get(spec, "default");
        if (value)
            whole = json_member_take(whole, name, json_incref(value));
        else if (json_is_true(json_object_get(spec, "required")))
            complain(c, "input.%.60s: is missing", name);
    }
    return whole;
}

int run_def_input(const struct run_def *d, const char *text, char **ret_input,
                  struct buf *mistakes, struct err *err)
{
    struct complaints c = {mistakes, "", 0, BUF_INIT};
    json_t *given = NULL;
    unsigned shortages = json_shortages();
    int rc = json_read_text(text ? text : "{}", text ? strlen(text) : 2, &given, err);

    if (rc) {
        buf_release(&c.first);
        return rc;
    }
    if (json_is_object(given))
        check_given(d, given, &c);
    else
        complain(&c, "input: must be an object");
    json_t *whole = fill_in(d, given, &c);
    json_decref(given);
    rc = complaints_end(&c, "the input", json_shortages() == shortages, err);
    *ret_input = rc ? NULL : json_text(whole, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(whole);
    if (!rc && !*ret_input)
        rc = err_set(err, -E_NO_MEMORY, "no memory for the input of a run");
    return rc;
}

/* -- secrets -- */

char *run_def_shown_input(const struct run_def *d, const char *input)
{
    json_t *object = json_loads(input ? input : "{}", 0, NULL), *value;
    const char *name;

    json_object_foreach(object, name, value)
    {
        if (def_input_is_secret(d, name) &&
            json_object_set_new(object, name, json_string(RUN_HIDDEN)) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return json_text_take(object);
}

/* Puts text to out with each place of the secret replaced. */
static void replace(struct buf *out, const char *text, const char *secret)
{
    size_t len = strlen(secret);
    const char *found;

    while ((found = strstr(text, secret)) != NULL) {
        buf_append(out, text, (size_t)(found - text));
        buf_append_str(out, RUN_HIDDEN);
        text = found + len;
    }
    buf_append_str(out, text);
}

/* Sentences and bodies are cut: how much of a secret's beginning stands at the end of text. */
static size_t begun_at_end(const char *text, const char *secret)
{
    size_t len = strlen(text), most = strlen(secret) - 1;

    for (size_t n = most < len ? most : len; len >= CUT_FROM && n >= HIDE_WITHIN_FROM; n--) {
        if (memcmp(text + len - n, secret, n) == 0)
            return n;
    }
    return 0;
}

static char *hide_one(char *text, const char *secret)
{
    struct buf out = BUF_INIT;
    bool is_within = strlen(secret) >= HIDE_WITHIN_FROM;
    size_t begun = text && is_within ? begun_at_end(text, secret) : 0;

    if (!text || !*secret ||
        (is_within ? !begun && !strstr(text, secret) : strcmp(text, secret) != 0))
        return text;
    text[strlen(text) - begun] = '\0';
    if (is_within)
        replace(&out, text, secret);
    if (!is_within || begun)
        buf_append_str(&out, RUN_HIDDEN);
    free(text);
    return buf_steal(&out);
}

static char *hide(const struct run_def *d, json_t *input, const char *text)
{
    char *clean = strdup(text);
    const char *name;
    json_t *value;

    json_object_foreach(input, name, value)
    {
        if (def_input_is_secret(d, name) && json_is_string(value))
            clean = hide_one(clean, json_string_value(value));
    }
    return clean;
}

char *run_def_hide(const struct run_def *d, const char *input, const char *text)
{
    json_t *object = json_loads(input ? input : "{}", 0, NULL);
    char *clean = object ? hide(d, object, text) : NULL;

    json_decref(object);
    return clean;
}

/* A new value; NULL without memory. */
static json_t *hide_value(const struct run_def *d, json_t *input, json_t *value)
{
    json_t *clean = NULL, *child;
    const char *name;
    size_t i;

    if (json_is_string(value)) {
        char *text = hide(d, input, json_string_value(value));
        clean = text ? json_string(text) : NULL;
        free(text);
        return clean;
    }
    if (!json_is_object(value) && !json_is_array(value))
        return json_incref(value);
    clean = json_is_object(value) ? json_object() : json_array();
    json_object_foreach(value, name, child)
    {
        clean = json_member_take(clean, name, hide_value(d, input, child));
    }
    json_array_foreach(value, i, child)
    {
        clean = json_append_take(clean, hide_value(d, input, child));
    }
    return clean;
}

char *run_def_hide_json(const struct run_def *d, const char *input, const char *json)
{
    json_t *object = json_loads(input ? input : "{}", 0, NULL);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    json_t *clean = object && value ? hide_value(d, object, value) : NULL;
    char *text = json_text(clean, JSON_COMPACT | JSON_ENCODE_ANY);

    json_decref(object);
    json_decref(value);
    json_decref(clean);
    return text;
}
