/* executor.c - handler threads. Their stacks are small, for there may be many. */
#include "executor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { EXECUTOR_STACK_BYTES = 512 * 1024 };

struct lane {
    struct executor_job *first, **end;
    size_t waiting;
    int running, limit; /* threads that have a job of it, and may have one */
};

struct executor {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct lane lanes[EXECUTOR_LANE__COUNT];
    uint64_t tickets;
    size_t capacity;
    bool stopping;
    int threads;
    pthread_t thread[];
};

/* The lane whose first job came first, of those that may start one now; NULL for none. */
static struct lane *next_lane(struct executor *e)
{
    struct lane *next = NULL;

    for (size_t i = 0; i < EXECUTOR_LANE__COUNT; i++) {
        struct lane *l = &e->lanes[i];
        if (l->first && l->running < l->limit &&
            (!next || l->first->ticket < next->first->ticket))
            next = l;
    }
    return next;
}

/* A submit wakes one thread. A job that had to wait for its lane's limit is found by whoever
 * ends a job, for no other thread can be idle while an older one waits. */
static void *executor_main(void *arg)
{
    struct executor *e = arg;
    struct lane *l;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!(l = next_lane(e)) && !e->stopping)
            pthread_cond_wait(&e->wake, &e->lock);
        if (e->stopping || !l)
            break;
        struct executor_job *job = l->first;
        l->first = job->next;
        if (!l->first)
            l->end = &l->first;
        l->waiting--;
        l->running++;
        pthread_mutex_unlock(&e->lock);
        job->run(job);
        pthread_mutex_lock(&e->lock);
        l->running--;
    }
    pthread_mutex_unlock(&e->lock);
    return NULL;
}

int executor_start(int threads, size_t capacity, struct executor **ret, struct err *err)
{
    struct executor *e = calloc(1, sizeof *e + (size_t)threads * sizeof e->thread[0]);
    pthread_attr_t attr;
    int failure = 0;

    if (!e)
        return err_set(err, -E_NO_MEMORY, "no memory for %d handler threads", threads);
    pthread_mutex_init(&e->lock, NULL);
    pthread_cond_init(&e->wake, NULL);
    for (size_t i = 0; i < EXECUTOR_LANE__COUNT; i++) {
        e->lanes[i].end = &e->lanes[i].first;
        e->lanes[i].limit = threads;
    }
    if (threads > 1)
        e->lanes[EXECUTOR_COMMON].limit -= threads < 4 ? 1 : threads / 4;
    e->capacity = capacity;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, EXECUTOR_STACK_BYTES);
    while (!failure && e->threads < threads) {
        failure = pthread_create(&e->thread[e->threads], &attr, executor_main, e);
        e->threads += failure == 0;
    }
    pthread_attr_destroy(&attr);
    if (failure) {
        executor_stop(e);
        executor_free(e);
        return err_set_errno(err, -E_UNAVAILABLE, failure, "cannot start a handler thread");
    }
    *ret = e;
    return 0;
}

int executor_submit(struct executor *e, enum executor_lane lane, struct executor_job *job)
{
    struct lane *l = &e->lanes[lane];
    int result = 0;

    job->next = NULL;
    pthread_mutex_lock(&e->lock);
    if (e->stopping) {
        result = -E_UNAVAILABLE;
    } else if (l->waiting >= e->capacity) {
        result = -E_OVERLOAD;
    } else {
        job->ticket = e->tickets++;
        *l->end = job;
        l->end = &job->next;
        l->waiting++;
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

static void drop_all(struct executor_job *left)
{
    while (left) {
        struct executor_job *job = left;
        left = job->next;
        job->drop(job);
    }
}

void executor_stop(struct executor *e)
{
    struct executor_job *left[EXECUTOR_LANE__COUNT];

    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    for (size_t i = 0; i < EXECUTOR_LANE__COUNT; i++) {
        left[i] = e->lanes[i].first;
        e->lanes[i].first = NULL;
        e->lanes[i].end = &e->lanes[i].first;
        e->lanes[i].waiting = 0;
    }
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);

    for (size_t i = 0; i < EXECUTOR_LANE__COUNT; i++)
        drop_all(left[i]);
    for (int i = 0; i < e->threads; i++)
        pthread_join(e->thread[i], NULL);
    e->threads = 0;
}

void executor_free(struct executor *e)
{
    if (!e)
        return;
    pthread_cond_destroy(&e->wake);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
