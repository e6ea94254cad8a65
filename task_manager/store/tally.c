#include "tally.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store_internal.h"

enum { LOOK_BACK = 8, KEPT = 64 };

static int compare(const void *a, const void *b)
{
    const struct tally_item *x = a, *y = b;

    if (x->state != y->state)
        return x->state < y->state ? -1 : 1;
    int by_type = strcmp(x->type, y->type);
    return by_type ? by_type : strcmp(x->queue, y->queue);
}

/* Tasks come in crowds of the same kind, so the last few are looked at and the rest is left to
 * tally_settle. */
static struct tally_item *find(struct tally *t, enum task_state state, const char *type,
                               const char *queue)
{
    size_t from = t->count > LOOK_BACK ? t->count - LOOK_BACK : 0;

    for (size_t i = t->count; i > from; i--) {
        struct tally_item *item = &t->items[i - 1];
        if (item->state == state && strcmp(item->queue, queue) == 0 &&
            strcmp(item->type, type) == 0)
            return item;
    }
    return NULL;
}

void tally_add(struct tally *t, enum task_state state, const char *type, const char *queue,
               int change)
{
    struct tally_item *item = find(t, state, type, queue);

    if (!item) {
        struct tally_item *grown = store_grow(t->items, t->count, &t->capacity, sizeof *grown);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->items = grown;
        item = &grown[t->count++];
        *item = (struct tally_item){.state = state};
        snprintf(item->type, sizeof item->type, "%s", type);
        snprintf(item->queue, sizeof item->queue, "%s", queue);
    }
    item->change += change;
}

void tally_move(struct tally *t, enum task_state from, enum task_state to, const char *type,
                const char *queue)
{
    tally_add(t, from, type, queue, -1);
    tally_add(t, to, type, queue, 1);
}

int tally_settle(struct tally *t, struct err *err)
{
    size_t kept = 0;

    if (t->failed)
        return err_set(err, -E_NO_MEMORY, "no memory to count tasks");
    if (t->count)
        qsort(t->items, t->count, sizeof *t->items, compare);
    for (size_t i = 0; i < t->count; i++) {
        if (kept && compare(&t->items[kept - 1], &t->items[i]) == 0)
            t->items[kept - 1].change += t->items[i].change;
        else
            t->items[kept++] = t->items[i];
    }
    t->count = 0;
    for (size_t i = 0; i < kept; i++) {
        if (t->items[i].change)
            t->items[t->count++] = t->items[i];
    }
    return 0;
}

void tally_clear(struct tally *t)
{
    if (t->capacity > KEPT)
        tally_release(t);
    t->count = 0;
    t->failed = false;
}

void tally_release(struct tally *t)
{
    free(t->items);
    *t = (struct tally){0};
}
