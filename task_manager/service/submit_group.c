/* submit_group.c - submits that come at the same time share a transaction, and uploads also
 * the wait for the disk that has their files.
 *
 * Whoever adds a submit while too few threads lead becomes a leader: it takes those that wait,
 * records them with one call of the store, answers them, and goes on until nothing waits. So
 * nobody waits for company, and the busier it is the larger the groups. Two leaders: while one
 * waits for the disk, the other works on the next group. Where what waits is more than a group
 * may have (a disk that takes its time for each file), more threads lead. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "failpoint.h"
#include "metrics.h"
#include "service_internal.h"

enum { GROUP_MAX = 256, LEADERS = 2, WAITING_PER_LEADER = 16 };

void submit_group_init(struct submit_group *g, size_t take_max, size_t leaders_max)
{
    assert(take_max > 0 && take_max <= GROUP_MAX);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->done, NULL);
    g->last = &g->first;
    g->take_max = take_max;
    g->leaders_always = LEADERS;
    g->leaders_max = leaders_max;
}

void submit_group_close(struct submit_group *g)
{
    pthread_mutex_lock(&g->lock);
    g->is_closed = true;
    pthread_mutex_unlock(&g->lock);
}

void submit_group_release(struct submit_group *g)
{
    pthread_cond_destroy(&g->done);
    pthread_mutex_destroy(&g->lock);
}

/* A failure that need not be everybody's: one task may be too much for the database. */
static bool may_be_ones_own(int rc)
{
    return rc != -E_UNAVAILABLE && rc != -E_UNKNOWN_OUTCOME;
}

void submit_settle(struct service *s, struct submit_job *job)
{
    if (!job->rc && job->result.outcome == SUBMIT_MISMATCH) {
        job->rc = err_set(&job->err, -E_MISMATCH,
                          "this Idempotency-Key was used for a request with other content");
    } else if (!job->rc && job->result.outcome == SUBMIT_ACCEPTED) {
        metric_add(METRIC_TASKS_SUBMITTED, 1);
        atomic_fetch_add(&s->waiting, 1);
    }
}

static void lose_input(size_t number, const struct err *why, void *arg)
{
    struct submit_job *job = ((struct submit_job **)arg)[number];

    /* That it is gone is no fault of the client's. */
    job->rc =
        err_set(&job->err, why->code == -E_NOT_FOUND ? -E_IO : why->code, "%s", why->text);
}

/* The files that clients sent are durable before rows name them. Lists the jobs that go on. */
static size_t sync_inputs(struct service *s, struct submit_job *const *jobs, size_t count,
                          struct submit_job **ret)
{
    struct submit_job *with_input[GROUP_MAX];
    const char *keys[GROUP_MAX];
    size_t inputs = 0, left = 0;

    for (size_t i = 0; i < count; i++) {
        jobs[i]->rc = 0;
        if (!jobs[i]->item.task.input.key[0])
            continue;
        keys[inputs] = jobs[i]->item.task.input.key;
        with_input[inputs++] = jobs[i];
    }
    if (inputs)
        objstore_sync(s->parts.objects, keys, inputs, lose_input, with_input);
    for (size_t i = 0; i < count; i++) {
        if (!jobs[i]->rc)
            ret[left++] = jobs[i];
    }
    return left;
}

