/* app.h - the one place that picks implementations and wires them together. */
#ifndef TASK_MANAGER_APP_H
#define TASK_MANAGER_APP_H

#include "config.h"
#include "err.h"

/* Runs the task manager until SIGTERM or SIGINT. 0 after an orderly end. */
int app_run(const struct config *config, struct err *err);

/* What can be known to be wrong with the settings without doing anything: E_BAD_VALUE names
 * the setting. */
int app_check(const struct config *config, struct err *err);

/* `task_manager db …`: writes what it has to say to stdout. E_BAD_VALUE for another word. */
int app_db(const struct config *config, const char *command, struct err *err);

#endif
