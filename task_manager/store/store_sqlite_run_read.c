/* store_sqlite_run_read.c - looking at runs, their steps and their events. */
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

static void read_run(struct lite_query *q, struct run *ret)
{
    memset(ret, 0, sizeof *ret);
    lite_get_id(q, ret->id);
    lite_get_text(q, ret->name, sizeof ret->name);
    ret->state = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    ret->version = lite_get_int(q);
    ret->is_cancelling = lite_get_int(q) != 0;
    ret->at = lite_get_int_in(q, RUN_STEPS_LIMIT + 1);
    lite_get_text(q, ret->step, sizeof ret->step);
    ret->step_count = (size_t)lite_get_int_in(q, RUN_STEPS_LIMIT + 1);
    ret->created_ms = lite_get_int(q);
    ret->finished_ms = lite_get_int(q);
    lite_read_error(q, &ret->error);
    ret->definition = lite_get_heap(q);
    ret->input = lite_get_heap(q);
}

static void read_step(struct lite_query *q, struct run_step *ret)
{
    lite_get_text(q, ret->name, sizeof ret->name);
    ret->state = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    lite_get_id_or_none(q, ret->task_id);
    ret->tries = (int)lite_get_int(q);
    ret->attempts = (int)lite_get_int(q);
    ret->started_ms = lite_get_int(q);
    ret->finished_ms = lite_get_int(q);
    lite_read_error(q, &ret->error);
    ret->params = lite_get_heap(q);
    ret->output = lite_get_heap(q);
}

/* -- one run -- */

static int read_steps(struct lite_conn *c, struct run *ret, struct err *err)
{
    struct lite_query q;
    size_t count = 0;
    int rc;

    ret->steps = calloc(ret->step_count + 1, sizeof *ret->steps);
    if (!ret->steps)
        return err_set(err, -E_NO_MEMORY, "no memory for the steps of a run");
    lite_begin(&q, c, LITE_RUN_STEPS);
    lite_id(&q, ret->id);
    while ((rc = lite_next(&q, err)) > 0 && count < ret->step_count) {
        read_step(&q, &ret->steps[count++]);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    if (rc == 0 && count < ret->step_count)
        rc = err_set(err, -E_CORRUPT, "run %s has lost steps", ret->id);
    return rc < 0 ? rc : 0;
}

struct get_args {
    const char *id;
    struct run *ret;
};

static int get_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct get_args *a = arg;
    struct lite_query q;

    lite_begin(&q, c, LITE_RUN_GET);
    lite_id(&q, a->id);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        read_run(&q, a->ret);
        rc = lite_row_ok(&q, err);
    } else if (rc == 0) {
        rc = -E_NOT_FOUND;
    }
    lite_end(&q);
    return rc ? rc : read_steps(c, a->ret, err);
}

int lite_run_get(struct store *s, const char *id, struct run *ret, struct err *err)
{
    struct get_args a = {id, ret};

    return lite_read((struct store_sqlite *)s, get_body, &a, err);
}

/* -- lists -- */

struct list_args {
    const struct run_filter *filter;
    struct run_list *ret;
    int64_t *ret_total;
};

/* " WHERE ..." from constant pieces; the values are bound by bind_filter. */
static void add_filter(struct buf *sql, const struct run_filter *f)
{
    if (f->states) {
        buf_append_str(sql, " WHERE state IN (");
        for (int i = 0, n = 0; i < TASK_STATE__COUNT; i++) {
            if (f->states >> i & 1U)
                buf_append_str(sql, n++ ? ",?" : "?");
        }
        buf_append_str(sql, ")");
    }
    if (f->name)
        buf_append_str(sql, f->states ? " AND name = ?" : " WHERE name = ?");
}

static void bind_filter(struct lite_query *q, const struct run_filter *f)
{
    for (int i = 0; i < TASK_STATE__COUNT; i++) {
        if (f->states >> i & 1U)
            lite_int(q, i);
    }
    if (f->name)
        lite_text(q, f->name);
}

