/* model_broker.c - messages in memory: confirmed, refused, cut off, doubled, lost, in any
 * order, and again. */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

const char *const queue_names[2] = {"default", "other"};

void broker_reset(struct model_broker *b)
{
    b->is_up = true;
    b->known[0] = b->known[1] = false;
    b->count = 0;
    b->tag = 0;
    memset(b->consumers, 0, sizeof b->consumers);
    memset(b->confirmed, 0, sizeof b->confirmed);
}

static void enqueue(struct model_broker *b, int queue, int64_t seq)
{
    if (b->known[queue] && b->count < MESSAGES)
        b->messages[b->count++] = (struct message){seq, queue, -1, 0};
}

static void drop(struct model_broker *b, size_t i)
{
    b->messages[i] = b->messages[--b->count];
}

void broker_lose_some(struct sim *s)
{
    struct model_broker *b = &s->broker;

    for (size_t i = b->count; i-- > 0;) {
        if (b->messages[i].holder < 0 && sim_below(s, 2))
            drop(b, i);
    }
}

/* -- publishing -- */

static struct life *life_of(struct broker *b)
{
    return (struct life *)((char *)b - offsetof(struct life, publisher));
}

static bool connect_publisher(struct life *l)
{
    if (!l->is_dead && !l->is_connected)
        l->is_connected = l->sim->broker.is_up && !sim_happens(l->sim, l->sim->faults);
    return !l->is_dead && l->is_connected;
}

/* One message: true when it is confirmed. */
static bool publish_one(struct sim *s, const struct broker_message *m)
{
    int queue = strcmp(m->queue, queue_names[0]) != 0;
    int64_t seq = strtoll(m->id, NULL, 10);
    const char *id = strstr(m->body, "\"task_id\":\"");

    if (id) /* else it only says that there is more */
        check_published(s, id + strlen("\"task_id\":\""));
    bool refused = sim_happens(s, s->faults), doubled = sim_happens(s, s->faults);

    if (refused)
        return false;
    enqueue(&s->broker, queue, seq);
    if (doubled)
        enqueue(&s->broker, queue, seq);
    if (sim_happens(s, s->faults)) /* its confirm comes too late */
        return false;
    if (seq < ROWS)
        s->broker.confirmed[seq] = true;
    return true;
}

static int publish(struct broker *b, const struct broker_message *messages, size_t count,
                   int timeout_ms, bool *ret_confirmed, struct err *err)
{
    struct life *l = life_of(b);
    struct sim *s = l->sim;
    bool all = true;

    (void)timeout_ms;
    sim_meddle(s);
    if (!connect_publisher(l))
        return err_set(err, -E_UNAVAILABLE, "the broker is away");
    size_t cut = sim_happens(s, s->faults) ? (size_t)sim_below(s, (int)count + 1) : count;
    for (size_t i = 0; i < count; i++) {
        if (i >= cut && sim_below(s, 2))
            continue;
        bool confirmed = publish_one(s, &messages[i]);
        ret_confirmed[i] = confirmed && i < cut; /* after the cut nothing comes back */
        all = all && ret_confirmed[i];
    }
    sim_say(s, "published", "manager", l->number, (int)count);
    sim_meddle(s);
    if (cut < count || l->is_dead) {
        l->is_connected = false;
        return err_set(err, -E_UNAVAILABLE, "the link was cut");
    }
    return all ? 0 : err_set(err, -E_TIMEOUT, "a queue did not take its messages");
}

static int pump(struct broker *b, struct err *err)
{
    struct life *l = life_of(b);

    if (!l->is_dead && l->is_connected && l->sim->broker.is_up)
        return 0;
    l->is_connected = false;
    return err_set(err, -E_UNAVAILABLE, "the link is lost");
}

static bool is_up(const struct broker *b)
{
    return ((const struct life *)((const char *)b - offsetof(struct life, publisher)))
        ->is_connected;
}

void publisher_open(struct life *l)
{
    static const struct broker_ops ops = {
        .name = "model", .delivers = true, .publish = publish, .pump = pump, .is_up = is_up};

    l->publisher = (struct broker){&ops, BROKER_PUBLISH};
}

/* -- consuming -- */

int consumer_start(struct sim *s, int worker, int prefetch)
{
    if (!s->broker.is_up || sim_happens(s, s->faults))
        return -E_UNAVAILABLE;
    s->broker.known[0] = s->broker.known[1] = true;
    s->broker.consumers[worker] = (struct consumer){true, prefetch};
    return 0;
}

void consumer_lose(struct sim *s, int worker)
{
    s->broker.consumers[worker].is_consuming = false;
    for (size_t i = 0; i < s->broker.count; i++) {
        if (s->broker.messages[i].holder == worker)
            s->broker.messages[i].holder = -1;
    }
}

bool consumer_next(struct sim *s, int worker, uint64_t *ret_tag)
{
    struct model_broker *b = &s->broker;
    int held = 0, ready = 0;

    if (!b->consumers[worker].is_consuming)
        return false;
    for (size_t i = 0; i < b->count; i++) {
        held += b->messages[i].holder == worker;
        ready += b->messages[i].holder < 0;
    }
    if (held >= b->consumers[worker].prefetch || ready == 0)
        return false;
    int pick = sim_below(s, ready); /* in any order */
    for (size_t i = 0; i < b->count; i++) {
        struct message *m = &b->messages[i];
        if (m->holder >= 0 || pick-- > 0)
            continue;
        m->holder = worker;
        m->tag = *ret_tag = ++b->tag;
        return true;
    }
    return false;
}

void consumer_ack(struct sim *s, int worker, uint64_t tag)
{
    for (size_t i = 0; i < s->broker.count; i++) {
        if (s->broker.messages[i].holder == worker && s->broker.messages[i].tag == tag) {
            drop(&s->broker, i);
            return;
        }
    }
}
