/* boot_clock.h - milliseconds since the machine was started, sleep included: the one clock that
 * all processes of a machine share and that is never set. */
#ifndef PIPELINE_BOOT_CLOCK_H
#define PIPELINE_BOOT_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t boot_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_BOOTTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

#endif
