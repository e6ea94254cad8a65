/* tally.h - what a transaction changes about how many tasks there are of each kind.
 *
 * Counting the rows of a million finished tasks takes a tenth of a second and more, so the
 * number of tasks by state, type and queue is kept in a table of its own. Every statement that
 * adds, moves or removes tasks says so here; the transaction writes the sums as its last
 * statement, in one order, so that no two wait for each other in a circle.
 *
 * One thread at a time; nothing blocks. */
#ifndef STORE_TALLY_H
#define STORE_TALLY_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"
#include "task.h"

struct tally_item {
    enum task_state state;
    char type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];
    int change;
};

struct tally {
    struct tally_item *items; /* the tally's */
    size_t count, capacity;
    bool failed;
};

/* Notes `change` more tasks; without memory tally_settle will say so. */
void tally_add(struct tally *t, enum task_state state, const char *type, const char *queue,
               int change);
/* A task went from one state to another. */
void tally_move(struct tally *t, enum task_state from, enum task_state to, const char *type,
                const char *queue);

/* Adds up what was noted: each kind once, ascending, none that comes to nothing. */
int tally_settle(struct tally *t, struct err *err);

void tally_clear(struct tally *t);   /* keeps the memory of a short one */
void tally_release(struct tally *t); /* as after {0} */

#endif
