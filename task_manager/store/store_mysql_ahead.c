/* store_mysql_ahead.c - what waits in a queue, read ahead.
 *
 * The index of waiting tasks begins with entries of tasks that were claimed a moment ago: the
 * server removes them later (InnoDB's purge), and until then each look has to pass over all of
 * them. At 500 tasks a second that were some 450 pages for one claim, more than half of all the
 * work the database did. So one look reads many tasks ahead, and claims then go by the primary
 * key. Tasks that are submitted here join those that were read.
 *
 * It is only a hint: the row decides, when it is locked. What is read is in the order of
 * claims, and complete up to its last one as far as this program knows; what others do on the
 * same database (another manager submits, claims, hands back) is seen AHEAD_MS later at most.
 */
#include "mysql_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { AHEAD_MS = 100 };

/* One queue's. */
struct ahead {
    char queue[TASK_QUEUE_MAX];
    struct candidate items[MY_AHEAD_MAX]; /* in the order of claims */
    size_t first, count;
    bool is_whole;   /* nothing else waits */
    int64_t read_ms; /* monotonic; 0: knows nothing */
    int64_t used_ms; /* when somebody last looked at it */
    struct my_ahead_mark mark;
};

static struct ahead *find(struct my_ahead *a, const char *queue)
{
    for (size_t i = 0; i < a->count; i++) {
        if (strcmp(a->queues[i]->queue, queue) == 0)
            return a->queues[i];
    }
    return NULL;
}

static struct ahead *least_used(struct my_ahead *a)
{
    struct ahead *found = a->queues[0];

    for (size_t i = 1; i < a->count; i++) {
        if (a->queues[i]->used_ms < found->used_ms)
            found = a->queues[i];
    }
    return found;
}

/* A new one, or else that which nobody has looked at for the longest time. NULL without memory.
 */
static struct ahead *make(struct my_ahead *a, const char *queue)
{
    bool has_room = a->count < MY_AHEAD_QUEUES;
    struct ahead *q = has_room ? malloc(sizeof *q) : least_used(a);

    if (!q)
        return NULL;
    if (has_room)
        a->queues[a->count++] = q;
    snprintf(q->queue, sizeof q->queue, "%s", queue);
    q->first = q->count = 0;
    q->is_whole = false;
    q->read_ms = 0;
    q->mark = (struct my_ahead_mark){0, 0};
    return q;
}

int my_ahead_init(struct my_ahead *a, struct err *err)
{
    return pthread_mutex_init(&a->lock, NULL)
               ? err_set(err, -E_NO_MEMORY, "no memory to read queues ahead")
               : 0;
}

void my_ahead_release(struct my_ahead *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->queues[i]);
    pthread_mutex_destroy(&a->lock);
}

static bool is_fresh(const struct ahead *q, int64_t now_ms)
{
    return q->read_ms && now_ms - q->read_ms < AHEAD_MS;
}

/* -- taking -- */

/* The index of the queue whose first one is best; count: nothing more is known. *ret_short:
 * what comes next is not, because of a queue that may have more. */
static size_t best(struct ahead *const *queues, size_t count, bool *ret_short)
{
    size_t found = count;

    for (size_t i = 0; i < count; i++) {
        const struct ahead *q = queues[i];
        *ret_short = *ret_short || !q || (q->count == 0 && !q->is_whole);
        if (q && q->count > 0 &&
            (found == count ||
             candidate_compare(&q->items[q->first],
                               &queues[found]->items[queues[found]->first]) < 0))
            found = i;
    }
    return found;
}

static size_t take(struct ahead *const *queues, size_t count, size_t limit, bool any,
                   struct candidate *ret, bool *ret_short)
{
    size_t taken = 0, from;

    *ret_short = false;
    while (taken < limit && (from = best(queues, count, ret_short)) < count &&
           (any || !*ret_short)) {
        struct ahead *q = queues[from];
        ret[taken] = q->items[q->first++];
        ret[taken++].queue = from;
        q->count--;
    }
    if (any || !*ret_short)
        return taken;
    while (taken-- > 0) { /* they stay */
        queues[ret[taken].queue]->first--;
        queues[ret[taken].queue]->count++;
    }
    return 0;
}

