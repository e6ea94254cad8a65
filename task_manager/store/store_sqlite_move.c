/* store_sqlite_move.c - the one way a task changes state after its claim. */
#include "failpoint.h"
#include "sqlite_internal.h"

#include <string.h>

struct move_args {
    const struct task_move *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct move_result *ret;
};

void lite_bind_error(struct lite_query *q, const struct task_error *e)
{
    lite_int(q, e->class);
    lite_text(q, e->code);
    lite_text(q, e->message);
}

/* What the task's row tells of a move that it allows. */
struct guarded {
    int attempt;
    char type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];
    char run_id[ID_TEXT_MAX];
};

/* 1 when the task is as the move says, 0 when not. All that writes is one thread, so it stays
 * so. */
static int find_guarded(struct lite_conn *c, const struct task_move *m, struct guarded *ret,
                        struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_MOVE_GUARD);
    lite_id(&q, m->id);
    lite_int(&q, m->from);
    lite_text(&q, m->token);
    lite_int(&q, m->lease_expired);
    int rc = lite_next(&q, err);
    if (rc > 0) {
        ret->attempt = (int)lite_get_int(&q);
        lite_get_text(&q, ret->type, sizeof ret->type);
        lite_get_text(&q, ret->queue, sizeof ret->queue);
        lite_get_id_or_none(&q, ret->run_id);
    }
    lite_end(&q);
    return rc;
}

static int move_back(struct lite_conn *c, const struct task_move *m, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_MOVE_BACK);
    lite_id(&q, m->id);
    lite_int(&q, m->delay_ms);
    lite_int(&q, m->reset_attempts);
    lite_int(&q, move_is_release(m));
    lite_int(&q, move_is_crash(m));
    return lite_run(&q, NULL, err);
}

static int move_end(struct lite_conn *c, const struct task_move *m, struct err *err)
{
    static const struct task_error no_error;
    static const struct artifact no_output;
    const bool is_done = m->to == TASK_DONE;
    const struct artifact *output = is_done ? &m->output : &no_output;
    struct lite_query q;

    lite_begin(&q, c, LITE_MOVE_END);
    lite_id(&q, m->id);
    lite_int(&q, m->to);
    lite_bind_error(&q, is_done ? &no_error : &m->error);
    lite_text(&q, output->key);
    lite_int(&q, (int64_t)output->size);
    lite_text(&q, output->sha256);
    lite_text(&q, is_done ? m->result : NULL);
    lite_int(&q, move_is_crash(m));
    return lite_run(&q, NULL, err);
}

static int add_attempt(struct lite_conn *c, const struct task_move *m, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_ATTEMPT_ADD);
    lite_id(&q, m->id);
    lite_int(&q, m->outcome);
    lite_bind_error(&q, &m->error);
    lite_int(&q, m->usage.wall_ms);
    lite_int(&q, m->usage.cpu_ms);
    lite_int(&q, m->usage.peak_rss_bytes);
    lite_int(&q, m->usage.exit_code);
    lite_int(&q, m->usage.signal);
    return lite_run(&q, NULL, err);
}

/* The guard failed: why? */
static int explain(struct lite_conn *c, const struct task_move *m, struct move_result *ret,
                   struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_TASK_STATE);
    lite_id(&q, m->id);
    int rc = lite_next(&q, err);
    ret->outcome = rc > 0 ? MOVE_STALE : MOVE_NOT_FOUND;
    if (rc > 0) {
        ret->state = (enum task_state)lite_get_int_in(&q, TASK_STATE__COUNT);
        rc = lite_row_ok(&q, err);
    }
    lite_end(&q);
    if (rc || ret->outcome == MOVE_NOT_FOUND || m->token[0] == '\0')
        return rc;

    lite_begin(&q, c, LITE_ATTEMPT_OUTCOME);
    lite_id(&q, m->id);
    lite_text(&q, m->token);
    rc = lite_next(&q, err);
    if (rc > 0 && lite_get_int(&q) == (int64_t)m->outcome)
        ret->outcome = MOVE_REPEATED; /* the front refuses ATTEMPT_RUNNING, so it has ended */
    lite_end(&q);
    return rc < 0 ? rc : 0;
}

static int write_move(struct lite_conn *c, const struct task_move *m, bool announce,
                      const struct guarded *g, struct err *err)
{
    int rc = m->from == TASK_PROCESSING ? add_attempt(c, m, err) : 0;

    tally_move(&c->tally, m->from, m->to, g->type, g->queue);
    if (!rc)
        rc = m->to == TASK_RECEIVED ? move_back(c, m, err) : move_end(c, m, err);
    if (!rc)
        rc = lite_add_event(c, m->id, (int)m->from, (int)m->to, g->attempt, m->actor, m->detail,
                            err);
    if (!rc && announce && m->to == TASK_RECEIVED)
        rc = lite_announce(c, m->id, err);
    return rc;
}

static int move_one(struct lite_conn *c, const struct task_move *m, bool announce,
                    struct move_result *ret, struct err *err)
{
    struct guarded g;
    int rc = find_guarded(c, m, &g, err);

    if (rc <= 0)
        return rc ? rc : explain(c, m, ret, err);
    ret->run_id[0] = '\0';
    if (m->attempt && m->attempt != g.attempt) {
        ret->outcome = MOVE_OTHER_ATTEMPT;
        ret->state = m->from;
        return 0;
    }
    ret->outcome = MOVE_MADE;
    ret->state = m->to;
    rc = write_move(c, m, announce, &g, err);
    if (!rc && move_ends_step(m, g.run_id)) {
        memcpy(ret->run_id, g.run_id, sizeof ret->run_id);
        rc = lite_mark_run(c, m->id, g.run_id, err);
    }
    return rc;
}

static int move_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct move_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = move_one(c, &a->items[a->order[i]], a->announce, &a->ret[a->order[i]], err);
    return rc ? rc : FAILPOINT_ERR(move_written, -E_UNAVAILABLE, err);
}

int lite_move(struct store *s, const struct task_move *items, const size_t *order, size_t count,
              bool announce, struct move_result *ret, struct err *err)
{
    struct move_args a = {items, order, count, announce, ret};

    return lite_write((struct store_sqlite *)s, move_body, &a, err);
}

/* -- leases that ran out -- */

struct expired_args {
    struct expired *ret;
    size_t limit, *ret_count;
};

static int expired_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct expired_args *a = arg;
    struct lite_query q;
    int rc;

    lite_begin(&q, c, LITE_EXPIRED);
    lite_int(&q, (int64_t)a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct expired *e = &a->ret[(*a->ret_count)++];
        lite_get_id(&q, e->id);
        lite_get_text(&q, e->token, sizeof e->token);
        lite_get_text(&q, e->worker, sizeof e->worker);
        e->attempt = (int)lite_get_int(&q);
        e->max_attempts = (int)lite_get_int(&q);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

int lite_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                 struct err *err)
{
    struct expired_args a = {ret, limit, ret_count};

    return lite_read((struct store_sqlite *)s, expired_body, &a, err);
}
