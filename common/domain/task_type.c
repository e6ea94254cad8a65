#include "task_type.h"

#include <stddef.h>
#include <string.h>

#define T(name, queue, input) {name, queue, input},
static const struct task_type types[] = {
#include "task_type.def"
};
#undef T

#define P(type, name, kind, min, max, words) {type, name, PARAM_##kind, min, max, words},
static const struct task_param params[] = {
#include "task_param.def"
};
#undef P

enum { TYPE_COUNT = sizeof types / sizeof types[0] };
enum { PARAM_COUNT = sizeof params / sizeof params[0] };

const struct task_type *task_type_find(const char *name)
{
    for (unsigned i = 0; i < TYPE_COUNT; i++) {
        if (strcmp(types[i].name, name) == 0)
            return &types[i];
    }
    return NULL;
}

const struct task_type *task_type_at(unsigned index)
{
    return index < TYPE_COUNT ? &types[index] : NULL;
}

const struct task_param *task_param_find(const char *type, const char *name)
{
    for (unsigned i = 0; i < PARAM_COUNT; i++) {
        if (strcmp(params[i].type, type) == 0 && strcmp(params[i].name, name) == 0)
            return &params[i];
    }
    return NULL;
}

const struct task_param *task_param_at(unsigned index)
{
    return index < PARAM_COUNT ? &params[index] : NULL;
}

bool task_param_is_required(const struct task_param *p)
{
    return p->kind != PARAM_WORD && strcmp(p->words, "required") == 0;
}

bool task_param_allows(const struct task_param *p, const char *word)
{
    size_t len = strlen(word);

    for (const char *at = p->words; *at;) {
        size_t span = strcspn(at, "|");
        if (span == len && memcmp(at, word, len) == 0)
            return true;
        at += span + (at[span] == '|');
    }
    return false;
}
