/* store_sqlite_house.c - keeping house: idempotency keys, tasks of long ago, files in use. */
#include "sqlite_internal.h"

#include "clock.h"

/* -- idempotency keys -- */

struct forget_args {
    int64_t ttl_ms;
    int limit, removed;
};

static int forget_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct forget_args *a = arg;
    struct lite_query q;

    lite_begin(&q, c, LITE_KEYS_FORGET);
    lite_int(&q, a->ttl_ms);
    lite_int(&q, a->limit);
    return lite_run(&q, &a->removed, err);
}

int lite_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                     struct err *err)
{
    struct forget_args a = {ttl_ms, limit, 0};

    int rc = lite_write((struct store_sqlite *)s, forget_body, &a, err);
    if (!rc)
        *ret_removed = a.removed;
    return rc;
}

/* -- tasks of long ago -- */

static int age_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_AGE);
    int rc = lite_next(&q, err);
    if (rc > 0)
        *(int64_t *)arg = lite_get_int(&q);
    lite_end(&q);
    return rc < 0 ? rc : 0;
}

int lite_age(struct store *s, int64_t *ret_ms, struct err *err)
{
    return lite_read((struct store_sqlite *)s, age_body, ret_ms, err);
}

struct purge_args {
    int64_t age_ms;
    size_t limit;
    struct purged *ret;
    size_t *ret_count;
    struct tally *tally; /* of the transaction that removes them; NULL while only looking */
};

static void read_old(struct lite_query *q, struct purge_args *a)
{
    struct purged *found = &a->ret[(*a->ret_count)++];
    char type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];

    lite_get_id(q, found->id);
    lite_get_text(q, found->input_key, sizeof found->input_key);
    lite_get_text(q, found->output_key, sizeof found->output_key);
    enum task_state state = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    lite_get_text(q, type, sizeof type);
    lite_get_text(q, queue, sizeof queue);
    if (a->tally)
        tally_add(a->tally, state, type, queue, -1);
}

/* Ids begin with the time at which they were made, so the tasks of long ago stand first in the
 * index and need none of their own: what was made too late cannot have ended in time. */
static int find_old(struct lite_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    struct lite_query q;
    char bound[ID_TEXT_MAX];
    int64_t before_ms = clock_wall_ms() - a->age_ms;
    int rc;

    id_floor(before_ms, bound);
    *a->ret_count = 0;
    lite_begin(&q, c, LITE_PURGE_FIND);
    lite_id(&q, bound);
    lite_int(&q, before_ms);
    lite_int(&q, (int64_t)a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        read_old(&q, a);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

static int remove_task(struct lite_conn *c, const char *id, struct err *err)
{
    static const enum lite_stmt statements[] = {LITE_PURGE_ATTEMPTS, LITE_PURGE_EVENTS,
                                                LITE_PURGE_TASK};
    int rc = 0;

    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && !rc; i++) {
        struct lite_query q;
        lite_begin(&q, c, statements[i]);
        lite_id(&q, id);
        rc = lite_run(&q, NULL, err);
    }
    return rc;
}

static int purge_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;

    a->tally = &c->tally;
    int rc = find_old(c, a, err);
    for (size_t i = 0; i < *a->ret_count && !rc; i++)
        rc = remove_task(c, a->ret[i].id, err);
    return rc;
}

int lite_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
               size_t *ret_count, struct err *err)
{
    struct purge_args a = {age_ms, limit, ret, ret_count, NULL};

    /* Mostly there is nothing to do, and that must not cost a write. */
    int rc = lite_read((struct store_sqlite *)s, find_old, &a, err);
    if (!rc && *ret_count > 0)
        rc = lite_write((struct store_sqlite *)s, purge_body, &a, err);
    if (rc)
        *ret_count = 0;
    return rc;
}

/* -- files in use -- */

struct uses_args {
    struct key_use *items;
    size_t count;
};

static int ask_named(struct lite_conn *c, struct key_use *item, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_KEY_NAMED);
    lite_text(&q, item->key);
    int rc = lite_next(&q, err);
    item->is_named = rc > 0 && lite_get_int(&q) != 0;
    lite_end(&q);
    return rc < 0 ? rc : 0;
}

static int ask_owner(struct lite_conn *c, struct key_use *item, struct err *err)
{
    char folder[ARTIFACT_KEY_MAX];
    struct lite_query q;

    key_folder(item->key, folder);
    lite_begin(&q, c, LITE_KEY_OWNER);
    lite_id(&q, item->task_id);
    lite_text(&q, item->key);
    lite_text(&q, folder);
    int rc = lite_next(&q, err);
    item->exists = rc > 0;
    if (rc > 0) {
        item->state = (enum task_state)lite_get_int_in(&q, TASK_STATE__COUNT);
        item->attempt = (int)lite_get_int(&q);
        item->is_named = lite_get_int(&q) != 0;
        rc = lite_row_ok(&q, err);
    }
    lite_end(&q);
    return rc;
}

static int uses_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct uses_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++) {
        rc = ask_named(c, &a->items[i], err);
        if (!rc && !a->items[i].is_named && a->items[i].task_id[0])
            rc = ask_owner(c, &a->items[i], err);
    }
    return rc;
}

int lite_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err)
{
    struct uses_args a = {items, count};

    return lite_read((struct store_sqlite *)s, uses_body, &a, err);
}
