/* store_mysql_house.c - keeping house: idempotency keys, tasks of long ago, files in use. */
#include "mysql_internal.h"

#include <stdlib.h>
#include <string.h>

/* -- idempotency keys -- */

struct forget_args {
    int64_t ttl_ms, removed;
    int limit;
};

static int forget_body(struct my_conn *c, void *arg, struct err *err)
{
    struct forget_args *a = arg;
    struct my_query q;

    my_begin(&q, c, MY_KEYS_FORGET);
    my_int(&q, a->ttl_ms);
    my_int(&q, a->limit);
    return my_run(&q, &a->removed, err);
}

int my_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                   struct err *err)
{
    struct forget_args a = {ttl_ms, 0, limit};

    int rc = my_transact((struct store_mysql *)s, forget_body, &a, err);
    if (!rc)
        *ret_removed = a.removed;
    return rc;
}

/* -- tasks of long ago -- */

static int age_body(struct my_conn *c, void *arg, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_AGE);
    my_out_int(&q, arg);
    int rc = my_one(&q, err);
    return rc < 0 ? rc : 0;
}

int my_age(struct store *s, int64_t *ret_ms, struct err *err)
{
    return my_read((struct store_mysql *)s, age_body, ret_ms, err);
}

struct purge_args {
    int64_t age_ms;
    size_t limit;
    struct purged *ret;
    size_t *ret_count;
    char (*ids)[ID_TEXT_MAX]; /* room for limit: found without a lock */
    size_t seen;
};

static int old_clock(struct my_conn *c, const struct purge_args *a, int64_t *ret_before_ms,
                     struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_CLOCK);
    my_out_int(&q, ret_before_ms);
    int rc = my_one(&q, err);
    *ret_before_ms -= a->age_ms;
    return rc < 0 ? rc : 0;
}

/* Ids begin with the time at which they were made, so the tasks of long ago stand first in the
 * index and need none of their own: what was made too late cannot have ended in time. */
static int find_old(struct my_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    struct my_query q;
    char bound[ID_TEXT_MAX], id[ID_TEXT_MAX];
    int64_t before_ms = 0;

    a->seen = 0;
    int rc = old_clock(c, a, &before_ms, err);
    if (rc)
        return rc;
    id_floor(before_ms, bound);
    my_begin(&q, c, MY_PURGE_FIND);
    my_id(&q, bound);
    my_int(&q, before_ms);
    my_int(&q, (int64_t)a->limit);
    my_out_id(&q, id);
    rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        memcpy(a->ids[a->seen++], id, sizeof id);
        rc = 0;
    }
    my_end(&q);
    return rc;
}

/* Those of the ids from `from` on that are now ours and as old as they have to be: somebody may
 * be retrying one by hand, or another manager removing it. */
static int lock_old(struct my_conn *c, struct purge_args *a, size_t from, struct err *err)
{
    struct my_query q;
    struct purged item;
    char type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];
    int state = 0;
    size_t rows = my_begin_rows(&q, c, MY_PURGE_LOCK, a->seen - from);

    my_int(&q, a->age_ms);
    for (size_t i = from; i < from + rows; i++)
        my_id(&q, a->ids[i]);
    my_out_id(&q, item.id);
    my_out_text(&q, item.input_key, sizeof item.input_key);
    my_out_text(&q, item.output_key, sizeof item.output_key);
    my_out_enum(&q, &state, TASK_STATE__COUNT);
    my_out_text(&q, type, sizeof type);
    my_out_text(&q, queue, sizeof queue);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        a->ret[(*a->ret_count)++] = item;
        tally_add(&c->tally, (enum task_state)state, type, queue, -1);
        rc = 0;
    }
    my_end(&q);
    return rc;
}

