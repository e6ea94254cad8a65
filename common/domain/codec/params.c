#include "params.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"
#include "task_type.h"

static int check_length(const struct task_param *p, const json_t *value, struct err *err)
{
    size_t len = json_string_length(value);

    if (len >= (size_t)p->min && len <= (size_t)p->max)
        return 0;
    return err_set(err, -E_BAD_VALUE,
                   "params.%s: must be %" PRId64 " to %" PRId64 " bytes long", p->name, p->min,
                   p->max);
}

/* What needs more than its type checked, the type's own reader looks at. */
static int check_shape(const struct task_param *p, const json_t *value, struct err *err)
{
    bool is_string = json_is_string(value);

    bool wants_string = p->kind == PARAM_TEXT || (p->kind == PARAM_SECRET && p->max > 0);
    bool wants_object = p->kind == PARAM_OBJECT || (p->kind == PARAM_SECRET && !wants_string);

    if (wants_string && !is_string)
        return err_set(err, -E_BAD_VALUE, "params.%s: must be a string", p->name);
    if (wants_object && !json_is_object(value))
        return err_set(err, -E_BAD_VALUE, "params.%s: must be an object", p->name);
    return p->max > 0 && is_string ? check_length(p, value, err) : 0;
}

static int check_member(const char *type, const char *name, const json_t *value,
                        struct err *err)
{
    const struct task_param *p = task_param_find(type, name);

    if (!p)
        return err_set(err, -E_BAD_VALUE, "params.%.60s: unknown member for type '%s'", name,
                       type);
    if (p->kind == PARAM_WORD) {
        if (!json_is_string(value) || !task_param_allows(p, json_string_value(value)))
            return err_set(err, -E_BAD_VALUE, "params.%s: must be one of %s", name, p->words);
        return 0;
    }
    if (p->kind >= PARAM_TEXT)
        return json_is_null(value) ? 0 : check_shape(p, value, err);
    struct json_field fields[] = {
        {name, p->kind == PARAM_INT ? JSON_FIELD_INT : JSON_FIELD_BOOL, true, (int64_t[]){0},
         sizeof(int64_t), p->min, p->max},
        {0},
    };
    json_t *one = json_pack("{s:O}", name, value);
    int rc = one ? json_read_object(one, "params", fields, err)
                 : err_set(err, -E_NO_MEMORY, "no memory to check params");
    json_decref(one);
    return rc;
}

static int check_required(const char *type, const json_t *object, struct err *err)
{
    const struct task_param *p;

    for (unsigned i = 0; (p = task_param_at(i)) != NULL; i++) {
        const json_t *value = json_object_get(object, p->name);
        if (strcmp(p->type, type) == 0 && task_param_is_required(p) &&
            (!value || json_is_null(value)))
            return err_set(err, -E_BAD_VALUE, "params.%s: is missing", p->name);
    }
    return 0;
}

static int read_params(const char *text, json_t **ret, struct err *err)
{
    return json_read_text(text ? text : "{}", text ? strlen(text) : 2, ret, err);
}

int params_check(const char *type, const char *text, struct err *err)
{
    json_t *object = NULL, *value;
    const char *name;
    int rc = read_params(text, &object, err);

    if (rc)
        return rc;
    if (!json_is_object(object))
        rc = err_set(err, -E_BAD_VALUE, "params: must be an object");
    if (!rc && json_is_deeper(object, PARAMS_DEPTH_LIMIT))
        rc = err_set(err, -E_BAD_VALUE, "params: nested deeper than %d levels",
                     PARAMS_DEPTH_LIMIT);
    if (!rc && task_type_find(type)) {
        json_object_foreach(object, name, value)
        {
            rc = check_member(type, name, value, err);
            if (rc)
                break;
        }
        if (!rc)
            rc = check_required(type, object, err);
    }
    json_decref(object);
    return rc;
}

/* --- secrets --- */

/* The JSON of a value as the string that `seal` makes of it. */
static json_t *sealed_of(const json_t *value, params_change_fn *seal, void *arg,
                         struct err *err)
{
    char *plain = json_text(value, JSON_COMPACT | JSON_ENCODE_ANY);
    char *sealed = plain ? seal(arg, plain, err) : NULL;
    json_t *string = sealed ? json_string(sealed) : NULL;

    if (!string && !err->code)
        err_set(err, -E_NO_MEMORY, "no memory for params");
    free(plain);
    free(sealed);
    return string;
}

