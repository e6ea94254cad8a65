#include "pipeline.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { PARKED_PER_THREAD = 4 };

struct thread {
    struct pipeline *pipeline;
    struct worker worker;
    pthread_t id;
};

struct pipeline {
    const struct csv_plan *plan;
    const struct csv_options *options;
    struct thread **threads;
    size_t thread_count;
    struct table table;
    bool has_table;
    struct spills spills;

    pthread_mutex_t turn; /* guards the reader and what is read */
    struct reader *reader;
    uint64_t read; /* blocks handed out */
    struct ticker *ticker;
    bool ended;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t moved; /* `entered` changed */
    uint64_t entered;
    struct account *parked; /* by number, modulo parked_room: finished before their turn */
    bool *is_parked;
    size_t parked_room;
    uint64_t cut; /* blocks from this number on do not matter */
    int rc, reader_rc;
    struct err err, reader_err;
    struct ledger ledger;
};

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory to start");
}

/* A small file needs one; the others are made when there is more to read. */
static int add_worker(struct pipeline *p, struct err *err)
{
    struct thread *t = calloc(1, sizeof *t);

    if (!t)
        return no_memory(err);
    t->pipeline = p;
    p->threads[p->thread_count++] = t;
    worker_init(&t->worker, p->reader->columns, p->plan, p->options->skip_bad_rows, &p->table,
                &p->spills);
    return 0;
}

static int make_table(struct pipeline *p, struct err *err)
{
    const char *dir = p->options->temp_dir ? p->options->temp_dir : "/var/tmp";
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return err_set_errno(err, -E_IO, errno, "read random bytes");
    table_init(&p->table, p->plan->table_bytes * p->plan->threads, p->plan->threads, seed);
    p->has_table = true;
    return spills_init(&p->spills, p->plan->threads, dir, err);
}

struct pipeline *pipeline_new(struct reader *reader, const struct csv_options *options,
                              const struct csv_plan *plan, struct ticker *ticker,
                              struct err *err)
{
    struct pipeline *p = calloc(1, sizeof *p);

    if (!p) {
        no_memory(err);
        return NULL;
    }
    p->plan = plan;
    p->options = options;
    p->reader = reader;
    p->ticker = ticker;
    p->cut = UINT64_MAX;
    p->ledger.skip = options->skip_bad_rows;
    pthread_mutex_init(&p->turn, NULL);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->moved, NULL);
    p->parked_room = PARKED_PER_THREAD * (size_t)plan->threads;
    p->threads = calloc(plan->threads, sizeof *p->threads);
    p->parked = calloc(p->parked_room, sizeof *p->parked);
    p->is_parked = calloc(p->parked_room, sizeof *p->is_parked);
    int rc = p->threads && p->parked && p->is_parked ? make_table(p, err) : no_memory(err);
    if (rc == 0)
        rc = add_worker(p, err);
    if (rc == 0)
        return p;
    pipeline_free(p);
    return NULL;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    if (p->has_table)
        table_release(&p->table);
    for (size_t i = 0; i < p->thread_count; i++) {
        block_release(&p->threads[i]->worker.block);
        free(p->threads[i]);
    }
    spills_release(&p->spills);
    for (size_t i = 0; p->parked && i < p->parked_room; i++)
        account_release(&p->parked[i]);
    account_release(&p->ledger.sum);
    free(p->threads);
    free(p->parked);
    free(p->is_parked);
    pthread_mutex_destroy(&p->turn);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->moved);
    free(p);
}

/* With the lock held. */
static void fail(struct pipeline *p, int rc, const struct err *err)
{
    if (p->rc == 0) {
        p->rc = rc;
        p->err = *err;
    }
    p->cut = 0;
    pthread_cond_broadcast(&p->moved);
}

static bool is_cut(struct pipeline *p, uint64_t number)
{
    pthread_mutex_lock(&p->lock);
    bool cut = number >= p->cut;
    pthread_mutex_unlock(&p->lock);
    return cut;
}

/* With the turn held. */
static void tell_progress(struct pipeline *p, bool last)
{
    if (!last && !ticker_is_due(p->ticker))
        return;
    pthread_mutex_lock(&p->lock);
    uint64_t rows = p->ledger.sum.rows;
    pthread_mutex_unlock(&p->lock);
    ticker_tell_read(p->ticker, source_bytes_in(p->reader->source), rows);
}

