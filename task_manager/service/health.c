/* health.c - can work be accepted right now? */
#include <inttypes.h>
#include <stdio.h>

#include "metrics.h"
#include "service_internal.h"

/* Only a file that was really begun proves that files can be written. */
static int try_put(struct service *s, struct err *err)
{
    char id[ID_TEXT_MAX], key[ARTIFACT_KEY_MAX];
    struct objstore_put *put = NULL;

    id_new(id);
    snprintf(key, sizeof key, "raw_data/probe_%s", id);
    int rc = objstore_put_begin(s->parts.objects, key, &put, err);
    if (!rc)
        objstore_put_abort_free(put);
    return rc;
}

static bool check_disk(struct service *s, struct err *err)
{
    uint64_t left = 0;
    uint64_t needed = (uint64_t)s->parts.config->min_free_bytes;

    if (try_put(s, err) || objstore_free_bytes(s->parts.objects, &left, err))
        return false;
    if (left >= needed)
        return true;
    err_set(err, -E_NO_SPACE, "%" PRIu64 " bytes are free, %" PRIu64 " are needed", left,
            needed);
    return false;
}

void service_readiness(struct service *s, struct readiness *ret)
{
    struct err store = ERR_INIT, disk = ERR_INIT;
    bool store_ok = store_ping(s->parts.store, &store) == 0;
    bool disk_ok = check_disk(s, &disk);

    ret->is_ready = store_ok && disk_ok && !atomic_load(&s->stopping);
    snprintf(ret->store, sizeof ret->store, "%s", store_ok ? "ok" : store.text);
    snprintf(ret->disk, sizeof ret->disk, "%s", disk_ok ? "ok" : disk.text);
    ret->broker = !s->announce ? "none" : metric_get(METRIC_BROKER_UP) ? "up" : "down";
    ret->outbox = atomic_load(&s->outbox);
    ret->outbox_oldest_ms = atomic_load(&s->outbox_oldest_ms);
}
