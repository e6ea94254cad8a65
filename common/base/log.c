#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "clock.h"

enum { LINE_MAX_BYTES = 4096, BRAKE_MS = 1000 };

static struct {
    enum log_level level;
    enum log_format format;
} setup = {LOG_INFO, LOG_TEXT};

static const char *const level_names[LOG__COUNT] = {"debug", "info", "warn", "error"};
static const char *const level_labels[LOG__COUNT] = {"DEBUG", "INFO", "WARN", "ERROR"};

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

void log_setup(enum log_level level, enum log_format format)
{
    setup.level = level;
    setup.format = format;
}

bool log_level_parse(const char *name, enum log_level *ret_level)
{
    for (int i = 0; i < LOG__COUNT; i++) {
        if (strcasecmp(name, level_names[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

int log_setup_words(const char *level, const char *format, struct err *err)
{
    enum log_level parsed;

    if (!log_level_parse(level, &parsed))
        return err_set(err, -E_BAD_VALUE,
                       "LOG_LEVEL: '%.100s' is not debug, info, warn or error", level);
    if (strcmp(format, "text") != 0 && strcmp(format, "json") != 0)
        return err_set(err, -E_BAD_VALUE, "LOG_FORMAT: '%.100s' is not text or json", format);
    log_setup(parsed, strcmp(format, "json") == 0 ? LOG_JSON : LOG_TEXT);
    return 0;
}

bool log_is_on(enum log_level level)
{
    return level >= setup.level;
}

static void line_add_bytes(struct line *l, const char *bytes, size_t len)
{
    /* Keeps room for the closing `"}` and the line end. */
    size_t room = sizeof l->text - 4 - l->len;

    if (len > room)
        len = room;
    memcpy(l->text + l->len, bytes, len);
    l->len += len;
}

static void line_add(struct line *l, const char *text)
{
    line_add_bytes(l, text, strlen(text));
}

static void line_add_escaped(struct line *l, const char *text)
{
    for (; *text && l->len < sizeof l->text - 16; text++) {
        unsigned char c = (unsigned char)*text;
        char out[8];
        if (c == '"' || c == '\\')
            line_add(l, "\\");
        if (c < 0x20 || c == 0x7F) {
            snprintf(out, sizeof out, "\\u%04x", c);
            line_add(l, out);
        } else {
            line_add_bytes(l, text, 1);
        }
    }
}

static bool needs_quotes(const char *text)
{
    return *text == '\0' || strpbrk(text, " =\"\\\t\r\n") != NULL;
}

static void line_add_field(struct line *l, const struct log_field *f)
{
    char number[24];
    bool json = setup.format == LOG_JSON;
    bool quoted = f->text && (json || needs_quotes(f->text));

    line_add(l, json ? ",\"" : " ");
    line_add(l, f->key);
    line_add(l, json ? "\":" : "=");
    if (quoted)
        line_add(l, "\"");
    if (f->text) {
        line_add_escaped(l, f->text);
    } else {
        snprintf(number, sizeof number, "%" PRId64, f->number);
        line_add(l, number);
    }
    if (quoted)
        line_add(l, "\"");
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
    struct line l;
    char when[CLOCK_TEXT_MAX], head[256];

    l.len = 0; /* the rest is written before it is read */
    clock_format(clock_wall_ms(), when);
    if (setup.format == LOG_JSON) {
        snprintf(head, sizeof head, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", when,
                 level_names[level], event);
    } else {
        when[10] = ' ';
        when[23] = '\0';
        snprintf(head, sizeof head, "[%s] [%s] %s", when, level_labels[level], event);
    }
    line_add(&l, head);
    for (; fields->key; fields++)
        line_add_field(&l, fields);
    if (setup.format == LOG_JSON)
        l.text[l.len++] = '}';
    l.text[l.len++] = '\n';

    ssize_t ignored = write(STDERR_FILENO, l.text, l.len);
    (void)ignored;
}

bool log_brake_pass(struct log_brake *b, int64_t *ret_held)
{
    int64_t now = clock_mono_ms();
    long long free_at = atomic_load(&b->free_at_ms);

    if (now < free_at ||
        !atomic_compare_exchange_strong(&b->free_at_ms, &free_at, now + BRAKE_MS)) {
        atomic_fetch_add(&b->held, 1);
        return false;
    }
    *ret_held = atomic_exchange(&b->held, 0);
    return true;
}
