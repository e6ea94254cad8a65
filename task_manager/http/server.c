/* server.c - the one file that knows libmicrohttpd (written against 0.9.75; 1.0 fits too).
 *
 * The life of a request, all on the byte-moving thread of its connection but for HANDLING
 * (which routes of HTTP_LANE_INLINE go without):
 *
 *   on_request_line   the raw target is known: the exchange is made
 *   on_request, NEW   the header is whole: gate, route, kind of body, sink.begin
 *   on_request, BODY  pieces of the body; then, without a piece, its end
 *   suspended         HANDLING: the executor runs the handler, someone calls reply_*, which
 *                     resumes the connection
 *   on_request        again: the reply is queued
 *   on_completed      whatever happened, the exchange is freed
 *
 * Suspending happens before the executor can see the exchange, and the library acts on a
 * resume only on this same thread, after the callback has returned; so a reply may come at
 * any moment. The library never notices that a suspended connection's client is gone, so the
 * exchange lives until its reply.
 *
 * Known faults of the library and what they mean here:
 * - Before 1.0.3 "ready connections could be skipped (possibly indefinitely) if another
 *   connection was being suspended" (its ChangeLog). In the source of 0.9.75 that is
 *   MHD_poll_all(): it walks the connections beside its array of pollfds and, at the first
 *   that does not match, skips all that follow. The epoll loop used here keeps every ready
 *   connection in a list of its own, takes the next link before it calls us, and waits with
 *   no timeout while that list is not empty: nothing can be skipped there for good. A test
 *   keeps connections busy while others are suspended and resumed.
 * - MHD_quiesce_daemon() and the epoll threads both take the listening socket out of the
 *   epoll set; when they meet, the library panics. Stopping therefore refuses new connections
 *   in the accept policy instead.
 * - MHD_stop_daemon() with a suspended connection panics: stopping waits for all replies.
 * - 0.9 ends lines at a bare LF, joins folded lines and cuts at NUL bytes, all unseen: see
 *   header_block_is_clean. (It also lets a bare LF end the lines of chunks and trailers; that
 *   cannot be seen from here.)
 * - What 0.9 refuses itself when it is strict (no Host, a space in the target) it answers with
 *   two heads, so there it is not strict: the gate refuses both. (It still does so for a
 *   Content-Length that is no number; the connection closes.)
 * - 128 events at once on one thread are left lying: see epoll_wait.c.
 * - A reply can be queued before or after the body, not within: see refuse_within_body. */
#include <assert.h>
#include <microhttpd.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "config.h"
#include "exchange.h"
#include "listen.h"
#include "log.h"
#include "metrics.h"

enum {
    LISTENERS_MAX = 8,
    QUEUED_PER_HANDLER_THREAD = 128,
    REMOTE_THREADS = 4,
    CONNECTION_MEMORY = 32 * 1024,
    STOP_LOOK_MS = 100,
    STOP_REMIND_MS = 5000
};

struct listener {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    char address[LISTEN_TEXT_MAX];
};

struct http_server {
    struct http_options options;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    struct executor *executor, *probes, *remote;
    struct deadline *deadline;
    struct body_budget bodies;
    atomic_int connections;
    atomic_int resuming; /* threads inside MHD_resume_connection */
    atomic_bool stopping;
    pthread_mutex_t lock; /* of active */
    pthread_cond_t idle;  /* active fell to 0 */
    size_t active;        /* requests whose header has come */
};

/* -- replies -- */

static void count_reply(int status)
{
    metric_add(METRIC_HTTP_REQUESTS, 1);
    if (status >= 500)
        metric_add(METRIC_HTTP_SERVER_ERRORS, 1);
    else if (status >= 400)
        metric_add(METRIC_HTTP_CLIENT_ERRORS, 1);
}

/* Takes over the bytes or the file of the reply. */
static struct MHD_Response *make_response(struct reply *reply)
{
    struct MHD_Response *response;

