#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"

enum { M = CONFIG_MANAGER, W = CONFIG_WORKER, CLIENT = CONFIG_CLIENT };
enum { ENV_FILE_MAX = 1 << 20, SECRET_FILE_MAX = 1 << 16 };

struct row {
    size_t offset;
    enum config_type type;
    int programs;
    const char *env, *flag, *def;
    int64_t min, max;
    bool secret;
    const char *help;
};

#define C(field, type, programs, env, flag, def, min, max, secret, help)                       \
    {offsetof(struct config, field),                                                           \
     CONFIG_##type,                                                                            \
     programs,                                                                                 \
     env,                                                                                      \
     flag,                                                                                     \
     def,                                                                                      \
     min,                                                                                      \
     max,                                                                                      \
     secret,                                                                                   \
     help},
static const struct row rows[] = {
#include "config.def"
};
#undef C

enum { ROW_COUNT = sizeof rows / sizeof rows[0] };

static bool is_text(const struct row *r)
{
    return r->type == CONFIG_STRING || r->type == CONFIG_LIST;
}

static char **text_of(const struct config *c, const struct row *r)
{
    return (char **)(void *)((char *)(void *)(uintptr_t)c + r->offset);
}

static int64_t *number_of(const struct config *c, const struct row *r)
{
    return (int64_t *)(void *)((char *)(void *)(uintptr_t)c + r->offset);
}

/* A decimal number and what follows it. */
static bool parse_number(const char *text, int64_t *ret_value, const char **ret_rest)
{
    char *end;

    if (!isdigit((unsigned char)*text) && *text != '-')
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text)
        return false;
    *ret_value = value;
    *ret_rest = end;
    return true;
}

static bool apply_unit(int64_t value, int64_t unit, int64_t *ret_value)
{
    return !__builtin_mul_overflow(value, unit, ret_value);
}

struct unit {
    const char *name;
    int64_t factor;
};

static bool parse_with_units(const char *text, const struct unit *units, int64_t *ret_value)
{
    int64_t value;
    const char *rest;

    if (!parse_number(text, &value, &rest))
        return false;
    for (; units->name; units++) {
        if (strcmp(rest, units->name) == 0)
            return apply_unit(value, units->factor, ret_value);
    }
    return false;
}

bool config_parse_bytes(const char *text, int64_t *ret_bytes)
{
    static const struct unit units[] = {
        {"", 1},          {"K", 1 << 10},   {"k", 1 << 10},   {"M", 1 << 20},
        {"m", 1 << 20},   {"G", 1 << 30},   {"g", 1 << 30},   {"T", INT64_C(1) << 40},
        {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {NULL, 0},
    };

    return parse_with_units(text, units, ret_bytes);
}

bool config_parse_ms(const char *text, int64_t *ret_ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {NULL, 0},
    };

    return parse_with_units(text, units, ret_ms);
}

static const char *type_hint(const struct row *r)
{
    static const char *const hints[] = {
        [CONFIG_STRING] = "text",
        [CONFIG_INT] = "a whole number",
        [CONFIG_BYTES] = "a size such as 65536, 64K, 256M or 2G",
        [CONFIG_MS] = "a time such as 500ms, 10s, 5m or 1h",
        [CONFIG_BOOL] = "true or false",
        [CONFIG_LIST] = "words separated by commas",
    };
    return hints[r->type];
}

static bool parse_bool(const char *text, int64_t *ret_value)
{
    static const char *const words[] = {"0", "1", "false", "true", "no", "yes", "off", "on"};

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *ret_value = i % 2;
            return true;
        }
    }
    return false;
}

static int set_number(struct config *c, const struct row *r, const char *value,
                      const char *source, struct err *err)
{
    int64_t number = 0;
    const char *rest = "";
    bool ok = false;

    if (r->type == CONFIG_INT)
        ok = parse_number(value, &number, &rest) && *rest == '\0';
    else if (r->type == CONFIG_BYTES)
        ok = config_parse_bytes(value, &number);
    else if (r->type == CONFIG_MS)
        ok = config_parse_ms(value, &number);
    else
        ok = parse_bool(value, &number);
    if (!ok)
        return err_set(err, -E_BAD_VALUE, "%s from %s: '%.100s' is not %s", r->env, source,
                       value, type_hint(r));
    if (r->type != CONFIG_BOOL && (number < r->min || number > r->max))
        return err_set(err, -E_BAD_VALUE,
                       "%s from %s: '%.100s' is outside %" PRId64 " to %" PRId64 "%s", r->env,
                       source, value, r->min, r->max,
                       r->type == CONFIG_MS      ? " milliseconds"
                       : r->type == CONFIG_BYTES ? " bytes"
                                                 : "");
    *number_of(c, r) = number;
    return 0;
}

