/* broker_rabbitmq_publish.c - batches of confirmed publishes.
 *
 * A publish counts once its confirm came. Publishing declares nothing: names of queues come
 * from clients, and a queue on the broker is for ever. What reaches no queue is returned as
 * unroutable before it is confirmed, and done with: no worker ever asked for that queue.
 *
 * A queue may hang: a quorum queue without a leader confirms nothing, and one that does not
 * answer holds up all that is behind it on the channel, even closing it. Per queue no more
 * than WINDOW messages are on the way, because RabbitMQ stops reading from a channel that has
 * 32 unconfirmed ones for one quorum queue (quorum_commands_soft_limit). When nothing moves
 * any more, a new link takes over, which leaves behind what hangs and proves that the broker
 * itself is well; the queues to blame are refused for a while and the rest is sent again.
 * Queues that failed before come last. */
#include <string.h>

#include "broker_rabbitmq_impl.h"
#include "clock.h"
#include "failpoint.h"

enum { WINDOW = 24, STALL_MS = 2000 };

enum progress { UNSENT, SENT, UNTAKEN, CONFIRMED, REFUSED, PROGRESS__COUNT };

/* The messages of one queue; it has the index of the first of them. */
struct lane {
    size_t open;  /* sent and not settled */
    bool suspect; /* failed the last time: one message first */
};

struct batch {
    const struct broker_message *messages;
    size_t count;
    size_t in[PROGRESS__COUNT]; /* how many messages are UNSENT, SENT ... */
    uint64_t number[BROKER_BATCH_MAX];
    enum progress progress[BROKER_BATCH_MAX];
    size_t lane_of[BROKER_BATCH_MAX];
    struct lane lanes[BROKER_BATCH_MAX];
    int64_t moved_at_ms;   /* when something was last sent or settled */
    size_t moves;          /* how often */
    int64_t patience_ms;   /* without any move */
    size_t steady_left;    /* messages not settled of queues that are no suspects */
    uint64_t confirmed_to; /* highest number confirmed on this link */
};

static struct lane *lane_of(struct batch *batch, size_t i)
{
    return &batch->lanes[batch->lane_of[i]];
}

static bool is_done(enum progress progress)
{
    return progress == CONFIRMED || progress == REFUSED;
}

static void move(struct batch *batch, size_t i, enum progress to)
{
    if (is_done(to) && !lane_of(batch, i)->suspect)
        batch->steady_left--;
    batch->in[batch->progress[i]]--;
    batch->in[to]++;
    batch->progress[i] = to;
    batch->moved_at_ms = clock_mono_ms();
    batch->moves++;
}

static size_t find_lane(const struct batch *batch, size_t i)
{
    size_t first = 0;

    while (strcmp(batch->messages[first].queue, batch->messages[i].queue) != 0)
        first++;
    return first;
}

/* Sorts the messages by queue; those of queues that are refused for now are settled. */
static void batch_init(const struct rabbit *r, struct batch *batch,
                       const struct broker_message *messages, size_t count, int timeout_ms)
{
    int64_t now_ms = clock_mono_ms();

    memset(batch, 0, sizeof *batch);
    batch->messages = messages;
    batch->count = batch->in[UNSENT] = count;
    batch->moved_at_ms = now_ms;
    batch->patience_ms = timeout_ms / 2; /* leaves as much for sending the rest again */
    for (size_t i = 0; i < count; i++) {
        int64_t until_ms = refused_until_ms(&r->refused, messages[i].queue);

        batch->lane_of[i] = find_lane(batch, i);
        lane_of(batch, i)->suspect = until_ms != 0;
        batch->steady_left += until_ms == 0;
        if (until_ms > now_ms)
            move(batch, i, REFUSED);
    }
}

static bool is_settled(const struct batch *batch)
{
    return batch->in[CONFIRMED] + batch->in[REFUSED] == batch->count;
}

static bool is_open(const struct batch *batch, size_t i)
{
    return batch->progress[i] == SENT || batch->progress[i] == UNTAKEN;
}

static void refuse_queue(struct rabbit *r, const char *queue)
{
    int64_t now_ms = clock_mono_ms();

    if (refused_until_ms(&r->refused, queue) <= now_ms)
        refused_add(&r->refused, queue, now_ms);
}

static void settle_one(struct rabbit *r, struct batch *batch, size_t i, bool taken)
{
    const char *queue = batch->messages[i].queue;

    lane_of(batch, i)->open--;
    if (batch->number[i] > batch->confirmed_to)
        batch->confirmed_to = batch->number[i];
    if (!taken || batch->progress[i] == UNTAKEN) {
        refuse_queue(r, queue);
        move(batch, i, REFUSED);
        return;
    }
    if (lane_of(batch, i)->suspect)
        refused_forget(&r->refused, queue);
    r->tries = 0;
    move(batch, i, CONFIRMED);
}

