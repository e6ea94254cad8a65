/* claim_hub.c - claims that wait for work (long polls).
 *
 * One thread goes over the parked claims in the order they came whenever somebody says there
 * may be work, and twice a second for what nobody says: tasks that became due, or that came
 * in through another task manager on the same database. A pass asks the database once per
 * set of queues that turns out empty, not once per waiter. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "service_internal.h"

enum { TICK_MS = 500, EMPTY_SETS_MAX = 64, LOOK_MS = 1000 };

struct waiter {
    struct waiter *next;
    struct claim_request request;
    struct claim_reply reply;
    int64_t until_ms;  /* monotonic */
    int64_t looked_ms; /* when its client was last seen */
};

struct claim_hub {
    struct service *service;
    struct rounds rounds;
    struct waiter *first, **last; /* under rounds.lock */
    atomic_size_t parked;         /* of all waiters, those of the running pass included */
    atomic_bool is_draining;
};

static bool same_queues(const struct claim_request *a, const struct claim_request *b)
{
    return a->queue_count == b->queue_count && strcmp(a->task_id, b->task_id) == 0 &&
           memcmp(a->queues, b->queues, a->queue_count * sizeof a->queues[0]) == 0;
}

struct pass {
    const struct claim_request *empty[EMPTY_SETS_MAX]; /* known to have no work now */
    size_t empty_count;
    bool store_failed; /* asking again for every waiter would hold up all of them */
};

static bool is_known_empty(const struct pass *p, const struct claim_request *r)
{
    for (size_t i = 0; i < p->empty_count; i++) {
        if (same_queues(p->empty[i], r))
            return true;
    }
    return false;
}

/* One try for this waiter. */
static int try_claim(struct claim_hub *hub, struct waiter *w, struct pass *p, struct work **ret,
                     size_t *ret_count, struct err *err)
{
    int rc = claim_once(hub->service, &w->request, ret, ret_count, err);

    p->store_failed = rc != 0;
    if (!rc && *ret_count < (size_t)w->request.limit && p->empty_count < EMPTY_SETS_MAX)
        p->empty[p->empty_count++] = &w->request;
    return rc;
}

/* True when the waiter has been answered. */
static bool serve(struct claim_hub *hub, struct waiter *w, struct pass *p)
{
    struct work *items = NULL;
    size_t count = 0;
    struct err why = ERR_INIT;
    int rc = 0;
    int64_t now = clock_mono_ms();
    bool over = now >= w->until_ms || atomic_load(&hub->is_draining);
    bool asks =
        !atomic_load(&hub->is_draining) && !p->store_failed && !is_known_empty(p, &w->request);

    if (asks || now - w->looked_ms >= LOOK_MS) {
        w->looked_ms = now;
        if (!w->reply.is_alive(w->reply.arg))
            asks = false, over = true;
    }
    if (asks)
        rc = try_claim(hub, w, p, &items, &count, &why);
    if (!rc && count == 0 && !over)
        return false;
    w->reply.answer(w->reply.arg, rc, items, count, &why);
    work_items_free(items, count);
    atomic_fetch_sub(&hub->parked, 1);
    return true;
}

/* Takes the whole list, serves it, and puts those that go on waiting back in front. */
void claim_hub_pass(struct claim_hub *hub)
{
    struct pass p = {.empty_count = 0};
    struct waiter *answered = NULL;

    pthread_mutex_lock(&hub->rounds.lock);
    struct waiter *list = hub->first;
    hub->first = NULL;
    hub->last = &hub->first;
    pthread_mutex_unlock(&hub->rounds.lock);

    for (struct waiter **at = &list; *at;) {
        struct waiter *w = *at;
        if (serve(hub, w, &p)) {
            *at = w->next;
            w->next = answered; /* kept until the pass ends: p.empty may point into it */
            answered = w;
        } else {
            at = &w->next;
        }
    }
    while (answered) {
        struct waiter *next = answered->next;
        free(answered);
        answered = next;
    }

    pthread_mutex_lock(&hub->rounds.lock);
    struct waiter **end = &list;
    while (*end)
        end = &(*end)->next;
    *end = hub->first;
    if (!hub->first)
        hub->last = end == &list ? &hub->first : end;
    hub->first = list;
    pthread_mutex_unlock(&hub->rounds.lock);
}

/* Until when nothing needs to be done unless somebody pokes. */
static int64_t idle_ms(struct claim_hub *hub)
{
    int64_t now = clock_mono_ms(), wait = TICK_MS;

    pthread_mutex_lock(&hub->rounds.lock);
    for (const struct waiter *w = hub->first; w; w = w->next) {
        if (w->until_ms - now < wait)
            wait = w->until_ms > now ? w->until_ms - now : 0;
    }
    if (!hub->first)
        wait = 60000;
    pthread_mutex_unlock(&hub->rounds.lock);
    return wait;
}

static void *hub_run(void *arg)
{
    struct claim_hub *hub = arg;

    while (rounds_wait(&hub->rounds, idle_ms(hub)))
        claim_hub_pass(hub);
    claim_hub_pass(hub);
    return NULL;
}

int claim_hub_new(struct service *s, struct claim_hub **ret, struct err *err)
{
    struct claim_hub *hub = calloc(1, sizeof *hub);

    if (!hub)
        return err_set(err, -E_NO_MEMORY, "no memory for the claim hub");
    hub->service = s;
    hub->last = &hub->first;
    rounds_init(&hub->rounds);
    *ret = hub;
    return 0;
}

int claim_hub_start(struct claim_hub *hub, struct err *err)
{
    return rounds_start(&hub->rounds, hub_run, hub, err);
}

void claim_hub_poke(struct claim_hub *hub)
{
    if (atomic_load(&hub->parked))
        rounds_poke(&hub->rounds);
}

void claim_hub_drain(struct claim_hub *hub)
{
    pthread_mutex_lock(&hub->rounds.lock); /* orders it with claim_hub_park */
    atomic_store(&hub->is_draining, true);
    pthread_mutex_unlock(&hub->rounds.lock);
    rounds_poke(&hub->rounds);
}

void claim_hub_stop_free(struct claim_hub *hub)
{
    if (!hub)
        return;
    claim_hub_drain(hub);
    rounds_stop(&hub->rounds);
    rounds_release(&hub->rounds);
    free(hub);
}

bool claim_hub_park(struct claim_hub *hub, const struct claim_request *request,
                    const struct claim_reply *reply)
{
    struct waiter *w = calloc(1, sizeof *w);

    if (!w)
        return false;
    w->request = *request;
    w->reply = *reply;
    w->looked_ms = clock_mono_ms();
    w->until_ms = w->looked_ms + request->wait_ms;

    pthread_mutex_lock(&hub->rounds.lock);
    bool open = !atomic_load(&hub->is_draining);
    if (open) {
        atomic_fetch_add(&hub->parked, 1);
        *hub->last = w;
        hub->last = &w->next;
    }
    pthread_mutex_unlock(&hub->rounds.lock);
    if (!open) {
        free(w);
        return false;
    }
    /* Work that came in between the caller's own try and now must not wait for a tick. */
    rounds_poke(&hub->rounds);
    return true;
}
