/* broker_rabbitmq_link.c - opening, calling and closing one connection of librabbitmq. */
#include "broker_rabbitmq_link.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "broker_rabbitmq_amqp.h"

enum {
    CHANNEL = 1,
    FRAME_MAX = AMQP_DEFAULT_FRAME_SIZE,
    GOODBYE_MS = 1000,
    WAIT_MAX_MS = 1000,
    QUEUE_FULL_MAX = sizeof RABBIT_QUEUE_PREFIX + BROKER_QUEUE_MAX
};

/* --- errors ------------------------------------------------------------------------------ */

/* Text of the broker's goes into logs: printable ASCII only, and not much of it. */
static void copy_text(amqp_bytes_t from, char *to, size_t size)
{
    size_t n = from.len < size - 1 ? from.len : size - 1;

    for (size_t i = 0; i < n; i++) {
        char c = ((const char *)from.bytes)[i];

        to[i] = (char)(isprint((unsigned char)c) ? c : '?');
    }
    to[n] = '\0';
}

int rabbit_link_lose(struct rabbit_link *l, struct err *err, const char *fmt, ...)
{
    char why[400];
    va_list args;

    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    l->lost = true;
    return err_set(
        err, -E_UNAVAILABLE, "rabbitmq at %s:%d: %s%s", l->url->host, l->url->port, why,
        l->guard && broker_guard_has_fired(l->guard) ? " (the call took too long and was cut)"
                                                     : "");
}

static int lose_by_status(struct rabbit_link *l, const char *doing, int status, struct err *err)
{
    return rabbit_link_lose(l, err, "%s failed: %s", doing, amqp_error_string2(status));
}

/* The broker ended the channel or the connection by itself. */
int rabbit_link_lose_by_close(struct rabbit_link *l, const char *doing, const amqp_method_t *m,
                              struct err *err)
{
    char text[256];

    if (m->id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *c = m->decoded;

        copy_text(c->reply_text, text, sizeof text);
        return rabbit_link_lose(l, err, "%s failed: channel closed, %d %s", doing,
                                c->reply_code, text);
    }
    if (m->id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *c = m->decoded;

        copy_text(c->reply_text, text, sizeof text);
        return rabbit_link_lose(l, err, "%s failed: connection closed, %d %s", doing,
                                c->reply_code, text);
    }
    return rabbit_link_lose(l, err, "%s failed: unexpected method 0x%08" PRIx32, doing,
                            (uint32_t)m->id);
}

static int check_reply(struct rabbit_link *l, amqp_rpc_reply_t reply, const char *doing,
                       struct err *err)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return 0;
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION)
        return rabbit_link_lose_by_close(l, doing, &reply.reply, err);
    return lose_by_status(l, doing, reply.library_error, err);
}

/* --- calls that are answered ---------------------------------------------------------------
 * Each is bracketed by begin (arms the watchdog a little later than the library's own limit)
 * and end (disarms it, reads the answer). */

static void begin(struct rabbit_link *l, int timeout_ms)
{
    broker_guard_arm(l->guard, l->fd, timeout_ms + 500);
}

static int end(struct rabbit_link *l, amqp_rpc_reply_t reply, const char *doing,
               struct err *err)
{
    broker_guard_disarm(l->guard);
    return check_reply(l, reply, doing, err);
}

static int end_call(struct rabbit_link *l, const char *doing, struct err *err)
{
    return end(l, amqp_get_rpc_reply(l->conn), doing, err);
}

static amqp_bytes_t queue_bytes(const char *queue, char full[QUEUE_FULL_MAX])
{
    snprintf(full, QUEUE_FULL_MAX, RABBIT_QUEUE_PREFIX "%s", queue);
    return amqp_cstring_bytes(full);
}

static int open_channel(struct rabbit_link *l, struct err *err)
{
    begin(l, RABBIT_CALL_MS);
    amqp_channel_open(l->conn, CHANNEL);
    l->published = 0;
    memset(&l->content, 0, sizeof l->content);
    return end_call(l, "opening a channel", err);
}

static int select_confirms(struct rabbit_link *l, struct err *err)
{
    begin(l, RABBIT_CALL_MS);
    amqp_confirm_select(l->conn, CHANNEL);
    return end_call(l, "asking for confirms", err);
}

