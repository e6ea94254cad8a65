/* app.h - the one place that picks implementations and wires them together. */
#ifndef TASK_MANAGER_APP_H
#define TASK_MANAGER_APP_H

#include <stdbool.h>

#include "config.h"
#include "err.h"

/* Blocks the signals that ask the program to end, so that app_run can answer them, or lets them
 * act again. Before any thread is started. */
void app_hold_signals(bool hold);

/* Runs the task manager until SIGTERM or SIGINT, which are held. 0 after an orderly end. An end
 * that takes longer than STOP_GRACE, and than ten seconds, is cut: the process exits with 111
 * from here. Whatever was answered with 202 is in the database by then. */
int app_run(const struct config *config, struct err *err);

/* What can be known to be wrong with the settings without doing anything: E_BAD_VALUE names
 * the setting. */
int app_check(const struct config *config, struct err *err);

/* `task_manager health`: asks the task manager that runs with these settings, at the first
 * address of LISTEN, whether work can be accepted (/readyz), and prints its answer. 0 when it
 * can; -E_BAD_STATE when it says no or does not answer within 5 s; -E_BAD_VALUE for an address
 * that cannot be asked. */
int app_health(const struct config *config, struct err *err);

/* `task_manager db …`: writes what it has to say to stdout. E_BAD_VALUE for another word. */
int app_db(const struct config *config, const char *command, struct err *err);

#endif
