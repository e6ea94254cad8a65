/* client.h - a raw HTTP client for tests: what is sent is exactly what the test wrote.
 *
 * Everything fails the test (cmocka) when the server does not do its part within 20 s. */
#ifndef TEST_HTTP_CLIENT_H
#define TEST_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"

struct client {
    int fd;
    struct buf in;  /* read, but not yet part of an answer */
    bool is_broken; /* sending failed: the server did not want to read on */
};

struct answer {
    int status; /* 0: the connection ended without an answer */
    struct buf head, body;
};

void client_open(struct client *c, const char *address);
void client_close(struct client *c);

void client_send(struct client *c, const void *bytes, size_t len);
void client_sendf(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The next answer; its body is as long as its Content-Length, or nothing for has_body false.
 * The answer is the caller's: answer_release. */
void client_answer(struct client *c, bool has_body, struct answer *ret);
/* True when the server closes (or resets) without sending anything more. */
bool client_is_closed(struct client *c);

/* Reads and forgets what comes until the server closes. */
void client_drain(struct client *c);

/* The value of a header, in a buffer that the next call overwrites; "" without. */
const char *answer_header(const struct answer *a, const char *name);
void answer_release(struct answer *a);

/* Sends the text on a new connection; the status of the answer; with its body when asked. */
int client_ask(const char *address, const char *request, struct buf *ret_body);

#endif
