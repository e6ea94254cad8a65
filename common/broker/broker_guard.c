/* broker_guard.c - one sleeping thread per guarded connection; see the header for why. */
#include "broker_guard.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "clock.h"

enum { STACK_BYTES = 128 * 1024 };

struct broker_guard {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* all below under lock */
    int64_t deadline_ms; /* INT64_MAX: not armed */
    int64_t wakes_at_ms; /* when the thread looks again by itself */
    int fd;
    bool fired, ending;
};

static void sleep_until(struct broker_guard *g, int64_t wake_ms)
{
    struct timespec at = {.tv_sec = wake_ms / 1000, .tv_nsec = wake_ms % 1000 * 1000000};

    g->wakes_at_ms = wake_ms;
    if (wake_ms == INT64_MAX)
        pthread_cond_wait(&g->changed, &g->lock);
    else
        pthread_cond_timedwait(&g->changed, &g->lock, &at);
}

static void *guard_main(void *arg)
{
    struct broker_guard *g = arg;

    pthread_mutex_lock(&g->lock);
    while (!g->ending) {
        if (clock_mono_ms() >= g->deadline_ms) {
            shutdown(g->fd, SHUT_RDWR);
            g->fired = true;
            g->deadline_ms = INT64_MAX;
        }
        sleep_until(g, g->deadline_ms);
    }
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* Signals are for the program's own threads, so the guard's thread is born with all blocked. */
static int start_thread(struct broker_guard *g)
{
    pthread_attr_t attr;
    sigset_t all, before;
    int rc = pthread_attr_init(&attr);

    if (rc != 0)
        return rc;
    sigfillset(&all);
    rc = pthread_attr_setstacksize(&attr, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (rc == 0)
        rc = pthread_create(&g->thread, &attr, guard_main, g);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

static int init_lock(struct broker_guard *g)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc != 0)
        return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* as clock_mono_ms */
    if (rc == 0)
        rc = pthread_cond_init(&g->changed, &attr);
    pthread_condattr_destroy(&attr);
    if (rc != 0)
        return rc;
    rc = pthread_mutex_init(&g->lock, NULL);
    if (rc != 0)
        pthread_cond_destroy(&g->changed);
    return rc;
}

int broker_guard_new(struct broker_guard **ret, struct err *err)
{
    struct broker_guard *g = calloc(1, sizeof *g);
    int rc;

    if (!g)
        return err_set(err, -E_NO_MEMORY, "no memory for a watchdog");
    g->deadline_ms = g->wakes_at_ms = INT64_MAX;
    rc = init_lock(g);
    if (rc == 0) {
        rc = start_thread(g);
        if (rc == 0) {
            *ret = g;
            return 0;
        }
        pthread_cond_destroy(&g->changed);
        pthread_mutex_destroy(&g->lock);
    }
    free(g);
    return err_set_errno(err, -E_NO_MEMORY, rc, "cannot start a watchdog thread");
}

void broker_guard_free(struct broker_guard *g)
{
    if (!g)
        return;
    pthread_mutex_lock(&g->lock);
    g->ending = true;
    pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
    pthread_join(g->thread, NULL);
    pthread_cond_destroy(&g->changed);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

void broker_guard_arm(struct broker_guard *g, int fd, int timeout_ms)
{
    pthread_mutex_lock(&g->lock);
    g->fd = fd;
    g->deadline_ms = clock_mono_ms() + timeout_ms;
    if (g->deadline_ms < g->wakes_at_ms)
        pthread_cond_signal(&g->changed);
    pthread_mutex_unlock(&g->lock);
}

void broker_guard_disarm(struct broker_guard *g)
{
    pthread_mutex_lock(&g->lock);
    g->deadline_ms = INT64_MAX;
    pthread_mutex_unlock(&g->lock);
}

bool broker_guard_has_fired(struct broker_guard *g)
{
    bool fired;

    pthread_mutex_lock(&g->lock);
    fired = g->fired;
    pthread_mutex_unlock(&g->lock);
    return fired;
}
