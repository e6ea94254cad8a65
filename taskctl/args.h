/* args.h - the words after a command, read by that command's table of options.
 *
 * Options and words may come in any order; "--name value", "--name=value", "-n value"; "--"
 * ends the options; "-" alone is a word. Everything points into argv. Nothing blocks. */
#ifndef TASKCTL_ARGS_H
#define TASKCTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

enum { ARGS_OPTIONS_MAX = 16, ARGS_WORDS_MAX = 1, ARGS_GIVEN_MAX = 64 };

struct arg_option {
    const char *name;  /* "--output"; NULL ends a table */
    char letter;       /* 'o' for -o, or 0 */
    const char *value; /* what its value is called in the help; NULL: a switch */
    const char *help;
};

struct args {
    const struct arg_option *options;
    const char *values[ARGS_OPTIONS_MAX]; /* NULL: not given */
    const char *words[ARGS_WORDS_MAX];
    int word_count;
    struct args_given { /* all of them in order: an option may come several times */
        int option;
        const char *value;
    } given[ARGS_GIVEN_MAX];
    int given_count;
};

/* The options every command takes, to be put into its table. */
#define ARGS_COMMON                                                                            \
    {"--json", 0, NULL, "print JSON, errors too"},                                             \
        {"--task-manager-url", 0, "URL", "where the task manager is"},                         \
        {"--help", 'h', NULL, "show this help"},                                               \
    {                                                                                          \
        NULL, 0, NULL, NULL                                                                    \
    }

/* Reads argv[0..argc). With first_word_ends it stops at the first word, else words go to
 * *a. *ret_used is how many of argv were read. E_BAD_VALUE for anything not in the table. */
int args_parse(struct args *a, const struct arg_option *options, int argc, char *const *argv,
               bool first_word_ends, int *ret_used, struct err *err);

/* The value of an option of the table ("" for a switch), NULL when not given. */
const char *args_value(const struct args *a, const char *name);

/* The index-th value of an option that may come several times; NULL past the last. */
const char *args_value_at(const struct args *a, const char *name, int index);

/* The same as a whole number; *ret_number stays as it is when the option is not given. */
int args_number(const struct args *a, const char *name, int64_t min, int64_t max,
                int64_t *ret_number, struct err *err);

/* The table as lines of a help text. */
void args_help(const struct arg_option *options, struct buf *out);

#endif
