/* startup.h - a start that does not depend on who was there first. */
#ifndef TASK_MANAGER_STARTUP_H
#define TASK_MANAGER_STARTUP_H

#include "config.h"
#include "err.h"
#include "store.h"

/* Opens the database of the settings and brings it to this version. A database server that
 * cannot be reached is tried again, with growing pauses, for STARTUP_WAIT; what is wrong is
 * logged from the first time on. SIGTERM and SIGINT must be blocked: one that comes meanwhile
 * ends the wait with -E_CANCELLED. On success *ret is the caller's to close. */
int startup_open_store(const struct config *config, int connections, struct store **ret,
                       struct err *err);

#endif