    if (reply->kind == REPLY_FILE && reply->count > 0) {
        response =
            MHD_create_response_from_fd_at_offset64(reply->count, reply->fd, reply->first);
        if (response)
            reply->fd = -1;
        return response;
    }
    response = MHD_create_response_from_buffer(
        reply->len, reply->bytes, reply->len ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (response && reply->len)
        reply->bytes = NULL;
    return response;
}

static enum MHD_Result queue_reply(struct exchange *x)
{
    struct MHD_Connection *connection = x->transport;
    struct reply *reply = &x->reply;
    struct MHD_Response *response = reply->torn ? NULL : make_response(reply);
    enum MHD_Result result = MHD_YES;

    if (!response)
        return MHD_NO; /* no memory: the connection closes */
    if (reply->close || atomic_load(&x->server->stopping))
        result = MHD_add_response_header(response, "Connection", "close");
    for (size_t i = 0; i < reply->header_count && result == MHD_YES; i++)
        result =
            MHD_add_response_header(response, reply->headers[i].name, reply->headers[i].value);
    if (result == MHD_YES) {
        conn_enter(x->conn, CONN_SENDING);
        result = MHD_queue_response(connection, (unsigned)reply->status, response);
        count_reply(reply->status);
    }
    MHD_destroy_response(response);
    return result;
}

/* The library takes no reply while the body is coming. It is between two reads and has
 * nothing of its own to send, so the reply is written straight to the socket; then the
 * connection is given up, and the sweeper reads out what the client still sends. */
static enum MHD_Result refuse_within_body(struct exchange *x)
{
    struct reply *reply = &x->reply;
    struct buf out = BUF_INIT;

    assert(reply->kind == REPLY_BYTES);
    buf_printf(&out, "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Length: %zu\r\n",
               reply->status, reply_reason(reply->status), reply->len);
    for (size_t i = 0; i < reply->header_count; i++)
        buf_printf(&out, "%s: %s\r\n", reply->headers[i].name, reply->headers[i].value);
    buf_append_str(&out, "\r\n");
    buf_append(&out, reply->bytes, reply->len);
    if (buf_ok(&out) && !reply->torn &&
        send(x->fd, out.data, out.len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)out.len)
        conn_linger(x->conn);
    buf_release(&out);
    count_reply(reply->status);
    return MHD_NO;
}

void exchange_answer(struct exchange *x)
{
    struct http_server *s = x->server;

    /* Before the hand-over the byte-moving thread itself is here and looks at the reply. */
    if (x->stage != EXCHANGE_HANDLING)
        return;
    atomic_fetch_add(&s->resuming, 1);
    MHD_resume_connection(x->transport); /* x may be gone from here on */
    atomic_fetch_sub(&s->resuming, 1);
}

/* -- requests -- */

static struct exchange *exchange_of_job(struct executor_job *job)
{
    return (struct exchange *)(void *)((char *)job - offsetof(struct exchange, job));
}

static void job_run(struct executor_job *job)
{
    struct exchange *x = exchange_of_job(job);

    if (x->go_on)
        x->go_on(x->go_on_arg, false);
    else
        x->match.route->handle(x, x->options->context);
}

static void job_drop(struct executor_job *job)
{
    struct exchange *x = exchange_of_job(job);

    if (x->go_on)
        x->go_on(x->go_on_arg, true);
    else
        reply_problem(x, 503, NULL, "the server is stopping");
}

void exchange_go_on(struct exchange *x, void (*handle)(void *arg, bool is_dropped), void *arg)
{
    x->go_on = handle;
    x->go_on_arg = arg;
    if (executor_submit(x->server->remote, EXECUTOR_COMMON, &x->job) < 0)
        handle(arg, true);
}

/* The stage stays BODY, so that the reply is looked at here instead of resuming. */
static enum MHD_Result run_inline(struct exchange *x)
{
    x->match.route->handle(x, x->options->context);
    assert(x->reply.kind != REPLY_NONE);
    return queue_reply(x);
}

static void hand_over(struct exchange *x)
{
    enum http_lane lane = x->match.route->lane;
    struct executor *e = lane == HTTP_LANE_PROBE    ? x->server->probes
                         : lane == HTTP_LANE_REMOTE ? x->server->remote
                                                    : x->server->executor;

    x->stage = EXCHANGE_HANDLING;
    x->job.run = job_run;
    x->job.drop = job_drop;
    conn_enter(x->conn, CONN_HANDLING);
    MHD_suspend_connection(x->transport);
    int result = executor_submit(e,
                                 lane == HTTP_LANE_COMMON || lane == HTTP_LANE_REMOTE
                                     ? EXECUTOR_COMMON
                                     : EXECUTOR_RESERVED,
                                 &x->job);
    if (result == -E_OVERLOAD)
        reply_problem(x, 503, NULL, "too many requests are waiting");
    else if (result < 0)
        job_drop(&x->job);
}

static enum MHD_Result collect_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                      size_t name_len, const char *value, size_t value_len)
{
    struct exchange *x = cls;

