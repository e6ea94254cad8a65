/* log.h - one line per event, for people or for machines.
 *
 * An event has a name (`noun.verb` in the past tense: "task.claimed") and fields. Text
 * format:  [2026-01-31 23:59:59.123] [INFO] task.claimed task_id=… attempt=1
 * JSON format: {"time":…,"level":"info","event":"task.claimed","task_id":…,"attempt":1}
 * Control characters, quotes and line ends in values are escaped, so one event is always one
 * line. Lines go to stderr with one write() each; a failing write is ignored. Safe from any
 * thread. Never pass a secret or a request body. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR, LOG__COUNT };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_field {
    const char *key; /* NULL ends the list */
    const char *text;
    int64_t number;
};

/* Call once before threads start. */
void log_setup(enum log_level level, enum log_format format);
bool log_level_parse(const char *name, enum log_level *ret_level);

/* The same from the words of LOG_LEVEL and LOG_FORMAT; E_BAD_VALUE names the wrong one. */
int log_setup_words(const char *level, const char *format, struct err *err);

bool log_is_on(enum log_level level);

void log_write(enum log_level level, const char *event, const struct log_field *fields);

/* NULL is shown as "". */
static inline const char *log_text(const char *text)
{
    return text ? text : "";
}

/* clang-format off */
#define LOG_S(key, value) {key, log_text(value), 0}
#define LOG_I(key, value) {key, 0, (int64_t)(value)}
/* clang-format on */

/* For lines that a storm of requests would repeat: one a second. Static, zeroed. */
struct log_brake {
    atomic_llong free_at_ms; /* monotonic */
    atomic_llong held;
};
/* May a line be written now? Then *ret_held is how many were held back since the last. */
bool log_brake_pass(struct log_brake *b, int64_t *ret_held);

#define log_event(level, event, ...)                                                           \
    do {                                                                                       \
        if (log_is_on(level))                                                                  \
            log_write(level, event, (const struct log_field[]){__VA_ARGS__, {0, 0, 0}});       \
    } while (0)
#define log_debug(event, ...) log_event(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_event(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_event(LOG_ERROR, event, __VA_ARGS__)

#endif
