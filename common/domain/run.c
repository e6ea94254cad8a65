#include "run.h"

#include <stdlib.h>
#include <string.h>

void run_release(struct run *r)
{
    if (!r)
        return;
    for (size_t i = 0; r->steps && i < r->step_count; i++) {
        free(r->steps[i].params);
        free(r->steps[i].output);
    }
    free(r->steps);
    free(r->definition);
    free(r->input);
    memset(r, 0, sizeof *r);
}

bool run_name_is_valid(const char *name)
{
    return task_word_is_valid(name) && !strchr(name, '.');
}

enum run_next run_next(const struct run *r, const enum task_state *task,
                       enum task_state *ret_step, enum task_state *ret_end)
{
    bool is_last = (size_t)r->at + 1 >= r->step_count;

    if (task_state_is_terminal(r->state))
        return RUN_WAITS;
    if (task && !task_state_is_terminal(*task))
        return r->is_cancelling ? RUN_CANCEL_TASK : RUN_WAITS;
    *ret_step = task ? *task : TASK_FAILED;
    *ret_end = *ret_step;
    if (*ret_step != TASK_DONE)
        return RUN_ENDS;
    if (r->is_cancelling)
        *ret_end = TASK_CANCELLED;
    return r->is_cancelling || is_last ? RUN_ENDS : RUN_BEGIN_STEP;
}

static int first_open(const struct run *r)
{
    int at = 0;

    while ((size_t)at < r->step_count && r->steps[at].state == TASK_DONE)
        at++;
    return at;
}

int run_resume_point(const struct run *r, const char *from, int *ret_index, struct err *err)
{
    int open = first_open(r), at = open;

    if (!task_state_is_terminal(r->state))
        return err_set(err, -E_BAD_STATE, "run %s is %s and cannot be resumed", r->id,
                       task_state_name(r->state));
    if (!from && r->state == TASK_DONE)
        return err_set(err, -E_BAD_STATE,
                       "run %s is DONE; name the step from which it is to be done again",
                       r->id);
    if (from) {
        for (at = 0; (size_t)at < r->step_count && strcmp(r->steps[at].name, from) != 0;)
            at++;
        if ((size_t)at == r->step_count)
            return err_set(err, -E_NOT_FOUND, "run %s has no step '%.64s'", r->id, from);
        if (at > open)
            return err_set(err, -E_BAD_STATE,
                           "step '%s' comes after '%s', which is not DONE: resume from there",
                           from, r->steps[open].name);
    }
    *ret_index = at;
    return 0;
}
