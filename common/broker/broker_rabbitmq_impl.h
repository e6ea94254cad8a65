/* broker_rabbitmq_impl.h - one RabbitMQ broker.h object, shared by the file that publishes
 * and the one that does everything else. */
#ifndef BROKER_RABBITMQ_IMPL_H
#define BROKER_RABBITMQ_IMPL_H

#include "broker_impl.h"
#include "broker_rabbitmq_link.h"
#include "broker_refused.h"

struct subscription {
    char queue[BROKER_QUEUE_MAX];
    bool active;
};

struct rabbit {
    struct broker base;
    struct broker_url url;
    const char *name;

    struct rabbit_link *link; /* NULL while down */
    struct err last;          /* why the link was lost or could not be opened */
    unsigned tries;           /* failures since something last worked */
    int64_t retry_at_ms;
    struct refused refused;

    struct subscription subscriptions[BROKER_CONSUME_MAX];
    size_t subscription_count;
    uint16_t prefetch;
    bool consuming, prefetch_set;
    uint16_t epoch; /* of the channel; in the upper bits of every tag handed out */

    /* Quorum queues know no prefetch for all queues of a consumer together, so the broker may
     * send `prefetch` of each; those that would be too many wait in this ring. */
    size_t unacked; /* handed out and not acknowledged: never more than `prefetch` */
    struct rabbit_event *surplus;
    size_t surplus_first, surplus_count, surplus_max;
};

/* After any link call failed, the reason being in r->last: closes the link and returns it. */
int rabbit_fail(struct rabbit *r, struct err *err);

/* Connects unless connected or backing off. */
int rabbit_ensure_up(struct rabbit *r, struct err *err);

/* Two of broker_impl.h's methods. */
int rabbit_publish(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err);
int rabbit_pump(struct broker *b, struct err *err);

#endif
