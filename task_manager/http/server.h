/* server.h - HTTP in and out: connections, the request gate, routing, bodies and replies.
 *
 * server.c is the only file that knows libmicrohttpd. A request passes the gate (framing,
 * target, limits), is matched against the route table, its body is collected (JSON) or
 * streamed into a sink (upload), and only then its handler runs, on one of the handler
 * threads, so that nothing a handler waits for ever stops the threads that move bytes. (A
 * handler that waits for nothing may run on those: HTTP_LANE_INLINE.) All bodies together
 * hold 64 MiB of memory, or room for one body of the batch limit; past that they get 503.
 *
 * A handler gets an `exchange` and must see to it that exactly one reply_* is called for it,
 * before it returns or later from any thread (long polls). After that call the exchange is
 * gone. Everything got from an exchange is borrowed and lives until the reply. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct exchange;
struct http_server;

enum http_method {
    HTTP_GET,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OPTIONS,
    HTTP_METHOD__COUNT
};

enum http_body {
    HTTP_BODY_NONE,  /* a body is refused with 400 */
    HTTP_BODY_JSON,  /* application/json up to the JSON limit */
    HTTP_BODY_BATCH, /* the same up to 16 times that limit (worker reports) */
    HTTP_BODY_ANY,   /* up to the JSON limit, whatever its type: the handler's business */
    HTTP_BODY_LINES, /* JSON, or application/x-ndjson up to 16 times that limit */
    HTTP_BODY_UPLOAD /* streamed to the sink: multipart/form-data with one part `file` (no other
                      * files), or raw as text/csv, octet-stream, gzip, zstd, plain text,
                      * Excel's CSV type or without a type. Zero raw bytes reach the handler
                      * too. */
};

/* Where a handler runs. */
enum http_lane {
    HTTP_LANE_COMMON, /* on a handler thread */
    HTTP_LANE_WORKER, /* the same, but some of the threads are kept free for these (executor.h):
                       * leases must be renewed although everything else is waiting */
    HTTP_LANE_PROBE, /* on a thread of its own: for health checks that answer in bounded time */
    HTTP_LANE_REMOTE, /* on a few threads of their own: for handlers that ask a storage account,
                       * which may take minutes to fail */
    HTTP_LANE_INLINE  /* on the byte-moving thread itself: for handlers that never block and
                       * reply before they return. Answered whatever the others wait for */
};

enum { HTTP_PARAM_MAX = 2 };

struct http_route {
    enum http_method method; /* HTTP_GET serves HEAD too */
    const char *pattern;     /* "/v1/tasks/{id}/retry": {id} matches one segment */
    enum http_body body;
    enum http_lane lane;
    void (*handle)(struct exchange *x, void *context);
};

/* Where upload bytes go. Called on a byte-moving thread, in order. */
struct http_sink {
    /* Before the first byte, when the header of x is known; a failure is answered at once (413,
     * 429, 507, …) without reading the body. expected_size is -1 when chunked. */
    int (*begin)(void *context, const struct exchange *x, int64_t expected_size,
                 void **ret_sink, struct err *err);
    int (*write)(void *sink, const void *bytes, size_t len, struct err *err);
    void (*abort_free)(void *sink); /* of a sink that no handler has taken */
};

struct http_options {
    const char *listen;         /* comma separated address:port list; [v6]:port too */
    int threads;                /* byte-moving threads */
    int handler_threads;        /* threads that run handlers */
    int max_connections;        /* of all listeners together */
    int max_connections_per_ip; /* of each listener */
    int64_t idle_timeout_ms, header_timeout_ms, request_timeout_ms;
    int64_t min_body_rate; /* bytes a second; see config.def */
    int64_t max_upload_bytes, max_json_bytes;
    const struct http_route *routes; /* ends with pattern NULL; outlives the server */
    struct http_sink sink;
    void (*shed)(void *context); /* a stop's grace is over: whoever keeps exchanges is to answer
                                  * them soon. May be NULL */
    void *context;               /* handed to handlers, sink.begin and shed */
};

/* Is the list one that http_server_start could try? E_BAD_VALUE names the wrong address. */
int http_check_listen(const char *listen, struct err *err);

