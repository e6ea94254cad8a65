/* args.c - see args.h. */
#include "args.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int index_of(const struct arg_option *options, const char *name, size_t len, char letter)
{
    for (int i = 0; options[i].name; i++) {
        assert(i < ARGS_OPTIONS_MAX);
        if (letter ? options[i].letter == letter
                   : strlen(options[i].name) == len && memcmp(options[i].name, name, len) == 0)
            return i;
    }
    return -1;
}

static int take_option(struct args *a, int argc, char *const *argv, int *at, struct err *err)
{
    const char *text = argv[*at];
    bool is_long = text[1] == '-';
    size_t len = strcspn(text, "=");
    int i = is_long                              ? index_of(a->options, text, len, 0)
            : text[1] != '\0' && text[2] == '\0' ? index_of(a->options, NULL, 0, text[1])
                                                 : -1;

    if (i < 0)
        return err_set(err, -E_BAD_VALUE, "unknown option '%.100s'", text);
    const char *value = is_long && text[len] == '=' ? text + len + 1 : NULL;
    if (!a->options[i].value) {
        if (value)
            return err_set(err, -E_BAD_VALUE, "option %s takes no value", a->options[i].name);
        value = "";
    }
    if (!value && *at + 1 < argc)
        value = argv[++*at];
    if (!value)
        return err_set(err, -E_BAD_VALUE, "option %s needs a value", a->options[i].name);
    a->values[i] = value;
    if (a->given_count == ARGS_GIVEN_MAX)
        return err_set(err, -E_BAD_VALUE, "more than %d options", ARGS_GIVEN_MAX);
    a->given[a->given_count++] = (struct args_given){i, value};
    return 0;
}

int args_parse(struct args *a, const struct arg_option *options, int argc, char *const *argv,
               bool first_word_ends, int *ret_used, struct err *err)
{
    bool options_over = false;
    int i = 0, rc = 0;

    memset(a, 0, sizeof *a);
    a->options = options;
    for (; i < argc && !rc; i++) {
        bool is_option = !options_over && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--") == 0)
            options_over = true;
        else if (is_option)
            rc = take_option(a, argc, argv, &i, err);
        else if (first_word_ends)
            break;
        else if (a->word_count == ARGS_WORDS_MAX)
            rc = err_set(err, -E_BAD_VALUE, "unexpected argument '%.100s'", argv[i]);
        else
            a->words[a->word_count++] = argv[i];
    }
    *ret_used = i;
    return rc;
}

const char *args_value(const struct args *a, const char *name)
{
    int i = index_of(a->options, name, strlen(name), 0);

    assert(i >= 0);
    return a->values[i];
}

const char *args_value_at(const struct args *a, const char *name, int index)
{
    int option = index_of(a->options, name, strlen(name), 0);

    assert(option >= 0);
    for (int i = 0; i < a->given_count; i++) {
        if (a->given[i].option == option && index-- == 0)
            return a->given[i].value;
    }
    return NULL;
}

int args_number(const struct args *a, const char *name, int64_t min, int64_t max,
                int64_t *ret_number, struct err *err)
{
    const char *text = args_value(a, name);
    char *end;

    if (!text)
        return 0;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (errno || end == text || *end || number < min || number > max)
        return err_set(err, -E_BAD_VALUE,
                       "%s takes a whole number from %" PRId64 " to %" PRId64 ", not '%.100s'",
                       name, min, max, text);
    *ret_number = number;
    return 0;
}

void args_help(const struct arg_option *options, struct buf *out)
{
    for (const struct arg_option *o = options; o->name; o++) {
        struct buf left = BUF_INIT;
        if (o->letter)
            buf_printf(&left, "-%c, ", o->letter);
        buf_printf(&left, "%s%s%s", o->name, o->value ? " " : "", o->value ? o->value : "");
        buf_printf(out, "  %-28s %s\n", left.data, o->help);
        buf_release(&left);
    }
}
