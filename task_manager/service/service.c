/* service.c - the service's life: parts, threads, and waking those who wait for work. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "call_rules.h"
#include "log.h"
#include "metrics.h"
#include "service_internal.h"

void rounds_init(struct rounds *r)
{
    pthread_condattr_t attr;

    pthread_mutex_init(&r->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&r->wake, &attr);
    pthread_condattr_destroy(&attr);
}

void rounds_release(struct rounds *r)
{
    pthread_cond_destroy(&r->wake);
    pthread_mutex_destroy(&r->lock);
}

int rounds_start(struct rounds *r, void *(*run)(void *), void *arg, struct err *err)
{
    int rc = pthread_create(&r->thread, NULL, run, arg);
    if (rc)
        return err_set_errno(err, -E_NO_MEMORY, rc, "start a service thread");
    r->is_started = true;
    return 0;
}

void rounds_poke(struct rounds *r)
{
    if (!r->is_started)
        return;
    pthread_mutex_lock(&r->lock);
    r->is_poked = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
}

bool rounds_wait(struct rounds *r, int64_t ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += (ms % 1000) * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&r->lock);
    while (!r->is_poked && !r->is_stopping &&
           pthread_cond_timedwait(&r->wake, &r->lock, &until) != ETIMEDOUT) {
    }
    r->is_poked = false;
    bool go_on = !r->is_stopping;
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

bool rounds_is_stopping(struct rounds *r)
{
    pthread_mutex_lock(&r->lock);
    bool stopping = r->is_stopping;
    pthread_mutex_unlock(&r->lock);
    return stopping;
}

void rounds_stop(struct rounds *r)
{
    if (!r->is_started)
        return;
    pthread_mutex_lock(&r->lock);
    r->is_stopping = true;
    pthread_cond_signal(&r->wake);
    pthread_mutex_unlock(&r->lock);
    pthread_join(r->thread, NULL);
    r->is_started = false;
}

/* A name that no claim could ask for, or that breaks a message, is a mistake of the operator.
 */
int service_check_types(const struct config *config, struct err *err)
{
    char word[2 * TASK_TYPE_MAX];

    for (const char *at = config->task_types;
         (at = config_list_next(at, word, sizeof word)) != NULL;) {
        if (!task_word_is_valid(word))
            return err_set(
                err, -E_BAD_VALUE,
                "TASK_TYPES: '%s' must be letters, digits, '_', '.' or '-', at most %d", word,
                TASK_TYPE_MAX - 1);
    }
    return 0;
}

int service_check_settings(const struct config *config, struct err *err)
{
    int rc = service_check_types(config, err);

    if (!rc)
        rc = secrets_check_key(config, err);
    return rc ? rc : call_rules_check_settings(config, err);
}

enum { ROUNDS_MAX = 3 + PROBE__COUNT };
/* Together in a transaction; the first of them waits for the files of all. */
enum { SUBMITS_MAX = 256, UPLOADS_MAX = 32 };

static size_t all_rounds(struct service *s, struct rounds *ret[ROUNDS_MAX])
{
    size_t count = 0;

    ret[count++] = &s->reaper;
    ret[count++] = &s->relay;
    ret[count++] = &s->house;
    for (int i = 0; i < PROBE__COUNT; i++)
        ret[count++] = &s->probes[i].rounds;
    return count;
}

int service_new(const struct service_parts *parts, struct service **ret, struct err *err)
{
    struct service *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the service");
    s->parts = *parts;
    s->retry.base_ms = parts->config->retry_base_ms;
    s->retry.cap_ms = parts->config->retry_cap_ms;
    s->announce = broker_delivers(parts->publisher);
    struct rounds *all[ROUNDS_MAX];
    for (size_t i = 0, count = all_rounds(s, all); i < count; i++)
        rounds_init(all[i]);
    submit_group_init(&s->submits, SUBMITS_MAX, 0);
    submit_group_init(&s->uploads, UPLOADS_MAX, (size_t)parts->config->handler_threads / 2);
    pthread_mutex_init(&s->wakes.lock, NULL);
    int rc = claim_hub_new(s, &s->hub, err);
    if (!rc)
        rc = task_watch_new(s, &s->watch, err);
    if (!rc)
        rc = pipelines_load(parts->config, &s->pipelines, err);
    if (rc)
        service_stop_free(s);
    else
        *ret = s;
    return rc;
}

int service_start(const struct service_parts *parts, struct service **ret, struct err *err)
{
    struct service *s = NULL;
    int rc = service_check_types(parts->config, err);

    if (!rc)
        rc = service_new(parts, &s, err);
    if (rc)
        return rc;
    rc = claim_hub_start(s->hub, err);
    if (!rc)
        rc = task_watch_start(s->watch, err);
    if (!rc)
        rc = probes_start(s, err);
    if (!rc)
        rc = rounds_start(&s->house, housekeeping_run, s, err);
    if (!rc && s->announce)
        rc = rounds_start(&s->relay, relay_run, s, err);
    if (!rc) /* last: it pokes the others */
        rc = rounds_start(&s->reaper, reaper_run, s, err);
    if (rc) {
        service_stop_free(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void service_end_readiness(struct service *s)
{
    atomic_store(&s->stopping, true);
}

void service_drain(struct service *s)
{
    claim_hub_drain(s->hub);
    task_watch_drain(s->watch);
}

void service_shed(struct service *s)
{
    submit_group_close(&s->submits);
    submit_group_close(&s->uploads);
}

void service_stop_free(struct service *s)
{
    if (!s)
        return;
    rounds_stop(&s->house);
    probes_stop(s);
    rounds_stop(&s->reaper); /* it pokes the other two, so it goes first */
    rounds_stop(&s->relay);
    claim_hub_stop_free(s->hub);
    task_watch_stop_free(s->watch);
    submit_group_release(&s->submits);
    submit_group_release(&s->uploads);
    pipelines_release(&s->pipelines);
    pthread_mutex_destroy(&s->wakes.lock);
    struct rounds *all[ROUNDS_MAX];
    for (size_t i = 0, count = all_rounds(s, all); i < count; i++)
        rounds_release(all[i]);
    free(s);
}

struct store *service_store(struct service *s)
{
    return s->parts.store;
}

struct objstore *service_objects(struct service *s)
{
    return s->parts.objects;
}

void service_announce_submits(struct service *s)
{
    claim_hub_poke(s->hub);
    rounds_poke(&s->relay);
}

void service_announce(struct service *s)
{
    atomic_store(&s->outbox_waits, true);
    service_announce_submits(s);
}

void service_note_move(struct service *s, const struct task_move *move)
{
    static const struct {
        enum metric metric;
        const char *event;
    } notes[TASK_STATE__COUNT] = {
        [TASK_RECEIVED] = {METRIC_TASKS_RETRIED, "task.returned"},
        [TASK_PROCESSING] = {METRIC_TASKS_CLAIMED, "task.claimed"},
        [TASK_DONE] = {METRIC_TASKS_DONE, "task.done"},
        [TASK_FAILED] = {METRIC_TASKS_FAILED, "task.failed"},
        [TASK_CANCELLED] = {METRIC_TASKS_CANCELLED, "task.cancelled"},
    };

    if (task_state_is_terminal(move->to))
        task_watch_note(s->watch, move->id);
    metric_add(notes[move->to].metric, 1);
    log_event(move->to == TASK_FAILED ? LOG_WARN : LOG_DEBUG, notes[move->to].event,
              LOG_S("task_id", move->id), LOG_S("actor", move->actor),
              LOG_S("class", error_class_name(move->error.class)),
              LOG_S("error", move->error.message));
}
