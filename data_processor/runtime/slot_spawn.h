/* slot_spawn.h - the start of a slot's process. Private to this room. */
#ifndef RUNTIME_SLOT_SPAWN_H
#define RUNTIME_SLOT_SPAWN_H

#include <sys/types.h>

#include "err.h"
#include "runtime.h"
#include "tickets.h"

/* Starts options->program as a slot, in a process group of its own, without our secrets in its
 * environment. *ret_fd is our end of the socket that is its SLOT_FD: non-blocking. *ret_tickets
 * is shared with it, if the system lets us; else NULL. */
int spawn_slot(const struct runtime_options *options, pid_t *ret_pid, int *ret_fd,
               struct tickets **ret_tickets, struct err *err);

#endif
