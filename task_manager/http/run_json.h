/* run_json.h - pipelines and runs as the API shows them, without the secrets. */
#ifndef HTTP_RUN_JSON_H
#define HTTP_RUN_JSON_H

#include <jansson.h>

#include "routes.h"

/* New references; NULL when memory is short. */
json_t *pipeline_to_json(const struct run_def *d, bool is_whole);
json_t *run_entry_to_json(const struct run *r); /* of a list */

/* A run with its steps and events; the task of the running step says how far it is. 0 and a
 * new reference, or an error. */
int run_to_json(const struct api *api, const struct run *r, json_t **ret, struct err *err);

/* Takes the secrets of its run out of the JSON of a task that is a step; all others stay as
 * they are. On failure *object is NULL. */
int run_hide_task(const struct api *api, const struct task *t, json_t **object,
                  struct err *err);

/* What a resume would do: from which step, what runs and what is reused. */
json_t *run_plan_to_json(const struct run *r, int index);

#endif
