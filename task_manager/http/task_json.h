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

json_t *time_to_json(int64_t ms);         /* null for 0 */
json_t *text_or_null(const char *text);   /* null for "" and NULL */
json_t *object_or_null(const char *text); /* of JSON text; null for NULL */
json_t *error_to_json(const struct task_error *e);

#endif
