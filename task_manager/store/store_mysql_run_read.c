/* store_mysql_run_read.c - looking at runs, their steps, events and marks. A body may run
 * again, so each begins by letting go of what it had. */
#include "mysql_internal.h"

#include <stdlib.h>
#include <string.h>

struct run_row {
    struct run run;
    int state, is_cancelling, step_count, error_class;
};

static void out_run(struct my_query *q, struct run_row *row)
{
    struct run *r = &row->run;

    memset(row, 0, sizeof *row);
    my_out_id(q, r->id);
    my_out_text(q, r->name, sizeof r->name);
    my_out_enum(q, &row->state, TASK_STATE__COUNT);
    my_out_int(q, &r->version);
    my_out_small(q, &row->is_cancelling);
    my_out_enum(q, &r->at, RUN_STEPS_LIMIT + 1);
    my_out_text(q, r->step, sizeof r->step);
    my_out_enum(q, &row->step_count, RUN_STEPS_LIMIT + 1);
    my_out_int(q, &r->created_ms);
    my_out_int(q, &r->finished_ms);
    my_out_error(q, &row->error_class, &r->error);
    my_out_heap(q, &r->definition);
    my_out_heap(q, &r->input);
}

static void finish_run(struct run_row *row, struct run *ret)
{
    *ret = row->run;
    ret->state = (enum task_state)row->state;
    ret->is_cancelling = row->is_cancelling != 0;
    ret->step_count = (size_t)row->step_count;
    ret->error.class = (enum error_class)row->error_class;
    row->run.definition = row->run.input = NULL; /* handed over */
}

/* -- one run -- */

static int read_steps(struct my_conn *c, struct run *ret, struct err *err)
{
    struct my_query q;
    struct run_step row = {.params = NULL};
    int state = 0, class = 0;
    size_t count = 0;

    my_begin(&q, c, MY_RUN_STEPS);
    my_id(&q, ret->id);
    my_out_text(&q, row.name, sizeof row.name);
    my_out_enum(&q, &state, TASK_STATE__COUNT);
    my_out_id(&q, row.task_id);
    my_out_small(&q, &row.tries);
    my_out_small(&q, &row.attempts);
    my_out_int(&q, &row.started_ms);
    my_out_int(&q, &row.finished_ms);
    my_out_error(&q, &class, &row.error);
    my_out_heap(&q, &row.params);
    my_out_heap(&q, &row.output);
    int rc = my_query_exec(&q, err);
    while (!rc && count < ret->step_count && (rc = my_next(&q, err)) > 0) {
        struct run_step *step = &ret->steps[count++];
        *step = row;
        id_or_none(step->task_id);
        step->state = (enum task_state)state;
        step->error.class = (enum error_class) class;
        rc = 0;
    }
    my_end(&q);
    if (!rc && count < ret->step_count)
        rc = err_set(err, -E_CORRUPT, "run %s has lost steps", ret->id);
    return rc;
}

struct get_args {
    const char *id;
    struct run *ret;
};

static int get_body(struct my_conn *c, void *arg, struct err *err)
{
    struct get_args *a = arg;
    struct my_query q;
    struct run_row row;

    run_release(a->ret);
    my_begin(&q, c, MY_RUN_GET);
    my_id(&q, a->id);
    out_run(&q, &row);
    int rc = my_one(&q, err);
    if (rc <= 0)
        return rc ? rc : -E_NOT_FOUND;
    finish_run(&row, a->ret);
    a->ret->steps = calloc(a->ret->step_count + 1, sizeof *a->ret->steps);
    return a->ret->steps ? read_steps(c, a->ret, err)
                         : err_set(err, -E_NO_MEMORY, "no memory for the steps of a run");
}

