#include "board.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "pace.h"

enum {
    PAUSE_MIN_MS = 20, /* between heartbeats, however short a lease may be */
    LEASES_UNHEARD = 6
};

/* --- opening --- */

static int init_cond(pthread_cond_t *c)
{
    pthread_condattr_t attr;
    int rc = pthread_condattr_init(&attr);

    if (rc)
        return rc;
    rc = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    if (!rc)
        rc = pthread_cond_init(c, &attr);
    pthread_condattr_destroy(&attr);
    return rc;
}

static int init_conds(struct board *b)
{
    pthread_cond_t *const conds[] = {&b->due, &b->written, &b->ended};
    const size_t count = sizeof conds / sizeof conds[0];
    size_t made = 0;
    int rc = 0;

    while (made < count && (rc = init_cond(conds[made])) == 0)
        made++;
    while (rc && made > 0)
        pthread_cond_destroy(conds[--made]);
    return rc;
}

static void destroy_conds(struct board *b)
{
    pthread_cond_destroy(&b->due);
    pthread_cond_destroy(&b->written);
    pthread_cond_destroy(&b->ended);
}

int board_open(struct board *b, int64_t heartbeat_ms, struct err *err)
{
    memset(b, 0, sizeof *b);
    b->heartbeat_ms = heartbeat_ms;
    b->batch_wait_ms = PACE_BATCH_MS;
    b->main_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->source_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = b->main_fd < 0 || b->source_fd < 0 ? errno : init_conds(b);
    if (!rc) {
        rc = pthread_mutex_init(&b->lock, NULL);
        if (rc)
            destroy_conds(b);
    }
    if (!rc)
        return 0;
    if (b->main_fd >= 0)
        close(b->main_fd);
    if (b->source_fd >= 0)
        close(b->source_fd);
    return err_set_errno(err, -E_NO_MEMORY, rc, "make the worker's board");
}

static void held_free(struct held *h)
{
    work_release(&h->work);
    report_release(&h->report);
    free(h);
}

static void free_list(struct held *h)
{
    while (h) {
        struct held *next = h->next;
        held_free(h);
        h = next;
    }
}

void board_close(struct board *b)
{
    for (int phase = 0; phase < HELD__COUNT; phase++)
        free_list(b->lists[phase].first);
    close(b->main_fd);
    close(b->source_fd);
    destroy_conds(b);
    pthread_mutex_destroy(&b->lock);
}

/* --- small things, called with the lock held --- */

static void ring(int fd)
{
    const uint64_t one = 1;

    /* It can only fail with EAGAIN when the counter is full, and then it is readable. */
    if (write(fd, &one, sizeof one) < 0)
        assert(errno == EAGAIN);
}

static void lock(struct board *b)
{
    pthread_mutex_lock(&b->lock);
}

static void unlock(struct board *b)
{
    pthread_mutex_unlock(&b->lock);
}

static unsigned count_of(const struct board *b, enum held_phase phase)
{
    return b->lists[phase].count;
}

static bool is_empty(const struct board *b)
{
    unsigned count = 0;

    for (int phase = 0; phase < HELD__COUNT; phase++)
        count += count_of(b, (enum held_phase)phase);
    return count == 0;
}

static void link_last(struct board *b, struct held *h)
{
    struct held_list *l = &b->lists[h->phase];

    h->before = l->last;
    h->next = NULL;
    *(l->last ? &l->last->next : &l->first) = h;
    l->last = h;
    l->count++;
}

static void unlink_held(struct board *b, struct held *h)
{
    struct held_list *l = &b->lists[h->phase];

    assert(l->count > 0);
    *(h->before ? &h->before->next : &l->first) = h->next;
    *(h->next ? &h->next->before : &l->last) = h->before;
    l->count--;
}

static void set_phase(struct board *b, struct held *h, enum held_phase phase)
{
    unlink_held(b, h);
    h->phase = phase;
    link_last(b, h);
}

static unsigned reports_of(const struct board *b)
{
    return count_of(b, HELD_WRITTEN) + count_of(b, HELD_ENDED);
}

/* May anything be claimed? */
static unsigned room_of(const struct board *b)
{
    unsigned waiting = count_of(b, HELD_WAITING) + b->behind, room = b->idle_slots + b->ahead;

    /* Reports that pile up mean a manager that hands out work but takes none back, or a disk
     * that does not. */
    if (waiting >= room || reports_of(b) >= BOARD_REPORTS_MAX)
        return 0;
    if (b->idle_slots == 0 && waiting > b->ahead / 2)
        return 0;
    return room - waiting;
}

