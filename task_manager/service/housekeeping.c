/* housekeeping.c - what has to be done now and then: unfinished uploads, orphaned files, keys
 * and tasks that have become old.
 *
 * A thread of its own, so that a long walk over the object store delays no lease. All of it is
 * done in small pieces with pauses, and may be done by several task managers at once: what one
 * has removed the others do not find. A crash between rows and files leaves orphans, which the
 * next sweep takes. */
#include <stdlib.h>

#include "clock.h"
#include "failpoint.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

enum {
    EVERY_MIN_MS = 1000,
    EVERY_MAX_MS = 60000,
    WALK_EVERY_MAX_MS = 600000,
    KEYS_BATCH = 1000,
    TASKS_BATCH = 64,
    PAUSE_MS = 10
};

static int sweep_parts(struct service *s, int64_t age_ms, struct err *err)
{
    uint64_t parts = 0;
    FAILPOINT(house_begun);
    int rc = objstore_sweep_parts(s->parts.objects, age_ms, &parts, err);

    if (!rc && parts)
        log_info("sweep.parts_removed", LOG_I("count", (int64_t)parts));
    metric_add(METRIC_FILES_SWEPT, (int64_t)parts);
    FAILPOINT(house_swept);
    return rc;
}

static int forget_keys(struct service *s, int64_t age_ms, struct err *err)
{
    int64_t keys = 0;
    int rc;

    do {
        rc = store_forget_keys(s->parts.store, age_ms, KEYS_BATCH, &keys, err);
        metric_add(METRIC_KEYS_FORGOTTEN, rc ? 0 : keys);
    } while (!rc && keys == KEYS_BATCH && rounds_wait(&s->house, PAUSE_MS));
    return rc;
}

/* Rows first: a file without a row is found by the sweep, a row without its file is a download
 * that fails. A task that is retried by hand meanwhile has kept its row, and so its files. */
static int remove_tasks(struct service *s, int64_t age_ms, struct err *err)
{
    struct purged *items = calloc(TASKS_BATCH, sizeof *items);
    size_t count = 0;
    int64_t total = 0;
    int rc = items ? 0 : err_set(err, -E_NO_MEMORY, "no memory to remove old tasks");

    do {
        if (!rc)
            rc = store_purge(s->parts.store, age_ms, TASKS_BATCH, items, &count, err);
        if (rc || count == 0)
            break;
        total += (int64_t)count;
        metric_add(METRIC_TASKS_REMOVED, (int64_t)count);
        rc = sweep_purged(s, items, count, err);
    } while (!rc && rounds_wait(&s->house, PAUSE_MS));
    free(items);
    if (total)
        log_info("retention.tasks_removed", LOG_I("count", total));
    return rc;
}

/* The tasks of a run ended before it did, so they go first; the rest of it is here. */
static int remove_runs(struct service *s, int64_t age_ms, struct err *err)
{
    int64_t count = 0, total = 0;
    int rc;

    do {
        rc = store_run_purge(s->parts.store, age_ms, TASKS_BATCH, &count, err);
        total += rc ? 0 : count;
    } while (!rc && count > 0 && rounds_wait(&s->house, PAUSE_MS));
    metric_add(METRIC_RUNS_REMOVED, total);
    if (total)
        log_info("retention.runs_removed", LOG_I("count", total));
    return rc;
}

/* A chore is done about four times within the age it goes by. */
struct chore {
    const char *name;
    int (*run)(struct service *s, int64_t age_ms, struct err *err);
    int64_t age_ms, every_max_ms; /* age 0: never */
    int64_t due_ms;
    bool is_failing;
};

static void do_chore(struct service *s, struct chore *c)
{
    struct err why = ERR_INIT;
    bool failed = c->run(s, c->age_ms, &why) != 0;
    int64_t every_ms = c->age_ms / 4;

    if (failed != c->is_failing)
        log_event(failed ? LOG_WARN : LOG_INFO,
                  failed ? "housekeeping.failing" : "housekeeping.recovered",
                  LOG_S("chore", c->name), LOG_S("reason", why.text));
    c->is_failing = failed;
    if (every_ms > c->every_max_ms)
        every_ms = c->every_max_ms;
    c->due_ms = clock_mono_ms() + (every_ms > EVERY_MIN_MS ? every_ms : EVERY_MIN_MS);
}

void *housekeeping_run(void *arg)
{
    struct service *s = arg;
    const struct config *config = s->parts.config;
    struct chore chores[] = {
        {"parts", sweep_parts, config->sweep_after_ms, EVERY_MAX_MS, 0, false},
        {"keys", forget_keys, config->idempotency_ttl_ms, EVERY_MAX_MS, 0, false},
        {"retention", remove_tasks, config->retention_ms, EVERY_MAX_MS, 0, false},
        {"runs", remove_runs, config->retention_ms, EVERY_MAX_MS, 0, false},
        {"orphans", sweep_orphans, config->sweep_after_ms, WALK_EVERY_MAX_MS, 0, false},
    };

    do {
        for (size_t i = 0; i < sizeof chores / sizeof chores[0]; i++) {
            if (chores[i].age_ms && clock_mono_ms() >= chores[i].due_ms &&
                !rounds_is_stopping(&s->house))
                do_chore(s, &chores[i]);
        }
    } while (rounds_wait(&s->house, EVERY_MIN_MS));
    return NULL;
}
