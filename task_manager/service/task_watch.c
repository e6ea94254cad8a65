/* task_watch.c - requests that wait for the end of a task.
 *
 * One thread looks at the tasks that are waited for: at once when this task manager has ended
 * one (task_watch_note), and every second for what another task manager on the same database
 * has done, and for clients that have gone. Who waits holds no thread. */
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "service_internal.h"

enum { LOOK_MS = 1000, IDLE_MS = 60000 };

/* Nodes are added at the end by anybody and removed by the thread of the watch only, so that it
 * may stand on one without the lock. */
struct watcher {
    struct watcher *next;
    char id[ID_TEXT_MAX];
    struct await_reply reply;
    int64_t until_ms, look_ms; /* monotonic */
    bool is_due;
};

struct task_watch {
    struct service *service;
    struct rounds rounds;
    struct watcher *first, **last; /* with is_due of all: under rounds.lock */
    atomic_size_t parked;
    atomic_bool is_draining;
};

int task_watch_new(struct service *s, struct task_watch **ret, struct err *err)
{
    struct task_watch *watch = calloc(1, sizeof *watch);

    if (!watch)
        return err_set(err, -E_NO_MEMORY, "no memory for the watch of tasks");
    watch->service = s;
    watch->last = &watch->first;
    rounds_init(&watch->rounds);
    *ret = watch;
    return 0;
}

/* True when the watcher has been answered. A database that is away is waited for, too. */
static bool look(struct task_watch *watch, struct watcher *w, bool *store_failed)
{
    struct task t;
    struct err why = ERR_INIT;
    int64_t now = clock_mono_ms();
    bool stopping = atomic_load(&watch->is_draining);

    w->look_ms = now + LOOK_MS;
    if (!stopping && !w->reply.is_alive(w->reply.arg)) {
        log_debug("await.abandoned", LOG_S("task_id", w->id));
        err_set(&why, -E_CANCELLED, "the client is gone");
        w->reply.answer(w->reply.arg, why.code, NULL, &why);
        return true;
    }
    int rc = *store_failed ? -E_UNAVAILABLE
                           : store_get(watch->service->parts.store, w->id, &t, &why);
    if (rc == 0 && task_state_is_terminal(t.state)) {
        w->reply.answer(w->reply.arg, 0, &t, &why);
        task_release(&t);
        return true;
    }
    if (rc == 0)
        task_release(&t);
    else if (rc != -E_NOT_FOUND)
        *store_failed = true;
    if (stopping)
        rc = err_set(&why, -E_UNAVAILABLE, "the task manager is stopping");
    else if (now >= w->until_ms)
        rc = err_set(&why, -E_TIMEOUT, "the task has not ended yet");
    else if (rc != -E_NOT_FOUND)
        return false;
    w->reply.answer(w->reply.arg, rc, NULL, &why);
    return true;
}

void task_watch_pass(struct task_watch *watch)
{
    bool store_failed = false;

    pthread_mutex_lock(&watch->rounds.lock);
    for (struct watcher **at = &watch->first; *at;) {
        struct watcher *w = *at;
        int64_t now = clock_mono_ms();
        bool is_due = w->is_due || now >= w->look_ms || now >= w->until_ms ||
                      atomic_load(&watch->is_draining);
        w->is_due = false;
        pthread_mutex_unlock(&watch->rounds.lock);
        bool answered = is_due && look(watch, w, &store_failed);
        pthread_mutex_lock(&watch->rounds.lock);
        if (!answered) {
            at = &w->next;
            continue;
        }
        *at = w->next;
        if (watch->last == &w->next)
            watch->last = at;
        atomic_fetch_sub(&watch->parked, 1);
        free(w);
    }
    pthread_mutex_unlock(&watch->rounds.lock);
}

static int64_t idle_ms(struct task_watch *watch)
{
    int64_t now = clock_mono_ms(), wait = IDLE_MS;

    pthread_mutex_lock(&watch->rounds.lock);
    for (const struct watcher *w = watch->first; w; w = w->next) {
        int64_t next = w->until_ms < w->look_ms ? w->until_ms : w->look_ms;
        if (next - now < wait)
            wait = next > now ? next - now : 0;
    }
    pthread_mutex_unlock(&watch->rounds.lock);
    return wait;
}

static void *watch_run(void *arg)
{
    struct task_watch *watch = arg;

    while (rounds_wait(&watch->rounds, idle_ms(watch)))
        task_watch_pass(watch);
    task_watch_pass(watch);
    return NULL;
}

int task_watch_start(struct task_watch *watch, struct err *err)
{
    return rounds_start(&watch->rounds, watch_run, watch, err);
}

void task_watch_note(struct task_watch *watch, const char *task_id)
{
    bool found = false;

    if (atomic_load(&watch->parked) == 0)
        return;
    pthread_mutex_lock(&watch->rounds.lock);
    for (struct watcher *w = watch->first; w; w = w->next) {
        if (strcmp(w->id, task_id) == 0)
            found = w->is_due = true;
    }
    pthread_mutex_unlock(&watch->rounds.lock);
    if (found)
        rounds_poke(&watch->rounds);
}

void task_watch_drain(struct task_watch *watch)
{
    pthread_mutex_lock(&watch->rounds.lock); /* orders it with service_await */
    atomic_store(&watch->is_draining, true);
    pthread_mutex_unlock(&watch->rounds.lock);
    rounds_poke(&watch->rounds);
}

void task_watch_stop_free(struct task_watch *watch)
{
    if (!watch)
        return;
    task_watch_drain(watch);
    rounds_stop(&watch->rounds);
    rounds_release(&watch->rounds);
    free(watch);
}

void service_await(struct service *s, const char *task_id, int64_t wait_ms,
                   const struct await_reply *reply)
{
    struct task_watch *watch = s->watch;
    struct watcher *w = calloc(1, sizeof *w);
    struct err why = ERR_INIT;

    if (!w) {
        err_set(&why, -E_NO_MEMORY, "no memory for waiting");
        reply->answer(reply->arg, why.code, NULL, &why);
        return;
    }
    memcpy(w->id, task_id, strnlen(task_id, sizeof w->id - 1));
    w->reply = *reply;
    w->look_ms = clock_mono_ms();
    w->until_ms = w->look_ms + wait_ms;
    w->is_due = true; /* it may have ended already */

    pthread_mutex_lock(&watch->rounds.lock);
    bool open = !atomic_load(&watch->is_draining);
    if (open) {
        atomic_fetch_add(&watch->parked, 1);
        *watch->last = w;
        watch->last = &w->next;
    }
    pthread_mutex_unlock(&watch->rounds.lock);
    if (open) {
        rounds_poke(&watch->rounds);
        return;
    }
    free(w);
    err_set(&why, -E_UNAVAILABLE, "the task manager is stopping");
    reply->answer(reply->arg, why.code, NULL, &why);
}
