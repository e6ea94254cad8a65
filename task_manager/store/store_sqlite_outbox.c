/* store_sqlite_outbox.c - what the broker must be told. */
#include "sqlite_internal.h"

/* -- take -- */

struct take_args {
    size_t limit;
    int64_t hold_ms;
    struct outbox_row *ret;
    size_t *ret_count;
};

static int find_due(struct lite_conn *c, struct take_args *a, struct err *err)
{
    struct lite_query q;
    int rc;

    *a->ret_count = 0;
    lite_begin(&q, c, LITE_OUTBOX_DUE);
    lite_int(&q, (int64_t)a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct outbox_row *row = &a->ret[(*a->ret_count)++];
        row->seq = lite_get_int(&q);
        lite_get_id(&q, row->task_id);
        lite_get_text(&q, row->type, sizeof row->type);
        lite_get_text(&q, row->queue, sizeof row->queue);
        row->attempt = (int)lite_get_int(&q);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

static int hold(struct lite_conn *c, int64_t seq, int64_t hold_ms, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_OUTBOX_HOLD);
    lite_int(&q, seq);
    lite_int(&q, hold_ms);
    return lite_run(&q, NULL, err);
}

static int due_body(struct lite_conn *c, void *arg, struct err *err)
{
    return find_due(c, arg, err);
}

static int take_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct take_args *a = arg;
    int rc = find_due(c, a, err);

    for (size_t i = 0; i < *a->ret_count && !rc; i++)
        rc = hold(c, a->ret[i].seq, a->hold_ms, err);
    return rc;
}

int lite_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                     size_t *ret_count, struct err *err)
{
    struct take_args a = {limit, hold_ms, ret, ret_count};

    /* A relay asks all the time: an empty outbox must not cost a write. */
    int rc = lite_read((struct store_sqlite *)s, due_body, &a, err);
    if (!rc && *ret_count > 0)
        rc = lite_write((struct store_sqlite *)s, take_body, &a, err);
    if (rc)
        *ret_count = 0;
    return rc;
}

/* -- done, give up -- */

struct seqs_args {
    const int64_t *seqs;
    size_t count;
};

static int done_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct seqs_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++) {
        struct lite_query q;
        lite_begin(&q, c, LITE_OUTBOX_DONE);
        lite_int(&q, a->seqs[i]);
        rc = lite_run(&q, NULL, err);
    }
    return rc;
}

int lite_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    struct seqs_args a = {seqs, count};

    return lite_write((struct store_sqlite *)s, done_body, &a, err);
}

static int give_up_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct seqs_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = hold(c, a->seqs[i], 0, err);
    return rc;
}

int lite_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    struct seqs_args a = {seqs, count};

    return lite_write((struct store_sqlite *)s, give_up_body, &a, err);
}
