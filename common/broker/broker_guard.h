/* broker_guard.h - a watchdog for calls into a library that may wait for ever.
 *
 * Arm it before such a call and disarm it afterwards: when the call overruns, a thread of
 * the guard shuts the socket down, which makes the call fail. (librabbitmq 0.11 can block in
 * a publish without a limit, see its issue 780; a broker that has stopped reading because of
 * a memory alarm blocks every sender.)
 *
 * One owner thread arms and disarms. Arming wakes the guard's thread only when that thread
 * sleeps longer than the new deadline, so guarding many quick calls costs next to nothing. */
#ifndef BROKER_GUARD_H
#define BROKER_GUARD_H

#include <stdbool.h>

#include "err.h"

struct broker_guard;

int broker_guard_new(struct broker_guard **ret, struct err *err);
void broker_guard_free(struct broker_guard *g); /* ends the thread; NULL is fine */

void broker_guard_arm(struct broker_guard *g, int fd, int timeout_ms);
void broker_guard_disarm(struct broker_guard *g);

/* Did the guard ever have to cut the socket? */
bool broker_guard_has_fired(struct broker_guard *g);

#endif
