#include "hints.h"

#include <assert.h>

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static struct hints_plan wait_for(int64_t ms)
{
    return (struct hints_plan){HINTS_WAIT, 0, least(ms, HINTS_WAIT_MAX_MS)};
}

static struct hints_plan claim(int limit, int64_t ms)
{
    return (struct hints_plan){HINTS_CLAIM, limit, ms};
}

static struct hints_plan next_when_full(const struct hints *h, int64_t now_ms)
{
    int64_t rest = h->full_since_ms + HINTS_GIVE_BACK_MS - now_ms;

    if (h->link != HINTS_UP || h->held == 0)
        return wait_for(HINTS_WAIT_MAX_MS);
    return rest > 0 ? wait_for(rest) : (struct hints_plan){HINTS_PAUSE, 0, 0};
}

/* While one claim waits at this manager, work that came in elsewhere is claimed aside: not more
 * than there is room for in all, or what is too much would have to be handed back. */
static int aside(int room)
{
    return room / 2 < HINTS_ASIDE_MAX ? room / 2 : HINTS_ASIDE_MAX;
}

/* How long the manager may keep a claim without an answer. */
static int64_t patience_ms(const struct hints *h)
{
    if (h->held > 0)
        return 0;
    if (!h->is_in_touch) /* a long poll would not tell for a while whether anybody is there */
        return 0;
    if (h->link == HINTS_UP)
        return least(h->poll_ms, HINTS_LONG_POLL_MS);
    return h->link == HINTS_NONE ? HINTS_LONG_POLL_MS : HINTS_SHORT_POLL_MS;
}

struct hints_plan hints_next(const struct hints *h, int64_t now_ms)
{
    if (h->room <= 0)
        return next_when_full(h, now_ms);
    if (h->link == HINTS_PAUSED)
        return (struct hints_plan){HINTS_CONSUME, 0, 0};
    if (now_ms < h->retry_at_ms)
        return wait_for(h->retry_at_ms - now_ms);
    int64_t ms = patience_ms(h);
    return claim(h->link == HINTS_UP && ms > 0 ? h->room - aside(h->room) : h->room, ms);
}

int hints_claimed(struct hints *h, int asked, int got)
{
    assert(asked > 0 && got >= 0);
    h->is_in_touch = true;
    /* Fewer: the queues are drained, and what is still held has nothing behind it. */
    int acked = got < asked || got > h->held ? h->held : got;
    h->held -= acked;
    return acked;
}
