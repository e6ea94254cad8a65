/* broker_rabbitmq.c - broker.h on RabbitMQ: connections that come back by themselves, batches
 * of confirmed publishes, consuming with acknowledgements. The protocol is in
 * broker_rabbitmq_link.c.
 *
 * A publish counts only when its confirm came and it was not returned (a return, for a queue
 * that is gone, arrives before the confirm of the same message). Returned messages are sent
 * once more after declaring their queue again. Tags given to consumers carry the number of
 * the channel they came on, so that a late acknowledgement can never hit another delivery. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "broker_impl.h"
#include "broker_rabbitmq_link.h"
#include "clock.h"

enum {
    RETRY_BASE_MS = 250,
    RETRY_CAP_MS = 10000,
    DECLARED_MAX = 64, /* queues a publisher remembers to exist; more are declared again */
    EPOCH_SHIFT = 48
};

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

    char declared[DECLARED_MAX][BROKER_QUEUE_MAX];
    size_t declared_count;

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

static struct rabbit *rabbit_of(struct broker *b)
{
    return (struct rabbit *)b;
}

/* --- up and down ---------------------------------------------------------------------------
 */

/* A fresh channel knows no consumers, and tags of the one before are void. */
static void forget_channel(struct rabbit *r)
{
    r->epoch++;
    r->prefetch_set = false;
    r->unacked = r->surplus_count = 0;
    for (size_t i = 0; i < r->subscription_count; i++)
        r->subscriptions[i].active = false;
}

/* After any link call failed; the reason is in r->last. */
static int fail(struct rabbit *r, struct err *err)
{
    rabbit_link_close(r->link);
    r->link = NULL;
    r->retry_at_ms = clock_mono_ms() + backoff_ms(RETRY_BASE_MS, RETRY_CAP_MS, r->tries);
    r->tries++;
    return err_set(err, r->last.code, "%s", r->last.text);
}

static int ensure_up(struct rabbit *r, struct err *err)
{
    int64_t wait_ms = r->retry_at_ms - clock_mono_ms();

    if (r->link)
        return 0;
    if (wait_ms > 0)
        return err_set(err, -E_UNAVAILABLE, "%s (trying again in %" PRId64 " ms)", r->last.text,
                       wait_ms);
    if (rabbit_link_open(&r->url, r->name, r->base.use == BROKER_PUBLISH, &r->link, &r->last) !=
        0)
        return fail(r, err);
    r->declared_count = 0;
    forget_channel(r);
    return 0;
}

static bool rabbit_is_up(const struct broker *b)
{
    return ((const struct rabbit *)b)->link != NULL;
}

/* --- publishing ----------------------------------------------------------------------------
 */

enum progress { TODO, SENT, RETURNED, CONFIRMED, REFUSED };

struct batch {
    const struct broker_message *messages;
    size_t count;
    uint64_t number[BROKER_BATCH_MAX]; /* of the latest publish of each message */
    enum progress progress[BROKER_BATCH_MAX];
    bool sent_again[BROKER_BATCH_MAX];
};

static size_t batch_count(const struct batch *batch, enum progress progress)
{
    size_t n = 0;

    for (size_t i = 0; i < batch->count; i++)
        n += batch->progress[i] == progress;
    return n;
}

static bool is_declared(const struct rabbit *r, const char *queue, size_t *ret_at)
{
    for (*ret_at = 0; *ret_at < r->declared_count; (*ret_at)++) {
        if (strcmp(r->declared[*ret_at], queue) == 0)
            return true;
    }
    return false;
}

static int declare_once(struct rabbit *r, const char *queue)
{
    size_t at;
    int rc;

    if (is_declared(r, queue, &at))
        return 0;
    rc = rabbit_link_declare(r->link, queue, &r->last);
    if (rc != 0)
        return rc;
    if (r->declared_count == DECLARED_MAX)
        r->declared_count = 0;
    memcpy(r->declared[r->declared_count++], queue, strlen(queue) + 1);
    return 0;
}

static void forget_queue(struct rabbit *r, const char *queue)
{
    size_t at;

    if (is_declared(r, queue, &at))
        memmove(r->declared[at], r->declared[--r->declared_count], BROKER_QUEUE_MAX);
}

