#include "pipeline.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct thread {
    struct pipeline *pipeline;
    struct worker worker;
    pthread_t id;
    bool started;
};

struct pipeline {
    const struct csv_plan *plan;
    struct thread *threads;
    size_t thread_count; /* with a worker that is set up */
    bool running;

    pthread_mutex_t lock; /* guards all below, and the blocks' `done` */
    pthread_cond_t work;  /* a block was submitted, or all have been */
    pthread_cond_t room;  /* a block became free */
    struct block *blocks;
    struct block **idle;      /* blocks in nobody's hands */
    struct block **under_way; /* by number, modulo plan->blocks */
    unsigned idle_count;
    size_t bytes; /* of all blocks' data */
    uint64_t submitted, taken, entered;
    uint64_t cut; /* blocks from this number on do not matter */
    bool closed;
    int rc;
    struct err err;
    struct ledger ledger;
};

struct pipeline *pipeline_new(const struct columns *columns, const struct csv_options *options,
                              const struct csv_plan *plan, struct err *err)
{
    struct pipeline *p = calloc(1, sizeof *p);

    if (!p) {
        err_set(err, -E_NO_MEMORY, "no memory to start");
        return NULL;
    }
    p->plan = plan;
    p->cut = UINT64_MAX;
    p->ledger.skip = options->skip_bad_rows;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->work, NULL);
    pthread_cond_init(&p->room, NULL);
    p->threads = calloc(plan->threads, sizeof *p->threads);
    p->blocks = calloc(plan->blocks, sizeof *p->blocks);
    p->idle = calloc(plan->blocks, sizeof(struct block *));
    p->under_way = calloc(plan->blocks, sizeof(struct block *));
    int rc = p->threads && p->blocks && p->idle && p->under_way ? 0 : -E_NO_MEMORY;
    if (rc)
        err_set(err, rc, "no memory to start");
    for (unsigned i = 0; rc == 0 && i < plan->blocks; i++)
        p->idle[p->idle_count++] = &p->blocks[i];
    for (unsigned i = 0; rc == 0 && i < plan->threads; i++) {
        p->threads[i].pipeline = p;
        rc = worker_init(&p->threads[i].worker, columns, plan, options->skip_bad_rows,
                         options->temp_dir ? options->temp_dir : "/var/tmp", err);
        p->thread_count += rc == 0;
    }
    if (rc == 0)
        return p;
    pipeline_free(p);
    return NULL;
}

static void free_blocks(struct pipeline *p)
{
    for (unsigned i = 0; p->blocks && i < p->plan->blocks; i++) {
        free(p->blocks[i].data);
        account_release(&p->blocks[i].account);
    }
    free(p->blocks);
    p->blocks = NULL;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    pipeline_finish(p, NULL);
    for (size_t i = 0; i < p->thread_count; i++)
        worker_release(&p->threads[i].worker);
    account_release(&p->ledger.sum);
    free(p->threads);
    free(p->idle);
    free(p->under_way);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->work);
    pthread_cond_destroy(&p->room);
    free(p);
}

/* The rest is called with the lock held unless it says otherwise. */

static void fail(struct pipeline *p, int rc, const struct err *err)
{
    if (p->rc == 0) {
        p->rc = rc;
        p->err = *err;
    }
    p->cut = 0;
}

static void put_idle(struct pipeline *p, struct block *b)
{
    if (b->cap > p->plan->block_bytes) { /* it held a long row */
        p->bytes -= b->cap;
        free(b->data);
        b->data = NULL;
        b->cap = 0;
    }
    p->idle[p->idle_count++] = b;
    pthread_cond_broadcast(&p->room);
}

/* Enters every finished block whose turn it is. */
static void enter_finished(struct pipeline *p)
{
    while (p->entered < p->taken) {
        struct block *b = p->under_way[p->entered % p->plan->blocks];
        if (!b->done)
            return;
        if (p->rc == 0 && !p->ledger.failed && ledger_enter(&p->ledger, &b->account) != 0)
            fail(p, -E_NO_MEMORY, &(struct err){-E_NO_MEMORY, "no memory for bad rows"});
        p->entered++;
        put_idle(p, b);
    }
}

/* Does the oldest waiting block; the lock is open meanwhile. */
static void work_one(struct pipeline *p, struct worker *w)
{
    struct block *b = p->under_way[p->taken++ % p->plan->blocks];
    struct err err = ERR_INIT;
    int rc = 0;

    if (b->number < p->cut) {
        pthread_mutex_unlock(&p->lock);
        rc = worker_take(w, b, &err);
        pthread_mutex_lock(&p->lock);
    }
    if (rc)
        fail(p, rc, &err);
    else if (!w->skip && b->account.reject_count > 0 && b->number < p->cut)
        p->cut = b->number;
    b->done = true;
    enter_finished(p);
}

