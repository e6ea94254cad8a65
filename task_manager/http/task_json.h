/* task_json.h - tasks, attempts and events as the API shows them. */
#ifndef HTTP_TASK_JSON_H
#define HTTP_TASK_JSON_H

#include <jansson.h>

#include "task.h"

/* New references; NULL when memory is short. */
json_t *task_to_json(const struct task *t);
json_t *task_entry_to_json(const struct task *t); /* of a list: without params and result */
json_t *attempts_to_json(const struct attempt *items, size_t count);
json_t *events_to_json(const struct task_event *items, size_t count);

#endif
