/* health.c - can work be accepted right now?
 *
 * Each part is tried by a thread of its own, when somebody asks: a database or a disk that
 * hangs hangs that thread and nobody else, and whoever asks is told so in time. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "metrics.h"
#include "service_internal.h"

enum { ANSWER_MS = 1500, IDLE_MS = 3600000 };

/* -- the parts -- */

static int try_store(struct service *s, struct err *err)
{
    return store_ping(s->parts.store, err);
}

/* Only a file that was really written proves that files can be written. */
static int try_put(struct service *s, struct err *err)
{
    char id[ID_TEXT_MAX], key[ARTIFACT_KEY_MAX];
    struct objstore_put *put = NULL;

    id_new(id);
    snprintf(key, sizeof key, "raw_data/probe_%s", id);
    int rc = objstore_put_begin(s->parts.objects, key, &put, err);
    if (!rc)
        rc = objstore_put_write(put, key, sizeof key, err);
    objstore_put_abort_free(put);
    return rc;
}

static int try_disk(struct service *s, struct err *err)
{
    uint64_t left = 0, needed = (uint64_t)s->parts.config->min_free_bytes;
    int rc = try_put(s, err);

    if (!rc)
        rc = objstore_free_bytes(s->parts.objects, &left, err);
    if (!rc && left < needed)
        rc = err_set(err, -E_NO_SPACE, "%" PRIu64 " bytes are free, %" PRIu64 " are needed",
                     left, needed);
    return rc;
}

/* -- probes -- */

static void *probe_run(void *arg)
{
    struct probe *p = arg;

    while (rounds_wait(&p->rounds, IDLE_MS)) {
        struct err why = ERR_INIT;

        pthread_mutex_lock(&p->lock);
        p->begun++;
        p->began_ms = clock_mono_ms();
        pthread_mutex_unlock(&p->lock);
        int rc = p->attempt(p->service, &why);
        pthread_mutex_lock(&p->lock);
        p->ended = p->begun;
        p->rc = rc;
        snprintf(p->finding, sizeof p->finding, "%s", rc ? why.text : "ok");
        pthread_cond_broadcast(&p->found);
        pthread_mutex_unlock(&p->lock);
    }
    return NULL;
}

static int probe_start(struct probe *p, struct service *s,
                       int (*attempt)(struct service *, struct err *), struct err *err)
{
    pthread_condattr_t attr;

    p->service = s;
    p->attempt = attempt;
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->found, &attr);
    pthread_condattr_destroy(&attr);
    return rounds_start(&p->rounds, probe_run, p, err);
}

int probes_start(struct service *s, struct err *err)
{
    int rc = probe_start(&s->probes[PROBE_STORE], s, try_store, err);

    return rc ? rc : probe_start(&s->probes[PROBE_DISK], s, try_disk, err);
}

void probes_stop(struct service *s)
{
    for (int i = 0; i < PROBE__COUNT; i++) {
        if (!s->probes[i].rounds.is_started)
            continue;
        rounds_stop(&s->probes[i].rounds);
        pthread_cond_destroy(&s->probes[i].found);
        pthread_mutex_destroy(&s->probes[i].lock);
    }
}

/* Which try answers a question asked now: the next one to begin. */
static uint64_t probe_ask(struct probe *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t wanted = p->begun + 1;
    pthread_mutex_unlock(&p->lock);
    rounds_poke(&p->rounds);
    return wanted;
}

/* Has the try that is under way gone on for too long? Then nobody needs to wait as long again
 * to know. */
static bool is_stuck(const struct probe *p)
{
    return p->ended < p->begun && clock_mono_ms() - p->began_ms >= ANSWER_MS;
}

/* 0 and "ok", or what is wrong. */
static int probe_answer(struct probe *p, uint64_t wanted, int64_t asked_ms,
                        char ret[ERR_TEXT_MAX])
{
    struct timespec until = {(asked_ms + ANSWER_MS) / 1000,
                             (asked_ms + ANSWER_MS) % 1000 * 1000000};
    int waited = 0, rc = -E_TIMEOUT;

    pthread_mutex_lock(&p->lock);
    while (p->ended < wanted && !is_stuck(p) && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&p->found, &p->lock, &until);
    if (p->ended >= wanted) {
        rc = p->rc;
        snprintf(ret, ERR_TEXT_MAX, "%s", p->finding);
    } else {
        snprintf(ret, ERR_TEXT_MAX, "gave no answer within %d ms", ANSWER_MS);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* Is the broker told of tasks in time? Without one, or without a limit, it always is. */
static bool relay_keeps_up(struct service *s)
{
    int64_t limit_ms = s->parts.config->ready_relay_lag_ms;

    return !s->announce || limit_ms == 0 || atomic_load(&s->outbox_oldest_ms) <= limit_ms;
}

void service_readiness(struct service *s, struct readiness *ret)
{
    struct probe *store = &s->probes[PROBE_STORE], *disk = &s->probes[PROBE_DISK];
    int64_t now = clock_mono_ms();
    uint64_t store_try = probe_ask(store), disk_try = probe_ask(disk);

    ret->store_rc = probe_answer(store, store_try, now, ret->store);
    ret->disk_rc = probe_answer(disk, disk_try, now, ret->disk);
    ret->relay_ok = relay_keeps_up(s);
    ret->is_ready =
        !ret->store_rc && !ret->disk_rc && ret->relay_ok && !atomic_load(&s->stopping);
    ret->broker = !s->announce ? "none" : metric_get(METRIC_BROKER_UP) ? "up" : "down";
    ret->outbox = atomic_load(&s->outbox);
    ret->outbox_oldest_ms = atomic_load(&s->outbox_oldest_ms);
}