static int set_value(struct config *c, const struct row *r, const char *value,
                     const char *source, struct err *err)
{
    if (!is_text(r))
        return set_number(c, r, value, source, err);

    char *copy = strdup(value);
    if (!copy)
        return err_set(err, -E_NO_MEMORY, "no memory for %s", r->env);
    free(*text_of(c, r));
    *text_of(c, r) = copy;
    return 0;
}

/* A repeated LIST flag adds to what earlier flags said. */
static int append_value(struct config *c, const struct row *r, const char *value,
                        struct err *err)
{
    struct buf joined = BUF_INIT;

    buf_printf(&joined, "%s,%s", *text_of(c, r), value);
    int rc = buf_ok(&joined) ? set_value(c, r, joined.data, r->flag, err)
                             : err_set(err, -E_NO_MEMORY, "no memory for %s", r->env);
    buf_release(&joined);
    return rc;
}

static int set_from_secret_file(struct config *c, const struct row *r, const char *path,
                                struct err *err)
{
    char *text = NULL;
    int rc = fs_read_small(path, SECRET_FILE_MAX, &text, err);

    if (rc) {
        err_wrap(err, "%s_FILE", r->env);
        return rc;
    }
    text[strcspn(text, "\r\n")] = '\0';
    rc = set_value(c, r, text, "its file", err);
    free(text);
    return rc;
}

/* Ends an unquoted value before a comment: a '#' at its start or after a blank. */
static void drop_comment(char *value)
{
    for (char *p = value; *p; p++) {
        if (*p == '#' && (p == value || isspace((unsigned char)p[-1]))) {
            *p = '\0';
            return;
        }
    }
}

/* NAME=value, with an optional `export`, optional quotes around the value, and a comment. */
static bool split_env_line(char *line, char **ret_name, char **ret_value)
{
    while (isspace((unsigned char)*line))
        line++;
    if (strncmp(line, "export", 6) == 0 && isspace((unsigned char)line[6]))
        for (line += 6; isspace((unsigned char)*line);)
            line++;
    char *equals = strchr(line, '=');
    if (*line == '#' || *line == '\0' || !equals)
        return false;
    *equals = '\0';

    char *value = equals + 1;
    if (*value != '"' && *value != '\'')
        drop_comment(value);
    size_t len = strlen(value);
    while (len > 0 && isspace((unsigned char)value[len - 1]))
        value[--len] = '\0';
    if (len >= 2 && (*value == '"' || *value == '\'') && value[len - 1] == *value) {
        value[len - 1] = '\0';
        value++;
    }
    *ret_name = line;
    *ret_value = value;
    return true;
}

static int apply_named(struct config *c, enum config_program program, const char *name,
                       const char *value, const char *source, struct err *err)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *r = &rows[i];
        size_t len = strlen(r->env);
        if (!(r->programs & (int)program) || strncmp(name, r->env, len) != 0)
            continue;
        if (name[len] == '\0')
            return set_value(c, r, value, source, err);
        if (r->secret && strcmp(name + len, "_FILE") == 0)
            return set_from_secret_file(c, r, value, err);
    }
    return 0; /* other programs' names live in the same file */
}

static int load_env_file(struct config *c, enum config_program program, const char *path,
                         struct err *err)
{
    char *text = NULL, *rest = NULL;
    struct err why = ERR_INIT;
    int rc = fs_read_small(path, ENV_FILE_MAX, &text, &why);

    if (rc == -E_NOT_FOUND)
        return 0;
    if (rc)
        return err_set(err, rc, "%s", why.text);
    for (char *line = strtok_r(text, "\n", &rest); line && !rc;
         line = strtok_r(NULL, "\n", &rest)) {
        char *name, *value;
        if (split_env_line(line, &name, &value))
            rc = apply_named(c, program, name, value, path, err);
    }
    free(text);
    return rc;
}

static int load_environment(struct config *c, enum config_program program, struct err *err)
{
    int rc = 0;

    for (unsigned i = 0; i < ROW_COUNT && !rc; i++) {
        const struct row *r = &rows[i];
        char file_name[64];
        if (!(r->programs & (int)program))
            continue;
        const char *value = getenv(r->env);
        snprintf(file_name, sizeof file_name, "%s_FILE", r->env);
        const char *file = r->secret ? getenv(file_name) : NULL;
        if (value)
            rc = set_value(c, r, value, "the environment", err);
        else if (file)
            rc = set_from_secret_file(c, r, file, err);
    }
    return rc;
}

static const struct row *find_flag(enum config_program program, const char *arg, size_t len)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        if ((rows[i].programs & (int)program) && strlen(rows[i].flag) == len &&
            strncmp(rows[i].flag, arg, len) == 0)
            return &rows[i];
    }
    return NULL;
}