int my_run_get(struct store *s, const char *id, struct run *ret, struct err *err)
{
    struct get_args a = {id, ret};

    return my_read((struct store_mysql *)s, get_body, &a, err);
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

static void bind_filter(struct my_query *q, const struct run_filter *f)
{
    for (int i = 0; i < TASK_STATE__COUNT; i++) {
        if (f->states >> i & 1U)
            my_int(q, i);
    }
    if (f->name)
        my_text(q, f->name);
}

static int count_matches(struct my_conn *c, const struct run_filter *f, int64_t *ret,
                         struct err *err)
{
    struct buf sql = BUF_INIT;
    struct my_query q;

    buf_append_str(&sql, "SELECT COUNT(*) FROM run");
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

static int read_list(struct my_query *q, struct run_row *row, struct run_list *list,
                     struct err *err)
{
    size_t capacity = 0;
    int rc = my_query_exec(q, err);

    while (!rc && (rc = my_next(q, err)) > 0) {
        struct run *grown = store_grow(list->items, list->count, &capacity, sizeof *grown);
        if (!grown)
            return err_set(err, -E_NO_MEMORY, "no memory for a list of runs");
        list->items = grown;
        finish_run(row, &list->items[list->count++]);
        rc = 0;
    }
    return rc;
}

static int list_body(struct my_conn *c, void *arg, struct err *err)
{
    struct list_args *a = arg;
    struct buf sql = BUF_INIT;
    struct my_query q;
    struct run_row row;

    run_list_release(a->ret);
    buf_append_str(&sql, "SELECT " MY_RUN_ENTRY " FROM run");
    add_filter(&sql, a->filter);
    buf_append_str(&sql, " ORDER BY id DESC LIMIT ? OFFSET ?");
    if (!buf_ok(&sql))
        return err_set(err, -E_NO_MEMORY, "no memory for a query");
    my_begin_sql(&q, c, sql.data);
    bind_filter(&q, a->filter);
    my_int(&q, a->filter->limit);
    my_int(&q, a->filter->offset);
    out_run(&q, &row);
    int rc = read_list(&q, &row, a->ret, err);
    my_end(&q);
    buf_release(&sql);
    if (!rc && a->ret_total)
        rc = count_matches(c, a->filter, a->ret_total, err);
    return rc;
}

int my_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                int64_t *ret_total, struct err *err)
{
    struct list_args a = {filter, ret, ret_total};

    return my_read((struct store_mysql *)s, list_body, &a, err);
}

/* -- events -- */

struct events_args {
    const char *id;
    int limit;
    struct run_event *items;
    size_t count, capacity;
};

static int events_body(struct my_conn *c, void *arg, struct err *err)
{
    struct events_args *a = arg;
    struct my_query q;
    struct run_event row = {0};
    int from = 0, to = 0;

    a->count = 0;
    my_begin(&q, c, MY_RUN_EVENTS);
    my_id(&q, a->id);
    my_int(&q, a->limit);
    my_out_int(&q, &row.seq);
    my_out_int(&q, &row.at_ms);
    my_out_enum(&q, &from, TASK_STATE__COUNT + 1); /* 0 for the start */
    my_out_enum(&q, &to, TASK_STATE__COUNT);
    my_out_text(&q, row.step, sizeof row.step);
    my_out_text(&q, row.actor, sizeof row.actor);
    my_out_text(&q, row.detail, sizeof row.detail);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        struct run_event *grown = store_grow(a->items, a->count, &a->capacity, sizeof *grown);
        if (!grown) {
            rc = err_set(err, -E_NO_MEMORY, "no memory for a list of events");
            break;
        }
        a->items = grown;
        row.is_first = from == 0;
        row.from = (enum task_state)(from > 0 ? from - 1 : 0);
        row.to = (enum task_state)to;
        grown[a->count++] = row;
        rc = 0;
    }
    my_end(&q);
    return rc;
}

int my_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                  size_t *ret_count, struct err *err)
{
    struct events_args a = {.id = id, .limit = limit};

    int rc = my_read((struct store_mysql *)s, events_body, &a, err);
    if (rc) {
        free(a.items);
        return rc;
    }
    *ret = a.items;
    *ret_count = a.count;
    return 0;
}

/* -- marks -- */

struct marks_args {
    int64_t age_ms;
    size_t limit;
    struct run_mark *ret;
    size_t *ret_count;
};

static int marks_body(struct my_conn *c, void *arg, struct err *err)
{
    struct marks_args *a = arg;
    struct my_query q;
    struct run_mark row;

    *a->ret_count = 0;
    my_begin(&q, c, MY_RUN_MARKS);
    my_int(&q, a->age_ms);
    my_int(&q, (int64_t)a->limit);
    my_out_id(&q, row.id);
    my_out_id(&q, row.run_id);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        a->ret[(*a->ret_count)++] = row;
        rc = 0;
    }
    my_end(&q);
    return rc;
}

int my_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                 size_t *ret_count, struct err *err)
{
    struct marks_args a = {age_ms, limit, ret, ret_count};

    return my_read((struct store_mysql *)s, marks_body, &a, err);
}
