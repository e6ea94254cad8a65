#include "pipeline_rules.h"

#include <assert.h>

#define TO(name)  (1U << PIPELINE_##name)
#define TO_AN_END (TO(FINISHED) | TO(CANCELLED) | TO(FAILED))

static const unsigned moves[PIPELINE_STATUS__COUNT] = {
    [PIPELINE_CREATED] = TO(PENDING) | TO_AN_END,
    [PIPELINE_PENDING] = TO(CREATED) | TO_AN_END,
};

bool pipeline_can_move(enum pipeline_status from, enum pipeline_status to)
{
    assert(from < PIPELINE_STATUS__COUNT && to < PIPELINE_STATUS__COUNT);

    return (moves[from] >> to) & 1U;
}

static bool find(const enum pipeline_status *steps, size_t count, unsigned wanted, size_t *ret)
{
    for (size_t i = 0; i < count; i++) {
        if ((wanted >> steps[i]) & 1U) {
            *ret = i;
            return true;
        }
    }
    return false;
}

struct pipeline_verdict pipeline_judge(const enum pipeline_status *steps, size_t count)
{
    static const struct {
        unsigned wanted; /* bit set of states */
        enum pipeline_status status;
    } precedence[] = {
        {TO(FAILED), PIPELINE_FAILED},
        {TO(CANCELLED), PIPELINE_CANCELLED},
        {TO(CREATED) | TO(PENDING), PIPELINE_PENDING},
    };
    struct pipeline_verdict verdict = {PIPELINE_FINISHED, count - 1};

    assert(count > 0);
    for (size_t i = 0; i < sizeof precedence / sizeof precedence[0]; i++) {
        if (find(steps, count, precedence[i].wanted, &verdict.step)) {
            verdict.status = precedence[i].status;
            break;
        }
    }
    return verdict;
}

enum pipeline_call pipeline_first_call(enum pipeline_status step, bool start_ended,
                                       bool has_continue)
{
    assert(!pipeline_status_is_final(step));

    if (step == PIPELINE_CREATED)
        return PIPELINE_CALL_START;
    return start_ended || has_continue ? PIPELINE_CALL_CONTINUE : PIPELINE_CALL_START;
}