/* Whoever waits for what this changes is told, and only then: it happens once an attempt. */
static void unlink_and_free(struct board *b, struct held *h)
{
    bool had_room = room_of(b) > 0;

    unlink_held(b, h);
    held_free(h);
    if (is_empty(b))
        ring(b->main_fd);
    if (!had_room && room_of(b) > 0)
        ring(b->source_fd);
}

/* A lease that ran out unheard does not end the work: a manager that was away has given the
 * task to nobody in the meantime, and after its start it waits a lease for heartbeats before
 * it does. If another worker does own the task by now, the token makes ours harmless: no
 * report of it is taken and its files lie under a prefix of their own. So the limit is only
 * there for work that nobody seems to wait for any more. */
static int64_t loss_at(const struct held *h)
{
    return h->renewed_ms + LEASES_UNHEARD * h->lease_ms;
}

static bool is_lost(const struct held *h, int64_t now_ms)
{
    return h->lost || now_ms >= loss_at(h);
}

static void wait_until(struct board *b, pthread_cond_t *cond, int64_t until_ms)
{
    struct timespec at = {until_ms / 1000, until_ms % 1000 * 1000000};

    pthread_cond_timedwait(cond, &b->lock, &at);
}

/* Slots that run dry want the next claim, and a worker that stops wants to be rid of it all. */
static bool is_worth_waiting(const struct board *b, enum held_phase phase)
{
    return pace_fills_batch(b->ahead, count_of(b, phase)) &&
           count_of(b, HELD_WAITING) + b->behind > 0 && !atomic_load(&b->claims_stopped);
}

static pthread_cond_t *batch_cond(struct board *b, enum held_phase phase)
{
    return phase == HELD_WRITTEN ? &b->written : &b->ended;
}

static void tell_of(struct board *b, enum held_phase phase)
{
    unsigned count = count_of(b, phase);

    if (count == 1 || (count > 1 && !is_worth_waiting(b, phase)))
        pthread_cond_signal(batch_cond(b, phase));
}

/* After anything that may have ended a wait of the syncer's or the reporter's: for the first,
 * or for a batch of it. Waking them for each would cost more than a short attempt. */
static void tell_takers(struct board *b)
{
    tell_of(b, HELD_WRITTEN);
    tell_of(b, HELD_ENDED);
}

/* --- main thread --- */

unsigned board_offer(struct board *b, unsigned idle_slots, unsigned behind, unsigned ahead)
{
    lock(b);
    unsigned waiting = count_of(b, HELD_WAITING);
    bool had_room = room_of(b) > 0;
    b->idle_slots = idle_slots;
    b->behind = behind;
    b->ahead = ahead;
    tell_takers(b);
    if (!had_room && room_of(b) > 0)
        ring(b->source_fd);
    unlock(b);
    return waiting;
}

struct held *board_take(struct board *b, int64_t now_ms)
{
    struct held *found = NULL;

    lock(b);
    bool had_room = room_of(b) > 0;
    while ((found = b->lists[HELD_WAITING].first) != NULL && is_lost(found, now_ms))
        unlink_and_free(b, found);
    if (found) {
        set_phase(b, found, HELD_RUNNING);
        if (b->idle_slots > 0)
            b->idle_slots--;
    }
    tell_takers(b);
    if (!had_room && room_of(b) > 0)
        ring(b->source_fd);
    unlock(b);
    return found;
}

void board_put_back(struct board *b, struct held *h)
{
    struct held_list *l = &b->lists[HELD_WAITING];

    lock(b);
    assert(h->phase == HELD_RUNNING);
    unlink_held(b, h);
    h->phase = HELD_WAITING;
    h->before = NULL;
    h->next = l->first;
    *(l->first ? &l->first->before : &l->last) = h;
    l->first = h;
    l->count++;
    unlock(b);
}

void board_progress(struct board *b, struct held *h, double fraction)
{
    lock(b);
    h->progress = fraction;
    unlock(b);
}

bool board_is_lost(struct board *b, struct held *h, int64_t now_ms)
{
    lock(b);
    bool lost = h->lost = is_lost(h, now_ms);
    unlock(b);
    return lost;
}

bool board_lost_some(struct board *b)
{
    return atomic_exchange(&b->has_lost, false);
}

int64_t board_next_loss_ms(struct board *b)
{
    int64_t least = INT64_MAX;

    lock(b);
    for (const struct held *h = b->lists[HELD_RUNNING].first; h; h = h->next) {
        if (!h->lost && loss_at(h) < least)
            least = loss_at(h);
    }
    unlock(b);
    return least;
}

