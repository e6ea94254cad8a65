/* broker_refused.h - queues that are left alone for a while, so that one bad queue does not
 * hold up the others. For this room only.
 *
 * A queue is refused for REFUSED_BASE_MS, and for twice the time before with each further
 * failure, up to REFUSED_CAP_MS; then it may be tried again, and is forgotten when it works.
 * Holds REFUSED_MAX queues; one more takes the place of the one whose trial is nearest. Pure;
 * a zeroed table is empty. */
#ifndef BROKER_REFUSED_H
#define BROKER_REFUSED_H

#include "broker.h"

enum { REFUSED_MAX = 256, REFUSED_BASE_MS = 5000, REFUSED_CAP_MS = 300000 };

struct refused {
    struct refused_queue {
        char name[BROKER_QUEUE_MAX];
        unsigned failures;
        int64_t until_ms;
    } queues[REFUSED_MAX];
    size_t count;
};

/* The time from when on the queue may be tried again (perhaps past), 0 when nothing is held
 * against it. */
int64_t refused_until_ms(const struct refused *r, const char *queue);

void refused_add(struct refused *r, const char *queue, int64_t now_ms);
void refused_forget(struct refused *r, const char *queue);

#endif
