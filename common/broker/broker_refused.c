/* broker_refused.c - a small table; see the header. */
#include "broker_refused.h"

#include <string.h>

#include "backoff.h"

/* The queue's place, or r->count. */
static size_t find(const struct refused *r, const char *queue)
{
    size_t at = 0;

    while (at < r->count && strcmp(r->queues[at].name, queue) != 0)
        at++;
    return at;
}

static size_t nearest(const struct refused *r)
{
    size_t at = 0;

    for (size_t i = 1; i < r->count; i++) {
        if (r->queues[i].until_ms < r->queues[at].until_ms)
            at = i;
    }
    return at;
}

int64_t refused_until_ms(const struct refused *r, const char *queue)
{
    size_t at = find(r, queue);

    return at < r->count ? r->queues[at].until_ms : 0;
}

void refused_add(struct refused *r, const char *queue, int64_t now_ms)
{
    size_t at = find(r, queue);
    struct refused_queue *q;

    if (at == r->count) {
        at = r->count < REFUSED_MAX ? r->count++ : nearest(r);
        r->queues[at].failures = 0;
        memcpy(r->queues[at].name, queue, strlen(queue) + 1);
    }
    q = &r->queues[at];
    q->until_ms = now_ms + backoff_ceiling_ms(REFUSED_BASE_MS, REFUSED_CAP_MS, q->failures++);
}

void refused_forget(struct refused *r, const char *queue)
{
    size_t at = find(r, queue);

    if (at < r->count)
        r->queues[at] = r->queues[--r->count];
}