    (void)kind;
    if (x->header_count < GATE_HEADERS_MAX)
        x->headers[x->header_count] =
            (struct gate_header){name, value ? value : "", name_len, value ? value_len : 0};
    x->header_count++;
    return MHD_YES;
}

/* The header block as it lies in the library's memory, from the end of the version on. Only
 * of 0.9, whose way of ending lines is known; 1.0 is strict by itself. */
static bool header_block_is_clean(const char *method, const char *version, size_t header_bytes)
{
    const char *end = method + header_bytes;

    if (strncmp(MHD_get_version(), "0.9.", 4) != 0 || version < method || version >= end)
        return true;
    const char *block = version + strnlen(version, (size_t)(end - version));
    return gate_block_is_clean(block, (size_t)(end - block));
}

static void begin(struct exchange *x, const char *method, const char *version)
{
    struct MHD_Connection *connection = x->transport;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    size_t header_bytes = info ? info->header_size : 0;
    struct http_server *s = x->server;

    pthread_mutex_lock(&s->lock);
    s->active++;
    pthread_mutex_unlock(&s->lock);
    x->stage = EXCHANGE_BODY;
    conn_enter(x->conn, CONN_RECEIVING);
    MHD_get_connection_values_n(connection, MHD_HEADER_KIND, collect_header, x);
    if (header_bytes && !header_block_is_clean(method, version, header_bytes)) {
        metric_add(METRIC_HTTP_GATE_REFUSED, 1);
        x->header_count = 0;
        x->reply.close = true;
        reply_problem(x, 400, NULL, "a header line is folded or does not end with CR LF");
        return;
    }
    size_t count = x->header_count;
    if (count > GATE_HEADERS_MAX)
        x->header_count = 0;
    exchange_begin(x, &(struct gate_request){.method = method,
                                             .version = version,
                                             .target = x->target.raw,
                                             .headers = x->headers,
                                             .header_count = count,
                                             .header_bytes = header_bytes});
}

/* The header is whole. A refusal is queued at once when a body would follow or the framing is
 * in doubt, and the connection then closes; else with the end of the request, and it lives. */
static enum MHD_Result on_header(struct exchange *x, struct MHD_Connection *connection,
                                 const char *method, const char *version)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    x->conn = info ? info->socket_context : NULL;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!x->conn || !info)
        return MHD_NO;
    x->fd = info->connect_fd;
    x->transport = connection;
    begin(x, method, version);
    if (x->reply.kind == REPLY_NONE || !(x->reply.close || exchange_has_body(x)))
        return MHD_YES;
    x->reply.close = true;
    conn_linger(x->conn);
    return queue_reply(x);
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *bytes,
                                  size_t *len, void **context)
{
    struct exchange *x = *context;

    (void)cls;
    (void)url;
    if (!x)
        return MHD_NO; /* there was no memory for it */
    if (x->stage == EXCHANGE_NEW)
        return on_header(x, connection, method, version);
    if (*len > 0) {
        size_t size = *len;
        *len = 0;
        return body_feed(x, bytes, size) ? MHD_YES : refuse_within_body(x);
    }
    if (x->reply.kind == REPLY_NONE && body_end(x)) {
        if (x->match.route->lane == HTTP_LANE_INLINE)
            return run_inline(x);
        hand_over(x);
        return MHD_YES;
    }
    return queue_reply(x);
}