/* Binds, starts threads (with all signals blocked), serves; ignores SIGPIPE for the process.
 * Copies the options. E_BAD_VALUE for a bad address, E_UNAVAILABLE naming the address that is
 * taken. May block in a name lookup. */
int http_server_start(const struct http_options *options, struct http_server **ret,
                      struct err *err);
/* "127.0.0.1:5000": where the index-th listener really is (port 0 in options); NULL past the
 * last. */
const char *http_server_address(const struct http_server *s, size_t index);
/* Refuses new connections, gives requests under way grace_ms to end, then calls shed, cuts the
 * slow, drops what waits for a handler thread (503) and waits for handlers and parked exchanges
 * without limit, for they own their exchange: owners must answer them all meanwhile. Then
 * frees everything. NULL is fine. Not from a handler. */
void http_server_stop_free(struct http_server *s, int64_t grace_ms);

/* -- the request -- */

const char *exchange_param(const struct exchange *x, size_t index); /* the {…} in order */
/* A query parameter, percent-decoded and valid UTF-8 without control bytes; NULL without. */
const char *exchange_query(const struct exchange *x, const char *name);
/* Every parameter in order, for refusing unknown ones; NULL past the last. */
const char *exchange_query_name(const struct exchange *x, size_t index);
const char *exchange_header(const struct exchange *x, const char *name); /* NULL without */
const char *exchange_body(const struct exchange *x, size_t *ret_len);    /* "" without */
/* Of an HTTP_BODY_LINES: did it come as lines? */
bool exchange_has_lines(const struct exchange *x);
/* "http://host:port" for links: from a well-formed Host header, else the listener. */
const char *exchange_base_url(const struct exchange *x);
/* Is the client still there? A look at the socket, for parked exchanges: one that has closed
 * its sending side counts as gone. */
bool exchange_is_alive(const struct exchange *x);

struct upload {
    void *sink; /* from sink.begin; all bytes are in it */
    uint64_t size;
    const char *filename; /* the client's name for it, cleaned for showing; "" without */
};
/* The upload of this request, now the caller's (its sink too). NULL when it was taken. */
struct upload *exchange_take_upload(struct exchange *x);
/* Further simple fields of a multipart form (up to 16 of 256 bytes); NULL without. */
const char *exchange_form(const struct exchange *x, const char *name);

/* Has the rest of the work done on a thread of HTTP_LANE_REMOTE, for who holds an exchange
 * where blocking is not allowed. handle is called once, from there or, when no more can wait or
 * the server stops, from the calling or the stopping thread with is_dropped: then it only
 * replies. */
void exchange_go_on(struct exchange *x, void (*handle)(void *arg, bool is_dropped), void *arg);

/* -- the reply: exactly one, then x is gone -- */

/* Before the reply; at most 8, name and value are copied. A value with a line end in it is
 * left out. */
void exchange_set_header(struct exchange *x, const char *name, const char *value);

/* JSON text made by malloc (NULL is answered with 503 "out of memory"); taken over. */
void reply_json_take(struct exchange *x, int status, char *json);
void reply_text(struct exchange *x, int status, const char *content_type, const char *text);

/* RFC 9457 problem JSON: type, title, status, detail, and `error` = short_error, which old
 * clients read (NULL: the title). */
void reply_problem(struct exchange *x, int status, const char *short_error,
                   const char *detail_fmt, ...) __attribute__((format(printf, 4, 5)));
/* The problem for an err: status and title by its code. Its sentence is shown below 500; of
 * anything else outsiders get a general one, and the log the err (one line a second and code).
 */
void reply_err(struct exchange *x, const struct err *err);
/* The sentence that it shows: plain UTF-8, whatever the err quotes. */
void reply_detail(const struct err *err, char ret[ERR_TEXT_MAX]);

struct file_reply {
    int fd; /* taken over: closed in every case */
    uint64_t size;
    const char *etag; /* without quotes; "" for none */
    const char *content_type;
    const char *filename; /* for Content-Disposition: attachment; plain token characters */
};
/* 200, 206 (single Range, If-Range), 304 (If-None-Match), 416. HEAD too. */
void reply_file(struct exchange *x, const struct file_reply *file);

#endif
