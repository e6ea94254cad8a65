/* outbox_relay.c - tells the broker what the database has committed.
 *
 * Takes due outbox rows, publishes them, and removes those that the broker confirmed; all
 * others come again. While the broker is away rows simply stay: workers poll meanwhile. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "log.h"
#include "metrics.h"
#include "service_internal.h"

enum { ROUND_MS = 500, HOLD_MS = 30000, PUBLISH_TIMEOUT_MS = 10000 };

struct batch {
    struct outbox_row rows[BROKER_BATCH_MAX];
    struct broker_message messages[BROKER_BATCH_MAX];
    bool confirmed[BROKER_BATCH_MAX];
    int64_t done[BROKER_BATCH_MAX], failed[BROKER_BATCH_MAX];
};

static void write_message(const struct outbox_row *row, struct broker_message *m)
{
    snprintf(m->id, sizeof m->id, "%" PRId64, row->seq);
    snprintf(m->queue, sizeof m->queue, "%s", row->queue);
    snprintf(m->body, sizeof m->body, "{\"task_id\":\"%s\",\"type\":\"%s\",\"attempt\":%d}",
             row->task_id, row->type, row->attempt);
}

/* True when a full batch went out and there may be more. */
static bool relay_batch(struct service *s, struct batch *b, struct err *err)
{
    size_t count = 0, done = 0, failed = 0;
    int rc = store_outbox_take(s->parts.store, BROKER_BATCH_MAX, HOLD_MS, b->rows, &count, err);

    if (rc || count == 0)
        return false;
    for (size_t i = 0; i < count; i++) {
        write_message(&b->rows[i], &b->messages[i]);
        b->confirmed[i] = false;
    }
    rc = broker_publish(s->parts.publisher, b->messages, count, PUBLISH_TIMEOUT_MS,
                        b->confirmed, err);
    for (size_t i = 0; i < count; i++) {
        if (b->confirmed[i])
            b->done[done++] = b->rows[i].seq;
        else
            b->failed[failed++] = b->rows[i].seq;
    }
    metric_add(METRIC_OUTBOX_PUBLISHED, (int64_t)done);
    if (done && store_outbox_done(s->parts.store, b->done, done, err))
        return false; /* they come again after HOLD_MS, doubled and harmless */
    if (failed)
        store_outbox_give_up(s->parts.store, b->failed, failed, rc ? NULL : err);
    return rc == 0 && count == BROKER_BATCH_MAX;
}

/* A link that is down is tried again even when there is nothing to publish, so that readiness
 * tells the truth; while it is down no row is taken. */
static int reach_broker(struct service *s, struct batch *b, struct err *err)
{
    struct broker *p = s->parts.publisher;

    return broker_is_up(p)
               ? broker_pump(p, err)
               : broker_publish(p, b->messages, 0, PUBLISH_TIMEOUT_MS, b->confirmed, err);
}

static void note_link(struct service *s, bool *was_up, const struct err *why)
{
    bool up = broker_is_up(s->parts.publisher);

    metric_set(METRIC_BROKER_UP, up);
    if (up != *was_up)
        log_event(up ? LOG_INFO : LOG_WARN, up ? "broker.up" : "broker.down",
                  LOG_S("reason", why->text));
    *was_up = up;
}

void *relay_run(void *arg)
{
    struct service *s = arg;
    bool was_up = false;
    struct batch *b = calloc(1, sizeof *b);

    if (!b) {
        log_error("relay.failed", LOG_S("reason", "no memory"));
        return NULL;
    }
    do {
        struct err why = ERR_INIT;
        if (reach_broker(s, b, &why) == 0) {
            while (relay_batch(s, b, &why)) {
            }
        }
        note_link(s, &was_up, &why);
    } while (rounds_wait(&s->relay, ROUND_MS));
    free(b);
    return NULL;
}
