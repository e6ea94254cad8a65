#include "merge.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"

static int reader_compare(const struct run_reader *a, const struct run_reader *b)
{
    int order = song_compare(&a->song, &b->song);

    if (order)
        return order;
    return (a->group.day > b->group.day) - (a->group.day < b->group.day);
}

/* A heap of runs, the one with the smallest total first. */
struct heap {
    struct run_reader **items;
    size_t count;
};

static void sift_down(struct heap *h, size_t at)
{
    for (;;) {
        size_t least = 2 * at + 1;
        if (least >= h->count)
            return;
        if (least + 1 < h->count && reader_compare(h->items[least + 1], h->items[least]) < 0)
            least++;
        if (reader_compare(h->items[at], h->items[least]) <= 0)
            return;
        struct run_reader *held = h->items[at];
        h->items[at] = h->items[least];
        h->items[least] = held;
        at = least;
    }
}

/* Moves the top run on and restores the order. */
static int advance_top(struct heap *h, struct err *err)
{
    int rc = run_reader_next(h->items[0], err);

    if (h->items[0]->at_end)
        h->items[0] = h->items[--h->count];
    sift_down(h, 0);
    return rc;
}

static void group_add(struct group *to, const struct group *from)
{
    if (__builtin_add_overflow(to->sum, from->sum, &to->sum))
        to->overflowed = true;
    to->overflowed = to->overflowed || from->overflowed;
}

/* The bytes of the current song must outlive the runs that pass it by. */
struct held_song {
    struct song song;
    char *bytes;
    size_t room;
};

static int hold(struct held_song *held, const struct song *song, bool *ret_new, struct err *err)
{
    *ret_new = held->song.len != song->len || !held->bytes ||
               memcmp(held->bytes, song->bytes, song->len) != 0;
    if (!*ret_new)
        return 0;
    if (song->len > held->room) {
        char *bytes = realloc(held->bytes, song->len + (size_t)BYTES_SLACK);
        if (!bytes)
            return err_set(err, -E_NO_MEMORY, "no memory to merge totals");
        held->bytes = bytes;
        held->room = song->len;
    }
    memcpy(held->bytes, song->bytes, song->len);
    held->song = *song;
    held->song.bytes = held->bytes;
    return 0;
}

static int merge_heap(struct heap *h, const struct merge_sink *sink, struct err *err)
{
    struct held_song held = {0};
    int rc = 0;

    while (rc == 0 && h->count > 0) {
        bool is_new;
        rc = hold(&held, &h->items[0]->song, &is_new, err);
        if (rc)
            break;
        struct group sum = h->items[0]->group;
        rc = advance_top(h, err);
        while (rc == 0 && h->count > 0 && h->items[0]->group.day == sum.day &&
               song_compare(&h->items[0]->song, &held.song) == 0) {
            group_add(&sum, &h->items[0]->group);
            rc = advance_top(h, err);
        }
        if (rc == 0)
            rc = sink->put(sink->arg, &held.song, is_new, &sum, err);
    }
    free(held.bytes);
    return rc;
}

static int merge_readers(struct run_reader *readers, size_t count,
                         const struct merge_sink *sink, struct err *err)
{
    struct heap h = {calloc(count + 1, sizeof *h.items), 0};

    if (!h.items)
        return err_set(err, -E_NO_MEMORY, "no memory to merge totals");
    for (size_t i = 0; i < count; i++)
        if (!readers[i].at_end)
            h.items[h.count++] = &readers[i];
    for (size_t i = h.count / 2; i-- > 0;)
        sift_down(&h, i);
    int rc = merge_heap(&h, sink, err);
    free(h.items);
    return rc;
}

static int merge_some(struct run_list *runs, size_t first, size_t count, size_t buffer_bytes,
                      const struct merge_sink *sink, struct err *err)
{
    struct run_reader *readers = calloc(count, sizeof *readers);
    int rc = 0;

    if (!readers)
        return err_set(err, -E_NO_MEMORY, "no memory to merge totals");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = run_reader_open(&readers[i], &runs->items[first + i], buffer_bytes, &runs->read,
                             err);
    if (rc == 0)
        rc = merge_readers(readers, count, sink, err);
    for (size_t i = 0; i < count; i++)
        run_reader_close(&readers[i]);
    free(readers);
    return rc;
}

/* How many runs from `first` on can be read at once: at least two, and all only when each
 * has its smallest buffer and its longest song in memory. */
static size_t fan_in(const struct run_list *runs, size_t first, const struct csv_plan *plan)
{
    size_t count = 0, bytes = 0;

    for (; first + count < runs->count && count < plan->merge_fan_in; count++) {
        bytes += plan->run_buffer_bytes + runs->items[first + count].longest_song +
                 sizeof(struct run_reader);
        if (bytes > plan->merge_bytes && count >= 2)
            break;
    }
    return count;
}

static int put_to_run(void *arg, const struct song *song, bool is_new,
                      const struct group *group, struct err *err)
{
    (void)is_new;
    return run_writer_put(arg, song, group, err);
}

static int merge_to_run(struct run_list *runs, size_t first, size_t count,
                        struct spill_file *scratch, const struct csv_plan *plan,
                        struct err *err)
{
    struct run_writer w;
    struct run run;
    int rc = run_writer_begin(&w, scratch, plan->run_buffer_bytes, err);

    if (rc == 0)
        rc = merge_some(runs, first, count, plan->run_buffer_bytes,
                        &(struct merge_sink){put_to_run, &w}, err);
    if (rc == 0)
        rc = run_writer_end(&w, &run, err);
    run_writer_release(&w);
    return rc ? rc : run_list_add(runs, &run, err);
}

int merge_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
               const struct merge_sink *sink, struct err *err)
{
    for (;;) {
        size_t first = runs->merged, left = runs->count - first;
        size_t count = fan_in(runs, first, plan);
        if (count == left)
            return merge_some(runs, first, count, plan->run_buffer_bytes, sink, err);
        int rc = merge_to_run(runs, first, count, scratch, plan, err);
        if (rc)
            return rc;
        runs->merged += count;
    }
}
