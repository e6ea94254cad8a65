#include "routes.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "json_read.h"

const struct http_route *api_routes(void)
{
#define R(method, pattern, body, lane, handler)                                                \
    {HTTP_##method, pattern, HTTP_BODY_##body, HTTP_LANE_##lane, handler},
    static const struct http_route routes[] = {
#include "routes.def"
        {0}};
#undef R
    return routes;
}

const char *route_id(struct exchange *x)
{
    const char *id = exchange_param(x, 0);

    if (id_is_valid(id))
        return id;
    reply_problem(x, 400, "Malformed task id",
                  "a task id is 36 characters of lower-case hex and dashes, as in "
                  "01890a5d-ac96-774b-bcce-b302099a8057");
    return NULL;
}

bool route_query_is_known(struct exchange *x, const char *const *allowed)
{
    const char *name;

    for (size_t i = 0; (name = exchange_query_name(x, i)) != NULL; i++) {
        const char *const *a = allowed;
        while (*a && strcmp(*a, name) != 0)
            a++;
        if (!*a) {
            reply_problem(x, 400, "Unknown query parameter", "%.100s: unknown query parameter",
                          name);
            return false;
        }
    }
    return true;
}

void route_submitted(void *arg, int rc, const struct submit_result *result,
                     const struct err *err)
{
    struct exchange *x = arg;
    char location[512];

    if (rc) {
        reply_err(x, err);
        return;
    }
    snprintf(location, sizeof location, "%.400s/v1/tasks/status/%s", exchange_base_url(x),
             result->id);
    exchange_set_header(x, "Location", location);
    if (result->outcome == SUBMIT_REPLAYED)
        exchange_set_header(x, "Idempotent-Replayed", "true");
    reply_json_take(x, 202, json_text_take(json_pack("{s:s}", "task_id", result->id)));
}

void api_shed(void *context)
{
    const struct api *api = context;

    service_shed(api->service);
}
