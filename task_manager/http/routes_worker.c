/* routes_worker.c - the worker protocol (docs/worker-protocol.md). */
#include <stdlib.h>

#include "routes.h"

static void claim_answer(void *arg, int rc, const struct work *items, size_t count,
                         const struct err *err)
{
    struct exchange *x = arg;

    if (rc)
        reply_err(x, err);
    else
        reply_json_take(x, 200, work_list_encode(items, count));
}

static bool claim_is_alive(void *arg)
{
    return exchange_is_alive(arg);
}

void route_worker_claim(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct claim_request request;
    struct claim_reply reply = {claim_answer, claim_is_alive, x};
    struct err err = ERR_INIT;
    size_t len;
    const char *body = exchange_body(x, &len);

    if (claim_request_decode(body, len, &request, &err))
        reply_err(x, &err);
    else
        service_claim(api->service, &request, &reply);
}

void route_worker_heartbeat(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct heartbeat *items = NULL;
    struct heartbeat_verdict *verdicts = NULL;
    char worker[TASK_WORKER_MAX];
    struct err err = ERR_INIT;
    size_t len, count = 0;
    const char *body = exchange_body(x, &len);
    int rc = heartbeat_list_decode(body, len, worker, &items, &count, &err);

    if (!rc) {
        verdicts = calloc(count ? count : 1, sizeof *verdicts);
        rc = verdicts ? service_heartbeat(api->service, items, count, verdicts, &err)
                      : err_set(&err, -E_NO_MEMORY, "no memory for a heartbeat");
    }
    if (rc)
        reply_err(x, &err);
    else
        reply_json_take(x, 200, heartbeat_verdicts_encode(verdicts, count));
    free(verdicts);
    free(items);
}

/* 200 when anything was recorded (now or before); otherwise the reason that applies to all
 * of it, so that a worker with one report can go by the status alone. */
static int report_status(const struct report_verdict *verdicts, size_t count)
{
    static const int status[REPORT_WORD__COUNT] = {
        [REPORT_RECORDED] = 200, [REPORT_REPEATED] = 200, [REPORT_STALE] = 409,
        [REPORT_UNKNOWN] = 404,  [REPORT_REFUSED] = 400,
    };
    int first = count ? status[verdicts[0].word] : 200;

    for (size_t i = 1; i < count; i++) {
        if (status[verdicts[i].word] != first)
            return 200;
    }
    return first;
}

void route_worker_report(struct exchange *x, void *context)
{
    const struct api *api = context;
    struct report *items = NULL;
    struct report_verdict *verdicts = NULL;
    char worker[TASK_WORKER_MAX];
    struct err err = ERR_INIT;
    size_t len, count = 0;
    const char *body = exchange_body(x, &len);
    int rc = report_list_decode(body, len, worker, &items, &count, &err);

    if (!rc) {
        verdicts = calloc(count ? count : 1, sizeof *verdicts);
        rc = verdicts ? service_report(api->service, worker, items, count, verdicts, &err)
                      : err_set(&err, -E_NO_MEMORY, "no memory for a report");
    }
    if (rc)
        reply_err(x, &err);
    else
        reply_json_take(x, report_status(verdicts, count),
                        report_verdicts_encode(verdicts, count));
    for (size_t i = 0; i < count; i++)
        report_release(&items[i]);
    free(verdicts);
    free(items);
}
