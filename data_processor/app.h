/* app.h - the worker program put together from its rooms: the only place that knows them all.
 *
 * Each returns an exit code: 0 fine, 1 the answer is no, 2 wrong use, 111 may work later. They
 * log. */
#ifndef DATA_PROCESSOR_APP_H
#define DATA_PROCESSOR_APP_H

#include "config.h"

enum { EXIT_OK = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_TEMPORARY = 111 };

/* Claims and runs tasks until it is told to stop. */
int app_work(const struct config *c);

/* Says whether the worker at HEALTH_SOCKET is consuming. */
int app_health(const struct config *c);

/* Serves one slot of the worker `parent_pid` (runtime.h). */
int app_slot(const struct config *c, long parent_pid);

/* Finds what is wrong with the settings without starting anything: 0 or -E_BAD_VALUE. */
int app_check(const struct config *c, struct err *err);

#endif
