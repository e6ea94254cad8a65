#include "pace.h"

static const double weight = 1.0 / 8, least_ms = 0.1;

void pace_init(struct pace *p)
{
    p->ms = 10 * PACE_AHEAD_MS;
}

void pace_note(struct pace *p, int64_t ms)
{
    p->ms += weight * ((double)(ms > 0 ? ms : 0) - p->ms);
}

static double attempt_ms(const struct pace *p)
{
    return p->ms > least_ms ? p->ms : least_ms;
}

unsigned pace_ahead(const struct pace *p, unsigned slots)
{
    double ahead = slots * PACE_AHEAD_MS / attempt_ms(p);

    return ahead < PACE_AHEAD_MAX ? (unsigned)ahead : PACE_AHEAD_MAX;
}

unsigned pace_slot_ahead(const struct pace *p)
{
    return (unsigned)(PACE_SLOT_MS / attempt_ms(p));
}

bool pace_is_stuck(const struct pace *p, unsigned slots, unsigned attempts)
{
    return attempts * attempt_ms(p) > (double)slots * PACE_STUCK_MS;
}

bool pace_fills_batch(unsigned ahead, unsigned ended)
{
    return ahead * PACE_BATCH_MS >= PACE_BATCH_WORTH * PACE_AHEAD_MS && ended < PACE_BATCH_FULL;
}
