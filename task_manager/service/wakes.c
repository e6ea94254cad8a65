/* wakes.c - which submits are told to the broker, and what the relay learns without the
 * database.
 *
 * A message wakes a worker, which then claims as long as there is work: a crowd of tasks need
 * not send a crowd of messages, each of which costs the database and the broker as much as the
 * task itself. So within WINDOW_MS no more than WAKES_MAX tasks of a queue are announced by
 * outbox rows, and none while a worker has asked this manager for the queue within LOCAL_MS:
 * that one hears of the task without a broker, and most likely has it before others could. (One
 * that waits here is asked for again twice a second; one that is busy with short tasks asks
 * more often.) For those left out one more message is owed, which goes out when the window is
 * over: by then all that were woken may have found the queue empty. Only what was recorded
 * counts, and is owed for. */
#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "service_internal.h"

enum { WAKES_MAX = 16, WINDOW_MS = 20, LOCAL_MS = 600 };

void relay_wake(struct service *s, const char *queue)
{
    struct wakes *w = &s->wakes;
    size_t at = 0;

    if (!s->announce)
        return;
    pthread_mutex_lock(&w->lock);
    while (at < w->count && strcmp(w->queues[at], queue) != 0)
        at++;
    bool is_new = at == w->count && at < sizeof w->queues / sizeof w->queues[0];
    if (is_new)
        snprintf(w->queues[w->count++], sizeof w->queues[0], "%s", queue);
    pthread_mutex_unlock(&w->lock);
    if (is_new)
        rounds_poke(&s->relay);
}

void relay_hand(struct service *s, const struct task *t, int64_t seq)
{
    struct wakes *w = &s->wakes;
    bool has_room;

    if (!s->announce || t->run_at_ms > 0) /* due at some time: the relay looks twice a second */
        return;
    pthread_mutex_lock(&w->lock);
    has_room = seq && w->row_count < HANDED_MAX;
    if (has_room) {
        struct outbox_row *row = &w->rows[w->row_count++];
        *row = (struct outbox_row){.seq = seq, .attempt = t->attempt};
        memcpy(row->task_id, t->id, sizeof row->task_id);
        memcpy(row->type, t->type, sizeof row->type);
        memcpy(row->queue, t->queue, sizeof row->queue);
    }
    pthread_mutex_unlock(&w->lock);
    if (!has_room)
        atomic_store(&s->outbox_waits, true);
}

static int64_t last_used_ms(const struct wake_limit *l)
{
    return l->since_ms > l->asked_ms ? l->since_ms : l->asked_ms;
}

/* The queue's, or that of the queue that has not been heard of for longest and is owed nothing;
 * NULL when all are in use: its tasks are announced then. */
static struct wake_limit *limit_of(struct wakes *w, const char *queue, int64_t now_ms)
{
    struct wake_limit *oldest = NULL;

    for (size_t i = 0; i < WAKE_LIMITS; i++) {
        struct wake_limit *l = &w->limits[i];
        if (strcmp(l->queue, queue) == 0)
            return l;
        if (!l->is_owed && (!oldest || last_used_ms(l) < last_used_ms(oldest)))
            oldest = l;
    }
    if (!oldest || (oldest->queue[0] && now_ms - last_used_ms(oldest) < WINDOW_MS))
        return NULL;
    memset(oldest, 0, sizeof *oldest);
    snprintf(oldest->queue, sizeof oldest->queue, "%s", queue);
    return oldest;
}

void wakes_asked(struct service *s, const struct claim_request *r)
{
    struct wakes *w = &s->wakes;
    int64_t now_ms = clock_mono_ms();

    if (!s->announce)
        return;
    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < r->queue_count; i++) {
        struct wake_limit *l = limit_of(w, r->queues[i], now_ms);
        if (l)
            l->asked_ms = now_ms;
    }
    pthread_mutex_unlock(&w->lock);
}

void wakes_more(struct service *s, const char *queue)
{
    struct wakes *w = &s->wakes;
    int64_t now_ms = clock_mono_ms();
    struct wake_limit *l = NULL;

    if (!s->announce)
        return;
    if (atomic_load(&s->waiting) <= 0) {
        pthread_mutex_lock(&w->lock);
        l = limit_of(w, queue, now_ms);
        if (l && now_ms - l->since_ms >= WINDOW_MS)
            l->since_ms = now_ms;
        if (l)
            l->is_owed = true;
        pthread_mutex_unlock(&w->lock);
    }
    if (l)
        rounds_poke(&s->relay);
    else
        relay_wake(s, queue);
}

/* Tasks that wait for their time each have a message of their own. */
void wakes_limit(struct service *s, struct submission *items, size_t count)
{
    struct wakes *w = &s->wakes;
    int64_t now_ms = clock_mono_ms();

    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < WAKE_LIMITS; i++)
        w->limits[i].items = 0;
    for (size_t i = 0; i < count; i++) {
        struct wake_limit *l =
            items[i].task.run_at_ms > 0 ? NULL : limit_of(w, items[i].task.queue, now_ms);
        if (!l)
            continue;
        if (now_ms - l->since_ms >= WINDOW_MS) {
            l->since_ms = now_ms;
            l->wakes = 0;
        }
        bool is_local = l->asked_ms && now_ms - l->asked_ms < LOCAL_MS;
        items[i].is_quiet = is_local || l->wakes + l->items++ >= WAKES_MAX;
    }
    pthread_mutex_unlock(&w->lock);
}

void wakes_recorded(struct service *s, const struct submission *item)
{
    struct wakes *w = &s->wakes;
    struct wake_limit *found = NULL;

    pthread_mutex_lock(&w->lock);
    for (size_t i = 0; i < WAKE_LIMITS && !found; i++) {
        if (strcmp(w->limits[i].queue, item->task.queue) == 0)
            found = &w->limits[i];
    }
    if (found && item->is_quiet)
        found->is_owed = true;
    else if (found && item->task.run_at_ms == 0)
        found->wakes++;
    pthread_mutex_unlock(&w->lock);
    if (!found && item->is_quiet) /* its place is another queue's by now */
        relay_wake(s, item->task.queue);
}

int64_t wakes_settle(struct service *s)
{
    struct wakes *w = &s->wakes;
    int64_t now_ms = clock_mono_ms(), next_ms = INT64_MAX;

    for (size_t i = 0; i < WAKE_LIMITS; i++) {
        char queue[TASK_QUEUE_MAX] = "";
        pthread_mutex_lock(&w->lock);
        struct wake_limit *l = &w->limits[i];
        int64_t rest_ms = l->since_ms + WINDOW_MS - now_ms;
        bool has_room = w->count < sizeof w->queues / sizeof w->queues[0];
        if (l->is_owed && rest_ms <= 0 && has_room) {
            l->is_owed = false;
            memcpy(queue, l->queue, sizeof queue);
        } else if (l->is_owed && rest_ms < next_ms) {
            next_ms = rest_ms > 0 ? rest_ms : 1; /* once those before it are sent */
        }
        pthread_mutex_unlock(&w->lock);
        if (queue[0])
            relay_wake(s, queue);
    }
    return next_ms;
}
