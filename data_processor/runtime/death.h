/* death.h - the end of a slot's process, told to people. Pure. */
#ifndef RUNTIME_DEATH_H
#define RUNTIME_DEATH_H

#include <stdint.h>

#include "worker_protocol.h"

/* Why the worker itself ended a slot's process. */
enum death_cause {
    DEATH_OWN,      /* it did not: the process died by itself */
    DEATH_GARBLED,  /* it said what no slot may say, or not in time what it has to */
    DEATH_DEADLINE, /* the attempt passed its deadline */
    DEATH_LOST,     /* the attempt is no longer ours: cancelled, or its lease ran out */
    DEATH_STOP      /* the worker stops */
};

struct death {
    enum death_cause cause;
    int status; /* as from wait4 */
    int64_t wall_ms, cpu_ms;
    int64_t peak_rss_bytes;   /* of the attempt; 0: known only to be below the last member */
    int64_t timeout_ms;       /* of the attempt */
    int64_t peak_below_bytes; /* 0: not known */
};

/* Fills outcome, error and usage of the report about the attempt that died with the process:
 * failed with class `crash` or `timeout`, or released. */
void death_report(const struct death *d, struct report *ret);

/* "killed by signal 9 (SIGKILL)" or "ended with exit code 3". */
enum { DEATH_TEXT_MAX = 64 };
void death_describe(int status, char ret_text[DEATH_TEXT_MAX]);

#endif
