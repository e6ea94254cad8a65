/* err.h - error codes, their classes, and the sentence that goes with a failure.
 *
 * Convention of the whole project: a function that can fail returns 0 or a negative E_*
 * code and takes `struct err *err` last. On failure it puts one complete sentence there
 * (lower case, no full stop, what failed first, the subject in quotes); on success `err` is
 * left alone. `err` may be NULL everywhere. Functions return errors, they do not log them:
 * only the edges (main, http, runtime, service threads) log.
 *
 * Thread safety: a struct err belongs to one thread at a time. Nothing here blocks. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

enum {
    E_OK = 0,
#define E(name, class, status, text) E_##name,
#include "err.def"
#undef E
    E__COUNT
};

enum err_class { ERR_CALLER, ERR_TRANSIENT, ERR_PERMANENT, ERR_BUG };

enum { ERR_TEXT_MAX = 640 };

struct err {
    int code; /* 0 or a negative E_* code */
    char text[ERR_TEXT_MAX];
};

#define ERR_INIT                                                                               \
    {                                                                                          \
        0, ""                                                                                  \
    }

/* Records code (negative) and sentence; returns the code, so that a failing function can
 * say `return err_set(err, -E_IO, ...)`. Text longer than ERR_TEXT_MAX is cut on a UTF-8
 * character boundary. Keeps errno as it was. */
int err_set(struct err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As err_set, with ": " and the text of `errnum` after the sentence. */
int err_set_errno(struct err *err, int code, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* The code for a failed system call: ENOSPC and EDQUOT are E_NO_SPACE, ENOENT and
 * ENOTDIR E_NOT_FOUND, EEXIST is E_EXISTS, ENOMEM E_NO_MEMORY, anything else E_IO. Negative. */
int err_from_errno(int errnum);

/* Puts "prefix: " in front of the sentence already there. Returns err's code. */
int err_wrap(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Facts about a code, negative or positive; unknown codes count as E_BUG. Static strings. */
const char *err_name(int code);  /* "NO_SPACE" */
const char *err_title(int code); /* "Disk is low" */
int err_http_status(int code);
enum err_class err_class_of(int code);

#endif
