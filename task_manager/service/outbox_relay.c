/* outbox_relay.c - tells the broker what the database has committed.
 *
 * Takes due outbox rows, publishes them, and removes those that the broker confirmed; all
 * others come again: at once when the broker could not be reached, after HOLD_MS when only
 * their queues did not take them, so that such rows never stand before all others. While the
 * broker is away rows simply stay: workers poll meanwhile. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

enum { ROUND_MS = 500, HOLD_MS = 30000, PUBLISH_TIMEOUT_MS = 10000, SAY_MS = 60000 };

struct batch {
    struct outbox_row rows[BROKER_BATCH_MAX];
    struct broker_message messages[BROKER_BATCH_MAX];
    bool confirmed[BROKER_BATCH_MAX];
    int64_t done[BROKER_BATCH_MAX], failed[BROKER_BATCH_MAX];
};

struct relay {
    struct service *s;
    struct batch batch;
    enum { LINK_UNKNOWN, LINK_DOWN, LINK_UP } link; /* as last logged */
    int64_t quiet_until_ms;                         /* about queues that take nothing */
    int64_t read_at_ms;                             /* look into the outbox at the latest */
    int64_t owed_ms;                                /* until a queue is owed a message */
};

static void write_message(const struct outbox_row *row, struct broker_message *m)
{
    snprintf(m->id, sizeof m->id, "%" PRId64, row->seq);
    snprintf(m->queue, sizeof m->queue, "%s", row->queue);
    snprintf(m->body, sizeof m->body, "{\"task_id\":\"%s\",\"type\":\"%s\",\"attempt\":%d}",
             row->task_id, row->type, row->attempt);
}

/* Once a minute is enough: every row of such a queue comes by again and again. */
static void note_refused(struct relay *r, size_t count, const struct err *why)
{
    int64_t now_ms = clock_mono_ms();

    if (now_ms < r->quiet_until_ms)
        return;
    r->quiet_until_ms = now_ms + SAY_MS;
    log_warn("outbox.held", LOG_I("rows", (int64_t)count), LOG_S("reason", why->text));
}

/* Removes the rows that were confirmed and deals with the others. */
static int settle_batch(struct relay *r, size_t count, int published, struct err *err)
{
    struct store *store = r->s->parts.store;
    struct batch *b = &r->batch;
    size_t done = 0, failed = 0;

    for (size_t i = 0; i < count; i++) {
        if (b->confirmed[i])
            b->done[done++] = b->rows[i].seq;
        else
            b->failed[failed++] = b->rows[i].seq;
    }
    metric_add(METRIC_OUTBOX_PUBLISHED, (int64_t)done);
    if (published == -E_TIMEOUT)
        note_refused(r, failed, err);
    else if (failed) /* if this fails as well they come after HOLD_MS */
        (void)store_outbox_give_up(store, b->failed, failed, NULL);
    /* Rows that are not removed come again after HOLD_MS, doubled and harmless. */
    return done ? store_outbox_done(store, b->done, done, err) : 0;
}

/* What fails here is not tried again: an idle worker asks anyway. */
static void send_wakes(struct relay *r)
{
    struct wakes *w = &r->s->wakes;
    struct batch *b = &r->batch;
    struct err ignored = ERR_INIT;

    r->owed_ms = wakes_settle(r->s);
    pthread_mutex_lock(&w->lock);
    size_t count = w->count;
    w->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct broker_message *m = &b->messages[i];
        snprintf(m->id, sizeof m->id, "more");
        snprintf(m->queue, sizeof m->queue, "%s", w->queues[i]);
        snprintf(m->body, sizeof m->body, "{\"more\":true}");
    }
    pthread_mutex_unlock(&w->lock);
    if (count)
        (void)broker_publish(r->s->parts.publisher, b->messages, count, PUBLISH_TIMEOUT_MS,
                             b->confirmed, &ignored);
}

/* Publishes the first rows of the batch and removes what was confirmed. True when the broker is
 * there and the database too. */
