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

unsigned pace_ahead(const struct pace *p, unsigned slots)
{
    double ahead = slots * PACE_AHEAD_MS / (p->ms > least_ms ? p->ms : least_ms);

    return ahead < PACE_AHEAD_MAX ? (unsigned)ahead : PACE_AHEAD_MAX;
}
