/* store_mysql_read.c - looking at tasks, attempts and events. A body may run again, so each
 * begins by letting go of what it had. */
#include "mysql_internal.h"

#include <stdlib.h>
#include <string.h>

void my_out_error(struct my_query *q, int *class, struct task_error *ret)
{
    my_out_enum(q, class, ERROR__COUNT);
    my_out_text(q, ret->code, sizeof ret->code);
    my_out_text(q, ret->message, sizeof ret->message);
}

static void out_artifact(struct my_query *q, int64_t *size, struct artifact *ret)
{
    my_out_text(q, ret->key, sizeof ret->key);
    my_out_int(q, size);
    my_out_text(q, ret->sha256, sizeof ret->sha256);
}

void my_out_task(struct my_query *q, struct my_task_row *row)
{
    struct task *t = &row->task;

    memset(row, 0, sizeof *row);
    my_out_id(q, t->id);
    my_out_text(q, t->type, sizeof t->type);
    my_out_text(q, t->queue, sizeof t->queue);
    my_out_enum(q, &row->state, TASK_STATE__COUNT);
    my_out_small(q, &t->priority);
    my_out_small(q, &t->attempt);
    my_out_small(q, &t->max_attempts);
    my_out_int(q, &t->timeout_ms);
    my_out_int(q, &t->created_ms);
    my_out_int(q, &t->run_at_ms);
    my_out_int(q, &t->started_ms);
    my_out_int(q, &t->finished_ms);
    my_out_int(q, &row->wake_ms);
    my_out_real(q, &t->progress);
    my_out_text(q, t->worker, sizeof t->worker);
    my_out_text(q, t->input_name, sizeof t->input_name);
    out_artifact(q, &row->input_size, &t->input);
    out_artifact(q, &row->output_size, &t->output);
    my_out_error(q, &row->error_class, &t->error);
    my_out_small(q, &t->crashes);
    my_out_id(q, t->run_id);
    my_out_heap(q, &t->params);
    my_out_heap(q, &t->result);
}

void my_task_finish(struct my_task_row *row, struct task *ret)
{
    *ret = row->task;
    id_or_none(ret->run_id);
    ret->state = (enum task_state)row->state;
    ret->error.class = (enum error_class)row->error_class;
    ret->input.size = (uint64_t)row->input_size;
    ret->output.size = (uint64_t)row->output_size;
    if (strcmp(ret->worker, MY_NOBODY_NAME) == 0)
        ret->worker[0] = '\0';
    ret->lease_until_ms = ret->state == TASK_PROCESSING ? row->wake_ms : 0;
    row->task.params = row->task.result = NULL; /* handed over */
}

/* -- one task -- */

struct get_args {
    const char *id;
    struct task *ret;
};

static int get_body(struct my_conn *c, void *arg, struct err *err)
{
    struct get_args *a = arg;
    struct my_query q;
    struct my_task_row row;

    my_begin(&q, c, MY_TASK_GET);
    my_id(&q, a->id);
    my_out_task(&q, &row);
    int rc = my_one(&q, err);
    if (rc > 0)
        my_task_finish(&row, a->ret);
    if (rc >= 0)
        return rc ? 0 : -E_NOT_FOUND;
    return rc;
}

int my_get(struct store *s, const char *id, struct task *ret, struct err *err)
{
    struct get_args a = {id, ret};

    return my_read((struct store_mysql *)s, get_body, &a, err);
}

int my_task_state(struct my_conn *c, const char *id, enum task_state *ret, struct err *err)
{
    struct my_query q;
    int state = 0;

    my_begin(&q, c, MY_TASK_STATE);
    my_id(&q, id);
    my_out_enum(&q, &state, TASK_STATE__COUNT);
    int rc = my_one(&q, err);
    *ret = (enum task_state)state;
    return rc;
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

static void bind_filter(struct my_query *q, const struct store_filter *f)
{
    for (int i = 0; i < TASK_STATE__COUNT; i++) {
        if (f->states >> i & 1U)
            my_int(q, i);
    }
    if (f->type)
        my_text(q, f->type);
    if (f->queue)
        my_text(q, f->queue);
}

static int count_matches(struct my_conn *c, const struct store_filter *f, int64_t *ret,
                         struct err *err)
{
    struct buf sql = BUF_INIT;
    struct my_query q;

    buf_append_str(&sql, "SELECT CAST(IFNULL(SUM(n), 0) AS SIGNED) FROM task_count");
    add_filter(&sql, f);
    if (!buf_ok(&sql))
        return err_set(err, -E_NO_MEMORY, "no memory for a query");
    my_begin_sql(&q, c, sql.data);
    bind_filter(&q, f);
    my_out_int(&q, ret);
    int rc = my_one(&q, err);
    my_end(&q);
    buf_release(&sql);
    return rc < 0 ? rc : 0;
}

static int read_list(struct my_query *q, struct my_task_row *row, struct task_list *list,
                     struct err *err)
{
    size_t capacity = 0;
    int rc = my_query_exec(q, err);

    while (!rc && (rc = my_next(q, err)) > 0) {
        struct task *grown = store_grow(list->items, list->count, &capacity, sizeof *grown);
        if (!grown) {
            task_release(&row->task);
            return err_set(err, -E_NO_MEMORY, "no memory for a list of tasks");
        }
        list->items = grown;
        my_task_finish(row, &list->items[list->count++]);
        rc = 0;
    }
    return rc;
}

static int list_body(struct my_conn *c, void *arg, struct err *err)
{
    struct list_args *a = arg;
    struct buf sql = BUF_INIT;
    struct my_query q;
    struct my_task_row row;

    task_list_release(a->ret);
    buf_append_str(&sql, "SELECT " MY_TASK_ENTRY " FROM task");
    add_filter(&sql, a->filter);
    buf_append_str(&sql, " ORDER BY id DESC LIMIT ? OFFSET ?");
    if (!buf_ok(&sql))
        return err_set(err, -E_NO_MEMORY, "no memory for a query");
    my_begin_sql(&q, c, sql.data);
    bind_filter(&q, a->filter);
    my_int(&q, a->filter->limit);
    my_int(&q, a->filter->offset);
    my_out_task(&q, &row);
    int rc = read_list(&q, &row, a->ret, err);
    my_end(&q);
    buf_release(&sql);
    if (!rc && a->ret_total)
        rc = count_matches(c, a->filter, a->ret_total, err);
    return rc;
}

int my_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
            int64_t *ret_total, struct err *err)
{
    struct list_args a = {filter, ret, ret_total};

    return my_read((struct store_mysql *)s, list_body, &a, err);
}