static void settle_one(struct rabbit *r, struct batch *batch, size_t i, bool taken)
{
    if (batch->progress[i] == SENT && taken) {
        batch->progress[i] = CONFIRMED;
        r->tries = 0;
    } else if (batch->progress[i] == RETURNED && !batch->sent_again[i]) {
        batch->progress[i] = TODO;
        batch->sent_again[i] = true;
    } else {
        batch->progress[i] = REFUSED;
    }
}

/* Confirms of earlier batches, which nobody waits for any more, match nothing here. */
static void settle(struct rabbit *r, struct batch *batch, const struct rabbit_event *e)
{
    for (size_t i = 0; i < batch->count; i++) {
        bool open = batch->progress[i] == SENT || batch->progress[i] == RETURNED;
        bool meant =
            batch->number[i] == e->number || (e->multiple && batch->number[i] <= e->number);

        if (!open || !meant)
            continue;
        if (e->kind == RABBIT_CONFIRM) {
            settle_one(r, batch, i, e->taken);
        } else {
            batch->progress[i] = RETURNED;
            forget_queue(r, batch->messages[i].queue);
        }
    }
}

/* Takes everything that has arrived; `batch` may be NULL. */
static int drain(struct rabbit *r, struct batch *batch)
{
    struct rabbit_event e;
    int rc;

    while ((rc = rabbit_link_read(r->link, &e, &r->last)) == 1) {
        if (batch && (e.kind == RABBIT_CONFIRM || e.kind == RABBIT_RETURN))
            settle(r, batch, &e);
    }
    return rc;
}

/* Publishing on a link that has been idle can hang in librabbitmq, unless every frame that
 * has arrived was read before (which also finds out that the link is dead). */
static int send_todo(struct rabbit *r, struct batch *batch)
{
    for (size_t i = 0; i < batch->count; i++) {
        const struct broker_message *m = &batch->messages[i];
        int rc;

        if (batch->progress[i] != TODO)
            continue;
        rc = drain(r, batch);
        if (rc == 0 && rabbit_link_is_blocked(r->link))
            return 0;
        if (rc == 0)
            rc = declare_once(r, m->queue);
        if (rc == 0)
            rc = rabbit_link_publish(r->link, m, &batch->number[i], &r->last);
        if (rc != 0)
            return rc;
        batch->progress[i] = SENT;
    }
    return drain(r, batch);
}

/* All settled, or why not: the link is kept in each of these cases. */
static int batch_result(const struct rabbit *r, const struct batch *batch, int timeout_ms,
                        struct err *err)
{
    size_t confirmed = batch_count(batch, CONFIRMED), refused = batch_count(batch, REFUSED);

    if (confirmed == batch->count)
        return 0;
    if (confirmed + refused == batch->count)
        return err_set(err, -E_UNAVAILABLE, "rabbitmq at %s:%d refused %zu of %zu messages",
                       r->url.host, r->url.port, refused, batch->count);
    if (rabbit_link_is_blocked(r->link))
        return err_set(err, -E_UNAVAILABLE,
                       "rabbitmq at %s:%d takes no messages for now: it is low on memory or "
                       "disk",
                       r->url.host, r->url.port);
    return err_set(err, -E_TIMEOUT,
                   "rabbitmq at %s:%d confirmed %zu of %zu messages within %d ms", r->url.host,
                   r->url.port, confirmed, batch->count, timeout_ms);
}

/* Sends and waits until all are settled, the broker blocks, or the time is up. */
static int run_batch(struct rabbit *r, struct batch *batch, int64_t deadline_ms)
{
    for (;;) {
        int64_t left_ms;
        bool woken;
        int rc = send_todo(r, batch);

        if (rc != 0)
            return rc;
        left_ms = deadline_ms - clock_mono_ms();
        if (batch_count(batch, CONFIRMED) + batch_count(batch, REFUSED) == batch->count ||
            rabbit_link_is_blocked(r->link) || left_ms <= 0)
            return 0;
        if (batch_count(batch, TODO) > 0)
            continue;
        rc = rabbit_link_wait(r->link, (int)left_ms, -1, &woken, &r->last);
        if (rc != 0)
            return rc;
    }
}

