/* routes.h - the HTTP API on top of the service: parse, call one use case, render. */
#ifndef HTTP_ROUTES_H
#define HTTP_ROUTES_H

#include "container.h"
#include "server.h"
#include "service.h"

/* What every handler gets as its context; borrowed. */
struct api {
    struct service *service;
    const struct config *config;
    struct container_store *containers;
};

/* The table for http_server_start, the sink that takes uploads, and what a stop calls when its
 * grace is over (context: struct api). */
const struct http_route *api_routes(void);
struct http_sink api_sink(void);
void api_shed(void *context);

#define R(method, pattern, body, lane, handler) void handler(struct exchange *x, void *context);
#include "routes.def"
#undef R

/* -- helpers of the route files -- */

/* The id in the path; replies and returns NULL when it is none. */
const char *route_id(struct exchange *x);
/* False after replying 400 when the query has a parameter that is not in `allowed` (NULL
 * terminated). */
bool route_query_is_known(struct exchange *x, const char *const *allowed);
/* A query parameter from 1 to max; false after replying 400. */
bool route_number(struct exchange *x, const char *name, int64_t fallback, int64_t max,
                  int64_t *ret);
/* The answer of a submit_reply, whose arg is the exchange: 202 {"task_id"} with Location, or
 * the problem. */
void route_submitted(void *arg, int rc, const struct submit_result *result,
                     const struct err *err);

#endif