/* -- attempts and events: arrays that grow -- */

struct rows_args {
    const char *id;
    int64_t after;
    int limit;
    void *items;
    size_t count, capacity;
};

static int read_attempts(struct my_query *q, struct rows_args *a, struct err *err)
{
    struct attempt row = {0};
    int outcome = 0, class = 0;

    my_out_small(q, &row.number);
    my_out_text(q, row.worker, sizeof row.worker);
    my_out_int(q, &row.started_ms);
    my_out_int(q, &row.ended_ms);
    my_out_enum(q, &outcome, ATTEMPT__COUNT);
    my_out_error(q, &class, &row.error);
    my_out_int(q, &row.usage.wall_ms);
    my_out_int(q, &row.usage.cpu_ms);
    my_out_int(q, &row.usage.peak_rss_bytes);
    my_out_small(q, &row.usage.exit_code);
    my_out_small(q, &row.usage.signal);

    int rc = my_query_exec(q, err);
    while (!rc && (rc = my_next(q, err)) > 0) {
        struct attempt *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
        if (!grown)
            return err_set(err, -E_NO_MEMORY, "no memory for a list of attempts");
        a->items = grown;
        row.outcome = (enum attempt_outcome)outcome;
        row.error.class = (enum error_class) class;
        grown[a->count++] = row;
        rc = 0;
    }
    return rc;
}

static int attempts_body(struct my_conn *c, void *arg, struct err *err)
{
    struct rows_args *a = arg;
    struct my_query q;

    a->count = 0;
    my_begin(&q, c, MY_ATTEMPTS);
    my_id(&q, a->id);
    my_id(&q, a->id);
    my_int(&q, a->limit);
    int rc = read_attempts(&q, a, err);
    my_end(&q);
    return rc;
}

int my_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                size_t *ret_count, struct err *err)
{
    struct rows_args a = {.id = id, .limit = limit};

    int rc = my_read((struct store_mysql *)s, attempts_body, &a, err);
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

static int read_events(struct my_query *q, struct rows_args *a, struct err *err)
{
    struct task_event row = {0};
    int from = 0, to = 0;

    my_out_int(q, &row.seq);
    my_out_id(q, row.task_id);
    my_out_int(q, &row.at_ms);
    my_out_enum(q, &from, TASK_STATE__COUNT + 1); /* 0 for the submit */
    my_out_enum(q, &to, TASK_STATE__COUNT);
    my_out_small(q, &row.attempt);
    my_out_text(q, row.actor, sizeof row.actor);
    my_out_text(q, row.detail, sizeof row.detail);

    int rc = my_query_exec(q, err);
    while (!rc && (rc = my_next(q, err)) > 0) {
        struct task_event *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
        if (!grown)
            return err_set(err, -E_NO_MEMORY, "no memory for a list of events");
        a->items = grown;
        row.is_first = from == 0;
        row.from = (enum task_state)(from > 0 ? from - 1 : 0);
        row.to = (enum task_state)to;
        grown[a->count++] = row;
        rc = 0;
    }
    return rc;
}

static void begin_events(struct my_query *q, struct my_conn *c, const struct rows_args *a)
{
    const bool latest = a->after == STORE_LATEST;

    my_begin(q, c, latest ? MY_EVENTS_LATEST : a->id ? MY_EVENTS_OF : MY_EVENTS_ALL);
    if (a->id)
        my_id(q, a->id);
    if (!latest)
        my_int(q, a->after);
    my_int(q, a->limit);
}

static int events_body(struct my_conn *c, void *arg, struct err *err)
{
    struct rows_args *a = arg;
    struct my_query q;

    a->count = 0;
    begin_events(&q, c, a);
    int rc = read_events(&q, a, err);
    my_end(&q);
    return rc;
}

int my_events(struct store *s, const char *id, int64_t after, int limit,
              struct task_event **ret, size_t *ret_count, struct err *err)
{
    struct rows_args a = {.id = id, .after = after, .limit = limit};

    int rc = my_read((struct store_mysql *)s, events_body, &a, err);
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

static int counts_body(struct my_conn *c, void *arg, struct err *err)
{
    struct counts_args *a = arg;
    struct store_counts *ret = a->ret;
    struct my_query q;

    my_begin(&q, c, MY_COUNTS);
    for (int i = 0; i < 3; i++)
        my_int(&q, a->limit);
    my_out_int(&q, &ret->waiting);
    my_out_int(&q, &ret->running);
    my_out_int(&q, &ret->outbox);
    my_out_int(&q, &ret->outbox_oldest_ms);
    int rc = my_one(&q, err);
    return rc < 0 ? rc : 0;
}

int my_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err)
{
    struct counts_args a = {limit, ret};

    return my_read((struct store_mysql *)s, counts_body, &a, err);
}
