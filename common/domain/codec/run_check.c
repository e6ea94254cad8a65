/* run_check.c - what is wrong with a definition: collected, each mistake with its path. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "run_definition_impl.h"

enum { COMPLAINTS_MAX = 50, FIRST_MAX = 3 };

/* -- complaints -- */

void complain(struct complaints *c, const char *fmt, ...)
{
    struct err one = ERR_INIT;
    char text[ERR_TEXT_MAX];
    va_list args;

    if (++c->count > COMPLAINTS_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    err_set(&one, -E_BAD_VALUE, "%s%s", c->prefix, text); /* cuts between characters */
    for (char *at = one.text; *at; at++) /* a name may hold line ends; a mistake is one line */
        *at = (char)(*at == '\n' ? ' ' : *at);
    if (c->lines)
        buf_printf(c->lines, "%s\n", one.text);
    if (c->count <= FIRST_MAX)
        buf_printf(&c->first, "%s%s", c->count > 1 ? "; " : "", one.text);
}

int complaints_end(struct complaints *c, const char *what, bool had_memory, struct err *err)
{
    int rc = 0;

    if (!had_memory || !buf_ok(&c->first) || (c->lines && !buf_ok(c->lines)))
        rc = err_set(err, -E_NO_MEMORY, "no memory to check %s", what);
    else if (c->count == 1)
        rc = err_set(err, -E_BAD_VALUE, "%s", c->first.data);
    else if (c->count > 1)
        rc = err_set(err, -E_BAD_VALUE, "%s has %d mistakes: %s%s", what, c->count,
                     c->first.data, c->count > FIRST_MAX ? "; ..." : "");
    buf_release(&c->first);
    return rc;
}

/* -- members, each by itself so that one mistake does not hide the next -- */

void check_members(struct complaints *c, const json_t *object, const char *path,
                   const struct json_field *fields)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object)) {
        complain(c, "%s: must be an object", *path ? path : "the definition");
        return;
    }
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        const struct json_field *f = fields;
        while (f->name && strcmp(f->name, name) != 0)
            f++;
        if (!f->name)
            complain(c, "%s%s%.60s: unknown member", path, *path ? "." : "", name);
    }
    for (const struct json_field *f = fields; f->name; f++) {
        const struct json_field one[] = {*f, {0}};
        struct err why = ERR_INIT;
        if (json_read_object_open(object, path, one, &why))
            complain(c, "%s", why.text);
    }
}

void check_word(struct complaints *c, const char *path, const char *name, const char *word,
                bool is_name)
{
    bool is_fine = is_name ? run_name_is_valid(word) : task_word_is_valid(word);

    if (word[0] && !is_fine)
        complain(c, "%s%s%s: must be letters, digits, '_'%s or '-', at most %d", path,
                 *path ? "." : "", name, is_name ? "" : ", '.'", RUN_NAME_MAX - 1);
}

/* -- input -- */

static const char *const type_names[] = {"string",  "integer", "number",
                                         "boolean", "object",  "array"};

static bool type_is_known(const char *type)
{
    for (size_t i = 0; i < sizeof type_names / sizeof type_names[0]; i++) {
        if (strcmp(type_names[i], type) == 0)
            return true;
    }
    return false;
}

bool def_type_fits(const char *type, const json_t *value)
{
    return (strcmp(type, "string") == 0 && json_is_string(value)) ||
           (strcmp(type, "integer") == 0 && json_is_integer(value)) ||
           (strcmp(type, "number") == 0 && json_is_number(value)) ||
           (strcmp(type, "boolean") == 0 && json_is_boolean(value)) ||
           (strcmp(type, "object") == 0 && json_is_object(value)) ||
           (strcmp(type, "array") == 0 && json_is_array(value));
}

static void check_input(struct complaints *c, const char *name, const json_t *spec)
{
    char path[PATH_MAX_BYTES], type[16] = "", title[TASK_NAME_MAX] = "";
    bool is_required = false, is_secret = false;
    const json_t *fallback = json_object_get(spec, "default");
    const struct json_field fields[] = {
        {"type", JSON_FIELD_STRING, true, type, sizeof type, 0, 0},
        {"title", JSON_FIELD_STRING, false, title, sizeof title, 0, 0},
        {"required", JSON_FIELD_BOOL, false, &is_required, 0, 0, 0},
        {"secret", JSON_FIELD_BOOL, false, &is_secret, 0, 0, 0},
        {0},
    };
    json_t *rest = json_copy((json_t *)(uintptr_t)spec);

    snprintf(path, sizeof path, "input.%.80s", name);
    if (!run_name_is_valid(name))
        complain(c, "%s: a name is letters, digits, '_' or '-', at most %d", path,
                 RUN_NAME_MAX - 1);
    json_object_del(rest, "default");
    check_members(c, rest, path, fields);
    json_decref(rest);
    if (type[0] && !type_is_known(type))
        complain(c, "%s.type: must be string, integer, number, boolean, object or array", path);
    else if (type[0] && fallback && !def_type_fits(type, fallback))
        complain(c, "%s.default: must be of the type '%s'", path, type);
    if (fallback && is_required)
        complain(c, "%s.default: is of no use to a required input", path);
    if (fallback && is_secret)
        complain(c, "%s.default: a secret must not stand in a definition", path);
    if (is_secret && type[0] && strcmp(type, "string") != 0)
        complain(c, "%s.type: a secret must be a string", path);
}

bool def_input_is_secret(const struct run_def *d, const char *name)
{
    return json_is_true(json_object_get(json_object_get(d->input, name), "secret"));
}

void check_inputs(struct run_def *d, struct complaints *c)
{
    const char *name;
    json_t *spec;

    if (json_object_size(d->input) > RUN_INPUTS_LIMIT)
        complain(c, "input: more than %d members", RUN_INPUTS_LIMIT);
    json_object_foreach(d->input, name, spec)
    {
        check_input(c, name, spec);
        d->has_secrets = d->has_secrets || def_input_is_secret(d, name);
    }
}