static int rabbit_publish(struct broker *b, const struct broker_message *messages, size_t count,
                          int timeout_ms, bool *ret_confirmed, struct err *err)
{
    struct rabbit *r = rabbit_of(b);
    struct batch batch = {.messages = messages, .count = count};
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    int rc = ensure_up(r, err);

    if (rc != 0)
        return rc;
    rc = run_batch(r, &batch, deadline_ms);
    for (size_t i = 0; i < count; i++)
        ret_confirmed[i] = batch.progress[i] == CONFIRMED;
    return rc == 0 ? batch_result(r, &batch, timeout_ms, err) : fail(r, err);
}

static int rabbit_pump(struct broker *b, struct err *err)
{
    struct rabbit *r = rabbit_of(b);

    return r->link && drain(r, NULL) != 0 ? fail(r, err) : 0;
}

/* --- consuming ------------------------------------------------------------------------------
 */

static int subscribe(struct rabbit *r)
{
    int rc = 0;

    if (!r->prefetch_set)
        rc = rabbit_link_prefetch(r->link, r->prefetch, &r->last);
    if (rc != 0)
        return rc;
    r->prefetch_set = true;
    for (size_t i = 0; i < r->subscription_count; i++) {
        struct subscription *s = &r->subscriptions[i];

        if (s->active)
            continue;
        rc = rabbit_link_declare(r->link, s->queue, &r->last);
        if (rc == 0)
            rc = rabbit_link_subscribe(r->link, s->queue, &r->last);
        if (rc != 0)
            return rc;
        s->active = true;
    }
    r->tries = 0;
    return 0;
}

/* Connected, and subscribed unless paused. */
static int ensure_ready(struct rabbit *r, struct err *err)
{
    int rc = ensure_up(r, err);

    if (rc != 0)
        return rc;
    return r->consuming && subscribe(r) != 0 ? fail(r, err) : 0;
}

/* Gives unacknowledged deliveries back and ends all subscriptions. */
static int rabbit_pause(struct broker *b, struct err *err)
{
    struct rabbit *r = rabbit_of(b);
    bool was_consuming = r->consuming;

    r->consuming = false;
    if (!r->link || !was_consuming)
        return 0;
    forget_channel(r);
    return rabbit_link_reset(r->link, &r->last) != 0 ? fail(r, err) : 0;
}

static int make_room_for_surplus(struct rabbit *r, size_t count, struct err *err)
{
    free(r->surplus);
    r->surplus = count > 0 ? calloc(count, sizeof *r->surplus) : NULL;
    r->surplus_max = r->surplus ? count : 0;
    r->surplus_first = r->surplus_count = 0;
    if (count > 0 && !r->surplus)
        return err_set(err, -E_NO_MEMORY, "no memory for %zu deliveries", count);
    return 0;
}

static int rabbit_consume(struct broker *b, const char *const *queues, size_t count,
                          uint16_t prefetch, struct err *err)
{
    struct rabbit *r = rabbit_of(b);
    int paused = rabbit_pause(b, err); /* a second call replaces the first */
    int rc = make_room_for_surplus(r, prefetch * (count - 1), err);

    if (rc != 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        memcpy(r->subscriptions[i].queue, queues[i], strlen(queues[i]) + 1);
        r->subscriptions[i].active = false;
    }
    r->subscription_count = count;
    r->prefetch = prefetch;
    r->consuming = true;
    return paused == 0 ? ensure_ready(r, err) : paused;
}

static void mark_cancelled(struct rabbit *r, const char *queue)
{
    for (size_t i = 0; i < r->subscription_count; i++) {
        if (strcmp(r->subscriptions[i].queue, queue) == 0)
            r->subscriptions[i].active = false;
    }
}

static void hand_over(struct rabbit *r, const struct rabbit_event *e,
                      struct broker_delivery *ret)
{
    r->unacked++;
    ret->tag = (uint64_t)r->epoch << EPOCH_SHIFT | e->number;
    memcpy(ret->queue, e->queue, sizeof ret->queue);
    memcpy(ret->body, e->body, sizeof ret->body);
}

static bool take_surplus(struct rabbit *r, struct broker_delivery *ret)
{
    if (r->surplus_count == 0 || r->unacked == r->prefetch)
        return false;
    hand_over(r, &r->surplus[r->surplus_first], ret);
    r->surplus_first = (r->surplus_first + 1) % r->surplus_max;
    r->surplus_count--;
    return true;
}

