/* task_type.h - which task types exist and what their parameters may be.
 *
 * Two tables, task_type.def and task_param.def. Types of foreign workers are configured
 * (TASK_TYPES) and take any parameters. Pure; any thread. */
#ifndef DOMAIN_TASK_TYPE_H
#define DOMAIN_TASK_TYPE_H

#include <stdbool.h>
#include <stdint.h>

struct task_type {
    const char *name, *queue;
    bool needs_input;
};

enum param_kind {
    PARAM_INT,
    PARAM_BOOL,
    PARAM_WORD,
    PARAM_TEXT,
    PARAM_OBJECT,
    PARAM_ANY,
    PARAM_SECRET
};

struct task_param {
    const char *type, *name;
    enum param_kind kind;
    int64_t min, max; /* of an INT; bytes of a TEXT or SECRET */
    const char
        *words; /* of a WORD: the allowed ones, separated by '|'; else "required" or "" */
};

/* NULL when Segue does not ship that type. */
const struct task_type *task_type_find(const char *name);

/* The index-th shipped type; NULL past the last. */
const struct task_type *task_type_at(unsigned index);

/* The parameter `name` of `type`; NULL when that type has none of that name. */
const struct task_param *task_param_find(const char *type, const char *name);

/* The index-th parameter of all types; NULL past the last. */
const struct task_param *task_param_at(unsigned index);

/* Must it be there? */
bool task_param_is_required(const struct task_param *p);

/* Is `word` one of the words of a PARAM_WORD? */
bool task_param_allows(const struct task_param *p, const char *word);

#endif
