/* claim_keeper.c - the thread that renews claims while steps are being called.
 *
 * A claim is renewed after a third of its lease, by a compare-and-set of its own: it never
 * touches the records of a handle. It is lost when somebody else's claim stands in its place,
 * or when it could not be renewed before it ended. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "boot_clock.h"
#include "pipeline_internal.h"

enum { RENEW_TRIES = 5 };

int keeper_init(struct keeper *k, struct pipeline_repository *r, int lease_ms,
                struct pipeline_err *err)
{
    pthread_condattr_t attr;

    *k = (struct keeper){.repository = r, .lease_ms = lease_ms};
    if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
        pthread_cond_init(&k->changed, &attr) || pthread_condattr_destroy(&attr) ||
        pthread_mutex_init(&k->lock, NULL))
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a lock");
    return 0;
}

/* 1 renewed, 0 not this time, -1 somebody else has it. */
static int renew_once(struct keeper *k, const struct claim *c)
{
    struct pipeline_record record;

    int rc = repository_get(k->repository, PIPELINE_MODEL_PIPELINE, c->uuid, &record, NULL);
    if (rc)
        return rc == -PIPELINE_E_NOT_FOUND ? -1 : 0;
    if (strcmp(record.claim, c->token) != 0) {
        rc = -1;
    } else {
        record.claim_ms = k->lease_ms;
        rc = repository_store(k->repository, &record, NULL) == 0;
    }
    pipeline_record_release(&record);
    return rc;
}

static void renew(struct keeper *k, struct claim *c)
{
    int done = 0;
    int64_t began = boot_ms();

    for (int tries = 0; tries < RENEW_TRIES && done == 0; tries++)
        done = renew_once(k, c);
    if (done > 0)
        atomic_store(&c->until_ms, began + k->lease_ms);
    else if (done < 0 || boot_ms() >= atomic_load(&c->until_ms))
        atomic_store(&c->is_lost, true);
}

static struct claim *first_due(const struct keeper *k)
{
    struct claim *first = k->claims;

    for (struct claim *c = first; c; c = c->next) {
        if (c->due_ms < first->due_ms)
            first = c;
    }
    return first;
}

/* Waits for a change of the list, at most for so long. */
static void wait_change(struct keeper *k, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(ms / 1000);
    until.tv_nsec += (long)(ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_cond_timedwait(&k->changed, &k->lock, &until);
}

static void *keep(void *arg)
{
    struct keeper *k = arg;

    pthread_mutex_lock(&k->lock);
    while (!k->is_ending) {
        struct claim *c = first_due(k);
        int64_t wait = c ? c->due_ms - boot_ms() : k->lease_ms;
        if (!c || wait > 0) {
            wait_change(k, wait);
            continue;
        }
        c->is_renewing = true;
        pthread_mutex_unlock(&k->lock);
        renew(k, c);
        pthread_mutex_lock(&k->lock);
        c->is_renewing = false;
        c->due_ms = atomic_load(&c->is_lost) ? INT64_MAX / 2 : boot_ms() + k->lease_ms / 3;
        pthread_cond_broadcast(&k->changed);
    }
    pthread_mutex_unlock(&k->lock);
    return NULL;
}

int keeper_start(struct keeper *k, struct pipeline_err *err)
{
    sigset_t all, before;
    int rc = 0;

    pthread_mutex_lock(&k->lock);
    if (!k->is_running) {
        sigfillset(&all); /* signals are for the program's own threads */
        pthread_sigmask(SIG_SETMASK, &all, &before);
        rc = pthread_create(&k->thread, NULL, keep, k);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        k->is_running = rc == 0;
    }
    pthread_mutex_unlock(&k->lock);
    return rc ? pipeline_err_set(err, -PIPELINE_E_NO_MEMORY,
                                 "the thread that renews claims does not start: %s",
                                 strerror(rc))
              : 0;
}

void keeper_release(struct keeper *k)
{
    pthread_mutex_lock(&k->lock);
    k->is_ending = true;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
    if (k->is_running)
        pthread_join(k->thread, NULL);
    pthread_cond_destroy(&k->changed);
    pthread_mutex_destroy(&k->lock);
}

void keeper_add(struct keeper *k, struct claim *c)
{
    pthread_mutex_lock(&k->lock);
    c->is_renewing = false;
    c->due_ms = boot_ms() + k->lease_ms / 3;
    c->next = k->claims;
    k->claims = c;
    pthread_cond_broadcast(&k->changed);
    pthread_mutex_unlock(&k->lock);
}

void keeper_drop(struct keeper *k, struct claim *c)
{
    pthread_mutex_lock(&k->lock);
    while (c->is_renewing)
        pthread_cond_wait(&k->changed, &k->lock);
    for (struct claim **at = &k->claims; *at; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    pthread_mutex_unlock(&k->lock);
}

bool claim_is_held(const struct claim *c)
{
    return !atomic_load(&c->is_lost) && boot_ms() < atomic_load(&c->until_ms);
}
