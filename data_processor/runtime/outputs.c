/* outputs.c - what attempts have written: made durable before anybody hears of it, or removed.
 *
 * Jobs publish small outputs (objstore.h). They are synced here, as many as there are, on a
 * thread of its own: a disk may take its time, or hang. */
#include "outputs.h"

#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "log.h"

enum { SYNC_MAX = 32 }; /* the first of them waits for the last */

/* --- removing --- */

static int remove_object(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    struct service *s = arg;

    (void)size;
    (void)age_ms;
    return objstore_delete(s->options->store, key, NULL);
}

/* Only what has the task's id in it and comes to an end is the attempt's own. */
static void sweep_prefix(struct service *s, const struct held *h, const char *prefix, char end)
{
    struct err err = ERR_INIT;

    if (!strstr(prefix, h->work.task_id) || prefix[strlen(prefix) - 1] != end)
        return;
    if (objstore_list(s->options->store, prefix, remove_object, s, &err) != 0)
        log_warn("output.left", LOG_S("task_id", h->work.task_id), LOG_S("prefix", prefix),
                 LOG_S("error", err.text));
}

void outputs_sweep(struct service *s, const struct held *h)
{
    sweep_prefix(s, h, h->work.output_prefix, '/');
    sweep_prefix(s, h, h->work.output_stem, '.');
}

/* --- syncing --- */

struct batch {
    struct held *items[SYNC_MAX];
    bool is_lost[SYNC_MAX];
};

/* The disk has lost what the attempt wrote: another one may do better. */
static void note_lost(size_t number, const struct err *why, void *arg)
{
    struct batch *b = arg;
    struct held *h = b->items[number];

    log_error("output.lost", LOG_S("task_id", h->work.task_id),
              LOG_I("attempt", h->work.attempt), LOG_S("error", why->text));
    b->is_lost[number] = true;
    h->report.outcome = ATTEMPT_FAILED;
    job_error_from(why, &h->report.error);
    h->report.error.class = ERROR_TRANSIENT;
}

static void forget_output(struct service *s, struct held *h)
{
    outputs_sweep(s, h);
    memset(&h->report.output, 0, sizeof h->report.output);
    free(h->report.result);
    h->report.result = NULL;
}

void *syncer_run(void *arg)
{
    struct service *s = arg;
    struct batch b;
    size_t count;

    while ((count = board_wait_written(s->board, b.items, SYNC_MAX)) > 0) {
        const char *keys[SYNC_MAX];
        memset(b.is_lost, 0, sizeof b.is_lost);
        for (size_t i = 0; i < count; i++)
            keys[i] = b.items[i]->report.output.key;
        objstore_sync(s->options->store, keys, count, note_lost, &b);
        for (size_t i = 0; i < count; i++) {
            if (b.is_lost[i])
                forget_output(s, b.items[i]);
            board_durable(s->board, b.items[i]);
        }
    }
    return NULL;
}
