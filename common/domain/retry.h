/* retry.h - what happens to a task whose attempt failed. Pure rules, any thread. */
#ifndef DOMAIN_RETRY_H
#define DOMAIN_RETRY_H

#include "task.h"

struct retry_policy {
    int64_t base_ms, cap_ms; /* of the exponential back-off with full jitter */
};

struct retry_decision {
    enum task_state to; /* TASK_RECEIVED or TASK_FAILED */
    int64_t delay_ms;   /* until the next attempt may start, when to is TASK_RECEIVED */
};

/* `attempt` counts the failed one, from 1. Only input and cancelled errors are final while
 * attempts are left. A lost worker or a released attempt is no fault of the task's: the next
 * attempt need not wait (`no_wait`). */
struct retry_decision retry_decide(const struct retry_policy *policy, enum error_class class,
                                   int attempt, int max_attempts, bool no_wait);

/* Is a task poison, i.e. to be given up whatever attempts are left, because an attempt ended
 * with `class` after `crashes` earlier ones had crashed? What kills one process after another
 * is more likely the task than bad luck. max_crashes 0: never. */
bool retry_is_poison(int max_crashes, enum error_class class, int crashes);

#endif
