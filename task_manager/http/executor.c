/* executor.c - handler threads. Their stacks are small, for there may be many. */
#include "executor.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { EXECUTOR_STACK_BYTES = 512 * 1024 };

struct executor {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct executor_job *first, **end;
    size_t waiting, capacity;
    bool stopping;
    int threads;
    pthread_t thread[];
};

static void *executor_main(void *arg)
{
    struct executor *e = arg;

    pthread_mutex_lock(&e->lock);
    for (;;) {
        while (!e->first && !e->stopping)
            pthread_cond_wait(&e->wake, &e->lock);
        struct executor_job *job = e->first;
        if (e->stopping || !job)
            break;
        e->first = job->next;
        if (!e->first)
            e->end = &e->first;
        e->waiting--;
        pthread_mutex_unlock(&e->lock);
        job->run(job);
        pthread_mutex_lock(&e->lock);
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
    e->end = &e->first;
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

int executor_submit(struct executor *e, struct executor_job *job)
{
    int result = 0;

    job->next = NULL;
    pthread_mutex_lock(&e->lock);
    if (e->stopping) {
        result = -E_UNAVAILABLE;
    } else if (e->waiting >= e->capacity) {
        result = -E_OVERLOAD;
    } else {
        *e->end = job;
        e->end = &job->next;
        e->waiting++;
        pthread_cond_signal(&e->wake);
    }
    pthread_mutex_unlock(&e->lock);
    return result;
}

void executor_stop(struct executor *e)
{
    pthread_mutex_lock(&e->lock);
    e->stopping = true;
    struct executor_job *left = e->first;
    e->first = NULL;
    e->end = &e->first;
    e->waiting = 0;
    pthread_cond_broadcast(&e->wake);
    pthread_mutex_unlock(&e->lock);

    while (left) {
        struct executor_job *job = left;
        left = job->next;
        job->drop(job);
    }
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