static json_t *opened_of(const json_t *value, params_change_fn *open, void *arg,
                         struct err *err)
{
    char *plain = open(arg, json_string_value(value), err);
    json_t *opened = plain ? json_loads(plain, JSON_DECODE_ANY, NULL) : NULL;

    if (!opened && !err->code)
        err_set(err, -E_NO_MEMORY, "no memory for params");
    free(plain);
    return opened;
}

typedef json_t *change_value_fn(const json_t *value, params_change_fn *change, void *arg,
                                struct err *err);

static int change_secrets(const char *type, json_t *object, change_value_fn *change_value,
                          params_change_fn *change, void *arg, bool *ret_changed,
                          struct err *err)
{
    const struct task_param *p;
    struct err why = ERR_INIT;

    for (unsigned i = 0; (p = task_param_at(i)) != NULL; i++) {
        const json_t *value = json_object_get(object, p->name);
        if (p->kind != PARAM_SECRET || strcmp(p->type, type) != 0 || !value ||
            json_is_null(value))
            continue;
        json_t *other = change_value(value, change, arg, &why);
        if (!other || json_object_set_new(object, p->name, other) != 0)
            return err_set(err, why.code ? why.code : -E_NO_MEMORY, "params.%s: %s", p->name,
                           why.code ? why.text : "no memory");
        *ret_changed = true;
    }
    return 0;
}

static bool has_secrets(const char *type)
{
    const struct task_param *p;

    for (unsigned i = 0; (p = task_param_at(i)) != NULL; i++) {
        if (p->kind == PARAM_SECRET && strcmp(p->type, type) == 0)
            return true;
    }
    return false;
}

static int change_params(const char *type, const char *text, change_value_fn *change_value,
                         params_change_fn *change, void *arg, char **ret_text, struct err *err)
{
    json_t *object = NULL;
    bool is_changed = false;

    *ret_text = NULL;
    if (!text || !has_secrets(type))
        return 0;
    int rc = read_params(text, &object, err);
    if (!rc)
        rc = change_secrets(type, object, change_value, change, arg, &is_changed, err);
    if (!rc && is_changed) {
        *ret_text = json_text(object, JSON_COMPACT | JSON_SORT_KEYS);
        rc = *ret_text ? 0 : err_set(err, -E_NO_MEMORY, "no memory for params");
    }
    json_decref(object);
    return rc;
}

int params_seal(const char *type, const char *text, params_change_fn *seal, void *arg,
                char **ret_text, struct err *err)
{
    return change_params(type, text, sealed_of, seal, arg, ret_text, err);
}

int params_unseal(const char *type, const char *text, params_change_fn *open, void *arg,
                  char **ret_text, struct err *err)
{
    return change_params(type, text, opened_of, open, arg, ret_text, err);
}

struct params {
    json_t object; /* never instantiated: a struct params is a json_t by another name */
};

int params_open(const char *text, struct params **ret, struct err *err)
{
    json_t *object = NULL;
    int rc = json_read_text(text ? text : "{}", text ? strlen(text) : 2, &object, err);

    if (rc)
        return rc;
    if (!json_is_object(object)) {
        json_decref(object);
        return err_set(err, -E_BAD_VALUE, "params: must be an object");
    }
    *ret = (struct params *)object;
    return 0;
}

void params_close(struct params *p)
{
    json_decref((json_t *)p);
}

int64_t params_int(const struct params *p, const char *name, int64_t fallback)
{
    const json_t *value = json_object_get((const json_t *)p, name);

    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool params_bool(const struct params *p, const char *name, bool fallback)
{
    const json_t *value = json_object_get((const json_t *)p, name);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}

const char *params_word(const struct params *p, const char *name, const char *fallback)
{
    const json_t *value = json_object_get((const json_t *)p, name);

    return json_is_string(value) ? json_string_value(value) : fallback;
}

/* jansson takes UTF-8 only. */
static json_t *string_of(const char *text)
{
    json_t *string = json_string(text);
    char *ascii = string ? NULL : strdup(text);

    for (char *c = ascii; c && *c; c++)
        *c = (char)((unsigned char)*c >= 0x80 ? '?' : *c);
    if (ascii)
        string = json_string(ascii);
    free(ascii);
    return string;
}

char *params_write(const struct param_text *texts, const struct param_number *numbers)
{
    json_t *object = json_object();

    for (; object && texts->name; texts++)
        object = json_member_take(object, texts->name,
                                  texts->value ? string_of(texts->value) : json_null());
    for (; object && numbers->name; numbers++)
        object = json_member_take(object, numbers->name, json_integer(numbers->value));
    return object ? json_text_take(object) : NULL;
}
