/* task_state.h - the life of a task: its states and the only legal moves.
 *
 *                 claimed                  reported
 *   submit ---> RECEIVED ---> PROCESSING ------------> DONE
 *                |    ^ ^------'   |  |
 *                |    | lease lost,|  `--------------> CANCELLED
 *                |    | transient  |                     ^
 *                |    | failure    v                     |
 *                |    `-------- FAILED <-- refused ------+-- RECEIVED
 *                |     retried by hand                   |
 *                `---------------------------------------'
 *
 * State and reason are separate: why a task failed is its error class (task.h). The store
 * applies a move as a compare-and-set on the old state. Pure rules, safe from any thread. */
#ifndef DOMAIN_TASK_STATE_H
#define DOMAIN_TASK_STATE_H

#include <stdbool.h>

enum task_state {
    TASK_RECEIVED,
    TASK_PROCESSING,
    TASK_DONE,
    TASK_FAILED,
    TASK_CANCELLED,
    TASK_STATE__COUNT
};

/* May a task go from `from` to `to`? Staying put is not a move. */
bool task_state_can_move(enum task_state from, enum task_state to);

/* DONE, FAILED, CANCELLED (a FAILED task may still be retried by hand). */
bool task_state_is_terminal(enum task_state state);

/* "RECEIVED"; static. */
const char *task_state_name(enum task_state state);

/* Exact, upper case. False and *ret_state untouched for anything else, NULL too. */
bool task_state_parse(const char *name, enum task_state *ret_state);

#endif
