/* heartbeat.c - renewing leases, and telling a worker which attempts it has lost. */
#include <stdio.h>
#include <stdlib.h>

#include "service_internal.h"

static struct renewal renewal_of(const struct heartbeat *h)
{
    struct renewal r = {.progress = h->progress};

    snprintf(r.task_id, sizeof r.task_id, "%s", h->task_id);
    snprintf(r.token, sizeof r.token, "%s", h->token);
    return r;
}

static struct heartbeat_verdict verdict_of(const struct renewal *r, int64_t lease_ms)
{
    struct heartbeat_verdict v = {.held = r->ok, .lease_ms = r->ok ? lease_ms : 0};

    snprintf(v.task_id, sizeof v.task_id, "%s", r->task_id);
    if (r->ok || r->exists)
        snprintf(v.state, sizeof v.state, "%s",
                 task_state_name(r->ok ? TASK_PROCESSING : r->state));
    return v;
}

int service_heartbeat(struct service *s, const struct heartbeat *items, size_t count,
                      struct heartbeat_verdict *ret, struct err *err)
{
    int64_t lease_ms = s->parts.config->lease_ms;
    struct renewal *renewals = calloc(count ? count : 1, sizeof *renewals);

    if (!renewals)
        return err_set(err, -E_NO_MEMORY, "no memory for a heartbeat");
    for (size_t i = 0; i < count; i++)
        renewals[i] = renewal_of(&items[i]);
    int rc = count ? store_renew(s->parts.store, renewals, count, lease_ms, err) : 0;
    for (size_t i = 0; !rc && i < count; i++)
        ret[i] = verdict_of(&renewals[i], lease_ms);
    free(renewals);
    return rc;
}
