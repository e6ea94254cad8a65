#include "backoff.h"

#include <sys/random.h>

int64_t backoff_ceiling_ms(int64_t base_ms, int64_t cap_ms, unsigned tries)
{
    int64_t wait = base_ms;

    for (unsigned i = 0; i < tries && wait < cap_ms; i++)
        wait *= 2;
    return wait < cap_ms ? wait : cap_ms;
}

int64_t backoff_ms(int64_t base_ms, int64_t cap_ms, unsigned tries)
{
    int64_t ceiling = backoff_ceiling_ms(base_ms, cap_ms, tries);
    uint64_t random = 0;

    if (ceiling <= 0)
        return 0;
    if (getrandom(&random, sizeof random, GRND_NONBLOCK) != (ssize_t)sizeof random)
        return ceiling; /* no jitter is better than no wait */
    return (int64_t)(random % ((uint64_t)ceiling + 1));
}