/* With the turn: fills the worker's block. False when there is nothing more to do. */
static bool read_block(struct pipeline *p, struct worker *w)
{
    struct err err = ERR_INIT;

    if (p->ended || is_cut(p, p->read)) {
        p->ended = true;
        return false;
    }
    int rc = block_grow(&w->block, p->plan->block_bytes, &err);
    if (rc == 0)
        rc = reader_next(p->reader, &w->block, &err);
    p->ended = rc != 0 || p->reader->over;
    tell_progress(p, p->ended && rc == 0);
    if (p->ended) {
        p->reader_rc = rc;
        p->reader_err = err;
        return false;
    }
    w->block.number = p->read++;
    return true;
}

/* With the lock held: the account of the block whose turn it is. */
static void enter(struct pipeline *p, const struct account *a)
{
    if (p->rc == 0 && !p->ledger.failed && ledger_enter(&p->ledger, a) != 0)
        fail(p, -E_NO_MEMORY, &(struct err){-E_NO_MEMORY, "no memory for bad rows"});
    p->entered++;
}

/* Enters the account of a finished block, or parks it until those before it are there. */
static void hand_in(struct pipeline *p, struct block *b)
{
    pthread_mutex_lock(&p->lock);
    while (b->number >= p->entered + p->parked_room)
        pthread_cond_wait(&p->moved, &p->lock);
    if (b->number != p->entered) {
        size_t place = b->number % p->parked_room;
        struct account held = p->parked[place];
        p->parked[place] = b->account;
        p->is_parked[place] = true;
        b->account = held;
    } else {
        enter(p, &b->account);
        for (size_t at; at = p->entered % p->parked_room, p->is_parked[at];) {
            p->is_parked[at] = false;
            enter(p, &p->parked[at]);
        }
        pthread_cond_broadcast(&p->moved);
    }
    pthread_mutex_unlock(&p->lock);
}

static void work(struct pipeline *p, struct worker *w)
{
    struct block *b = &w->block;
    struct err err = ERR_INIT;
    int rc = is_cut(p, b->number) ? 0 : worker_take(w, &err);

    if (rc || (!w->skip && b->account.reject_count > 0)) {
        pthread_mutex_lock(&p->lock);
        if (rc)
            fail(p, rc, &err);
        else if (b->number < p->cut)
            p->cut = b->number;
        pthread_mutex_unlock(&p->lock);
    }
    hand_in(p, b);
}

/* Takes a turn at the reader and does what it gave. Only one block at a time may hold a long
 * row, so those are done within the turn and shrink again. */
static bool work_one(struct pipeline *p, struct worker *w)
{
    pthread_mutex_lock(&p->turn);
    bool got = read_block(p, w), large = w->block.cap > p->plan->block_bytes;
    if (got && large)
        work(p, w);
    if (large) {
        free(w->block.data);
        w->block.data = NULL;
        w->block.cap = 0;
    }
    pthread_mutex_unlock(&p->turn);
    if (got && !large)
        work(p, w);
    return got;
}

static void *thread_main(void *arg)
{
    struct thread *t = arg;

    while (work_one(t->pipeline, &t->worker))
        ;
    block_release(&t->worker.block);
    return NULL;
}

/* Starts all but the first, which is the caller's. Fewer than wanted are no error: the work
 * gets done by those that are there. All are made before any starts, for they join the table.
 */
static size_t start_threads(struct pipeline *p)
{
    size_t started = 1;

    while (p->thread_count < p->plan->threads && add_worker(p, NULL) == 0)
        ;
    for (; started < p->thread_count; started++) {
        struct thread *t = p->threads[started];
        if (pthread_create(&t->id, NULL, thread_main, t) != 0)
            break;
    }
    return started;
}

int pipeline_run(struct pipeline *p, int *ret_reader_rc, struct err *err)
{
    size_t started = 1;

    if (work_one(p, &p->threads[0]->worker) && !p->reader->eof)
        started = start_threads(p);
    thread_main(p->threads[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(p->threads[i]->id, NULL);
    *ret_reader_rc = p->reader_rc;
    if (err)
        *err = p->rc ? p->err : p->reader_err;
    return p->rc;
}

const struct ledger *pipeline_ledger(const struct pipeline *p)
{
    return &p->ledger;
}

struct table *pipeline_table(struct pipeline *p)
{
    return &p->table;
}

struct spills *pipeline_spills(struct pipeline *p)
{
    return &p->spills;
}
