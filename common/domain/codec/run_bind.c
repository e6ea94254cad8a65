/* run_bind.c - the params of a step: references replaced by what they stand for. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "params.h"
#include "run_definition_impl.h"

/* -- values -- */

struct binding {
    const struct run_def *d;
    const struct run *r;
    json_t *input;
    json_t *outputs[RUN_STEPS_LIMIT]; /* read when needed */
    bool hides;
    size_t bytes; /* put in so far: small texts may refer to large values many times */
    struct err *err;
    int rc;
};

static void fail(struct binding *b, int code, const char *path, const char *sentence,
                 const char *subject)
{
    if (!b->rc)
        b->rc = err_set(b->err, code, "%.200s: '%.200s' %s", path, subject, sentence);
}

/* Larger than params may be: said before the memory for it is taken. */
static void take_bytes(struct binding *b, const json_t *value, const char *path)
{
    b->bytes += json_is_string(value)
                    ? json_string_length(value)
                    : json_dumpb(value, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    if (b->bytes > RUN_TEXT_LIMIT && !b->rc)
        b->rc = err_set(b->err, -E_BAD_INPUT, "%.200s: the params are larger than %d bytes",
                        path, RUN_TEXT_LIMIT);
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
        return json_string(RUN_HIDDEN);
    value = ref.kind == REF_STEP ? output_of(b, ref.name) : json_object_get(b->input, ref.name);
    *ret_absent = ref.kind == REF_INPUT && !value;
    for (size_t i = 0; value && i < ref.path_count; i++)
        value = member_of(value, ref.path[i]);
    if (!value && !*ret_absent)
        fail(b, -E_BAD_INPUT, path,
             ref.kind == REF_STEP ? "is not in the output of that step" : "is not in the input",
             ref.copy);
    if (value)
        take_bytes(b, value, path);
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
    while (!b->rc && (p = piece_next(&text)).kind != PIECE_END) {
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

static char *star(void *arg, const char *text, struct err *err)
{
    (void)arg, (void)text, (void)err;
    return strdup(RUN_HIDDEN);
}

/* What the type itself calls a secret, whoever has written it. */
static int hide_params(const char *type, char **params, struct err *err)
{
    char *shown = NULL;
    int rc = params_seal(type, *params, star, NULL, &shown, err);

    if (rc || !shown)
        return rc;
    free(*params);
    *params = shown;
    return 0;
}

int run_def_bind(const struct run_def *d, const struct run *r, size_t index, char **ret_params,
                 char **ret_shown, struct err *err)
{
    struct binding b = {.d = d, .r = r, .err = err};
    struct err why = ERR_INIT;
    unsigned shortages = json_shortages();

    *ret_params = *ret_shown = NULL;
    b.input = json_loads(r->input ? r->input : "{}", 0, NULL);
    int rc = b.input ? bind_params(&b, index, ret_params)
                     : err_set(err, -E_NO_MEMORY, "no memory for the input of a run");
    if (!rc && params_check(d->steps[index].type, *ret_params, &why))
        rc = err_set(err, why.code == -E_NO_MEMORY ? -E_NO_MEMORY : -E_BAD_INPUT,
                     "step '%s': %s", d->steps[index].name, why.text);
    b.hides = true;
    b.bytes = 0;
    if (!rc)
        rc = bind_params(&b, index, ret_shown);
    if (!rc)
        rc = hide_params(d->steps[index].type, ret_shown, err);
    json_decref(b.input);
    for (size_t i = 0; i < RUN_STEPS_LIMIT; i++)
        json_decref(b.outputs[i]);
    if (json_shortages() != shortages)
        rc = err_set(err, -E_NO_MEMORY, "no memory for the params of a step");
    if (rc) {
        free(*ret_params);
        free(*ret_shown);
        *ret_params = *ret_shown = NULL;
    }
    return rc;
}