static void *on_request_line(void *cls, const char *target, struct MHD_Connection *connection)
{
    struct listener *l = cls;
    struct exchange *x = exchange_new(&l->server->options, target ? target : "");

    (void)connection;
    if (x) {
        x->server = l->server;
        x->budget = &l->server->bodies;
        x->local_address = l->address;
    }
    return x;
}

static void on_completed(void *cls, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode why)
{
    struct exchange *x = *context;
    struct http_server *s = ((struct listener *)cls)->server;

    (void)connection;
    (void)why;
    if (!x)
        return;
    bool was_active = x->stage != EXCHANGE_NEW;
    if (x->conn)
        conn_enter(x->conn, CONN_WAITING);
    exchange_free(x);
    *context = NULL;
    if (!was_active)
        return;
    pthread_mutex_lock(&s->lock);
    if (--s->active == 0)
        pthread_cond_signal(&s->idle);
    pthread_mutex_unlock(&s->lock);
}

/* -- connections -- */

static enum MHD_Result may_accept(void *cls, const struct sockaddr *addr, socklen_t len)
{
    struct http_server *s = ((struct listener *)cls)->server;

    (void)addr;
    (void)len;
    return !atomic_load(&s->stopping) &&
                   atomic_load(&s->connections) < s->options.max_connections
               ? MHD_YES
               : MHD_NO;
}

static void on_connection(void *cls, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_server *s = ((struct listener *)cls)->server;

    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        atomic_fetch_sub(&s->connections, 1);
        deadline_forget(s->deadline, *socket_context);
        return;
    }
    atomic_fetch_add(&s->connections, 1);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info ? deadline_watch(s->deadline, info->connect_fd) : NULL;
}

/* -- start and stop -- */

static void on_panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    log_error("http.panicked", LOG_S("file", file), LOG_I("line", line),
              LOG_S("reason", reason));
    abort();
}

/* Whether the library has closed the socket when it fails depends on how far it came. */
static void close_if_still(int fd, const struct stat *socket)
{
    struct stat now;

    if (fstat(fd, &now) == 0 && now.st_dev == socket->st_dev && now.st_ino == socket->st_ino)
        close(fd);
}

static int start_listener(struct http_server *s, const char *where, struct err *err)
{
    const struct http_options *o = &s->options;
    struct listener *l = &s->listeners[s->listener_count];
    /* Only a backstop for the sweeper, which is exact and sees progress the library cannot. */
    int64_t timeout_s = 4 * o->idle_timeout_ms / 1000 + 1;
    struct stat socket = {0};
    int fd = -1;

    if (s->listener_count == LISTENERS_MAX)
        return err_set(err, -E_BAD_VALUE, "more than %d addresses to listen on", LISTENERS_MAX);
    int result = listen_open(where, &fd, l->address, err);
    if (result < 0)
        return result;
    l->server = s;
    fstat(fd, &socket);
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_THREAD_POOL_SIZE, o->threads > 1 ? o->threads : 0, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, o->max_connections, NULL},
        {MHD_OPTION_PER_IP_CONNECTION_LIMIT, o->max_connections_per_ip, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)timeout_s, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, MHD_VERSION < 0x01000000 ? 0 : 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_request_line, l},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, l},
        {MHD_OPTION_END, 0, NULL},
    };
    l->daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_EPOLL |
                                     MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC,
                                 0, may_accept, l, on_request, l, MHD_OPTION_ARRAY, options,
                                 MHD_OPTION_END);
    if (!l->daemon) {
        close_if_still(fd, &socket);
        return err_set(err, -E_UNAVAILABLE, "cannot start the HTTP server on %s", where);
    }
    s->listener_count++;
    log_info("http.listening", LOG_S("address", l->address));
    return 0;
}

