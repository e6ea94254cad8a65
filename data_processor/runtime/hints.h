/* hints.h - when to claim, when to wait, what to do with broker deliveries. Pure.
 *
 * A worker with room waits at its task manager, which hands it whatever comes in there. What
 * came in through another manager on the same database, a delivery of the broker tells: it is a
 * hint that its queue has work, for one task or for many, nothing more. It is held
 * unacknowledged until a claim has been answered, so that a hint is not lost with a worker that
 * could not act on it; and a worker without a free slot gives its hints back to others after a
 * while. */
#ifndef RUNTIME_HINTS_H
#define RUNTIME_HINTS_H

#include <stdbool.h>
#include <stdint.h>

enum hints_link {
    HINTS_NONE,   /* there is no broker: long-poll */
    HINTS_DOWN,   /* there should be one: long-poll in short turns, trying it in between */
    HINTS_PAUSED, /* connected, deliveries stopped because no slot was free */
    HINTS_UP
};

struct hints {
    enum hints_link link;
    int held;              /* deliveries not acknowledged */
    int room;              /* attempts that slots are free for */
    int64_t full_since_ms; /* when room became 0; means something while it is */
    int64_t retry_at_ms;   /* no claim before this: the manager was away */
    int64_t poll_ms;       /* setting: how long a claim waits while the link is up */
    bool is_in_touch;      /* the last claim was answered */
};

enum {
    HINTS_LONG_POLL_MS = 20000,
    HINTS_SHORT_POLL_MS = 2000, /* while the broker is down */
    HINTS_GIVE_BACK_MS = 1000,  /* without a free slot */
    HINTS_WAIT_MAX_MS = 1000,   /* a broker's owner has to come by that often */
    HINTS_ASIDE_MAX = 4         /* of the room, kept for claims aside */
};

enum hints_action {
    HINTS_WAIT,  /* for a delivery, a free slot or ms milliseconds */
    HINTS_CLAIM, /* up to `limit`, the server waiting up to `ms` */
    HINTS_CONSUME,
    HINTS_PAUSE
};

struct hints_plan {
    enum hints_action action;
    int limit;
    int64_t ms;
};

struct hints_plan hints_next(const struct hints *h, int64_t now_ms);

/* Notes that a claim of `asked` was answered with `got`; returns how many of the held
 * deliveries are to be acknowledged (h->held is then what stays). */
int hints_claimed(struct hints *h, int asked, int got);

#endif
