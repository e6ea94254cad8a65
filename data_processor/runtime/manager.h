/* manager.h - one thread's line to the task manager: JSON there, JSON back, told apart what
 * is worth another try. Logs once when the manager goes away and once when it is back. */
#ifndef RUNTIME_MANAGER_H
#define RUNTIME_MANAGER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"
#include "http_client.h"

struct manager {
    struct http_client *http;
    const char *use; /* "claim": for logs */
    const atomic_bool *stop;
    int (*aside)(void *arg); /* see struct http_call; may be NULL */
    void *aside_arg;
    unsigned failures;           /* in a row: calls without an answer that made sense */
    int status;                  /* of the last answer; 0: none came */
    bool away;                   /* as far as has been logged */
    int64_t retry_after_ms;      /* what the last answer asked for, or -1 */
    _Atomic int64_t answered_ms; /* when a call last was, with sense; 0: never */
    _Atomic int64_t failing_ms;  /* since when they fail; 0: they do not */
};

int manager_open(struct manager *m, const char *url, const char *use, const atomic_bool *stop,
                 struct err *err);
void manager_close(struct manager *m);

/* POSTs body (freed; NULL counts as no memory). 0 for a 2xx answer. Otherwise -E_UNAVAILABLE,
 * -E_OVERLOAD, -E_TIMEOUT or -E_NO_MEMORY, which may work later, -E_CANCELLED when *stop
 * turned true, or -E_BAD_VALUE when the manager refused it for good. *ret is what the manager
 * said, for 0 and -E_BAD_VALUE, and empty otherwise; release it in any case. Blocks. */
int manager_post(struct manager *m, const char *path, char *body_take, int timeout_ms,
                 struct buf *ret, struct err *err);

/* The caller's verdict on an answer, once it has read it: it made sense (and only then have
 * the failures come to an end), or it did not, which counts and logs as one. */
void manager_trust(struct manager *m);
void manager_distrust(struct manager *m, const struct err *err);

/* How long to wait before the next try, after a failure. What the server asks for counts up
 * to cap_ms, and so does the back-off. */
int64_t manager_pause_ms(const struct manager *m, int64_t cap_ms);

#endif
