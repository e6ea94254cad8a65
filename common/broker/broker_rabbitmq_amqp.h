/* broker_rabbitmq_amqp.h - librabbitmq's only way into this project, and what the two files
 * that use it share: the link (calls) and its frames (what arrives). */
#ifndef BROKER_RABBITMQ_AMQP_H
#define BROKER_RABBITMQ_AMQP_H

/* Debian 12 has librabbitmq 0.11 with <amqp.h>; later ones warn about that name. */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include "broker_guard.h"
#include "broker_rabbitmq_link.h"

#define RABBIT_QUEUE_PREFIX "segue."

/* A delivery or a return whose header and body frames are still coming. */
struct rabbit_content {
    bool open, has_header;
    uint64_t body_left;
    size_t body_len; /* bytes in event.body */
    struct rabbit_event event;
};

struct rabbit_link {
    amqp_connection_state_t conn;
    const struct broker_url *url;
    struct broker_guard *guard;
    int fd; /* librabbitmq's */
    bool lost, blocked;
    bool blames_queue;  /* see rabbit_link_blames_queue */
    uint64_t published; /* on this channel; the next publish has this number plus 1 */
    struct rabbit_content content;
};

/* Notes that the link is lost; returns -E_UNAVAILABLE with host, port and the reason. */
int rabbit_link_lose(struct rabbit_link *l, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a channel.close or connection.close that arrived instead of what `doing`
 * wanted. */
int rabbit_link_lose_by_close(struct rabbit_link *l, const char *doing, const amqp_method_t *m,
                              struct err *err);

/* One frame: 1 when it completed an event, 0 when not, negative when the link is lost. */
int rabbit_link_take_frame(struct rabbit_link *l, const amqp_frame_t *frame,
                           struct rabbit_event *ret, struct err *err);

#endif