/* What the broker says about one queue it says by closing the channel; a queue that hangs
 * makes it answer late or not at all, or fail in a way it did not expect. */
static bool is_about_queue(amqp_rpc_reply_t reply)
{
    const amqp_connection_close_t *c = reply.reply.decoded;

    if (reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION)
        return reply.library_error == AMQP_STATUS_TIMEOUT;
    if (reply.reply_type != AMQP_RESPONSE_SERVER_EXCEPTION)
        return false;
    return reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD ||
           (reply.reply.id == AMQP_CONNECTION_CLOSE_METHOD &&
            c->reply_code == AMQP_INTERNAL_ERROR);
}

static int end_queue_call(struct rabbit_link *l, const char *full, const char *doing,
                          struct err *err)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(l->conn);
    int rc = end(l, reply, doing, err);

    if (rc == 0)
        return 0;
    l->blames_queue = is_about_queue(reply);
    return err_wrap(err, "queue \"%s\"", full);
}

bool rabbit_link_blames_queue(const struct rabbit_link *l)
{
    return l->blames_queue;
}

int rabbit_link_declare(struct rabbit_link *l, const char *queue, struct err *err)
{
    char full[QUEUE_FULL_MAX];
    amqp_table_entry_t quorum = {
        .key = amqp_cstring_bytes("x-queue-type"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("quorum")}};

    begin(l, RABBIT_CALL_MS);
    amqp_queue_declare(l->conn, CHANNEL, queue_bytes(queue, full), 0, 1, 0, 0,
                       (amqp_table_t){.num_entries = 1, .entries = &quorum});
    return end_queue_call(l, full, "declaring it as Segue does (quorum, durable)", err);
}

int rabbit_link_prefetch(struct rabbit_link *l, uint16_t count, struct err *err)
{
    begin(l, RABBIT_CALL_MS);
    amqp_basic_qos(l->conn, CHANNEL, 0, count, 0);
    return end_call(l, "setting the prefetch count", err);
}

/* The queue's name is the consumer's tag too, so deliveries and cancels name their queue. */
int rabbit_link_subscribe(struct rabbit_link *l, const char *queue, struct err *err)
{
    char full[QUEUE_FULL_MAX];
    amqp_bytes_t name = queue_bytes(queue, full);

    begin(l, RABBIT_CALL_MS);
    amqp_basic_consume(l->conn, CHANNEL, name, name, 0, 0, 0, amqp_empty_table);
    return end_queue_call(l, full, "consuming from it", err);
}

int rabbit_link_reset(struct rabbit_link *l, struct err *err)
{
    struct timeval now = {0, 0};
    amqp_frame_t frame;
    int rc;

    begin(l, RABBIT_CALL_MS);
    rc = end(l, amqp_channel_close(l->conn, CHANNEL, AMQP_REPLY_SUCCESS), "closing a channel",
             err);
    while (rc == 0 && amqp_frames_enqueued(l->conn)) { /* they belong to the old channel */
        int status = amqp_simple_wait_frame_noblock(l->conn, &frame, &now);

        if (status != AMQP_STATUS_OK)
            rc = lose_by_status(l, "reading", status, err);
    }
    amqp_maybe_release_buffers(l->conn);
    return rc == 0 ? open_channel(l, err) : rc;
}

/* --- calls that are not answered -----------------------------------------------------------
 */

int rabbit_link_publish(struct rabbit_link *l, const struct broker_message *m,
                        uint64_t *ret_number, struct err *err)
{
    char full[QUEUE_FULL_MAX], number[24];
    amqp_basic_properties_t p = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
                  AMQP_BASIC_APP_ID_FLAG,
        .content_type = amqp_cstring_bytes("application/json"),
        .delivery_mode = AMQP_DELIVERY_PERSISTENT,
        .message_id = amqp_cstring_bytes(m->id),
        .app_id = amqp_cstring_bytes("segue")};
    int status;

    /* basic.return carries no delivery tag: the correlation id tells which publish it was */
    snprintf(number, sizeof number, "%" PRIu64, l->published + 1);
    p.correlation_id = amqp_cstring_bytes(number);
    broker_guard_arm(l->guard, l->fd, RABBIT_CALL_MS);
    status = amqp_basic_publish(l->conn, CHANNEL, amqp_empty_bytes, queue_bytes(m->queue, full),
                                1, 0, &p, amqp_cstring_bytes(m->body));
    broker_guard_disarm(l->guard);
    if (status != AMQP_STATUS_OK)
        return lose_by_status(l, "publishing", status, err);
    *ret_number = ++l->published;
    return 0;
}

