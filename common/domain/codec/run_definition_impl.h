/* run_definition_impl.h - shared by the files that read and apply definitions. */
#ifndef CODEC_RUN_DEFINITION_IMPL_H
#define CODEC_RUN_DEFINITION_IMPL_H

#include "json_read.h"
#include "run_definition.h"

#define RUN_HIDDEN "***" /* in place of a secret */

struct run_def {
    json_t *root;
    char name[RUN_NAME_MAX], title[TASK_NAME_MAX], queue[TASK_QUEUE_MAX];
    json_t *input; /* borrowed; NULL without */
    struct def_step {
        char name[RUN_NAME_MAX], type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];
        json_t *params; /* borrowed; NULL without */
        int max_attempts;
        int64_t timeout_ms;
    } steps[RUN_STEPS_LIMIT];
    size_t step_count;
    bool has_secrets;
};

enum { PATH_MAX_BYTES = 256 }; /* of a path within a definition */

/* -- the pieces of a string -- */

enum piece_kind { PIECE_END, PIECE_TEXT, PIECE_REFERENCE, PIECE_BROKEN };

struct piece {
    enum piece_kind kind;
    const char *text; /* of a reference: what stands between the braces */
    size_t len;
};

/* The next piece from *at on; PIECE_BROKEN: a "${" without its end. */
struct piece piece_next(const char **at);
/* Is the string one reference and nothing else? */
bool piece_is_all(const char *text, struct piece *ret);

enum ref_kind { REF_INPUT, REF_STEP, REF_RUN };

enum { REF_TEXT_MAX = 256, REF_PATH_MAX = 16 };

struct ref {
    enum ref_kind kind;
    char text[REF_TEXT_MAX];
    char *parts; /* in text, cut by NULs: of the path within the value */
    const char *name, *path[REF_PATH_MAX];
    size_t path_count;
    char copy[REF_TEXT_MAX];
};

/* False when it is none of the known forms. */
bool ref_parse(const struct piece *p, struct ref *ret);

/* The names of the input are those of the members. */
bool def_input_is_secret(const struct run_def *d, const char *name);

/* "path: sentence" lines, up to some fifty; first ones for an err. */
struct complaints {
    struct buf *lines;
    const char *prefix;
    int count;
    struct buf first;
};

void complain(struct complaints *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* 0, or -E_BAD_VALUE with the first ones in err; releases c. Without memory nothing that was
 * complained of may be so. */
int complaints_end(struct complaints *c, const char *what, bool had_memory, struct err *err);

/* All members of an object, one by one: what the table does not have, or is wrong. */
void check_members(struct complaints *c, const json_t *object, const char *path,
                   const struct json_field *fields);
/* A word that is there must be one: of a queue, or with is_name without dots. */
void check_word(struct complaints *c, const char *path, const char *name, const char *word,
                bool is_name);
/* The members of "input"; notes whether there are secrets. */
void check_inputs(struct run_def *d, struct complaints *c);

/* Is the value one of the type's ("string", "integer", "number", "boolean", "object", "array")?
 */
bool def_type_fits(const char *type, const json_t *value);

#endif