/* 1: handed over; 0: set aside, or dropped when it is none of ours; negative: failed. */
static int take_delivery(struct rabbit *r, const struct rabbit_event *e,
                         struct broker_delivery *ret)
{
    if (e->unfit)
        return rabbit_link_ack(r->link, e->number, &r->last); /* or it comes for ever */
    if (r->unacked < r->prefetch) {
        hand_over(r, e, ret);
        return 1;
    }
    if (r->surplus_count == r->surplus_max)
        return err_set(&r->last, -E_UNAVAILABLE,
                       "rabbitmq at %s:%d sent more deliveries than it was asked for",
                       r->url.host, r->url.port);
    r->surplus[(r->surplus_first + r->surplus_count++) % r->surplus_max] = *e;
    return 0;
}

/* Takes what has arrived up to the first delivery. As link_read: 1, 0 or negative. */
static int next_arrived(struct rabbit *r, struct broker_delivery *ret)
{
    struct rabbit_event e;
    int rc;

    if (take_surplus(r, ret))
        return 1;
    while ((rc = rabbit_link_read(r->link, &e, &r->last)) == 1) {
        if (e.kind == RABBIT_DELIVERY) {
            rc = take_delivery(r, &e, ret);
        } else if (e.kind == RABBIT_CANCEL) {
            mark_cancelled(r, e.queue);
            rc = r->consuming ? subscribe(r) : 0;
        } else {
            rc = 0;
        }
        if (rc != 0)
            return rc;
    }
    return rc;
}

static int rabbit_next(struct broker *b, int timeout_ms, int wake_fd,
                       struct broker_delivery *ret, struct err *err)
{
    struct rabbit *r = rabbit_of(b);
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    bool woken = false;
    int rc = ensure_ready(r, err);

    if (rc != 0)
        return rc;
    for (;;) {
        int64_t left_ms;

        rc = next_arrived(r, ret);
        left_ms = deadline_ms - clock_mono_ms();
        if (rc < 0)
            return fail(r, err);
        if (rc == 1 || woken || left_ms <= 0)
            return rc;
        if (rabbit_link_wait(r->link, (int)left_ms, wake_fd, &woken, &r->last) != 0)
            return fail(r, err);
    }
}

static int rabbit_ack(struct broker *b, uint64_t tag, struct err *err)
{
    struct rabbit *r = rabbit_of(b);
    uint64_t number = tag & ((UINT64_C(1) << EPOCH_SHIFT) - 1);

    if (!r->link || tag >> EPOCH_SHIFT != r->epoch)
        return err_set(err, -E_UNAVAILABLE,
                       "the delivery went back to rabbitmq at %s:%d when its channel ended, "
                       "and will come again",
                       r->url.host, r->url.port);
    if (r->unacked > 0)
        r->unacked--;
    return rabbit_link_ack(r->link, number, &r->last) != 0 ? fail(r, err) : 0;
}

/* --- opening and closing --------------------------------------------------------------------
 */

static void rabbit_close(struct broker *b)
{
    struct rabbit *r = rabbit_of(b);

    rabbit_link_close(r->link);
    explicit_bzero(r->url.password, sizeof r->url.password);
    free(r->surplus);
    free(r);
}

static const struct broker_ops rabbit_ops = {
    .name = "rabbitmq",
    .delivers = true,
    .publish = rabbit_publish,
    .pump = rabbit_pump,
    .consume = rabbit_consume,
    .pause = rabbit_pause,
    .next = rabbit_next,
    .ack = rabbit_ack,
    .is_up = rabbit_is_up,
    .close = rabbit_close,
};

int broker_rabbitmq_open(const char *url, const char *name, struct broker **ret,
                         struct err *err)
{
    struct rabbit *r = calloc(1, sizeof *r);
    int rc;

    if (!r)
        return err_set(err, -E_NO_MEMORY, "no memory for a broker");
    rc = broker_url_parse(url, &r->url, err);
    if (rc != 0) {
        free(r);
        return rc;
    }
    r->base.ops = &rabbit_ops;
    r->name = name;
    *ret = &r->base;
    return 0;
}