int rabbit_link_ack(struct rabbit_link *l, uint64_t tag, struct err *err)
{
    int status;

    broker_guard_arm(l->guard, l->fd, RABBIT_CALL_MS);
    status = amqp_basic_ack(l->conn, CHANNEL, tag, 0);
    broker_guard_disarm(l->guard);
    return status == AMQP_STATUS_OK ? 0 : lose_by_status(l, "acknowledging", status, err);
}

/* --- reading ------------------------------------------------------------------------------ */

int rabbit_link_read(struct rabbit_link *l, struct rabbit_event *ret, struct err *err)
{
    struct timeval now = {0, 0};
    amqp_frame_t frame;
    int rc = 0;

    while (rc == 0) {
        int status;

        amqp_maybe_release_buffers(l->conn); /* what the last frame pointed into */
        broker_guard_arm(l->guard, l->fd, RABBIT_CALL_MS);
        status = amqp_simple_wait_frame_noblock(l->conn, &frame, &now);
        broker_guard_disarm(l->guard);
        if (status == AMQP_STATUS_TIMEOUT)
            return 0;
        if (status != AMQP_STATUS_OK)
            return lose_by_status(l, "reading", status, err);
        rc = rabbit_link_take_frame(l, &frame, ret, err);
    }
    return rc;
}

int rabbit_link_wait(struct rabbit_link *l, int timeout_ms, int wake_fd, bool *ret_woken,
                     struct err *err)
{
    struct pollfd fds[] = {{.fd = l->fd, .events = POLLIN}, {.fd = wake_fd, .events = POLLIN}};

    if (timeout_ms > WAIT_MAX_MS)
        timeout_ms = WAIT_MAX_MS;
    if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR)
        return rabbit_link_lose(l, err, "cannot wait: %s", strerror(errno));
    *ret_woken = fds[1].revents != 0;
    return 0;
}

int rabbit_link_fd(const struct rabbit_link *l)
{
    return l->fd;
}

bool rabbit_link_is_blocked(const struct rabbit_link *l)
{
    return l->blocked;
}

/* --- opening and closing -------------------------------------------------------------------
 */

static amqp_socket_t *new_socket(struct rabbit_link *l, struct err *err)
{
    amqp_socket_t *s;

    if (!l->url->tls) {
        s = amqp_tcp_socket_new(l->conn);
        if (!s)
            rabbit_link_lose(l, err, "no memory for a socket");
        return s;
    }
    s = amqp_ssl_socket_new(l->conn); /* checks peer and host name unless told otherwise */
    if (!s) {
        rabbit_link_lose(l, err, "TLS cannot be set up");
    } else if (amqp_ssl_socket_set_ssl_versions(s, AMQP_TLSv1_2, AMQP_TLSvLATEST) != 0) {
        rabbit_link_lose(l, err, "TLS 1.2 cannot be required");
        return NULL;
    } else if (amqp_ssl_socket_set_cacert(s, l->url->ca_file) != 0) {
        rabbit_link_lose(l, err, "cannot use the certificate authorities in \"%s\"",
                         l->url->ca_file);
        return NULL;
    }
    return s;
}

static int connect_socket(struct rabbit_link *l, struct err *err)
{
    struct timeval limit = {.tv_sec = RABBIT_CONNECT_MS / 1000};
    unsigned user_timeout_ms = 2000 * (unsigned)l->url->heartbeat_s;
    amqp_socket_t *s = new_socket(l, err);
    int status;

    if (!s)
        return -E_UNAVAILABLE;
    status = amqp_socket_open_noblock(s, l->url->host, l->url->port, &limit);
    if (status != AMQP_STATUS_OK)
        return lose_by_status(l, "connecting", status, err);
    l->fd = amqp_get_sockfd(l->conn);
    if (setsockopt(l->fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms,
                   sizeof user_timeout_ms) != 0)
        return rabbit_link_lose(l, err, "cannot limit the time for unanswered bytes: %s",
                                strerror(errno));
    return 0;
}

