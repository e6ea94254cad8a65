/* routes_ops.c - for those who run it: alive, ready, metrics. */
#include <jansson.h>
#include <string.h>

#include "json_read.h"
#include "log.h"
#include "metrics.h"
#include "routes.h"

void route_alive(struct exchange *x, void *context)
{
    (void)context;
    reply_json_take(
        x, 200,
        json_text_take(json_pack("{s:s,s:s}", "status", "ok", "version", SEGUE_VERSION)));
}

void route_health(struct exchange *x, void *context)
{
    (void)context;
    reply_json_take(x, 200, json_text_take(json_pack("{s:s}", "status", "ok")));
}

void route_ready(struct exchange *x, void *context)
{
    static struct log_brake brake;
    const struct api *api = context;
    struct readiness r;
    int64_t held;

    service_readiness(api->service, &r);
    if (!r.is_ready && log_brake_pass(&brake, &held))
        log_warn("http.not_ready", LOG_S("store", r.store), LOG_S("disk", r.disk),
                 LOG_S("relay", r.relay_ok ? "ok" : "behind"));
    /* What is wrong may name users, hosts and paths: that is for the log. */
    const char *store = r.store_rc ? "unavailable" : "ok";
    const char *disk = !r.disk_rc ? "ok" : r.disk_rc == -E_NO_SPACE ? "low" : "unavailable";
    reply_json_take(x, r.is_ready ? 200 : 503,
                    json_text_take(json_pack("{s:s,s:s,s:s,s:s,s:s,s:{s:I,s:I}}", "status",
                                             r.is_ready ? "ready" : "not ready", "store", store,
                                             "disk", disk, "broker", r.broker, "relay",
                                             r.relay_ok ? "ok" : "behind", "outbox", "rows",
                                             (json_int_t)r.outbox, "oldest_ms",
                                             (json_int_t)r.outbox_oldest_ms)));
}

void route_metrics(struct exchange *x, void *context)
{
    struct buf text = BUF_INIT;

    (void)context;
    metrics_text(&text);
    if (buf_ok(&text))
        reply_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", text.data);
    else
        reply_problem(x, 503, NULL, "no memory for the metrics");
    buf_release(&text);
}
