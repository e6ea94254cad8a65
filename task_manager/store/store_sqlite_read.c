/* store_sqlite_read.c - looking at tasks, attempts and events. */
#include "sqlite_internal.h"

#include <stdlib.h>
#include <string.h>

static void read_artifact(struct lite_query *q, struct artifact *ret)
{
    lite_get_text(q, ret->key, sizeof ret->key);
    ret->size = (uint64_t)lite_get_int(q);
    lite_get_text(q, ret->sha256, sizeof ret->sha256);
}

void lite_read_error(struct lite_query *q, struct task_error *ret)
{
    ret->class = (enum error_class)lite_get_int_in(q, ERROR__COUNT);
    lite_get_text(q, ret->code, sizeof ret->code);
    lite_get_text(q, ret->message, sizeof ret->message);
}

void lite_read_task(struct lite_query *q, struct task *ret)
{
    memset(ret, 0, sizeof *ret);
    lite_get_id(q, ret->id);
    lite_get_text(q, ret->type, sizeof ret->type);
    lite_get_text(q, ret->queue, sizeof ret->queue);
    ret->state = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    ret->priority = (int)lite_get_int(q);
    ret->attempt = (int)lite_get_int(q);
    ret->max_attempts = (int)lite_get_int(q);
    ret->timeout_ms = lite_get_int(q);
    ret->created_ms = lite_get_int(q);
    ret->run_at_ms = lite_get_int(q);
    ret->started_ms = lite_get_int(q);
    ret->finished_ms = lite_get_int(q);
    int64_t wake_ms = lite_get_int(q);
    ret->lease_until_ms = ret->state == TASK_PROCESSING ? wake_ms : 0;
    ret->progress = lite_get_real(q);
    lite_get_text(q, ret->worker, sizeof ret->worker);
    lite_get_text(q, ret->input_name, sizeof ret->input_name);
    read_artifact(q, &ret->input);
    read_artifact(q, &ret->output);
    lite_read_error(q, &ret->error);
    ret->crashes = (int)lite_get_int(q);
    lite_get_id_or_none(q, ret->run_id);
    ret->params = lite_get_heap(q);
    ret->result = lite_get_heap(q);
}

/* -- one task -- */

struct get_args {
    const char *id;
    struct task *ret;
};

static int get_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct get_args *a = arg;
    struct lite_query q;

    lite_begin(&q, c, LITE_TASK_GET);
    lite_id(&q, a->id);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        lite_read_task(&q, a->ret);
        rc = lite_row_ok(&q, err);
    } else if (rc == 0) {
        rc = -E_NOT_FOUND;
    }
    lite_end(&q);
    return rc;
}

int lite_get(struct store *s, const char *id, struct task *ret, struct err *err)
{
    struct get_args a = {id, ret};

    return lite_read((struct store_sqlite *)s, get_body, &a, err);
}

/* -- lists -- */

struct list_args {
    const struct store_filter *filter;
    struct task_list *ret;
    int64_t *ret_total;
};

/* " WHERE …" from constant pieces; the values are bound by bind_filter. */
static void add_filter(struct buf *sql, const struct store_filter *f)
{
    const char *glue = " WHERE ";

    if (f->states) {
        buf_append_str(sql, " WHERE state IN (");
        for (int i = 0, n = 0; i < TASK_STATE__COUNT; i++) {
            if (f->states >> i & 1U)
                buf_append_str(sql, n++ ? ",?" : "?");
        }
        buf_append_str(sql, ")");
        glue = " AND ";
    }
    if (f->type) {
        buf_printf(sql, "%stype = ?", glue);
        glue = " AND ";
    }
    if (f->queue)
        buf_printf(sql, "%squeue = ?", glue);
}

static void bind_filter(struct lite_query *q, const struct store_filter *f)
{
    for (int i = 0; i < TASK_STATE__COUNT; i++) {
        if (f->states >> i & 1U)
            lite_int(q, i);
    }
    if (f->type)
        lite_text(q, f->type);
    if (f->queue)
        lite_text(q, f->queue);
}

static int count_matches(struct lite_conn *c, const struct store_filter *f, int64_t *ret,
                         struct err *err)
{
    struct buf sql = BUF_INIT;
    struct lite_query q;

