/* params.h - the `params` object of a task: checked at submit, read by jobs.
 *
 * Checking follows task_param.def. Reading is for jobs, which do not know JSON: a missing
 * member gives the default. Any thread; nothing blocks. */
#ifndef CODEC_PARAMS_H
#define CODEC_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* Is `text` (NULL: {}) a JSON object whose members `type` may have, with those it must have?
 * E_BAD_VALUE names the member, but does not show its value. Types that Segue does not ship
 * take any object. */
int params_check(const char *type, const char *text, struct err *err);

/* Secrets of a shipped type (task_param.def) pass through `change`, which gets and gives a text
 * and either returns a new one from malloc, or NULL with err set: to seal them, a value's JSON
 * becomes a string; to open them, that string becomes the value again. Members that are no
 * secrets stay. *ret_text is NULL when there is none, so that `text` can be used as it is. */
typedef char *params_change_fn(void *arg, const char *text, struct err *err);
int params_seal(const char *type, const char *text, params_change_fn *seal, void *arg,
                char **ret_text, struct err *err);
int params_unseal(const char *type, const char *text, params_change_fn *open, void *arg,
                  char **ret_text, struct err *err);

struct params;

/* text NULL counts as {}. */
int params_open(const char *text, struct params **ret, struct err *err);
void params_close(struct params *p);
int64_t params_int(const struct params *p, const char *name, int64_t fallback);
bool params_bool(const struct params *p, const char *name, bool fallback);
const char *params_word(const struct params *p, const char *name, const char *fallback);

/* A JSON object of these members, in this order, for results; malloc'ed, NULL when memory is
 * short. A text NULL becomes null; one that is no UTF-8 gets '?' for what is none. Each list
 * ends with a name NULL. */
struct param_text {
    const char *name, *value;
};
struct param_number {
    const char *name;
    int64_t value;
};
char *params_write(const struct param_text *texts, const struct param_number *numbers);

#endif
