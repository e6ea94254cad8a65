/* gate.h - many work side by side; now and then one has it all for itself.
 *
 * Whoever works on shared things is inside. What cannot be done beside others (moving what
 * they look at) is done by one who shuts the gate: he waits until all others stand outside.
 * Those inside must look at gate_is_shut often and pass when it is, and must not wait for
 * each other by other means while inside. What one did alone is seen by all who come after. */
#ifndef CSV_GATE_H
#define CSV_GATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned inside;
    atomic_bool shut; /* written with the lock held */
};

void gate_init(struct gate *g);
void gate_release(struct gate *g);

void gate_enter(struct gate *g); /* waits while it is shut */
void gate_leave(struct gate *g);
void gate_pass(struct gate *g); /* goes outside until it is open, and in again */

/* From inside: true when the caller is alone, to be ended by gate_open. False when somebody
 * else was first; he is done by now. */
bool gate_shut(struct gate *g);
void gate_open(struct gate *g);

static inline bool gate_is_shut(struct gate *g)
{
    return atomic_load_explicit(&g->shut, memory_order_relaxed);
}

#endif