size_t my_ahead_take(struct my_ahead *a, const struct claim *claim, size_t limit, bool any,
                     struct candidate *ret, bool *ret_known)
{
    struct ahead *queues[MY_AHEAD_QUEUES];
    int64_t now_ms = clock_mono_ms();
    bool is_short = false;

    assert(claim->queue_count <= MY_AHEAD_QUEUES);
    pthread_mutex_lock(&a->lock);
    for (size_t i = 0; i < claim->queue_count; i++) {
        queues[i] = find(a, claim->queues[i]);
        if (queues[i] && !is_fresh(queues[i], now_ms))
            queues[i] = NULL;
    }
    size_t taken = take(queues, claim->queue_count, limit, any, ret, &is_short);
    pthread_mutex_unlock(&a->lock);
    *ret_known = !is_short;
    return taken;
}

/* -- telling -- */

/* Where the candidate is or belongs. */
static size_t place_of(const struct ahead *q, const struct candidate *item)
{
    size_t low = 0, high = q->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (candidate_compare(&q->items[q->first + middle], item) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void insert(struct ahead *q, const struct candidate *item)
{
    size_t at = place_of(q, item);

    if (at < q->count && candidate_compare(&q->items[q->first + at], item) == 0)
        return;
    if (at == q->count && !q->is_whole) { /* what is between, nobody knows */
        q->mark.ignored++;
        return;
    }
    if (q->first + q->count == MY_AHEAD_MAX && q->first > 0) {
        memmove(q->items, q->items + q->first, q->count * sizeof q->items[0]);
        q->first = 0;
    }
    if (q->count == MY_AHEAD_MAX) { /* the last one is left to the next look, or this is it */
        q->is_whole = false;
        q->mark.ignored++;
        if (at == q->count)
            return;
        q->count--;
    }
    struct candidate *place = q->items + q->first + at;
    memmove(place + 1, place, (q->count - at) * sizeof *place);
    *place = *item;
    q->count++;
}

void my_ahead_add(struct my_ahead *a, const char *queue, int64_t turn, const char *id)
{
    struct candidate item = {.turn = turn};

    memcpy(item.id, id, sizeof item.id);
    pthread_mutex_lock(&a->lock);
    struct ahead *q = find(a, queue);
    if (q) {
        item.queue = ++q->mark.added;
        insert(q, &item);
    }
    pthread_mutex_unlock(&a->lock);
}

void my_ahead_forget(struct my_ahead *a, const char *queue)
{
    pthread_mutex_lock(&a->lock);
    struct ahead *q = find(a, queue);
    if (q) {
        q->first = q->count = 0;
        q->is_whole = false;
        q->read_ms = 0;
        q->mark.ignored++;
    }
    pthread_mutex_unlock(&a->lock);
}

/* -- reading -- */

struct my_ahead_mark my_ahead_mark(struct my_ahead *a, const char *queue)
{
    struct my_ahead_mark mark = {0, 0};

    pthread_mutex_lock(&a->lock);
    struct ahead *q = find(a, queue);
    if (!q)
        q = make(a, queue);
    if (q) {
        mark = q->mark;
        q->used_ms = clock_mono_ms();
    }
    pthread_mutex_unlock(&a->lock);
    return mark;
}

/* What was submitted since the mark: it may have been recorded after the look. */
static void keep_added(struct ahead *q, size_t mark)
{
    size_t kept = 0;

    for (size_t i = 0; i < q->count; i++) {
        if (q->items[q->first + i].queue > mark)
            q->items[kept++] = q->items[q->first + i];
    }
    q->first = 0;
    q->count = kept;
}

void my_ahead_fill(struct my_ahead *a, const char *queue, struct my_ahead_mark mark,
                   const struct candidate *items, size_t count, bool is_whole)
{
    pthread_mutex_lock(&a->lock);
    struct ahead *q = find(a, queue);
    if (q) {
        keep_added(q, mark.added);
        q->is_whole = true; /* while they are put in */
        for (size_t i = 0; i < count; i++)
            insert(q, &items[i]);
        q->is_whole = is_whole && q->mark.ignored == mark.ignored;
        q->read_ms = clock_mono_ms();
    }
    pthread_mutex_unlock(&a->lock);
}
