/* broker.h - waking workers up: publish with confirm, consume, acknowledge.
 *
 * A message says "there is work on this queue" and is never the truth: losing, doubling or
 * delaying one does no harm, because the database decides who works on what. So every call
 * may fail with -E_UNAVAILABLE and the caller simply goes on (the manager keeps its outbox
 * rows, the worker polls over HTTP).
 *
 * A `struct broker` is one connection for one purpose (publish or consume, never both) and
 * belongs to one thread at a time. Opening does not connect; the first call does, and after
 * a loss each call tries again once its back-off has passed, answering -E_UNAVAILABLE at
 * once until then (the sentence names the last failure). Connecting to a host that does not
 * answer may add 6 s to a call, the name lookup aside. Heartbeats are served inside the
 * calls, so an owner has to call broker_next or broker_pump at least once a second.
 *
 * A connection brings a small watchdog thread with it; fork without exec before the first
 * call, not after.
 *
 * Implementations: "rabbitmq" (amqp:// and amqps:// URLs, see broker_url.h) and "none" (an
 * empty URL: publish confirms at once and wakes nobody, broker_next only waits). */
#ifndef BROKER_BROKER_H
#define BROKER_BROKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum {
    BROKER_QUEUE_MAX = 64,
    BROKER_BODY_MAX = 1024,
    BROKER_BATCH_MAX = 256,
    BROKER_CONSUME_MAX = 64 /* queues of one consumer */
};

struct broker;

struct broker_message {
    char id[40];                  /* message id, for people reading the broker's pages */
    char queue[BROKER_QUEUE_MAX]; /* Segue's queue name; "segue." is put in front of it */
    char body[BROKER_BODY_MAX];   /* JSON: task_id, type, attempt */
};

struct broker_delivery {
    uint64_t tag; /* for broker_ack; dies with the connection and with broker_pause */
    char queue[BROKER_QUEUE_MAX];
    char body[BROKER_BODY_MAX];
};

enum broker_use { BROKER_PUBLISH, BROKER_CONSUME };

/* Picks the implementation by URL and checks the URL; does not connect. `name` (static or
 * outliving the broker) is shown on the broker's pages. E_BAD_VALUE for a bad URL
 * (the sentence never shows the URL, which holds a password). */
int broker_open(const char *url, enum broker_use use, const char *name, struct broker **ret,
                struct err *err);
void broker_close(struct broker *b);

/* Does this implementation deliver messages at all? (false for "none") */
bool broker_delivers(const struct broker *b);

/* Is the link up as far as is known, without asking? */
bool broker_is_up(const struct broker *b);

/* Publishes count <= BROKER_BATCH_MAX messages, persistent and mandatory, and waits at most
 * timeout_ms for the confirms (and 6 s more to find out whether it is the broker that is
 * silent). ret_confirmed[i] is true only for a message that the broker confirmed. No queue is
 * declared: a message for a queue nobody has ever consumed from is dropped and counts as
 * confirmed, because nobody is there to wake.
 *
 * 0 when all were confirmed. -E_TIMEOUT: the link works, but some queues did not take theirs;
 * the sentence names one. Such a queue, and no other, is refused at once for a time that grows
 * from 5 s to 5 min. -E_UNAVAILABLE: there is no link, or the broker takes nothing for now.
 * With count 0 it only connects, when the link is down. Blocks. */
int broker_publish(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err);

/* Serves heartbeats of an idle publisher; never waits and never connects. -E_UNAVAILABLE once
 * when the link turns out to be lost. */
int broker_pump(struct broker *b, struct err *err);

/* Starts consuming from 1 to BROKER_CONSUME_MAX queues (declared quorum and durable if
 * missing, and again when deleted), at most `prefetch` deliveries unacknowledged at a time (as
 * many of each further queue may be set aside here meanwhile). The names are copied and
 * remembered even when this call fails: after any loss broker_next connects and subscribes
 * again. Calling it again replaces the queues.
 *
 * A queue that cannot be consumed from (it exists with other settings, or hangs) fails one
 * call with a sentence that names it, and is then left out for a time that grows from 5 s to
 * 5 min: the next call consumes from the others at once.
 *
 * Messages that are none of Segue's (empty, too long, a NUL inside) are acknowledged and
 * dropped. */
int broker_consume(struct broker *b, const char *const *queues, size_t count, uint16_t prefetch,
                   struct err *err);

/* Stops deliveries and gives every unacknowledged one back to the broker for other workers,
 * for a worker that is busy; broker_consume starts again. The connection stays, so broker_next
 * is to be called meanwhile too (it only serves heartbeats). */
int broker_pause(struct broker *b, struct err *err);

/* Waits for a delivery until timeout_ms have passed or `wake_fd` (-1 for none) is readable;
 * wake_fd is not read. 1: *ret is filled; 0: nothing came; negative: -E_UNAVAILABLE, and the
 * deliveries not yet acknowledged will come again. */
int broker_next(struct broker *b, int timeout_ms, int wake_fd, struct broker_delivery *ret,
                struct err *err);

/* A descriptor that is readable when something has come in for broker_next, given that it was
 * last called until it answered 0; for an owner that waits for something else besides. -1 while
 * there is no link. Another one after each loss. */
int broker_fd(const struct broker *b);

/* Queues an acknowledgement for sending. -E_UNAVAILABLE when the delivery's connection is
 * gone or was paused since: it comes again. */
int broker_ack(struct broker *b, uint64_t tag, struct err *err);

#endif
