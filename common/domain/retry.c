#include "retry.h"

#include "backoff.h"

static const bool may_retry[ERROR__COUNT] = {
    [ERROR_NONE] = true,  [ERROR_INPUT] = false,  [ERROR_TRANSIENT] = true,
    [ERROR_CRASH] = true, [ERROR_TIMEOUT] = true, [ERROR_CANCELLED] = false,
};

struct retry_decision retry_decide(const struct retry_policy *policy, enum error_class class,
                                   int attempt, int max_attempts, bool no_wait)
{
    struct retry_decision decision = {TASK_FAILED, 0};

    if (may_retry[class] && attempt < max_attempts) {
        unsigned tries = attempt > 1 ? (unsigned)attempt - 1 : 0;
        decision.to = TASK_RECEIVED;
        decision.delay_ms = no_wait ? 0 : backoff_ms(policy->base_ms, policy->cap_ms, tries);
    }
    return decision;
}

bool retry_is_poison(int max_crashes, enum error_class class, int crashes)
{
    return class == ERROR_CRASH && max_crashes > 0 && crashes + 1 >= max_crashes;
}