void board_end(struct board *b, struct held *h, struct report *report_take)
{
    lock(b);
    assert(h->phase == HELD_RUNNING);
    set_phase(b, h, report_take->output.key[0] ? HELD_WRITTEN : HELD_ENDED);
    h->report = *report_take;
    memset(report_take, 0, sizeof *report_take);
    tell_takers(b);
    unlock(b);
}

void board_abandon(struct board *b, struct held *h)
{
    lock(b);
    assert(h->phase == HELD_RUNNING && h->lost);
    set_phase(b, h, HELD_ENDED);
    h->abandoned = true;
    tell_takers(b);
    unlock(b);
}

bool board_is_settled(struct board *b)
{
    lock(b);
    bool settled = is_empty(b) && b->source_ended;
    unlock(b);
    return settled;
}

void board_stop_claims(struct board *b)
{
    lock(b);
    atomic_store(&b->claims_stopped, true);
    ring(b->source_fd);
    tell_takers(b);
    unlock(b);
}

void board_quit(struct board *b)
{
    lock(b);
    atomic_store(&b->claims_stopped, true);
    atomic_store(&b->quit, true);
    ring(b->source_fd);
    pthread_cond_broadcast(&b->due);
    pthread_cond_broadcast(&b->written);
    pthread_cond_broadcast(&b->ended);
    unlock(b);
}

/* --- source --- */

int board_room(struct board *b)
{
    lock(b);
    unsigned room = room_of(b);
    unlock(b);
    return room < WORKER_BATCH_MAX ? (int)room : WORKER_BATCH_MAX;
}

static struct held *held_new(struct work *work_take, int64_t now_ms, struct err *err)
{
    struct held *h = calloc(1, sizeof *h);

    if (!h) {
        work_release(work_take);
        err_set(err, -E_NO_MEMORY, "no memory for an attempt");
        return NULL;
    }
    h->work = *work_take;
    memset(work_take, 0, sizeof *work_take);
    h->phase = HELD_WAITING;
    h->progress = -1;
    h->renewed_ms = now_ms;
    h->lease_ms = h->work.lease_ms;
    return h;
}

/* Two renewals may fail before the lease is in danger, whatever the setting says. */
static int64_t pause_of(const struct board *b, const struct held *h)
{
    int64_t pause = h->lease_ms / 3 < b->heartbeat_ms ? h->lease_ms / 3 : b->heartbeat_ms;

    return pause > PAUSE_MIN_MS ? pause : PAUSE_MIN_MS;
}

/* The main thread is told of the first that waits: it takes what slots can do of all there
 * are, and slots bring it back for the others. */
static void append(struct board *b, struct held *h)
{
    lock(b);
    if (h->phase == HELD_WAITING && count_of(b, HELD_WAITING) == 0)
        ring(b->main_fd);
    link_last(b, h);
    tell_takers(b);
    if (h->renewed_ms + pause_of(b, h) < b->beat_at_ms)
        pthread_cond_broadcast(&b->due);
    unlock(b);
}

int board_add(struct board *b, struct work *work_take, int64_t now_ms, struct err *err)
{
    struct held *h = held_new(work_take, now_ms, err);

    if (!h)
        return -E_NO_MEMORY;
    append(b, h);
    return 0;
}

int board_add_ended(struct board *b, struct work *work_take, struct report *report_take,
                    int64_t now_ms, struct err *err)
{
    struct held *h = held_new(work_take, now_ms, err);

    if (!h) {
        report_release(report_take);
        return -E_NO_MEMORY;
    }
    h->phase = HELD_ENDED;
    h->report = *report_take;
    memset(report_take, 0, sizeof *report_take);
    append(b, h);
    return 0;
}

void board_end_source(struct board *b)
{
    lock(b);
    b->source_ended = true;
    ring(b->main_fd);
    unlock(b);
}

/* --- heartbeat --- */

static struct held *next_held(const struct board *b, const struct held *h)
{
    int phase = h ? (int)h->phase + 1 : 0;

    if (h && h->next)
        return h->next;
    while (phase < HELD__COUNT && !b->lists[phase].first)
        phase++;
    return phase < HELD__COUNT ? b->lists[phase].first : NULL;
}

int64_t board_pause_max_ms(struct board *b)
{
    int64_t least = INT64_MAX;

    lock(b);
    for (const struct held *h = next_held(b, NULL); h; h = next_held(b, h)) {
        if (!h->lost && pause_of(b, h) < least)
            least = pause_of(b, h);
    }
    unlock(b);
    return least;
}