static int count_matches(struct lite_conn *c, const struct run_filter *f, int64_t *ret,
                         struct err *err)
{
    struct buf sql = BUF_INIT;
    struct lite_query q;

    buf_append_str(&sql, "SELECT count(*) FROM run");
    add_filter(&sql, f);
    if (!buf_ok(&sql))
        return err_set(err, -E_NO_MEMORY, "no memory for a query");
    lite_begin_sql(&q, c, sql.data);
    bind_filter(&q, f);
    int rc = lite_next(&q, err);
    if (rc > 0)
        *ret = lite_get_int(&q);
    lite_drop(&q);
    buf_release(&sql);
    return rc < 0 ? rc : 0;
}

static int read_list(struct lite_query *q, struct run_list *list, struct err *err)
{
    size_t capacity = 0;
    int rc;

    while ((rc = lite_next(q, err)) > 0) {
        struct run *grown = store_grow(list->items, list->count, &capacity, sizeof *grown);
        if (!grown)
            return err_set(err, -E_NO_MEMORY, "no memory for a list of runs");
        list->items = grown;
        read_run(q, &list->items[list->count++]);
        rc = lite_row_ok(q, err);
        if (rc)
            return rc;
    }
    return rc;
}

static int list_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct list_args *a = arg;
    struct buf sql = BUF_INIT;
    struct lite_query q;

    buf_append_str(&sql, "SELECT " LITE_RUN_ENTRY " FROM run");
    add_filter(&sql, a->filter);
    buf_append_str(&sql, " ORDER BY id DESC LIMIT ? OFFSET ?");
    if (!buf_ok(&sql))
        return err_set(err, -E_NO_MEMORY, "no memory for a query");
    lite_begin_sql(&q, c, sql.data);
    bind_filter(&q, a->filter);
    lite_int(&q, a->filter->limit);
    lite_int(&q, a->filter->offset);
    int rc = read_list(&q, a->ret, err);
    lite_drop(&q);
    buf_release(&sql);
    if (!rc && a->ret_total)
        rc = count_matches(c, a->filter, a->ret_total, err);
    return rc;
}

int lite_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                  int64_t *ret_total, struct err *err)
{
    struct list_args a = {filter, ret, ret_total};

    return lite_read((struct store_sqlite *)s, list_body, &a, err);
}

/* -- events -- */

struct events_args {
    const char *id;
    int limit;
    struct run_event *items;
    size_t count, capacity;
};

static void read_event(struct lite_query *q, struct run_event *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->seq = lite_get_int(q);
    ret->at_ms = lite_get_int(q);
    int from = lite_get_int_in(q, TASK_STATE__COUNT + 1); /* 0 for the start */
    ret->is_first = from == 0;
    ret->from = (enum task_state)(from > 0 ? from - 1 : 0);
    ret->to = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    lite_get_text(q, ret->step, sizeof ret->step);
    lite_get_text(q, ret->actor, sizeof ret->actor);
    lite_get_text(q, ret->detail, sizeof ret->detail);
}

static int events_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct events_args *a = arg;
    struct lite_query q;
    int rc;

    lite_begin(&q, c, LITE_RUN_EVENTS);
    lite_id(&q, a->id);
    lite_int(&q, a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct run_event *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
        if (!grown) {
            rc = err_set(err, -E_NO_MEMORY, "no memory for a list of events");
            break;
        }
        a->items = grown;
        read_event(&q, &grown[a->count++]);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

int lite_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                    size_t *ret_count, struct err *err)
{
    struct events_args a = {.id = id, .limit = limit};

    int rc = lite_read((struct store_sqlite *)s, events_body, &a, err);
    if (rc) {
        free(a.items);
        return rc;
    }
    *ret = a.items;
    *ret_count = a.count;
    return 0;
}
