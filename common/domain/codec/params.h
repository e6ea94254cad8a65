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

/* Is `text` a JSON object whose members `type` may have? E_BAD_VALUE names the member. Types
 * that Segue does not ship take any object. */
int params_check(const char *type, const char *text, struct err *err);

struct params;

/* text NULL counts as {}. */
int params_open(const char *text, struct params **ret, struct err *err);
void params_close(struct params *p);
int64_t params_int(const struct params *p, const char *name, int64_t fallback);
const char *params_word(const struct params *p, const char *name, const char *fallback);

#endif
