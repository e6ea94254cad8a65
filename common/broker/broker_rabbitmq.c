/* broker_rabbitmq.c - broker.h on RabbitMQ: connections that come back by themselves and
 * consuming with acknowledgements. The protocol is in broker_rabbitmq_link.c, publishing in
 * broker_rabbitmq_publish.c.
 *
 * Tags given to consumers carry the number of the channel they came on, so that a late
 * acknowledgement can never hit another delivery. A queue that cannot be consumed from costs
 * the channel each time it is tried (RabbitMQ closes it), so it is tried ever more rarely. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "broker_rabbitmq_impl.h"
#include "clock.h"

enum { RETRY_BASE_MS = 250, RETRY_CAP_MS = 10000, EPOCH_SHIFT = 48 };

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

/* When at least one queue may be tried; past when there are none. */
static int64_t first_trial_ms(const struct rabbit *r)
{
    int64_t first_ms = r->subscription_count > 0 ? INT64_MAX : 0;

    for (size_t i = 0; i < r->subscription_count; i++) {
        int64_t until_ms = refused_until_ms(&r->refused, r->subscriptions[i].queue);

        first_ms = until_ms < first_ms ? until_ms : first_ms;
    }
    return first_ms;
}

/* What a single queue is to blame for needs no back-off but that of the queue. */
int rabbit_fail(struct rabbit *r, struct err *err)
{
    int64_t now_ms = clock_mono_ms();

    if (r->link && rabbit_link_blames_queue(r->link)) {
        int64_t first_ms = first_trial_ms(r);

        r->retry_at_ms = first_ms > now_ms ? first_ms : now_ms;
    } else {
        r->retry_at_ms = now_ms + backoff_ms(RETRY_BASE_MS, RETRY_CAP_MS, r->tries);
        r->tries++;
    }
    rabbit_link_close(r->link);
    r->link = NULL;
    return err_set(err, r->last.code, "%s", r->last.text);
}

int rabbit_ensure_up(struct rabbit *r, struct err *err)
{
    int64_t wait_ms = r->retry_at_ms - clock_mono_ms();

    if (r->link)
        return 0;
    if (wait_ms > 0)
        return err_set(err, -E_UNAVAILABLE, "%s (trying again in %" PRId64 " ms)", r->last.text,
                       wait_ms);
    if (rabbit_link_open(&r->url, r->name, r->base.use == BROKER_PUBLISH, &r->link, &r->last) !=
        0)
        return rabbit_fail(r, err);
    forget_channel(r);
    return 0;
}

static bool rabbit_is_up(const struct broker *b)
{
    return ((const struct rabbit *)b)->link != NULL;
}

/* --- consuming ------------------------------------------------------------------------------
 */

static int subscribe_to(struct rabbit *r, struct subscription *s)
{
    int rc = rabbit_link_declare(r->link, s->queue, &r->last);

    if (rc == 0)
        rc = rabbit_link_subscribe(r->link, s->queue, &r->last);
    if (rc == 0)
        refused_forget(&r->refused, s->queue);
    else if (rabbit_link_blames_queue(r->link))
        refused_add(&r->refused, s->queue, clock_mono_ms());
    s->active = rc == 0;
    return rc;
}

/* To all queues but those that are refused for now. */
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

        if (s->active || refused_until_ms(&r->refused, s->queue) > clock_mono_ms())
            continue;
        rc = subscribe_to(r, s);
        if (rc != 0)
            return rc;
        r->tries = 0;
    }
    return 0;
}

/* Connected, and subscribed unless paused. */
static int ensure_ready(struct rabbit *r, struct err *err)
{
    int rc = rabbit_ensure_up(r, err);

    if (rc != 0)
        return rc;
    return r->consuming && subscribe(r) != 0 ? rabbit_fail(r, err) : 0;
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
    return rabbit_link_reset(r->link, &r->last) != 0 ? rabbit_fail(r, err) : 0;
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
            return rabbit_fail(r, err);
        if (rc == 1 || woken || left_ms <= 0)
            return rc;
        if (rabbit_link_wait(r->link, (int)left_ms, wake_fd, &woken, &r->last) != 0)
            return rabbit_fail(r, err);
    }
}

static int rabbit_fd(const struct broker *b)
{
    const struct rabbit *r = (const struct rabbit *)b;

    return r->link ? rabbit_link_fd(r->link) : -1;
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
    return rabbit_link_ack(r->link, number, &r->last) != 0 ? rabbit_fail(r, err) : 0;
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
    .fd = rabbit_fd,
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