static bool publish(struct relay *r, size_t count, struct err *err)
{
    struct batch *b = &r->batch;

    for (size_t i = 0; i < count; i++) {
        write_message(&b->rows[i], &b->messages[i]);
        b->confirmed[i] = false;
    }
    int rc = broker_publish(r->s->parts.publisher, b->messages, count, PUBLISH_TIMEOUT_MS,
                            b->confirmed, err);
    FAILPOINT(relay_published);
    if (settle_batch(r, count, rc, err))
        return false;
    FAILPOINT(relay_marked);
    return rc == 0 || rc == -E_TIMEOUT;
}

/* True when a full batch went out and there may be more. */
static bool relay_batch(struct relay *r, struct err *err)
{
    size_t count = 0;
    int rc = store_outbox_take(r->s->parts.store, BROKER_BATCH_MAX, HOLD_MS, r->batch.rows,
                               &count, err);

    if (rc || count == 0)
        return false;
    FAILPOINT(relay_taken);
    return publish(r, count, err) && count == BROKER_BATCH_MAX;
}

/* Rows that were committed a moment ago: reading and holding them first would cost a submit
 * that nobody else is waiting for more than its own transaction. Whoever reads the outbox just
 * now may publish them too. */
static void relay_handed(struct relay *r, struct err *err)
{
    struct wakes *w = &r->s->wakes;

    pthread_mutex_lock(&w->lock);
    size_t count = w->row_count;
    memcpy(r->batch.rows, w->rows, count * sizeof w->rows[0]);
    w->row_count = 0;
    pthread_mutex_unlock(&w->lock);
    if (count && !publish(r, count, err))
        atomic_store(&r->s->outbox_waits, true);
}

/* While the broker is away the rows are where they always were. */
static void drop_handed(struct service *s)
{
    pthread_mutex_lock(&s->wakes.lock);
    if (s->wakes.row_count)
        atomic_store(&s->outbox_waits, true);
    s->wakes.row_count = 0;
    pthread_mutex_unlock(&s->wakes.lock);
}

/* Has anybody to be told of what only the database knows? */
static bool is_to_read(struct relay *r)
{
    int64_t now_ms = clock_mono_ms();
    bool waits = atomic_exchange(&r->s->outbox_waits, false);

    if (!waits && now_ms < r->read_at_ms)
        return false;
    r->read_at_ms = now_ms + ROUND_MS;
    return true;
}

/* A link that is down is tried again even when there is nothing to publish, so that readiness
 * tells the truth; while it is down no row is taken. */
static int reach_broker(struct relay *r, struct err *err)
{
    struct broker *p = r->s->parts.publisher;
    struct batch *b = &r->batch;

    return broker_is_up(p)
               ? broker_pump(p, err)
               : broker_publish(p, b->messages, 0, PUBLISH_TIMEOUT_MS, b->confirmed, err);
}

static void note_link(struct relay *r, const struct err *why)
{
    bool up = broker_is_up(r->s->parts.publisher);

    metric_set(METRIC_BROKER_UP, up);
    if (r->link != (up ? LINK_UP : LINK_DOWN))
        log_event(up ? LOG_INFO : LOG_WARN, up ? "broker.up" : "broker.down",
                  LOG_S("reason", up ? "" : why->text));
    r->link = up ? LINK_UP : LINK_DOWN;
}

void relay_round(struct relay *r)
{
    struct err why = ERR_INIT;
    bool more = reach_broker(r, &why) == 0;

    r->owed_ms = INT64_MAX;
    note_link(r, &why);
    if (more) {
        send_wakes(r);
        relay_handed(r, &why);
        note_link(r, &why);
        more = is_to_read(r);
    } else {
        drop_handed(r->s);
    }
    while (more && !rounds_is_stopping(&r->s->relay)) {
        more = relay_batch(r, &why);
        note_link(r, &why);
    }
}

struct relay *relay_new(struct service *s)
{
    struct relay *r = calloc(1, sizeof *r);

    if (r)
        r->s = s;
    return r;
}

void *relay_run(void *arg)
{
    struct service *s = arg;
    struct relay *r = relay_new(s);

    if (!r) {
        log_error("relay.failed", LOG_S("reason", "no memory"));
        return NULL;
    }
    do {
        relay_round(r);
    } while (rounds_wait(&s->relay, r->owed_ms < ROUND_MS ? r->owed_ms : ROUND_MS));
    free(r);
    return NULL;
}
