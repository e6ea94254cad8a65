/* run_definition.c - reading a definition: everything that is wrong with it, each with its
 * path. */
#include "run_definition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "params.h"
#include "run_definition_impl.h"
#include "task_type.h"

static const char http_type[] = "http_call";

/* -- references -- */

static int find_step(const struct run_def *d, const char *name)
{
    for (size_t i = 0; i < d->step_count; i++) {
        if (strcmp(d->steps[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static void check_reference(const struct run_def *d, size_t step, const struct piece *p,
                            const char *path, struct complaints *c)
{
    struct ref ref;

    if (p->kind == PIECE_BROKEN) {
        complain(c, "%s: a reference begins with \"${\" and has no \"}\"", path);
        return;
    }
    if (!ref_parse(p, &ref)) {
        complain(c,
                 "%s: '%.*s' is no reference; they are input.NAME, steps.NAME.output.FIELD, "
                 "run.id and run.name",
                 path, (int)(p->len < 100 ? p->len : 100), p->text);
        return;
    }
    if (ref.kind == REF_INPUT && !json_object_get(d->input, ref.name))
        complain(c, "%s: '%s': there is no input '%s'", path, ref.copy, ref.name);
    if (ref.kind != REF_STEP)
        return;
    int found = find_step(d, ref.name);
    if (found < 0)
        complain(c, "%s: '%s': there is no step '%s'", path, ref.copy, ref.name);
    else if ((size_t)found >= step)
        complain(c, "%s: '%s': step '%s' does not come before this one", path, ref.copy,
                 ref.name);
}

/* Looks through all strings; true when there was a reference. */
static bool check_references(const struct run_def *d, size_t step, const json_t *value,
                             const char *path, struct complaints *c)
{
    char deeper[PATH_MAX_BYTES];
    const char *at = json_string_value(value), *name;
    bool found = false;
    json_t *child;
    size_t i;

    for (struct piece p; at && (p = piece_next(&at)).kind != PIECE_END;) {
        if (p.kind == PIECE_TEXT)
            continue;
        found = true;
        check_reference(d, step, &p, path, c);
        if (p.kind == PIECE_BROKEN)
            break;
    }
    json_object_foreach((json_t *)(uintptr_t)value, name, child)
    {
        snprintf(deeper, sizeof deeper, "%.180s.%.60s", path, name);
        found |= check_references(d, step, child, deeper, c);
    }
    json_array_foreach(value, i, child)
    {
        snprintf(deeper, sizeof deeper, "%.200s[%zu]", path, i);
        found |= check_references(d, step, child, deeper, c);
    }
    return found;
}

/* -- steps -- */

/* A member without references can be judged now; of one with them, only the name. */
static void check_param(const struct run_def *d, size_t index, const char *path,
                        const char *name, const json_t *value, struct complaints *c)
{
    const struct def_step *s = &d->steps[index];
    bool is_ours = task_type_find(s->type) != NULL;
    char deeper[PATH_MAX_BYTES], own[80];
    struct err why = ERR_INIT;

    snprintf(deeper, sizeof deeper, "%.190s.%.60s", path, name);
    bool refers = check_references(d, index, value, deeper, c);
    if (is_ours && !task_param_find(s->type, name)) {
        complain(c, "%s: unknown member for type '%s'", deeper, s->type);
        return;
    }
    if (refers || !is_ours)
        return;
    json_t *one = json_pack("{s:O}", name, value);
    char *text = json_text_take(one);
    snprintf(own, sizeof own, "params.%.60s", name);
    if (text && params_check(s->type, text, &why) &&
        strncmp(why.text, own, strlen(own)) == 0) /* others are not there to be judged */
        complain(c, "%s%s", deeper, why.text + strlen(own));
    free(text);
}

/* A reference counts: what it will be is seen when the step begins. */
static void check_required(const struct def_step *s, const char *path, struct complaints *c)
{
    const struct task_param *p;

    for (unsigned i = 0; (p = task_param_at(i)) != NULL; i++) {
        if (strcmp(p->type, s->type) == 0 && task_param_is_required(p) &&
            !json_object_get(s->params, p->name))
            complain(c, "%s.%s: is missing", path, p->name);
    }
}

static void check_params(const struct run_def *d, size_t index, const char *path,
                         struct complaints *c)
{
    const char *name;
    json_t *value;

    if (json_is_deeper(d->steps[index].params, PARAMS_DEPTH_LIMIT))
        complain(c, "%s: nested deeper than %d levels", path, PARAMS_DEPTH_LIMIT);
    json_object_foreach(d->steps[index].params, name, value)
    {
        check_param(d, index, path, name, value, c);
    }
    check_required(&d->steps[index], path, c);
}

static void check_type(const struct def_step *s, const char *path,
                       const struct run_def_rules *rules, struct complaints *c)
{
    const struct task_type *type = task_type_find(s->type);

    if (type && type->needs_input)
        complain(c, "%s.type: '%s' works on an uploaded file and cannot be a step", path,
                 s->type);
    if (!type && !(rules->is_type && rules->is_type(rules->arg, s->type)))
        complain(c, "%s.type: there is no task type '%s'", path, s->type);
}

static void read_step(struct run_def *d, size_t index, const json_t *object,
                      const struct run_def_rules *rules, struct complaints *c)
{
    struct def_step *s = &d->steps[index];
    json_t *http = NULL;
    int64_t max_attempts = 0, timeout_s = 0;
    char path[PATH_MAX_BYTES], title[TASK_NAME_MAX] = "";
    const struct json_field fields[] = {
        {"name", JSON_FIELD_STRING, true, s->name, sizeof s->name, 0, 0},
        {"title", JSON_FIELD_STRING, false, title, sizeof title, 0, 0},
        {"type", JSON_FIELD_STRING, false, s->type, sizeof s->type, 0, 0},
        {"params", JSON_FIELD_OBJECT, false, &s->params, 0, 0, 0},
        {"http", JSON_FIELD_OBJECT, false, &http, 0, 0, 0},
        {"queue", JSON_FIELD_STRING, false, s->queue, sizeof s->queue, 0, 0},
        {"max_attempts", JSON_FIELD_INT, false, &max_attempts, 0, 1, TASK_ATTEMPTS_LIMIT},
        {"timeout_s", JSON_FIELD_INT, false, &timeout_s, 0, 1, TASK_TIMEOUT_LIMIT_S},
        {0},
    };

    snprintf(path, sizeof path, "steps[%zu]", index);
    d->step_count = index; /* so that a name is looked for among the earlier ones */
    check_members(c, object, path, fields);
    check_word(c, path, "name", s->name, true);
    check_word(c, path, "queue", s->queue, false);
    if (s->name[0] && find_step(d, s->name) >= 0)
        complain(c, "%s.name: there are two steps '%s'", path, s->name);
    if (http && (s->type[0] || s->params))
        complain(c, "%s.http: stands in place of type and params", path);
    if (http) {
        snprintf(s->type, sizeof s->type, "%s", http_type);
        s->params = http;
    }
    s->max_attempts = (int)max_attempts;
    s->timeout_ms = timeout_s * 1000;
    if (!s->type[0] && json_is_object(object) && !json_object_get(object, "type"))
        complain(c, "%s: needs a type, or http", path);
    else if (rules && s->type[0])
        check_type(s, path, rules, c);
}

static void read_steps(struct run_def *d, const json_t *steps,
                       const struct run_def_rules *rules, struct complaints *c)
{
    size_t count = json_array_size(steps);

    if (steps && count == 0)
        complain(c, "steps: at least one is needed");
    count = count < RUN_STEPS_LIMIT ? count : RUN_STEPS_LIMIT;
    for (size_t i = 0; i < count; i++)
        read_step(d, i, json_array_get(steps, i), rules, c);
    d->step_count = count;
    for (size_t i = 0; rules && i < count; i++) {
        char path[PATH_MAX_BYTES];
        bool is_http = json_object_get(json_array_get(steps, i), "http") != NULL;
        snprintf(path, sizeof path, "steps[%zu].%s", i, is_http ? "http" : "params");
        check_params(d, i, path, c);
    }
}

static void read_definition(struct run_def *d, const char *name,
                            const struct run_def_rules *rules, struct complaints *c)
{
    json_t *steps = NULL;
    const struct json_field fields[] = {
        {"name", JSON_FIELD_STRING, !name, d->name, sizeof d->name, 0, 0},
        {"title", JSON_FIELD_STRING, false, d->title, sizeof d->title, 0, 0},
        {"queue", JSON_FIELD_STRING, false, d->queue, sizeof d->queue, 0, 0},
        {"input", JSON_FIELD_OBJECT, false, &d->input, 0, 0, 0},
        {"steps", JSON_FIELD_ARRAY, true, &steps, 0, 0, RUN_STEPS_LIMIT},
        {0},
    };

    check_members(c, d->root, "", fields);
    if (name && d->name[0] && strcmp(name, d->name) != 0)
        complain(c, "name: must be '%.63s' or left out", name);
    if (name && !d->name[0])
        snprintf(d->name, sizeof d->name, "%s", name);
    check_word(c, "", "name", d->name, true);
    if (strcmp(d->name, "runs") == 0)
        complain(c, "name: 'runs' is taken");
    check_word(c, "", "queue", d->queue, false);
    check_inputs(d, c);
    read_steps(d, steps, rules, c);
}

int run_def_parse(const char *text, size_t len, const char *prefix, const char *name,
                  const struct run_def_rules *rules, struct run_def **ret, struct buf *mistakes,
                  struct err *err)
{
    struct complaints c = {mistakes, prefix, 0, BUF_INIT};
    struct run_def *d = calloc(1, sizeof *d);
    struct err why = ERR_INIT;
    unsigned shortages = json_shortages();
    int rc = 0;

    if (!d)
        return err_set(err, -E_NO_MEMORY, "no memory for a definition");
    rc = json_read_text(text, len, &d->root, &why);
    if (rc == -E_BAD_VALUE)
        complain(&c, "%s", why.text);
    else if (!rc)
        read_definition(d, name, rules, &c);
    rc = complaints_end(&c, "the definition", json_shortages() == shortages, err);
    if (rc)
        run_def_free(d);
    else
        *ret = d;
    return rc;
}

void run_def_free(struct run_def *d)
{
    if (!d)
        return;
    json_decref(d->root);
    free(d);
}

/* -- looking -- */

const char *run_def_name(const struct run_def *d)
{
    return d->name;
}

const char *run_def_title(const struct run_def *d)
{
    return d->title;
}

size_t run_def_step_count(const struct run_def *d)
{
    return d->step_count;
}

struct run_def_step run_def_step(const struct run_def *d, size_t index)
{
    const struct def_step *s = &d->steps[index];
    const struct task_type *type = task_type_find(s->type);
    const char *own = type ? type->queue : s->type;

    return (struct run_def_step){s->name, s->type,
                                 s->queue[0]   ? s->queue
                                 : d->queue[0] ? d->queue
                                               : own,
                                 s->max_attempts, s->timeout_ms};
}

bool run_def_has_secrets(const struct run_def *d)
{
    return d->has_secrets;
}

char *run_def_text(const struct run_def *d)
{
    unsigned shortages = json_shortages();
    json_t *whole = json_copy(d->root);

    if (whole && !json_object_get(whole, "name"))
        json_object_set_new(whole, "name", json_string(d->name));
    char *text = json_text(whole, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(whole);
    if (json_shortages() == shortages)
        return text;
    free(text); /* a copy may have lost members */
    return NULL;
}