static int start_all(struct http_server *s, struct err *err)
{
    const struct http_options *o = &s->options;
    const struct deadline_limits limits = {o->idle_timeout_ms, o->header_timeout_ms,
                                           o->request_timeout_ms, o->min_body_rate};
    char where[LISTEN_TEXT_MAX];
    int result = deadline_start(&limits, &s->deadline, err);

    if (result == 0)
        result = executor_start(o->handler_threads,
                                (size_t)o->handler_threads * QUEUED_PER_HANDLER_THREAD,
                                &s->executor, err);
    if (result == 0)
        result = executor_start(1, QUEUED_PER_HANDLER_THREAD, &s->probes, err);
    if (result == 0)
        result =
            executor_start(REMOTE_THREADS, (size_t)REMOTE_THREADS * QUEUED_PER_HANDLER_THREAD,
                           &s->remote, err);
    for (const char *at = o->listen; result == 0;) {
        at = config_list_next(at, where, sizeof where);
        if (!at)
            break;
        result = start_listener(s, where, err);
    }
    if (result == 0 && s->listener_count == 0)
        result = err_set(err, -E_BAD_VALUE, "no address to listen on");
    return result;
}

int http_check_listen(const char *listen, struct err *err)
{
    char where[LISTEN_TEXT_MAX];
    int result = 0, count = 0;

    for (const char *at = listen;
         result == 0 && (at = config_list_next(at, where, sizeof where)) != NULL; count++)
        result = listen_check(where, err);
    if (result == 0 && count == 0)
        result = err_set(err, -E_BAD_VALUE, "no address to listen on");
    return result;
}

int http_server_start(const struct http_options *options, struct http_server **ret,
                      struct err *err)
{
    struct http_server *s = calloc(1, sizeof *s);
    pthread_condattr_t attr;
    sigset_t all, before;

    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the HTTP server");
    s->options = *options;
    body_budget_init(&s->bodies, options->max_json_bytes);
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->idle, &attr);
    pthread_condattr_destroy(&attr);
    MHD_set_panic_func(on_panic, NULL);
    signal(SIGPIPE, SIG_IGN);

    /* Signals are for the thread that called us. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = start_all(s, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    s->options.listen = NULL; /* was the caller's */
    if (result < 0) {
        http_server_stop_free(s, 0);
        return result;
    }
    *ret = s;
    return 0;
}

const char *http_server_address(const struct http_server *s, size_t index)
{
    return index < s->listener_count ? s->listeners[index].address : NULL;
}

/* Waits until no request is under way, at most for ms. How many there are. */
static size_t wait_until_idle(struct http_server *s, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&s->lock);
    while (s->active > 0 && pthread_cond_timedwait(&s->idle, &s->lock, &until) == 0)
        ;
    size_t active = s->active;
    pthread_mutex_unlock(&s->lock);
    return active;
}

/* Cuts what can be cut and waits for the rest, which are parked exchanges: the library must
 * not be stopped before each has its reply. */
static void end_requests(struct http_server *s)
{
    int64_t remind_ms = clock_mono_ms() + STOP_REMIND_MS;
    size_t active;

    if (s->options.shed)
        s->options.shed(s->options.context); /* before handlers are waited for */
    deadline_cut_all(s->deadline);
    executor_stop(s->executor);
    if (s->probes)
        executor_stop(s->probes);
    if (s->remote)
        executor_stop(s->remote);
    while ((active = wait_until_idle(s, STOP_LOOK_MS)) > 0) {
        deadline_cut_all(s->deadline);
        if (clock_mono_ms() < remind_ms)
            continue;
        log_warn("http.stop_delayed", LOG_I("unanswered", active));
        remind_ms = clock_mono_ms() + STOP_REMIND_MS;
    }
    while (atomic_load(&s->resuming) > 0)
        usleep(1000); /* a thread is on its way out of MHD_resume_connection */
}

void http_server_stop_free(struct http_server *s, int64_t grace_ms)
{
    if (!s)
        return;
    atomic_store(&s->stopping, true);
    if (s->executor) {
        wait_until_idle(s, grace_ms);
        end_requests(s);
    }
    for (size_t i = 0; i < s->listener_count; i++)
        MHD_stop_daemon(s->listeners[i].daemon);
    executor_free(s->executor);
    executor_free(s->probes);
    executor_free(s->remote);
    deadline_stop_free(s->deadline);
    pthread_cond_destroy(&s->idle);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