    buf_append_str(&sql, "SELECT ifnull(sum(n), 0) FROM task_count");
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

static int read_list(struct lite_query *q, struct task_list *list, struct err *err)
{
    size_t capacity = 0;
    int rc;

    while ((rc = lite_next(q, err)) > 0) {
        struct task *grown = store_grow(list->items, list->count, &capacity, sizeof *grown);
        if (!grown)
            return err_set(err, -E_NO_MEMORY, "no memory for a list of tasks");
        list->items = grown;
        lite_read_task(q, &list->items[list->count++]);
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

    buf_append_str(&sql, "SELECT " LITE_TASK_ENTRY " FROM task");
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

int lite_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
              int64_t *ret_total, struct err *err)
{
    struct list_args a = {filter, ret, ret_total};

    return lite_read((struct store_sqlite *)s, list_body, &a, err);
}

/* -- attempts and events: arrays that grow -- */

struct rows_args {
    const char *id;
    int64_t after;
    int limit;
    void *items;
    size_t count, capacity;
};

static void read_attempt(struct lite_query *q, struct attempt *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->number = (int)lite_get_int(q);
    lite_get_text(q, ret->worker, sizeof ret->worker);
    ret->started_ms = lite_get_int(q);
    ret->ended_ms = lite_get_int(q);
    ret->outcome = (enum attempt_outcome)lite_get_int_in(q, ATTEMPT__COUNT);
    lite_read_error(q, &ret->error);
    ret->usage.wall_ms = lite_get_int(q);
    ret->usage.cpu_ms = lite_get_int(q);
    ret->usage.peak_rss_bytes = lite_get_int(q);
    ret->usage.exit_code = (int)lite_get_int(q);
    ret->usage.signal = (int)lite_get_int(q);
}

static int attempts_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct rows_args *a = arg;
    struct lite_query q;
    int rc;

    lite_begin(&q, c, LITE_ATTEMPTS);
    lite_id(&q, a->id);
    lite_int(&q, a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct attempt *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
        if (!grown) {
            rc = err_set(err, -E_NO_MEMORY, "no memory for a list of attempts");
            break;
        }
        a->items = grown;
        read_attempt(&q, &grown[a->count++]);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

int lite_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                  size_t *ret_count, struct err *err)
{
    struct rows_args a = {.id = id, .limit = limit};

    int rc = lite_read((struct store_sqlite *)s, attempts_body, &a, err);
    if (rc) {
        free(a.items);
        return rc;
    }
    struct attempt *items = a.items;
    for (size_t i = 0; i < a.count / 2; i++) { /* the latest were read first */
        struct attempt swap = items[i];
        items[i] = items[a.count - 1 - i];
        items[a.count - 1 - i] = swap;
    }
    *ret = items;
    *ret_count = a.count;
    return 0;
}

static void read_event(struct lite_query *q, struct task_event *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->seq = lite_get_int(q);
    lite_get_id(q, ret->task_id);
    ret->at_ms = lite_get_int(q);
    int from = lite_get_int_in(q, TASK_STATE__COUNT + 1); /* 0 for the submit */
    ret->is_first = from == 0;
    ret->from = (enum task_state)(from > 0 ? from - 1 : 0);
    ret->to = (enum task_state)lite_get_int_in(q, TASK_STATE__COUNT);
    ret->attempt = (int)lite_get_int(q);
    lite_get_text(q, ret->actor, sizeof ret->actor);
    lite_get_text(q, ret->detail, sizeof ret->detail);
}

static void begin_events(struct lite_query *q, struct lite_conn *c, const struct rows_args *a)
{
    const bool latest = a->after == STORE_LATEST;

    lite_begin(q, c, latest ? LITE_EVENTS_LATEST : a->id ? LITE_EVENTS_OF : LITE_EVENTS_ALL);
    if (a->id)
        lite_id(q, a->id);
    else
        lite_text(q, NULL);
    if (!latest)
        lite_int(q, a->after);
    lite_int(q, a->limit);
}

static int events_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct rows_args *a = arg;
    struct lite_query q;
    int rc;

    begin_events(&q, c, a);
    while ((rc = lite_next(&q, err)) > 0) {
        struct task_event *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
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

int lite_events(struct store *s, const char *id, int64_t after, int limit,
                struct task_event **ret, size_t *ret_count, struct err *err)
{
    struct rows_args a = {.id = id, .after = after, .limit = limit};

    int rc = lite_read((struct store_sqlite *)s, events_body, &a, err);
    if (rc) {
        free(a.items);
        return rc;
    }
    *ret = a.items;
    *ret_count = a.count;
    return 0;
}

/* -- numbers -- */

struct counts_args {
    int64_t limit;
    struct store_counts *ret;
};

static int counts_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct counts_args *a = arg;
    struct store_counts *ret = a->ret;
    struct lite_query q;

    lite_begin(&q, c, LITE_COUNTS);
    lite_int(&q, a->limit);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        ret->waiting = lite_get_int(&q);
        ret->running = lite_get_int(&q);
        ret->outbox = lite_get_int(&q);
        ret->outbox_oldest_ms = lite_get_int(&q);
    }
    lite_end(&q);
    return rc < 0 ? rc : 0;
}

int lite_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err)
{
    struct counts_args a = {limit, ret};

    return lite_read((struct store_sqlite *)s, counts_body, &a, err);
}
