/* pace.h - how much work to hold ahead. Pure; one thread.
 *
 * A claim costs a call and a transaction, whatever the number of its tasks. So a worker whose
 * attempts are short claims what its slots get through in PACE_AHEAD_MS before they ask, and a
 * worker whose attempts are long holds nothing ahead. What is held ahead waits for no other
 * worker longer than that: once no slot has ended anything for PACE_STUCK_MS it is handed
 * back. */
#ifndef RUNTIME_PACE_H
#define RUNTIME_PACE_H

#include <stdint.h>

enum { PACE_AHEAD_MS = 100, PACE_AHEAD_MAX = 128, PACE_STUCK_MS = 300 };

struct pace {
    double ms; /* of a slot for one attempt, the latest counting most */
};

void pace_init(struct pace *p); /* as if attempts were long */
void pace_note(struct pace *p, int64_t ms);

/* Attempts that `slots` slots get through in PACE_AHEAD_MS. */
unsigned pace_ahead(const struct pace *p, unsigned slots);

#endif
