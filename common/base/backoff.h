/* backoff.h - how long to wait before trying again.
 *
 * Exponential back-off with full jitter: a random time between 0 and
 * min(cap, base * 2^tries). (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture
 * Blog, 2015: full jitter spreads a herd best.) Pure but for the random number; any thread. */
#ifndef BASE_BACKOFF_H
#define BASE_BACKOFF_H

#include <stdint.h>

/* The ceiling before jitter, in milliseconds; tries counts from 0. */
int64_t backoff_ceiling_ms(int64_t base_ms, int64_t cap_ms, unsigned tries);

/* The jittered wait: 0 <= result <= ceiling. */
int64_t backoff_ms(int64_t base_ms, int64_t cap_ms, unsigned tries);

#endif
