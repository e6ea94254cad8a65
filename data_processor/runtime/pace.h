/* pace.h - how much work to hold ahead, and how long to gather what has ended. Pure; one
 * thread.
 *
 * A claim costs a call and a transaction, whatever the number of its tasks. So a worker whose
 * attempts are short claims what its slots get through in PACE_AHEAD_MS before they ask, and a
 * worker whose attempts are long holds nothing ahead. Attempts may turn out longer than those
 * before them: once what is held would take its slots more than PACE_STUCK_MS, or none of them
 * has ended anything for so long, it is handed back for others to do.
 *
 * A report costs a call and a transaction as well. So while short work waits for slots, what
 * has ended waits up to PACE_BATCH_MS for what soon will. */
#ifndef RUNTIME_PACE_H
#define RUNTIME_PACE_H

#include <stdbool.h>
#include <stdint.h>

enum { PACE_AHEAD_MS = 100, PACE_AHEAD_MAX = 512, PACE_STUCK_MS = 300 };
enum { PACE_SLOT_MS = 2, PACE_SLOT_STUCK_MS = 10 };
enum {
    PACE_BATCH_MS = 5,
    PACE_BATCH_FULL = 128, /* more in one transaction hardly makes each cheaper */
    PACE_BATCH_WORTH = 4   /* for fewer it is not worth a wait */
};

struct pace {
    double ms; /* of a slot for one attempt, the latest counting most */
};

void pace_init(struct pace *p); /* as if attempts were long */
void pace_note(struct pace *p, int64_t ms);

/* Attempts that `slots` slots get through in PACE_AHEAD_MS. */
unsigned pace_ahead(const struct pace *p, unsigned slots);

/* Attempts that a slot may be handed while it has one under way: what it gets through in
 * PACE_SLOT_MS. Once it has had one for PACE_SLOT_STUCK_MS, others are to have those behind. */
unsigned pace_slot_ahead(const struct pace *p);

/* Would `slots` slots take longer than PACE_STUCK_MS for so many attempts, or for ever? */
bool pace_is_stuck(const struct pace *p, unsigned slots, unsigned attempts);

/* With `ahead` as pace_ahead said and so many ended, do a few more come in PACE_BATCH_MS, and
 * is there room for them in a batch? */
bool pace_fills_batch(unsigned ahead, unsigned ended);

#endif
