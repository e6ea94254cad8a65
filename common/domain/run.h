/* run.h - what a run of a pipeline is: one execution of its steps, each of which is a task.
 *
 * Plain data shared by every room; no I/O, no clock. A run and its steps use the states of
 * tasks (task_state.h): a run is PROCESSING until it is DONE, FAILED or CANCELLED, a step is
 * RECEIVED until its task was submitted. Times are milliseconds since the Unix epoch on the
 * database's clock, 0 for "not yet". Texts are UTF-8 and JSON where it is said. */
#ifndef DOMAIN_RUN_H
#define DOMAIN_RUN_H

#include "task.h"

enum {
    RUN_NAME_MAX = 64, /* of a pipeline, a step or an input, with its NUL */
    RUN_STEPS_LIMIT = 100,
    RUN_INPUTS_LIMIT = 32,
    RUN_TEXT_LIMIT = 1024 * 1024 /* bytes of the params of a step, or of its output */
};

struct run_step {
    char name[RUN_NAME_MAX];
    enum task_state state;
    char task_id[ID_TEXT_MAX]; /* of the latest try; "" before the first */
    int tries;                 /* tasks submitted for it: more than one after a resume */
    int attempts;              /* of the task of the latest try, once it has ended */
    int64_t started_ms, finished_ms;
    struct task_error error;
    char *params; /* JSON object as its task got it, secrets hidden; heap; NULL: not begun */
    char *output; /* JSON: the result of its task; heap; NULL unless DONE */
};

struct run {
    char id[ID_TEXT_MAX];
    char name[RUN_NAME_MAX]; /* of the pipeline */
    enum task_state state;
    int64_t version;    /* rises with every change: the guard of the next one */
    bool is_cancelling; /* asked to end: no further step begins */
    int at;             /* index of the step that is to end next; step_count: all are DONE */
    char step[RUN_NAME_MAX]; /* its name, or "" */
    int64_t created_ms, finished_ms;
    struct task_error error;
    char *definition;       /* JSON, frozen at the start; heap; NULL in lists */
    char *input;            /* JSON object with defaults filled in and with secrets; heap */
    bool has_lost_secrets;  /* input was encrypted with a key that is gone, and reads {} */
    struct run_step *steps; /* heap; NULL in lists */
    size_t step_count;
};

/* One row per change of a run's state and per step that begins, written with the change. */
struct run_event {
    int64_t seq;
    int64_t at_ms;
    bool is_first;
    enum task_state from, to;
    char step[RUN_NAME_MAX];
    char actor[TASK_WORKER_MAX];
    char detail[ERR_TEXT_MAX];
};

void run_release(struct run *r); /* frees what it holds, zeroes *r; NULL is fine */

/* A task's word without dots: the name of a pipeline, a step, an input. */
bool run_name_is_valid(const char *name);

/* -- what comes next: pure rules -- */

enum run_next {
    RUN_WAITS,       /* for its task, or it has ended already */
    RUN_CANCEL_TASK, /* the task still has to be told */
    RUN_BEGIN_STEP,  /* the step ended well, the one after it begins */
    RUN_ENDS         /* as ret_end says */
};

/* Where a run goes when the task of its current step is as `task` says (NULL: there is no such
 * task any more). Of what comes together failing wins over cancelling, and cancelling over
 * finishing. *ret_step is what the step becomes when it is neither RUN_WAITS nor
 * RUN_CANCEL_TASK; *ret_end what the run becomes with RUN_ENDS. */
enum run_next run_next(const struct run *r, const enum task_state *task,
                       enum task_state *ret_step, enum task_state *ret_end);

/* The index of the step from which a run that has ended goes on: that of the name `from`, or
 * without one the first that is not DONE (step_count: only the end is missing). E_BAD_STATE
 * while it runs, when it is DONE and no step was named, or when a step before `from` is not
 * DONE; E_NOT_FOUND when it has no such step. */
int run_resume_point(const struct run *r, const char *from, int *ret_index, struct err *err);

#endif