/* Confirms of earlier batches, which nobody waits for any more, match nothing here. */
static void settle(struct rabbit *r, struct batch *batch, const struct rabbit_event *e)
{
    for (size_t i = 0; i < batch->count; i++) {
        bool meant =
            batch->number[i] == e->number || (e->multiple && batch->number[i] <= e->number);

        if (!is_open(batch, i) || !meant)
            continue;
        if (e->kind == RABBIT_CONFIRM)
            settle_one(r, batch, i, e->taken);
        else if (!e->taken)
            move(batch, i, UNTAKEN);
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

static bool may_send(struct batch *batch, size_t i)
{
    const struct lane *lane = lane_of(batch, i);

    return batch->progress[i] == UNSENT &&
           (lane->suspect ? batch->steady_left == 0 && lane->open == 0 : lane->open < WINDOW);
}

/* Publishing on a link that has been idle can hang in librabbitmq, unless every frame that
 * has arrived was read before (which also finds out that the link is dead). */
static int send_todo(struct rabbit *r, struct batch *batch)
{
    for (size_t i = 0; i < batch->count && batch->in[UNSENT] > 0; i++) {
        int rc;

        if (!may_send(batch, i))
            continue;
        rc = drain(r, batch);
        if (rc == 0 && rabbit_link_is_blocked(r->link))
            return 0;
        if (rc == 0)
            rc = rabbit_link_publish(r->link, &batch->messages[i], &batch->number[i], &r->last);
        if (rc != 0)
            return rc;
        lane_of(batch, i)->open++;
        move(batch, i, SENT);
        FAILPOINT(publish_sent);
    }
    return drain(r, batch);
}

/* When it is time to act if nothing moves. Less patience is due when the broker has confirmed
 * others, or when it is only about queues that failed before. */
static int64_t stalled_at_ms(const struct batch *batch)
{
    int64_t patience_ms = batch->patience_ms;

    if (patience_ms > STALL_MS && (batch->in[CONFIRMED] > 0 || batch->steady_left == 0))
        patience_ms = STALL_MS;
    return batch->moved_at_ms + patience_ms;
}

static uint64_t first_open(const struct batch *batch)
{
    uint64_t first = UINT64_MAX;

    for (size_t i = 0; i < batch->count; i++) {
        if (is_open(batch, i) && batch->number[i] < first)
            first = batch->number[i];
    }
    return first;
}

/* To blame for a stall are queues that later messages have overtaken, the one that is next
 * (it may hold up all others), and those that failed before. */
static void blame_queues(struct rabbit *r, struct batch *batch, bool guilty[])
{
    uint64_t first = first_open(batch);

    for (size_t i = 0; i < batch->count; i++) {
        if (is_open(batch, i) &&
            (lane_of(batch, i)->suspect || batch->number[i] == first ||
             batch->number[i] < batch->confirmed_to) &&
            !guilty[batch->lane_of[i]]) {
            guilty[batch->lane_of[i]] = true;
            refuse_queue(r, batch->messages[i].queue);
        }
    }
}

/* Takes a new link, gives up the queues to blame and sends the rest again. When there is no
 * link to be had, it was the broker or the way to it that failed. */
static int start_over(struct rabbit *r, struct batch *batch)
{
    bool guilty[BROKER_BATCH_MAX] = {false};
    struct rabbit_link *fresh;
    int rc = rabbit_link_open(&r->url, r->name, true, &fresh, &r->last);

    if (rc != 0)
        return rc;
    rabbit_link_abandon(r->link); /* what hangs there would not let it end well */
    r->link = fresh;
    blame_queues(r, batch, guilty);
    for (size_t i = 0; i < batch->count; i++) {
        if (is_done(batch->progress[i]))
            continue;
        lane_of(batch, i)->open = 0;
        move(batch, i, guilty[batch->lane_of[i]] ? REFUSED : UNSENT);
    }
    batch->confirmed_to = 0;
    return 0;
}

/* Sends and waits until all are settled, the broker blocks, or the time is up. */
static int run_batch(struct rabbit *r, struct batch *batch, int64_t deadline_ms)
{
    for (;;) {
        size_t moves = batch->moves;
        int64_t now_ms, until_ms;
        bool woken;
        int rc = send_todo(r, batch);

        now_ms = clock_mono_ms();
        if (rc != 0 || is_settled(batch) || rabbit_link_is_blocked(r->link) ||
            now_ms >= deadline_ms)
            return rc;
        if (moves != batch->moves)
            continue; /* there may be room in a window */
        until_ms = stalled_at_ms(batch);
        if (now_ms >= until_ms) {
            rc = start_over(r, batch);
        } else {
            until_ms = until_ms < deadline_ms ? until_ms : deadline_ms;
            rc = rabbit_link_wait(r->link, (int)(until_ms - now_ms), -1, &woken, &r->last);
        }
        if (rc != 0)
            return rc;
    }
}

static const char *first_unconfirmed(const struct batch *batch)
{
    size_t i = 0;

    while (batch->progress[i] == CONFIRMED)
        i++;
    return batch->messages[i].queue;
}

/* All settled, or why not: the link is kept in each of these cases. */
static int batch_result(const struct rabbit *r, const struct batch *batch, struct err *err)
{
    if (batch->in[CONFIRMED] == batch->count)
        return 0;
    if (rabbit_link_is_blocked(r->link))
        return err_set(err, -E_UNAVAILABLE,
                       "rabbitmq at %s:%d takes no messages for now: it is low on memory or "
                       "disk",
                       r->url.host, r->url.port);
    return err_set(err, -E_TIMEOUT,
                   "rabbitmq at %s:%d confirmed %zu of %zu messages: queue \"segue.%s\" does "
                   "not take its own",
                   r->url.host, r->url.port, batch->in[CONFIRMED], batch->count,
                   first_unconfirmed(batch));
}

int rabbit_publish(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err)
{
    struct rabbit *r = (struct rabbit *)b;
    struct batch batch;
    int64_t deadline_ms = clock_mono_ms() + timeout_ms;
    int rc = rabbit_ensure_up(r, err);

    if (rc != 0)
        return rc;
    batch_init(r, &batch, messages, count, timeout_ms);
    rc = run_batch(r, &batch, deadline_ms);
    for (size_t i = 0; i < count; i++)
        ret_confirmed[i] = batch.progress[i] == CONFIRMED;
    return rc == 0 ? batch_result(r, &batch, err) : rabbit_fail(r, err);
}

int rabbit_pump(struct broker *b, struct err *err)
{
    struct rabbit *r = (struct rabbit *)b;

    return r->link && drain(r, NULL) != 0 ? rabbit_fail(r, err) : 0;
}
