#include "params.h"

#include <inttypes.h>
#include <string.h>

#include "json_read.h"
#include "task_type.h"

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

int params_check(const char *type, const char *text, struct err *err)
{
    json_t *object = NULL, *value;
    const char *name;
    int rc = json_read_text(text, strlen(text), &object, err);

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
    }
    json_decref(object);
    return rc;
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

const char *params_word(const struct params *p, const char *name, const char *fallback)
{
    const json_t *value = json_object_get((const json_t *)p, name);

    return json_is_string(value) ? json_string_value(value) : fallback;
}
