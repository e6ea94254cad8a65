/* task.h - what several commands do with one task: name it, ask, wait, fetch. */
#ifndef TASKCTL_TASK_H
#define TASKCTL_TASK_H

#include <jansson.h>
#include <stdbool.h>

#include "cmd.h"

/* The command's first word, checked: E_BAD_VALUE unless it can be a task's id. */
int task_id_of(const struct args *args, const char **ret_id, struct err *err);

/* Asks until the task has ended, showing how far it is. *ret is the last status answer
 * (json_decref it). E_CANCELLED after Ctrl-C, with a sentence on how to go on. */
int task_wait(struct cli *cli, const char *id, json_t **ret, struct err *err);

/* Says a status answer on stdout, for people or (with task_id added) as JSON. 0, or
 * EXIT_FAILED for a task that FAILED or was CANCELLED. */
int task_print_status(struct cli *cli, const char *id, json_t *status);

/* Fetches the result (or the rejected rows) into the file `output`, which is there as a whole
 * or not at all; "-" is stdout, NULL takes the server's name for it and never overwrites.
 * ret_path gets the file's name ("-" for stdout). */
int task_download(struct cli *cli, const char *id, const char *output, bool rejects,
                  struct buf *ret_path, struct err *err);

#endif
