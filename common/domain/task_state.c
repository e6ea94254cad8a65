#include "task_state.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define TO(name) (1U << TASK_##name)

static const struct {
    const char *name;
    unsigned next; /* bit set of the states this one may move to */
    bool terminal;
} rules[TASK_STATE__COUNT] = {
    [TASK_RECEIVED] = {"RECEIVED", TO(PROCESSING) | TO(FAILED) | TO(CANCELLED), false},
    [TASK_PROCESSING] = {"PROCESSING", TO(RECEIVED) | TO(DONE) | TO(FAILED) | TO(CANCELLED),
                         false},
    [TASK_DONE] = {"DONE", 0, true},
    [TASK_FAILED] = {"FAILED", TO(RECEIVED), true},
    [TASK_CANCELLED] = {"CANCELLED", 0, true},
};

bool task_state_can_move(enum task_state from, enum task_state to)
{
    assert(from < TASK_STATE__COUNT && to < TASK_STATE__COUNT);

    return (rules[from].next >> to) & 1U;
}

bool task_state_is_terminal(enum task_state state)
{
    assert(state < TASK_STATE__COUNT);

    return rules[state].terminal;
}

const char *task_state_name(enum task_state state)
{
    assert(state < TASK_STATE__COUNT);

    return rules[state].name;
}

bool task_state_parse(const char *name, enum task_state *ret_state)
{
    for (unsigned i = 0; name && i < TASK_STATE__COUNT; i++) {
        if (strcmp(name, rules[i].name) == 0) {
            *ret_state = (enum task_state)i;
            return true;
        }
    }
    return false;
}
