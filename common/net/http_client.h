/* http_client.h - calling an HTTP server: the one place that knows libcurl.
 *
 * A client keeps its connection between calls and belongs to one thread at a time; make one
 * per thread. http_client_global_init once before threads start. No redirects are followed,
 * no proxy and no .netrc is taken from the environment, only http and https are spoken.
 *
 * A kept connection may turn out to be dead when it is used again. Then the call is sent once
 * more on a fresh one, so a request may reach the server twice: whatever must not happen twice
 * needs an Idempotency-Key or a token in it. */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"

struct http_client;

/* Everything is the caller's and must stay as it is until the call returns. Paths and headers
 * may hold text from outsiders: one with CR, LF or another control byte is refused. */
struct http_call {
    const char *method;         /* "GET", "HEAD", "POST", "PUT", "DELETE" */
    const char *path;           /* appended to the base: "/v1/tasks?page=2" */
    const char *content_type;   /* of the body; NULL without one */
    const char *const *headers; /* further "Name: value" lines, NULL-terminated, or NULL */
    const void *body;           /* either these bytes ... */
    size_t body_len;
    int body_fd;             /* ... or, when > 0, what follows in this file: exactly */
    int64_t body_size;       /* body_size bytes; -1: until its end, sent chunked */
    int sink_fd;             /* when > 0, a 2xx answer's body goes here, not into body */
    size_t max_answer_bytes; /* cap on the answer kept in memory; 0: 1 MiB */
    bool keep_head;          /* the answer's header fields are wanted: http_answer_field */
    int connect_timeout_ms;  /* 0: 5 s */
    int timeout_ms;          /* of the whole call; 0: none, but a stall of 30 s ends it */
    const atomic_bool *stop; /* when it turns true the call ends with -E_CANCELLED */
    int (*aside)(void *arg); /* called before each wait, with `stop` so at least every 100 ms;
                              * to be quick: does what else there is to do, and returns a
                              * descriptor to wait for beside the answer, or -1; or NULL */
    void *aside_arg;
    void (*progress)(void *arg, int64_t sent, int64_t sent_total, int64_t got,
                     int64_t got_total); /* totals -1 when unknown; may be NULL */
    void *progress_arg;
};

struct http_answer {
    int status;
    struct buf body; /* NUL-terminated text; the caller releases it */
    struct buf head; /* with keep_head: the header lines; the caller releases it */
    char content_type[128];
    char location[512];
    char filename[256];    /* from Content-Disposition, "" without one; never a path */
    int64_t retry_after_s; /* -1 without one */
};

/* Also makes the process ignore SIGPIPE: a broken connection is an error, not a signal. */
int http_client_global_init(struct err *err);

/* Before anything else of this header, in a process that calls http only and speaks TLS in no
 * other way: it is then spared what libcurl has OpenSSL load for TLS. */
void http_client_spare_tls(void);

/* base: "http://127.0.0.1:5000", with or without a trailing slash or a path in front.
 * -E_BAD_VALUE for anything else, and for a user name or password in it. */
int http_client_new(const char *base, struct http_client **ret, struct err *err);
void http_client_free(struct http_client *c);

/* From now on only addresses that the guard lets through are connected to; it stays the
 * caller's. What is asked is the address itself, after DNS, whatever the name. */
struct address_guard;
void http_client_set_guard(struct http_client *c, const struct address_guard *guard);

/* One request and its answer; blocks. 0 whenever an HTTP status came back, whatever it is,
 * also when the server answered without waiting for the end of the body. Otherwise
 * -E_UNAVAILABLE when the server cannot be reached or the link broke, -E_TIMEOUT,
 * -E_BAD_INPUT when the guard let none of its addresses through, -E_TOO_BIG for an answer past
 * the cap, -E_CANCELLED, -E_BAD_VALUE for a call that cannot be sent, -E_IO when body_fd cannot
 * be read or holds fewer or (for files) more bytes than body_size, -E_IO or -E_NO_SPACE from
 * sink_fd, which then holds part of the answer. *ret is initialised in every case; release it
 * with http_answer_release, or ret->body alone without keep_head. */
int http_client_call(struct http_client *c, const struct http_call *call,
                     struct http_answer *ret, struct err *err);

/* The value of a header field of an answer with keep_head, names in any case: false, and "",
 * when there is none or it is longer than size - 1. */
bool http_answer_field(const struct http_answer *a, const char *name, char *ret_value,
                       size_t size);
void http_answer_release(struct http_answer *a); /* NULL is fine; *a is empty then */

/* Appends text with every byte but letters, digits and -._~ as %XX (RFC 3986, section 2). */
void http_escape(struct buf *out, const char *text);

#endif
