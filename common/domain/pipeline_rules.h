/* pipeline_rules.h - what the steps say about their pipeline, and which call a step gets next.
 *
 * A tick of a pipeline looks at the steps in their order, as they are stored:
 *   1. any step failed: the pipeline failed; else any cancelled: cancelled; else all finished:
 *      finished (so fail > cancel > finish), and the tick is over;
 *   2. else the current step is the first that is created or pending: it alone is called.
 * A step that ends is noticed by the next tick: one step advances per tick.
 *
 * Pure rules: no I/O, no clock, any thread. */
#ifndef DOMAIN_PIPELINE_RULES_H
#define DOMAIN_PIPELINE_RULES_H

#include <stddef.h>

#include "pipeline_status.h"

struct pipeline_verdict {
    enum pipeline_status status; /* PIPELINE_PENDING while there is a current step */
    size_t step;                 /* the current one, or the first that decided the end */
};

/* `count` is at least 1. */
struct pipeline_verdict pipeline_judge(const enum pipeline_status *steps, size_t count);

enum pipeline_call { PIPELINE_CALL_START, PIPELINE_CALL_CONTINUE };

/* The call that the current step gets first in a tick. A step is started once: when it is
 * pending, on_continue is asked. But when its start never came back (`start_ended` false: the
 * process died in it) and it has no on_continue that could find out how far it came, then only
 * another start can bring it further. */
enum pipeline_call pipeline_first_call(enum pipeline_status step, bool start_ended,
                                       bool has_continue);

/* May a step, or a pipeline, be moved from one state to another? See the drawing. */
bool pipeline_can_move(enum pipeline_status from, enum pipeline_status to);

#endif