static void record(struct service *s, struct submit_job *const *jobs, size_t count)
{
    struct submission *items = calloc(count, sizeof *items);
    struct submit_result *results = calloc(count, sizeof *results);
    struct err why = ERR_INIT;
    int rc = items && results ? 0 : err_set(&why, -E_NO_MEMORY, "no memory for a submit");

    for (size_t i = 0; i < count && !rc; i++)
        items[i] = jobs[i]->item;
    if (!rc)
        wakes_limit(s, items, count);
    if (!rc)
        rc = store_submit(s->parts.store, items, count, s->announce, results, &why);
    for (size_t i = 0; i < count; i++) {
        if (rc && count > 1 && may_be_ones_own(rc)) {
            record(s, &jobs[i], 1);
            continue;
        }
        jobs[i]->rc = rc;
        jobs[i]->err = why;
        if (!rc)
            jobs[i]->result = results[i];
        if (!rc && results[i].outcome == SUBMIT_ACCEPTED)
            wakes_recorded(s, &items[i]);
        if (!rc && !items[i].is_quiet && results[i].outcome == SUBMIT_ACCEPTED)
            relay_hand(s, &items[i].task, results[i].outbox_seq);
        submit_settle(s, jobs[i]);
    }
    free(items);
    free(results);
}

void submit_record(struct service *s, struct submit_job *const *jobs, size_t count)
{
    struct submit_job *left[GROUP_MAX];

    assert(count <= GROUP_MAX);
    size_t left_count = sync_inputs(s, jobs, count, left);
    if (left_count)
        record(s, left, left_count);
}

/* Under the lock: some jobs off the list. */
static size_t take(struct submit_group *g, struct submit_job **ret)
{
    size_t count = 0;

    while (g->first && count < g->take_max) {
        ret[count++] = g->first;
        g->first = g->first->next;
    }
    if (!g->first)
        g->last = &g->first;
    g->waiting -= count;
    return count;
}

static void refuse(struct submit_job *const *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++)
        jobs[i]->rc = err_set(&jobs[i]->err, -E_UNAVAILABLE, "the task manager is stopping");
}

/* Under the lock, which it lets go of meanwhile. Whoever leads and has an answer of its own to
 * give goes as soon as another leads. */
static void lead(struct service *s, struct submit_group *g, const struct submit_job *own)
{
    struct submit_job *jobs[GROUP_MAX];
    size_t count;

    while (!(own && own->is_done && g->leaders > 1) && (count = take(g, jobs)) > 0) {
        bool is_closed = g->is_closed;
        pthread_mutex_unlock(&g->lock);
        if (is_closed)
            refuse(jobs, count);
        else
            submit_record(s, jobs, count);
        service_announce_submits(s);
        FAILPOINT(submit_announced);
        size_t waited_for = 0;
        for (size_t i = 0; i < count; i++) {
            if (jobs[i]->answer)
                jobs[i]->answer(jobs[i]); /* and it is gone */
            else
                jobs[waited_for++] = jobs[i];
        }
        pthread_mutex_lock(&g->lock);
        for (size_t i = 0; i < waited_for; i++)
            jobs[i]->is_done = true;
        if (waited_for)
            pthread_cond_broadcast(&g->done);
    }
}

/* `own` is the job when somebody waits for it. */
static void add(struct service *s, struct submit_group *g, struct submit_job *job,
                const struct submit_job *own)
{
    job->next = NULL;
    *g->last = job;
    g->last = &job->next;
    g->waiting++;
    if (g->leaders >= g->leaders_always &&
        (g->leaders >= g->leaders_max || g->waiting < g->leaders * WAITING_PER_LEADER))
        return;
    g->leaders++;
    lead(s, g, own);
    g->leaders--;
}

/* Who has sent no file does not wait for the files of others. */
static struct submit_group *group_of(struct service *s, const struct submit_job *job)
{
    return job->item.task.input.key[0] ? &s->uploads : &s->submits;
}

void submit_group_add(struct service *s, struct submit_job *job)
{
    struct submit_group *g = group_of(s, job);

    pthread_mutex_lock(&g->lock);
    add(s, g, job, NULL);
    pthread_mutex_unlock(&g->lock);
}

void submit_group_wait(struct service *s, struct submit_job *job)
{
    struct submit_group *g = group_of(s, job);

    pthread_mutex_lock(&g->lock);
    add(s, g, job, job);
    while (!job->is_done)
        pthread_cond_wait(&g->done, &g->lock);
    pthread_mutex_unlock(&g->lock);
}
