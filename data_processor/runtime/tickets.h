/* tickets.h - which of the attempts that a slot was handed has it begun?
 *
 * A worker hands a slot short work before it has done what it has, and may want it back. What
 * has been written to a socket cannot be taken out of it again, so each line has a ticket, in
 * memory that both sides share: the slot begins an attempt, or the worker withdraws it, and
 * only one of them can. Both count the lines of a process from 1 on; a number's ticket is used
 * again once the line has been answered. Lock-free; nothing blocks. Private to this room. */
#ifndef RUNTIME_TICKETS_H
#define RUNTIME_TICKETS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { TICKETS_MAX = 64 };

struct tickets {
    _Atomic uint64_t of[TICKETS_MAX];
};

/* -- the worker -- */

/* For one slot's process: new memory, and an fd by which the process maps it. NULL when the
 * system has none to give. */
struct tickets *tickets_new(int *ret_fd);
void tickets_free(struct tickets *t);

static inline void ticket_offer(struct tickets *t, uint64_t number)
{
    atomic_store(&t->of[number % TICKETS_MAX], 2 * number);
}

/* False: the slot has begun it. */
static inline bool ticket_withdraw(struct tickets *t, uint64_t number)
{
    uint64_t offered = 2 * number;

    return atomic_compare_exchange_strong(&t->of[number % TICKETS_MAX], &offered, 0);
}

/* -- the slot -- */

/* Maps what the fd holds; NULL when that is no such memory. */
struct tickets *tickets_map(int fd);

/* False: it was withdrawn. */
static inline bool ticket_begin(struct tickets *t, uint64_t number)
{
    uint64_t offered = 2 * number;

    return atomic_compare_exchange_strong(&t->of[number % TICKETS_MAX], &offered,
                                          2 * number + 1);
}

#endif