static amqp_table_entry_t text_entry(const char *key, const char *value)
{
    return (amqp_table_entry_t){
        .key = amqp_cstring_bytes(key),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(value)}};
}

static amqp_table_entry_t true_entry(const char *key)
{
    return (amqp_table_entry_t){.key = amqp_cstring_bytes(key),
                                .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value.boolean = 1}};
}

static int log_in(struct rabbit_link *l, const char *name, struct err *err)
{
    struct timeval limit = {.tv_sec = RABBIT_CONNECT_MS / 1000};
    struct timeval call = {.tv_sec = RABBIT_CALL_MS / 1000};
    amqp_table_entry_t can[] = {true_entry("consumer_cancel_notify"),
                                true_entry("connection.blocked"),
                                true_entry("publisher_confirms")};
    amqp_table_entry_t about[] = {
        text_entry("product", "segue"),
        text_entry("connection_name", name),
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE,
                   .value.table = {.num_entries = 3, .entries = can}}}};
    amqp_table_t properties = {.num_entries = 3, .entries = about};
    int status = amqp_set_handshake_timeout(l->conn, &limit), rc;

    if (status == AMQP_STATUS_OK)
        status = amqp_set_rpc_timeout(l->conn, &call);
    if (status != AMQP_STATUS_OK)
        return lose_by_status(l, "setting time limits", status, err);
    begin(l, RABBIT_CONNECT_MS);
    rc = end(l,
             amqp_login_with_properties(l->conn, l->url->vhost, CHANNEL, FRAME_MAX,
                                        l->url->heartbeat_s, &properties,
                                        AMQP_SASL_METHOD_PLAIN, l->url->user, l->url->password),
             "logging in", err);
    if (rc != 0)
        return rc;
    if (amqp_get_heartbeat(l->conn) < 1 || amqp_get_frame_max(l->conn) < AMQP_FRAME_MIN_SIZE)
        return rabbit_link_lose(
            l, err, "the broker insists on a heartbeat of %d s and frames of %d bytes",
            amqp_get_heartbeat(l->conn), amqp_get_frame_max(l->conn));
    return 0;
}

static int set_up(struct rabbit_link *l, const char *name, bool confirms, struct err *err)
{
    int rc = broker_guard_new(&l->guard, err);

    if (rc == 0)
        rc = connect_socket(l, err);
    if (rc == 0)
        rc = log_in(l, name, err);
    if (rc == 0)
        rc = open_channel(l, err);
    if (rc == 0 && confirms)
        rc = select_confirms(l, err);
    return rc;
}

int rabbit_link_open(const struct broker_url *url, const char *name, bool confirms,
                     struct rabbit_link **ret, struct err *err)
{
    struct rabbit_link *l = calloc(1, sizeof *l);
    int rc;

    if (!l)
        return err_set(err, -E_NO_MEMORY, "no memory for a link to rabbitmq");
    l->url = url;
    l->conn = amqp_new_connection();
    if (!l->conn) {
        free(l);
        return err_set(err, -E_NO_MEMORY, "no memory for a link to rabbitmq");
    }
    rc = set_up(l, name, confirms, err);
    if (rc != 0) {
        rabbit_link_abandon(l);
        return rc;
    }
    *ret = l;
    return 0;
}

void rabbit_link_abandon(struct rabbit_link *l)
{
    l->lost = true;
    rabbit_link_close(l);
}

void rabbit_link_close(struct rabbit_link *l)
{
    struct timeval limit = {.tv_sec = GOODBYE_MS / 1000};

    if (!l)
        return;
    if (!l->lost && amqp_set_rpc_timeout(l->conn, &limit) == AMQP_STATUS_OK) {
        begin(l, GOODBYE_MS);
        amqp_connection_close(l->conn, AMQP_REPLY_SUCCESS);
        broker_guard_disarm(l->guard);
    }
    amqp_destroy_connection(l->conn); /* before the guard goes: TLS may want to say goodbye */
    broker_guard_free(l->guard);
    free(l);
}
