/* pace.h - how much work to hold ahead. Pure; one thread.
 *
 * A claim costs a call and a transaction, whatever the number of its tasks. So a worker whose
 * attempts are short claims what its slots get through in PACE_AHEAD_MS before they ask, and a
 * worker whose attempts are long holds nothing ahead. Attempts may turn out longer than those
 * before them: once what is held would take its slots more than PACE_STUCK_MS, or none of them
 * has ended anything for so long, it is handed back for others to do. */
#ifndef RUNTIME_PACE_H
#define RUNTIME_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_AHEAD_MS = 100, PACE_AHEAD_MAX = 128, PACE_STUCK_MS = 300 };

struct pace {
    double ms; /* of a slot for one attempt, the latest counting most */
};

void pace_init(struct pace *p); /* as if attempts were long */
void pace_note(struct pace *p, int64_t ms);

/* Attempts that `slots` slots get through in PACE_AHEAD_MS. */
unsigned pace_ahead(const struct pace *p, unsigned slots);

/* Would `slots` slots take longer than PACE_STUCK_MS for so many attempts, or for ever? */
bool pace_is_stuck(const struct pace *p, unsigned slots, unsigned attempts);

#endif