/* Without the lock. */
static void *thread_main(void *arg)
{
    struct thread *t = arg;
    struct pipeline *p = t->pipeline;

    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->taken == p->submitted && !p->closed)
            pthread_cond_wait(&p->work, &p->lock);
        if (p->taken == p->submitted)
            break;
        work_one(p, &t->worker);
    }
    bool good = p->cut == UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
    if (good)
        table_sort(&t->worker.table);
    return NULL;
}

/* Below: the reader's calls, without the lock. */

static int start_threads(struct pipeline *p, struct err *err)
{
    p->running = true;
    if (p->plan->threads == 1)
        return 0;
    for (size_t i = 0; i < p->thread_count; i++) {
        int failed = pthread_create(&p->threads[i].id, NULL, thread_main, &p->threads[i]);
        if (failed)
            return err_set_errno(err, -E_NO_MEMORY, failed, "start a thread");
        p->threads[i].started = true;
    }
    return 0;
}

static int resize(struct pipeline *p, struct block *b, size_t cap, struct err *err)
{
    char *data = realloc(b->data, cap + 1);

    if (!data)
        return err_set(err, -E_NO_MEMORY, "no memory for the input");
    p->bytes += cap - b->cap;
    b->data = data;
    b->cap = cap;
    return 0;
}

/* Waits until `extra` more bytes of blocks are allowed, or nothing is left to wait for. */
static void wait_for_bytes(struct pipeline *p, size_t extra)
{
    while (p->bytes + extra > p->plan->blocks_bytes && p->entered < p->submitted)
        pthread_cond_wait(&p->room, &p->lock);
}

int pipeline_acquire(struct pipeline *p, struct block **ret_block, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    while (p->idle_count == 0)
        pthread_cond_wait(&p->room, &p->lock);
    struct block *b = p->idle[--p->idle_count];
    account_clear(&b->account);
    b->start = b->len = 0;
    b->too_long = b->done = false;
    if (b->cap < p->plan->block_bytes) {
        wait_for_bytes(p, p->plan->block_bytes - b->cap);
        rc = resize(p, b, p->plan->block_bytes, err);
    }
    if (rc)
        put_idle(p, b);
    else
        *ret_block = b;
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int pipeline_grow(struct pipeline *p, struct block *b, size_t cap, struct err *err)
{
    int rc = 0;

    pthread_mutex_lock(&p->lock);
    if (cap > b->cap) {
        wait_for_bytes(p, cap - b->cap);
        rc = resize(p, b, cap, err);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

int pipeline_submit(struct pipeline *p, struct block *b, struct err *err)
{
    int rc = p->running ? 0 : start_threads(p, err);

    pthread_mutex_lock(&p->lock);
    if (rc) {
        put_idle(p, b);
    } else {
        b->number = p->submitted++;
        p->under_way[b->number % p->plan->blocks] = b;
        if (p->plan->threads == 1)
            work_one(p, &p->threads[0].worker);
        else
            pthread_cond_signal(&p->work);
    }
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void pipeline_discard(struct pipeline *p, struct block *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&p->lock);
    put_idle(p, b);
    pthread_mutex_unlock(&p->lock);
}

bool pipeline_is_cut(struct pipeline *p)
{
    pthread_mutex_lock(&p->lock);
    bool cut = p->cut != UINT64_MAX;
    pthread_mutex_unlock(&p->lock);
    return cut;
}

void pipeline_count_lines(struct pipeline *p, uint64_t lines)
{
    p->ledger.sum.lines += lines;
}

int pipeline_finish(struct pipeline *p, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    p->closed = true;
    pthread_cond_broadcast(&p->work);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->thread_count; i++) {
        struct thread *t = &p->threads[i];
        if (t->started)
            pthread_join(t->id, NULL);
        else if (p->cut == UINT64_MAX && p->blocks)
            table_sort(&t->worker.table);
        t->started = false;
    }
    free_blocks(p);
    if (p->rc && err)
        *err = p->err;
    return p->rc;
}

const struct ledger *pipeline_ledger(const struct pipeline *p)
{
    return &p->ledger;
}

struct worker *pipeline_worker(struct pipeline *p, size_t index)
{
    return &p->threads[index].worker;
}
