/* run_bind.c - references: found in strings, and replaced by what they stand for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "params.h"
#include "run_definition_impl.h"

enum { HIDE_WITHIN_FROM = 4 }; /* characters: a shorter secret is no secret within a text */

static const char hidden[] = "***";

/* -- pieces -- */

struct piece piece_next(const char **at)
{
    const char *from = *at, *stop = from;

    if (*from == '\0')
        return (struct piece){PIECE_END, from, 0};
    if (strncmp(from, "$${", 3) == 0) {
        *at = from + 3;
        return (struct piece){PIECE_TEXT, from + 1, 2};
    }
    if (strncmp(from, "${", 2) == 0) {
        const char *end = strchr(from, '}');
        *at = end ? end + 1 : from + strlen(from);
        return end ? (struct piece){PIECE_REFERENCE, from + 2, (size_t)(end - from) - 2}
                   : (struct piece){PIECE_BROKEN, from, strlen(from)};
    }
    do {
        stop = strchr(stop + 1, '$');
    } while (stop && strncmp(stop, "${", 2) != 0 && strncmp(stop, "$${", 3) != 0);
    *at = stop ? stop : from + strlen(from);
    return (struct piece){PIECE_TEXT, from, (size_t)(*at - from)};
}

bool piece_is_all(const char *text, struct piece *ret)
{
    *ret = piece_next(&text);
    return ret->kind == PIECE_REFERENCE && *text == '\0';
}

/* The part up to the next dot; NULL when there is none or it is empty. */
static const char *cut_part(char **at)
{
    char *part = *at;
    size_t len = part ? strcspn(part, ".") : 0;

    if (len == 0)
        return NULL;
    *at = part[len] ? part + len + 1 : NULL;
    part[len] = '\0';
    return part;
}

bool ref_parse(const struct piece *p, struct ref *ret)
{
    memset(ret, 0, sizeof *ret);
    if (p->kind != PIECE_REFERENCE || p->len == 0 || p->len >= sizeof ret->text)
        return false;
    memcpy(ret->text, p->text, p->len);
    memcpy(ret->copy, p->text, p->len);
    if (ret->text[p->len - 1] == '.')
        return false;
    char *at = ret->text;
    const char *first = cut_part(&at);
    ret->name = cut_part(&at);
    if (!first || !ret->name)
        return false;
    if (strcmp(first, "run") == 0) {
        ret->kind = REF_RUN;
        return !at && (strcmp(ret->name, "id") == 0 || strcmp(ret->name, "name") == 0);
    }
    ret->kind = strcmp(first, "steps") == 0 ? REF_STEP : REF_INPUT;
    if (ret->kind == REF_INPUT && strcmp(first, "input") != 0)
        return false;
    const char *output = ret->kind == REF_STEP ? cut_part(&at) : "output";
    if (!output || strcmp(output, "output") != 0)
        return false;
    while (at) {
        const char *part = cut_part(&at);
        if (!part || ret->path_count == REF_PATH_MAX)
            return false;
        ret->path[ret->path_count++] = part;
    }
    return true;
}

/* -- values -- */

struct binding {
    const struct run_def *d;
    const struct run *r;
    json_t *input;
    json_t *outputs[RUN_STEPS_LIMIT]; /* read when needed */
    bool hides;
    struct err *err;
    int rc;
};

static void fail(struct binding *b, int code, const char *path, const char *sentence,
                 const char *subject)
{
    if (!b->rc)
        b->rc = err_set(b->err, code, "%.200s: '%.200s' %s", path, subject, sentence);
}

static json_t *output_of(struct binding *b, const char *name)
{
    size_t at = 0;

    while (at < b->r->step_count && strcmp(b->r->steps[at].name, name) != 0)
        at++;
    if (at >= b->r->step_count || !b->r->steps[at].output)
        return NULL;
    if (!b->outputs[at])
        b->outputs[at] = json_loads(b->r->steps[at].output, JSON_DECODE_ANY, NULL);
    return b->outputs[at];
}

static json_t *member_of(json_t *value, const char *part)
{
    size_t digits = strspn(part, "0123456789");

    if (json_is_array(value) && digits > 0 && digits < 9 && part[digits] == '\0')
        return json_array_get(value, strtoul(part, NULL, 10));
    return json_object_get(value, part);
}

/* A new reference; NULL: fails, or with *ret_absent an input that was not given. */
static json_t *value_of(struct binding *b, const struct piece *p, const char *path,
                        bool *ret_absent)
{
    struct ref ref;
    json_t *value;

    *ret_absent = false;
    if (!ref_parse(p, &ref)) {
        fail(b, -E_BAD_INPUT, path, "is no reference", p->text);
        return NULL;
    }
    if (ref.kind == REF_RUN)
        return json_string(strcmp(ref.name, "id") == 0 ? b->r->id : b->r->name);
    if (ref.kind == REF_INPUT && b->hides && def_input_is_secret(b->d, ref.name) &&
        json_object_get(b->input, ref.name))
        return json_string(hidden);
    value = ref.kind == REF_STEP ? output_of(b, ref.name) : json_object_get(b->input, ref.name);
    *ret_absent = ref.kind == REF_INPUT && !value;
    for (size_t i = 0; value && i < ref.path_count; i++)
        value = member_of(value, ref.path[i]);
    if (!value && !*ret_absent)
        fail(b, -E_BAD_INPUT, path,
             ref.kind == REF_STEP ? "is not in the output of that step" : "is not in the input",
             ref.copy);
    return json_incref(value);
}

