/* broker_rabbitmq_link.h - one AMQP 0-9-1 connection with one channel; librabbitmq hidden.
 *
 * The link knows the protocol and nothing of back-off, batches or reconnecting. It never
 * waits for messages inside the library: link_read takes what has arrived, link_wait sleeps
 * in poll(2). Calls that need an answer are limited to RABBIT_CALL_MS, and a watchdog cuts
 * the socket should the library overrun that.
 *
 * Every function that returns a negative code has lost the link: the only thing left to do
 * with it is link_close. Sentences name host and port, never the user or the password.
 * A link belongs to one thread at a time.
 *
 * Why exactly one channel, frame by frame reading, own limits: librabbitmq 0.11 drops queued
 * frames of other channels (amqp_simple_wait_frame_on_channel), has no confirm helper
 * (amqp_publisher_confirm_wait came with 0.15), and amqp_read_message allocates whatever
 * size the broker states. */
#ifndef BROKER_RABBITMQ_LINK_H
#define BROKER_RABBITMQ_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "broker.h"
#include "broker_url.h"

enum { RABBIT_CONNECT_MS = 3000, RABBIT_CALL_MS = 5000 };

struct rabbit_link;

enum rabbit_event_kind {
    RABBIT_CONFIRM,  /* number (and with `multiple` every smaller one) was taken, or not */
    RABBIT_RETURN,   /* publish `number` came back, its confirm is still to come; `taken`: there
                        is no such queue */
    RABBIT_DELIVERY, /* number, queue, body; `unfit`: the body is none of ours */
    RABBIT_CANCEL    /* the broker ended our consumer on `queue`, which was deleted */
};

struct rabbit_event {
    enum rabbit_event_kind kind;
    uint64_t number; /* of a publish, as link_publish counts, or the delivery's tag */
    bool multiple, taken, unfit;
    char queue[BROKER_QUEUE_MAX];
    char body[BROKER_BODY_MAX];
};

/* Connects, logs in, opens the channel; with `confirms` every publish will be confirmed.
 * `url` and `name` must outlive the link. Blocks for RABBIT_CONNECT_MS per stage (connect,
 * log in) plus the time of the name lookup. */
int rabbit_link_open(const struct broker_url *url, const char *name, bool confirms,
                     struct rabbit_link **ret, struct err *err);

/* Says goodbye when the link still works, waiting a second at most. NULL is fine. */
void rabbit_link_close(struct rabbit_link *l);

/* Closes without a word and without waiting. */
void rabbit_link_abandon(struct rabbit_link *l);

/* Declares "segue.<queue>": quorum, durable. Fails when it exists with other arguments. */
int rabbit_link_declare(struct rabbit_link *l, const char *queue, struct err *err);

/* Writes one message, persistent and mandatory, to "segue.<queue>". *ret_number counts from
 * 1 and comes back in RABBIT_CONFIRM and RABBIT_RETURN. Success means bytes written. */
int rabbit_link_publish(struct rabbit_link *l, const struct broker_message *m,
                        uint64_t *ret_number, struct err *err);

/* After a failed declare or subscribe: was it about that queue, so that others may work? (The
 * broker closed the channel, had an internal error, or did not answer.) */
bool rabbit_link_blames_queue(const struct rabbit_link *l);

int rabbit_link_prefetch(struct rabbit_link *l, uint16_t count, struct err *err);
int rabbit_link_subscribe(struct rabbit_link *l, const char *queue, struct err *err);
int rabbit_link_ack(struct rabbit_link *l, uint64_t tag, struct err *err);

/* Closes the channel and opens it anew: consumers end, unacknowledged deliveries go back to
 * their queues, events not yet read are forgotten. */
int rabbit_link_reset(struct rabbit_link *l, struct err *err);

/* 1 and *ret filled, or 0 when nothing has arrived. Never waits. Serves heartbeats. */
int rabbit_link_read(struct rabbit_link *l, struct rabbit_event *ret, struct err *err);

/* Waits until bytes arrive, wake_fd (-1 for none) is readable, or timeout_ms have passed
 * (a second at most, so that heartbeats are served): ret_woken tells about wake_fd. */
int rabbit_link_wait(struct rabbit_link *l, int timeout_ms, int wake_fd, bool *ret_woken,
                     struct err *err);

/* Readable when bytes have arrived. */
int rabbit_link_fd(const struct rabbit_link *l);

/* Has the broker told publishers to hold back (memory or disk alarm)? */
bool rabbit_link_is_blocked(const struct rabbit_link *l);

#endif
