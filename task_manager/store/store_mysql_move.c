/* store_mysql_move.c - the one way a task changes state after its claim. */
#include "failpoint.h"
#include "mysql_internal.h"

struct move_args {
    const struct task_move *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct move_result *ret;
};

static void bind_guard(struct my_query *q, const struct task_move *m)
{
    my_id(q, m->id);
    my_int(q, m->from);
    my_text(q, m->token);
    my_text(q, m->token);
    my_int(q, m->lease_expired);
}

static void bind_error(struct my_query *q, const struct task_error *e)
{
    my_int(q, e->class);
    my_text(q, e->code);
    my_text(q, e->message);
}

static int move_back(struct my_conn *c, const struct task_move *m, int64_t *ret_changes,
                     struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_MOVE_BACK);
    for (int i = 0; i < 3; i++)
        my_int(&q, m->delay_ms);
    my_int(&q, m->reset_attempts);
    my_int(&q, move_is_release(m));
    my_int(&q, m->reset_attempts);
    my_int(&q, move_is_crash(m));
    bind_guard(&q, m);
    return my_run(&q, ret_changes, err);
}

static int move_end(struct my_conn *c, const struct task_move *m, int64_t *ret_changes,
                    struct err *err)
{
    static const struct task_error no_error;
    static const struct artifact no_output;
    const bool is_done = m->to == TASK_DONE;
    const struct artifact *output = is_done ? &m->output : &no_output;
    struct my_query q;

    my_begin(&q, c, MY_MOVE_END);
    my_int(&q, m->to);
    my_int(&q, m->to);
    bind_error(&q, is_done ? &no_error : &m->error);
    my_text(&q, output->key);
    my_int(&q, (int64_t)output->size);
    my_text(&q, output->sha256);
    my_text(&q, is_done ? m->result : NULL);
    my_int(&q, move_is_crash(m));
    bind_guard(&q, m);
    return my_run(&q, ret_changes, err);
}

static int end_attempt(struct my_conn *c, const struct task_move *m, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_ATTEMPT_END);
    my_int(&q, m->outcome);
    bind_error(&q, &m->error);
    my_int(&q, m->usage.wall_ms);
    my_int(&q, m->usage.cpu_ms);
    my_int(&q, m->usage.peak_rss_bytes);
    my_int(&q, m->usage.exit_code);
    my_int(&q, m->usage.signal);
    my_id(&q, m->id);
    my_id(&q, m->id);
    return my_run(&q, NULL, err);
}

/* The guard failed: why? */
static int explain(struct my_conn *c, const struct task_move *m, struct move_result *ret,
                   struct err *err)
{
    struct my_query q;
    int outcome = 0;

    int rc = my_task_state(c, m->id, &ret->state, err);
    ret->outcome = rc > 0 ? MOVE_STALE : MOVE_NOT_FOUND;
    if (rc <= 0 || m->token[0] == '\0')
        return rc < 0 ? rc : 0;

    my_begin(&q, c, MY_ATTEMPT_OUTCOME);
    my_id(&q, m->id);
    my_text(&q, m->token);
    my_out_small(&q, &outcome);
    rc = my_one(&q, err);
    if (rc > 0 && outcome == (int)m->outcome)
        ret->outcome = MOVE_REPEATED; /* the front refuses ATTEMPT_RUNNING, so it has ended */
    return rc < 0 ? rc : 0;
}

static int move_one(struct my_conn *c, const struct task_move *m, bool announce,
                    struct move_result *ret, struct err *err)
{
    int64_t changes = 0;
    int rc =
        m->to == TASK_RECEIVED ? move_back(c, m, &changes, err) : move_end(c, m, &changes, err);

    if (rc)
        return rc;
    if (!changes)
        return explain(c, m, ret, err);
    ret->outcome = MOVE_MADE;
    ret->state = m->to;
    if (m->from == TASK_PROCESSING)
        rc = end_attempt(c, m, err);
    if (!rc)
        rc = my_add_event(c, m->id, (int)m->from, (int)m->to, m->actor, m->detail, err);
    if (!rc && announce && m->to == TASK_RECEIVED)
        rc = my_announce(c, m->id, err);
    return rc;
}

static int move_body(struct my_conn *c, void *arg, struct err *err)
{
    struct move_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = move_one(c, &a->items[a->order[i]], a->announce, &a->ret[a->order[i]], err);
    return rc ? rc : FAILPOINT_ERR(move_written, -E_UNAVAILABLE, err);
}

int my_move(struct store *s, const struct task_move *items, const size_t *order, size_t count,
            bool announce, struct move_result *ret, struct err *err)
{
    struct move_args a = {items, order, count, announce, ret};

    return my_transact((struct store_mysql *)s, move_body, &a, err);
}

/* -- leases that ran out -- */

struct expired_args {
    struct expired *ret;
    size_t limit, *ret_count;
};

static int expired_body(struct my_conn *c, void *arg, struct err *err)
{
    struct expired_args *a = arg;
    struct my_query q;
    struct expired row;

    *a->ret_count = 0;
    my_begin(&q, c, MY_EXPIRED);
    my_int(&q, (int64_t)a->limit);
    my_out_id(&q, row.id);
    my_out_text(&q, row.token, sizeof row.token);
    my_out_text(&q, row.worker, sizeof row.worker);
    my_out_small(&q, &row.attempt);
    my_out_small(&q, &row.max_attempts);
    int rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        a->ret[(*a->ret_count)++] = row;
        rc = 0;
    }
    my_end(&q);
    return rc;
}

int my_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
               struct err *err)
{
    struct expired_args a = {ret, limit, ret_count};

    return my_read((struct store_mysql *)s, expired_body, &a, err);
}
