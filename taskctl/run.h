/* run.h - what several commands do with one run of a pipeline: watch it, tell of it. */
#ifndef TASKCTL_RUN_H
#define TASKCTL_RUN_H

#include <jansson.h>

#include "cmd.h"

/* Asks until the run has ended and shows its steps meanwhile, on stderr: on a terminal a line
 * for each that changes in place, elsewhere a line for each change. *ret is the last answer
 * (json_decref it). E_CANCELLED after Ctrl-C, with a sentence on how to go on. */
int run_wait(struct cli *cli, const char *id, json_t **ret, struct err *err);

/* Says how the run stands on stdout, for people or as JSON. 0, or EXIT_FAILED for a run that
 * FAILED or was CANCELLED. */
int run_print(struct cli *cli, const json_t *run);

#endif
