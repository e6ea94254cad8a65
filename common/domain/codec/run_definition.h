/* run_definition.h - pipelines as JSON: read strictly, and turned into the params of a step.
 *
 *   {"name": "...", "title"?: "...", "queue"?: "...",
 *    "input"?: {"NAME": {"type", "required"?, "default"?, "secret"?, "title"?}, ...},
 *    "steps": [{"name", "type": a task type, "params"?: {...}, "queue"?, "max_attempts"?,
 *               "timeout_s"?}, or with "http": {...} in place of type and params, ...]}
 *
 * Any string in params may hold references: ${input.NAME}, ${steps.NAME.output.path[0].field}
 * of an earlier step, ${run.id} and ${run.name}; "$${" stands for "${". A string that is one
 * reference becomes the value itself, whatever its type; a member whose value is an optional
 * input that was not given is left out. docs/pipelines.md tells it to users.
 *
 * A definition that was read is never changed: any thread. Nothing blocks. */
#ifndef CODEC_RUN_DEFINITION_H
#define CODEC_RUN_DEFINITION_H

#include "buf.h"
#include "run.h"

struct run_def;

struct run_def_step {
    const char *name, *type;
    const char *queue; /* the step's, else the pipeline's, else the type's own */
    int max_attempts;  /* 0: the configured default */
    int64_t timeout_ms;
};

/* What definitions may name beside the task types that Segue ships. */
struct run_def_rules {
    bool (*is_type)(void *arg, const char *type); /* NULL: no other */
    void *arg;
};

/* Reads and checks a definition. rules NULL: it was checked when it was written, and is read
 * for use. `name` is the one it must have, or takes when it has none; NULL: any.
 * -E_BAD_VALUE: mistakes (may be NULL) gets a line "path: sentence" for each of them, and err
 * the first ones; `prefix` ("" or "definition.") stands before every path. */
int run_def_parse(const char *text, size_t len, const char *prefix, const char *name,
                  const struct run_def_rules *rules, struct run_def **ret, struct buf *mistakes,
                  struct err *err);
void run_def_free(struct run_def *d);

const char *run_def_name(const struct run_def *d);
const char *run_def_title(const struct run_def *d); /* "" without */
size_t run_def_step_count(const struct run_def *d);
struct run_def_step run_def_step(const struct run_def *d, size_t index);
bool run_def_has_secrets(const struct run_def *d);
/* The definition in one line, members sorted; free() it. NULL without memory. */
char *run_def_text(const struct run_def *d);

/* Checks the input of a run (JSON object text; NULL: {}) and fills in the defaults.
 * *ret_input: free(). Mistakes as above, with "input." before the names. */
int run_def_input(const struct run_def *d, const char *text, char **ret_input,
                  struct buf *mistakes, struct err *err);

/* The params of step `index` of a run: references replaced, then checked against the type
 * (-E_BAD_INPUT names what is not there or wrong). ret_shown gets the same with every secret as
 * "***". Both: free(). */
int run_def_bind(const struct run_def *d, const struct run *r, size_t index, char **ret_params,
                 char **ret_shown, struct err *err);

/* -- secrets -- */

/* The input with the secret ones as "***"; free(). NULL without memory. */
char *run_def_shown_input(const struct run_def *d, const char *input);

/* The text with every secret of the input in it replaced by "***" (those of less than four
 * characters only where they are all of it); free(). NULL without memory. */
char *run_def_hide(const struct run_def *d, const char *input, const char *text);
/* The same for a JSON text: in all strings of it. */
char *run_def_hide_json(const struct run_def *d, const char *input, const char *json);

#endif