static bool take_want(struct config *c, const char *arg)
{
    bool *want = strcmp(arg, "--help") == 0           ? &c->want_help
                 : strcmp(arg, "--version") == 0      ? &c->want_version
                 : strcmp(arg, "--check-config") == 0 ? &c->want_check
                                                      : NULL;
    if (want)
        *want = true;
    return want != NULL;
}

static int load_flags(struct config *c, enum config_program program, int argc,
                      char *const *argv, struct err *err)
{
    bool seen[ROW_COUNT] = {false};
    int i = 1;

    for (; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        if (strcmp(argv[i], "--") == 0) {
            i++;
            break;
        }
        if (take_want(c, argv[i]))
            continue;
        size_t len = strcspn(argv[i], "=");
        const struct row *r = find_flag(program, argv[i], len);
        if (!r)
            return err_set(err, -E_BAD_VALUE, "unknown flag '%.100s' (see --help)", argv[i]);
        const char *value = argv[i][len] == '=' ? argv[i] + len + 1 : NULL;
        if (!value && i + 1 < argc)
            value = argv[++i];
        if (!value)
            return err_set(err, -E_BAD_VALUE, "flag %s needs a value", r->flag);
        bool repeated = r->type == CONFIG_LIST && seen[r - rows];
        int rc =
            repeated ? append_value(c, r, value, err) : set_value(c, r, value, r->flag, err);
        if (rc)
            return rc;
        seen[r - rows] = true;
    }
    c->arg_first = i;
    return 0;
}

int config_load(struct config *c, enum config_program program, int argc, char *const *argv,
                const char *env_file, struct err *err)
{
    int rc = 0;

    memset(c, 0, sizeof *c);
    for (unsigned i = 0; i < ROW_COUNT && !rc; i++)
        rc = set_value(c, &rows[i], rows[i].def, "the default", err);
    if (!rc && env_file)
        rc = load_env_file(c, program, env_file, err);
    if (!rc)
        rc = load_environment(c, program, err);
    if (!rc)
        rc = load_flags(c, program, argc, argv, err);
    if (rc)
        config_release(c);
    return rc;
}

void config_release(struct config *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        if (is_text(&rows[i])) {
            free(*text_of(c, &rows[i]));
            *text_of(c, &rows[i]) = NULL;
        }
    }
}

const char *config_list_next(const char *at, char *ret_word, size_t size)
{
    while (at && *at) {
        size_t len = strcspn(at, ",");
        const char *next = at + len + (at[len] == ',');
        while (len > 0 && isspace((unsigned char)*at))
            at++, len--;
        while (len > 0 && isspace((unsigned char)at[len - 1]))
            len--;
        if (len > 0) {
            snprintf(ret_word, size, "%.*s", (int)len, at);
            return next;
        }
        at = next;
    }
    return NULL;
}

void config_help(enum config_program program, struct buf *out)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *r = &rows[i];
        if (r->programs & (int)program)
            buf_printf(out, "  %-26s %s\n  %-26s (%s%s; default: %s)\n", r->flag, r->help, "",
                       r->env, r->secret ? " or its _FILE" : "", *r->def ? r->def : "none");
    }
}

void config_dump(const struct config *c, enum config_program program, struct buf *out)
{
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *r = &rows[i];
        if (!(r->programs & (int)program))
            continue;
        if (r->secret && **text_of(c, r) && strncmp(*text_of(c, r), "sqlite:", 7) != 0)
            buf_printf(out, "%s=***\n", r->env);
        else if (is_text(r))
            buf_printf(out, "%s=%s\n", r->env, *text_of(c, r));
        else
            buf_printf(out, "%s=%" PRId64 "%s\n", r->env, *number_of(c, r),
                       r->type == CONFIG_MS ? "ms" : "");
    }
}

void config_markdown(struct buf *out)
{
    static const char *const type_names[] = {"text", "number", "size",
                                             "time", "yes/no", "list"};

    buf_append_str(out, "| environment | flag | used by | type | default | what it does |\n"
                        "|---|---|---|---|---|---|\n");
    for (unsigned i = 0; i < ROW_COUNT; i++) {
        const struct row *r = &rows[i];
        buf_printf(out, "| `%s`%s | `%s` | %s%s%s | %s | %s%s%s | %s |\n", r->env,
                   r->secret ? "<br>`…_FILE`" : "", r->flag,
                   r->programs & M ? "task_manager " : "",
                   r->programs & W ? "data_processor " : "",
                   r->programs & CLIENT ? "taskctl" : "", type_names[r->type],
                   *r->def ? "`" : "", *r->def ? r->def : "none", *r->def ? "`" : "", r->help);
    }
}