static int64_t next_due(const struct board *b)
{
    int64_t least = INT64_MAX;

    for (const struct held *h = next_held(b, NULL); h; h = next_held(b, h)) {
        int64_t pause = pause_of(b, h);
        if (!h->lost && h->renewed_ms + pause < least)
            least = h->renewed_ms + pause;
    }
    return least;
}

static int list_held(const struct board *b, struct heartbeat **ret, size_t *ret_count,
                     struct err *err)
{
    size_t count = 0;

    for (const struct held *h = next_held(b, NULL); h; h = next_held(b, h))
        count += !h->lost;
    struct heartbeat *items = calloc(count + 1, sizeof *items);
    if (!items)
        return err_set(err, -E_NO_MEMORY, "no memory for a heartbeat");
    *ret_count = 0;
    for (const struct held *h = next_held(b, NULL); h; h = next_held(b, h)) {
        if (h->lost)
            continue;
        struct heartbeat *item = &items[(*ret_count)++];
        memcpy(item->task_id, h->work.task_id, sizeof item->task_id);
        memcpy(item->token, h->work.token, sizeof item->token);
        item->progress = h->progress;
    }
    *ret = items;
    return 0;
}

int board_wait_due(struct board *b, int64_t not_before_ms, struct heartbeat **ret,
                   size_t *ret_count, struct err *err)
{
    int rc = 0;

    lock(b);
    while (!atomic_load(&b->quit)) {
        int64_t due = next_due(b);
        if (due < not_before_ms)
            due = not_before_ms;
        if (clock_mono_ms() >= due)
            break;
        b->beat_at_ms = due;
        if (due == INT64_MAX)
            pthread_cond_wait(&b->due, &b->lock);
        else
            wait_until(b, &b->due, due);
    }
    b->beat_at_ms = INT64_MIN; /* it looks at all of them before it waits again */
    rc = atomic_load(&b->quit) ? err_set(err, -E_CANCELLED, "the worker ends")
                               : list_held(b, ret, ret_count, err);
    unlock(b);
    return rc;
}

void board_renewed(struct board *b, const struct heartbeat *asked,
                   const struct heartbeat_verdict *verdict, int64_t sent_ms)
{
    lock(b);
    for (struct held *h = next_held(b, NULL); h; h = next_held(b, h)) {
        if (strcmp(h->work.task_id, asked->task_id) != 0 ||
            strcmp(h->work.token, asked->token) != 0)
            continue;
        if (verdict->held) {
            h->renewed_ms = sent_ms;
            if (verdict->lease_ms > 0)
                h->lease_ms = verdict->lease_ms;
        } else {
            h->lost = true;
            atomic_store(&b->has_lost, true);
            ring(b->main_fd);
        }
        break;
    }
    unlock(b);
}

/* --- syncer and reporter --- */

static void wait_for_batch(struct board *b, enum held_phase phase)
{
    pthread_cond_t *cond = batch_cond(b, phase);

    while (!atomic_load(&b->quit) && count_of(b, phase) == 0)
        pthread_cond_wait(cond, &b->lock);
    const int64_t until = clock_mono_ms() + b->batch_wait_ms;
    while (!atomic_load(&b->quit) && is_worth_waiting(b, phase) && clock_mono_ms() < until)
        wait_until(b, cond, until);
}

static size_t wait_batch(struct board *b, enum held_phase phase, struct held **ret, size_t max)
{
    size_t count = 0;

    lock(b);
    wait_for_batch(b, phase);
    if (!atomic_load(&b->quit)) {
        for (struct held *h = b->lists[phase].first; h && count < max; h = h->next)
            ret[count++] = h;
    }
    unlock(b);
    return count;
}

size_t board_wait_written(struct board *b, struct held **ret, size_t max)
{
    return wait_batch(b, HELD_WRITTEN, ret, max);
}

void board_durable(struct board *b, struct held *h)
{
    lock(b);
    assert(h->phase == HELD_WRITTEN);
    set_phase(b, h, HELD_ENDED);
    tell_takers(b);
    unlock(b);
}

size_t board_wait_ended(struct board *b, struct held **ret, size_t max)
{
    return wait_batch(b, HELD_ENDED, ret, max);
}

void board_forget(struct board *b, struct held *h)
{
    lock(b);
    unlink_and_free(b, h);
    unlock(b);
}

/* --- any --- */

void board_sleep(struct board *b, int64_t ms)
{
    int64_t until = clock_mono_ms() + ms;

    lock(b);
    while (!atomic_load(&b->quit) && clock_mono_ms() < until)
        wait_until(b, &b->due, until);
    unlock(b);
}