static void append_value(struct binding *b, struct buf *out, const json_t *value,
                         const char *path, const struct piece *p)
{
    char *text;

    if (json_is_string(value)) {
        buf_append_str(out, json_string_value(value));
    } else if (json_is_null(value) || !value) {
        return;
    } else if (json_is_object(value) || json_is_array(value)) {
        char subject[REF_TEXT_MAX];
        snprintf(subject, sizeof subject, "%.*s", (int)p->len, p->text);
        fail(b, -E_BAD_INPUT, path, "is an object or array and cannot stand within a text",
             subject);
    } else {
        text = json_text(value, JSON_ENCODE_ANY);
        buf_append_str(out, text ? text : "");
        out->failed |= !text;
        free(text);
    }
}

static json_t *bind_string(struct binding *b, const char *text, const char *path,
                           bool *ret_absent)
{
    struct buf out = BUF_INIT;
    struct piece p;
    bool absent;

    if (piece_is_all(text, &p))
        return value_of(b, &p, path, ret_absent);
    while (!b->rc && (p = piece_next(&text)).kind != PIECE_END && out.len <= RUN_TEXT_LIMIT) {
        if (p.kind == PIECE_TEXT) {
            buf_append(&out, p.text, p.len);
            continue;
        }
        json_t *value = value_of(b, &p, path, &absent);
        append_value(b, &out, value, path, &p);
        json_decref(value);
    }
    json_t *whole = b->rc || !buf_ok(&out) ? NULL : json_string(out.data);
    buf_release(&out);
    return whole;
}

static json_t *bind_value(struct binding *b, const json_t *value, const char *path,
                          bool *ret_absent);

static json_t *bind_object(struct binding *b, const json_t *object, const char *path)
{
    json_t *bound = json_object(), *child;
    const char *name;

    json_object_foreach((json_t *)(uintptr_t)object, name, child)
    {
        char deeper[REF_TEXT_MAX];
        bool absent = false;
        snprintf(deeper, sizeof deeper, "%.180s.%.60s", path, name);
        json_t *one = bind_value(b, child, deeper, &absent);
        if (!absent)
            bound = json_member_take(bound, name, one);
        if (b->rc || !bound)
            break;
    }
    return bound;
}

static json_t *bind_array(struct binding *b, const json_t *array, const char *path)
{
    json_t *bound = json_array(), *child;
    size_t i;

    json_array_foreach(array, i, child)
    {
        char deeper[REF_TEXT_MAX];
        bool absent = false;
        snprintf(deeper, sizeof deeper, "%.200s[%zu]", path, i);
        json_t *one = bind_value(b, child, deeper, &absent);
        bound = json_append_take(bound, absent ? json_null() : one);
        if (b->rc || !bound)
            break;
    }
    return bound;
}

static json_t *bind_value(struct binding *b, const json_t *value, const char *path,
                          bool *ret_absent)
{
    if (json_is_object(value))
        return bind_object(b, value, path);
    if (json_is_array(value))
        return bind_array(b, value, path);
    if (json_is_string(value))
        return bind_string(b, json_string_value(value), path, ret_absent);
    return json_incref((json_t *)(uintptr_t)value);
}

static int bind_params(struct binding *b, size_t index, char **ret)
{
    char path[RUN_NAME_MAX + 32];
    bool absent;
    json_t *none = json_object();

    snprintf(path, sizeof path, "step '%s': params", b->d->steps[index].name);
    const json_t *params = b->d->steps[index].params;
    json_t *bound = bind_value(b, params ? params : none, path, &absent);
    if (!b->rc)
        *ret = json_text(bound, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(bound);
    json_decref(none);
    if (!b->rc && !*ret)
        b->rc = err_set(b->err, -E_NO_MEMORY, "no memory for the params of a step");
    if (!b->rc && strlen(*ret) > RUN_TEXT_LIMIT)
        b->rc = err_set(b->err, -E_BAD_INPUT, "%s: larger than %d bytes", path, RUN_TEXT_LIMIT);
    return b->rc;
}

int run_def_bind(const struct run_def *d, const struct run *r, size_t index, char **ret_params,
                 char **ret_shown, struct err *err)
{
    struct binding b = {.d = d, .r = r, .err = err};
    struct err why = ERR_INIT;

    *ret_params = *ret_shown = NULL;
    b.input = json_loads(r->input ? r->input : "{}", 0, NULL);
    int rc = b.input ? bind_params(&b, index, ret_params)
                     : err_set(err, -E_NO_MEMORY, "no memory for the input of a run");
    if (!rc && params_check(d->steps[index].type, *ret_params, &why))
        rc = err_set(err, why.code == -E_NO_MEMORY ? -E_NO_MEMORY : -E_BAD_INPUT,
                     "step '%s': %s", d->steps[index].name, why.text);
    b.hides = true;
    if (!rc)
        rc = bind_params(&b, index, ret_shown);
    json_decref(b.input);
    for (size_t i = 0; i < RUN_STEPS_LIMIT; i++)
        json_decref(b.outputs[i]);
    if (rc) {
        free(*ret_params);
        free(*ret_shown);
        *ret_params = *ret_shown = NULL;
    }
    return rc;
}

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
    rc = complaints_end(&c, "the input", err);
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
            json_object_set_new(object, name, json_string(hidden)) != 0) {
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
        buf_append_str(out, hidden);
        text = found + len;
    }
    buf_append_str(out, text);
}

static char *hide_one(char *text, const char *secret)
{
    struct buf out = BUF_INIT;
    bool is_within = strlen(secret) >= HIDE_WITHIN_FROM;

    if (!text || !*secret || (is_within ? !strstr(text, secret) : strcmp(text, secret) != 0))
        return text;
    if (is_within)
        replace(&out, text, secret);
    else
        buf_append_str(&out, hidden);
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
