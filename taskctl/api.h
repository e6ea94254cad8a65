/* api.h - calls of the task manager, with patience and with its errors put into words. */
#ifndef TASKCTL_API_H
#define TASKCTL_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd.h"
#include "http_client.h"

/* How often a call that failed on the way, or was answered with 429 or 5xx, is made again.
 * Only a call that may reach the server twice without harm is made again. A body that cannot
 * go back (a pipe) and an answer of which bytes were already passed on end the tries. */
enum api_patience { API_ONCE, API_FEW, API_MANY };

/* One call. 0 for a 2xx answer: release ret->body. A failure leaves nothing to release; its
 * code is E_UNAVAILABLE, E_OVERLOAD or E_TIMEOUT when the same call may work later,
 * E_CANCELLED after Ctrl-C, E_BAD_STATE, E_NOT_FOUND, ... when the server refused. Fills in
 * the call's stop flag, cap and, for calls without a body or sink on disk, timeout. */
int api_call(struct cli *cli, struct http_call *call, enum api_patience patience,
             struct http_answer *ret, struct err *err);

/* The same for an answer that is a JSON object; json_decref it. */
int api_json(struct cli *cli, struct http_call *call, enum api_patience patience, json_t **ret,
             struct err *err);

/* A GET of path, fmt as in printf, patient. */
int api_get(struct cli *cli, json_t **ret, struct err *err, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* A POST that creates a task or a run, with an Idempotency-Key (made when key is NULL), so that
 * it can be made again without creating two. ret_id gets the new one's id. */
int api_create(struct cli *cli, struct http_call *call, const char *key, char ret_id[],
               json_t **ret, struct err *err);

/* Sleeps; false when Ctrl-C came meanwhile or before. */
bool api_sleep_ms(int64_t ms);

void api_close(struct cli *cli);

#endif
