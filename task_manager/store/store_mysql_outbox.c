/* store_mysql_outbox.c - what the broker must be told. */
#include "mysql_internal.h"

/* -- lists of row numbers -- */

struct seqs_args {
    const int64_t *seqs;
    size_t count;
    int64_t hold_ms;
};

static int list_body(struct my_conn *c, const struct seqs_args *a, enum my_list which,
                     struct err *err)
{
    int rc = 0;

    for (size_t from = 0; from < a->count && !rc; from += MY_ROWS_MAX) {
        struct my_query q;
        size_t rows = my_begin_rows(&q, c, which, a->count - from);
        if (which == MY_OUTBOX_HOLD)
            my_int(&q, a->hold_ms);
        for (size_t i = from; i < from + rows; i++)
            my_int(&q, a->seqs[i]);
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

static int done_body(struct my_conn *c, void *arg, struct err *err)
{
    return list_body(c, arg, MY_OUTBOX_DONE, err);
}

static int hold_body(struct my_conn *c, void *arg, struct err *err)
{
    return list_body(c, arg, MY_OUTBOX_HOLD, err);
}

int my_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    struct seqs_args a = {seqs, count, 0};

    return my_transact((struct store_mysql *)s, done_body, &a, err);
}

int my_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    struct seqs_args a = {seqs, count, 0};

    return my_transact((struct store_mysql *)s, hold_body, &a, err);
}

/* -- take -- */

struct take_args {
    size_t limit;
    int64_t hold_ms;
    struct outbox_row *ret;
    size_t *ret_count;
    size_t seen; /* rows due when one looked */
};

static int look_body(struct my_conn *c, void *arg, struct err *err)
{
    struct take_args *a = arg;
    struct my_query q;
    int64_t seq = 0;

    a->seen = 0;
    my_begin(&q, c, MY_OUTBOX_PEEK);
    my_int(&q, (int64_t)a->limit);
    my_out_int(&q, &seq);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        a->seen++;
        rc = 0;
    }
    my_end(&q);
    return rc;
}

static int lock_due(struct my_conn *c, struct take_args *a, struct err *err)
{
    struct my_query q;
    struct outbox_row row;

    *a->ret_count = 0;
    my_begin(&q, c, MY_OUTBOX_DUE);
    my_int(&q, (int64_t)a->seen);
    my_out_int(&q, &row.seq);
    my_out_id(&q, row.task_id);
    my_out_text(&q, row.type, sizeof row.type);
    my_out_text(&q, row.queue, sizeof row.queue);
    my_out_small(&q, &row.attempt);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        a->ret[(*a->ret_count)++] = row;
        rc = 0;
    }
    my_end(&q);
    return rc;
}

static int take_body(struct my_conn *c, void *arg, struct err *err)
{
    struct take_args *a = arg;
    int rc = lock_due(c, a, err);

    for (size_t from = 0; from < *a->ret_count && !rc;) {
        int64_t seqs[MY_ROWS_MAX];
        struct seqs_args part = {seqs, 0, a->hold_ms};
        while (part.count < MY_ROWS_MAX && from < *a->ret_count)
            seqs[part.count++] = a->ret[from++].seq;
        rc = hold_body(c, &part, err);
    }
    return rc;
}

int my_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                   size_t *ret_count, struct err *err)
{
    struct take_args a = {limit, hold_ms, ret, ret_count, 0};

    int rc = my_read((struct store_mysql *)s, look_body, &a, err);
    if (!rc && a.seen)
        rc = my_transact((struct store_mysql *)s, take_body, &a, err);
    if (rc)
        *ret_count = 0;
    return rc;
}