/* Up to MY_ROWS_MAX tasks with all their rows. */
static int remove_tasks(struct my_conn *c, const struct purged *items, size_t count,
                        struct err *err)
{
    static const enum my_list statements[] = {MY_PURGE_ATTEMPTS, MY_PURGE_EVENTS,
                                              MY_PURGE_TASKS};
    int rc = 0;

    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && count && !rc; i++) {
        struct my_query q;
        size_t rows = my_begin_rows(&q, c, statements[i], count);
        for (size_t j = 0; j < rows; j++)
            my_id(&q, items[j].id);
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

static int purge_body(struct my_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    int rc = 0;

    *a->ret_count = 0;
    for (size_t from = 0; from < a->seen && !rc; from += MY_ROWS_MAX) {
        size_t had = *a->ret_count;
        rc = lock_old(c, a, from, err);
        if (!rc)
            rc = remove_tasks(c, a->ret + had, *a->ret_count - had, err);
    }
    return rc;
}

int my_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
             size_t *ret_count, struct err *err)
{
    struct purge_args a = {age_ms, limit, ret, ret_count, NULL, 0};

    a.ids = calloc(limit + 1, sizeof *a.ids);
    int rc = a.ids ? my_read((struct store_mysql *)s, find_old, &a, err)
                   : err_set(err, -E_NO_MEMORY, "no memory to remove old tasks");
    if (!rc && a.seen)
        rc = my_transact((struct store_mysql *)s, purge_body, &a, err);
    free(a.ids);
    if (rc)
        *ret_count = 0;
    return rc;
}

/* -- files in use -- */

struct uses_args {
    struct key_use *items;
    size_t count;
};

static void bind_keys(struct my_query *q, const struct key_use *items, size_t count)
{
    for (size_t i = 0; i < MY_KEYS_SIZE; i++)
        my_text(q, items[i < count ? i : 0].key);
}

static void mark_named(struct key_use *items, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        items[i].is_named = items[i].is_named || strcmp(items[i].key, key) == 0;
}

/* Of up to MY_KEYS_SIZE keys. */
static int ask_named(struct my_conn *c, struct key_use *items, size_t count, struct err *err)
{
    struct my_query q;
    char key[ARTIFACT_KEY_MAX];

    my_begin(&q, c, MY_KEYS_NAMED);
    bind_keys(&q, items, count); /* as inputs */
    bind_keys(&q, items, count); /* as outputs */
    my_out_text(&q, key, sizeof key);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        mark_named(items, count, key);
        rc = 0;
    }
    my_end(&q);
    return rc;
}

static int ask_owner(struct my_conn *c, struct key_use *item, struct err *err)
{
    char folder[ARTIFACT_KEY_MAX];
    struct my_query q;
    int state = 0, named = 0;

    key_folder(item->key, folder);
    my_begin(&q, c, MY_KEY_OWNER);
    my_text(&q, item->key);
    my_text(&q, item->key);
    my_text(&q, folder);
    my_id(&q, item->task_id);
    my_out_enum(&q, &state, TASK_STATE__COUNT);
    my_out_small(&q, &item->attempt);
    my_out_small(&q, &named);
    int rc = my_one(&q, err);
    item->exists = rc > 0;
    item->state = (enum task_state)state;
    item->is_named = rc > 0 && named;
    return rc < 0 ? rc : 0;
}

static int uses_body(struct my_conn *c, void *arg, struct err *err)
{
    struct uses_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count; i++)
        a->items[i].is_named = a->items[i].exists = false;
    for (size_t from = 0; from < a->count && !rc; from += MY_KEYS_SIZE) {
        size_t left = a->count - from;
        rc = ask_named(c, &a->items[from], left < MY_KEYS_SIZE ? left : MY_KEYS_SIZE, err);
    }
    for (size_t i = 0; i < a->count && !rc; i++) {
        if (!a->items[i].is_named && a->items[i].task_id[0])
            rc = ask_owner(c, &a->items[i], err);
    }
    return rc;
}

int my_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err)
{
    struct uses_args a = {items, count};

    return my_read((struct store_mysql *)s, uses_body, &a, err);
}
