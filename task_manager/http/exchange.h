/* exchange.h - one request and its reply, inside the http room.
 *
 * An exchange is made when the request line has come and freed when the library has let go of
 * the request. It belongs to the byte-moving thread of its connection, but between
 * exchange_hand_over (in server.c) and exchange_answer it belongs to its handler. */
#ifndef HTTP_EXCHANGE_H
#define HTTP_EXCHANGE_H

#include "body.h"
#include "deadline.h"
#include "executor.h"
#include "gate.h"
#include "router.h"
#include "server.h"
#include "target.h"

enum {
    REPLY_HEADERS_MAX = 16, /* 8 of the handler, the rest ours */
    BASE_URL_MAX = 300
};

enum reply_kind { REPLY_NONE, REPLY_BYTES, REPLY_FILE };

struct reply {
    enum reply_kind kind; /* REPLY_NONE: not answered yet */
    int status;
    char *bytes; /* REPLY_BYTES: malloc'd */
    size_t len;
    int fd; /* REPLY_FILE; -1 once handed on */
    uint64_t first, count;
    struct reply_header {
        char *name, *value;
    } headers[REPLY_HEADERS_MAX];
    size_t header_count;
    bool close; /* the connection cannot be used again */
    bool torn;  /* no memory for a header of it: it must not be sent */
};

enum exchange_stage {
    EXCHANGE_NEW,      /* the request line is here, the header is coming */
    EXCHANGE_BODY,     /* the header was looked at, the body is coming */
    EXCHANGE_HANDLING, /* its handler has it; the connection is suspended */
};

struct exchange {
    struct executor_job job;
    void (*go_on)(void *arg, bool is_dropped); /* of exchange_go_on */
    void *go_on_arg;
    struct http_server *server;
    const struct http_options *options;
    struct body_budget *budget;
    const char *local_address; /* "127.0.0.1:5000" of the listener */
    void *transport;           /* the library's connection */
    struct conn *conn;
    int fd;
    enum exchange_stage stage;

    enum http_method method; /* HTTP_METHOD__COUNT: none that a route has */
    bool is_head;
    struct target target;
    struct gate_header headers[GATE_HEADERS_MAX];
    size_t header_count;
    struct gate_verdict verdict;
    struct router_match match;
    struct body body;
    struct upload upload;
    struct reply reply;
    char base_url[BASE_URL_MAX];
};

/* NULL without memory. */
struct exchange *exchange_new(const struct http_options *options, const char *raw_target);
void exchange_free(struct exchange *x);

/* The gate, the route and the body's kind. May answer (see reply.kind). */
void exchange_begin(struct exchange *x, const struct gate_request *request);
bool exchange_has_body(const struct exchange *x);

/* Called by reply_*, when x->reply is complete. In stage HANDLING the connection is resumed
 * and x must not be touched any more. In server.c. */
void exchange_answer(struct exchange *x);

const char *reply_reason(int status);

#endif
