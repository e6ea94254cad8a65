/* store_mysql_move.c - the one way a task changes state after its claim. Locks the rows of all
 * moves at once, judges each move by what its row says, and writes what follows from those
 * that are made in a few statements. */
#include "failpoint.h"
#include "mysql_internal.h"

#include <stdlib.h>
#include <string.h>

/* A task's row, locked: what guards ask for and what other rows take from it. */
struct held_row {
    char id[ID_TEXT_MAX];
    int state;
    char token[TOKEN_TEXT_MAX];
    int attempt;
    char worker[TASK_WORKER_MAX];
    int64_t started_ms;
    int is_expired;
    char type[TASK_TYPE_MAX], queue[TASK_QUEUE_MAX];
    char run_id[ID_TEXT_MAX]; /* "" for none */
};

/* A move that its guard allows. */
struct made {
    const struct task_move *move;
    char token[TOKEN_TEXT_MAX]; /* of the attempt that it ends; "" for none */
    const struct held_row *row;
    bool written;
};

struct move_args {
    const struct task_move *items;
    const size_t *order;
    size_t count;
    bool announce;
    struct move_result *ret;
    struct held_row *rows;
    size_t row_count;
    struct made *made;
    size_t made_count;
    struct my_event *events;
    struct my_notice *notices;
};

/* -- locking -- */

/* `order` is that of the ids, and so is that in which the rows come. */
static int lock_rows(struct my_conn *c, struct move_args *a, struct err *err)
{
    int rc = 0;

    a->row_count = 0;
    for (size_t from = 0; from < a->count && !rc; from += MY_ROWS_MAX) {
        struct my_query q;
        struct held_row row;
        size_t rows = my_begin_rows(&q, c, MY_MOVE_LOCK, a->count - from);
        for (size_t i = from; i < from + rows; i++)
            my_id(&q, a->items[a->order[i]].id);
        my_out_id(&q, row.id);
        my_out_enum(&q, &row.state, TASK_STATE__COUNT);
        my_out_text(&q, row.token, sizeof row.token);
        my_out_small(&q, &row.attempt);
        my_out_text(&q, row.worker, sizeof row.worker);
        my_out_int(&q, &row.started_ms);
        my_out_small(&q, &row.is_expired);
        my_out_text(&q, row.type, sizeof row.type);
        my_out_text(&q, row.queue, sizeof row.queue);
        my_out_id(&q, row.run_id);
        rc = my_query_exec(&q, err);
        while (!rc && (rc = my_next(&q, err)) > 0) {
            /* The same task may be asked for in two statements, but never stands twice. */
            id_or_none(row.run_id);
            if (!a->row_count || strcmp(a->rows[a->row_count - 1].id, row.id) != 0)
                a->rows[a->row_count++] = row;
            rc = 0;
        }
        my_end(&q);
    }
    return rc;
}

/* -- judging -- */

static bool guard_holds(const struct task_move *m, const struct held_row *row)
{
    return row->state == (int)m->from && (!m->token[0] || strcmp(m->token, row->token) == 0) &&
           (!m->lease_expired || row->is_expired);
}

/* Goes over moves and rows side by side. A second move of a task meets what the first made
 * of it. */
static void judge(struct move_args *a)
{
    size_t at = 0;

    a->made_count = 0;
    for (size_t i = 0; i < a->count; i++) {
        const struct task_move *m = &a->items[a->order[i]];
        struct move_result *ret = &a->ret[a->order[i]];
        while (at < a->row_count && strcmp(a->rows[at].id, m->id) < 0)
            at++;
        if (at == a->row_count || strcmp(a->rows[at].id, m->id) != 0) {
            ret->outcome = MOVE_NOT_FOUND;
            continue;
        }
        struct held_row *row = &a->rows[at];
        ret->outcome = MOVE_STALE;
        ret->state = (enum task_state)row->state;
        ret->run_id[0] = '\0';
        if (!guard_holds(m, row))
            continue;
        if (m->attempt && m->attempt != row->attempt) {
            ret->outcome = MOVE_OTHER_ATTEMPT;
            continue;
        }
        struct made *made = &a->made[a->made_count++];
        *made = (struct made){.move = m, .row = row};
        if (m->from == TASK_PROCESSING)
            memcpy(made->token, row->token, sizeof made->token);
        ret->outcome = MOVE_MADE;
        ret->state = m->to;
        if (move_ends_step(m, row->run_id))
            memcpy(ret->run_id, row->run_id, sizeof ret->run_id);
        row->state = (int)m->to;
        row->token[0] = '\0';
    }
}

/* -- writing -- */

static void bind_error(struct my_query *q, const struct task_error *e)
{
    my_int(q, e->class);
    my_text(q, e->code);
    my_text(q, e->message);
}

static void bind_back(struct my_query *q, const struct task_move *m)
{
    for (int i = 0; i < 3; i++)
        my_int(q, m->delay_ms);
    my_int(q, m->reset_attempts);
    my_int(q, move_is_release(m));
    my_int(q, m->reset_attempts);
    my_int(q, move_is_crash(m));
}

static const struct task_error no_error;
static const struct artifact no_output;

/* What the task's row says of a move that ends it. */
static const struct task_error *kept_error(const struct task_move *m)
{
    return m->to == TASK_DONE ? &no_error : &m->error;
}

static const struct artifact *kept_output(const struct task_move *m)
{
    return m->to == TASK_DONE ? &m->output : &no_output;
}

static const char *kept_result(const struct task_move *m)
{
    return m->to == TASK_DONE ? m->result : NULL;
}

static void bind_end(struct my_query *q, const struct task_move *m)
{
    const struct artifact *output = kept_output(m);

    my_int(q, m->to);
    my_int(q, m->to);
    bind_error(q, kept_error(m));
    my_text(q, output->key);
    my_int(q, (int64_t)output->size);
    my_text(q, output->sha256);
    my_text(q, kept_result(m));
    my_int(q, move_is_crash(m));
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* Would both write the same into their tasks' rows? */
static bool same_writing(const struct task_move *a, const struct task_move *b)
{
    if (a->to != b->to || move_is_crash(a) != move_is_crash(b))
        return false;
    if (a->to == TASK_RECEIVED)
        return a->delay_ms == b->delay_ms && a->reset_attempts == b->reset_attempts &&
               move_is_release(a) == move_is_release(b);
    const struct task_error *e = kept_error(a), *f = kept_error(b);
    const struct artifact *o = kept_output(a), *p = kept_output(b);
    return e->class == f->class && strcmp(e->code, f->code) == 0 &&
           strcmp(e->message, f->message) == 0 && strcmp(o->key, p->key) == 0 &&
           o->size == p->size && strcmp(o->sha256, p->sha256) == 0 &&
           same_text(kept_result(a), kept_result(b));
}

/* Changes the rows of `first` and of those after it that are to look alike, up to
 * MY_ROWS_MAX: short tasks end in crowds. */
static int write_alike(struct my_conn *c, struct move_args *a, size_t first, struct err *err)
{
    const struct task_move *m = a->made[first].move;
    const char *ids[MY_ROWS_MAX];
    size_t count = 0;
    struct my_query q;

    for (size_t i = first; i < a->made_count && count < MY_ROWS_MAX; i++) {
        struct made *other = &a->made[i];
        if (other->written || !same_writing(m, other->move))
            continue;
        /* Two moves of one task are made one after the other. */
        if (i > first && other->row == a->made[i - 1].row)
            break;
        other->written = true;
        ids[count++] = other->move->id;
    }
    my_begin_rows(&q, c, m->to == TASK_RECEIVED ? MY_MOVE_BACK : MY_MOVE_END, count);
    if (m->to == TASK_RECEIVED)
        bind_back(&q, m);
    else
        bind_end(&q, m);
    for (size_t i = 0; i < count; i++)
        my_id(&q, ids[i]);
    return my_run(&q, NULL, err);
}

static int write_tasks(struct my_conn *c, struct move_args *a, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < a->made_count && !rc; i++) {
        if (!a->made[i].written)
            rc = write_alike(c, a, i, err);
    }
    return rc;
}

static void bind_attempt(struct my_query *q, const struct made *made)
{
    const struct task_move *m = made->move;

    my_id(q, m->id);
    my_int(q, made->row->attempt);
    my_text(q, made->token);
    my_text(q, made->row->worker);
    my_int(q, made->row->started_ms);
    my_int(q, m->outcome);
    bind_error(q, &m->error);
    my_int(q, m->usage.wall_ms);
    my_int(q, m->usage.cpu_ms);
    my_int(q, m->usage.peak_rss_bytes);
    my_int(q, m->usage.exit_code);
    my_int(q, m->usage.signal);
}

/* The attempts that ended, of all moves from PROCESSING. */
static int add_attempts(struct my_conn *c, struct move_args *a, struct err *err)
{
    const struct made *ended[MY_ROWS_MAX];
    size_t at = 0;
    int rc = my_clock(c, err);

    while (at < a->made_count && !rc) {
        size_t count = 0;
        for (; at < a->made_count && count < MY_ROWS_MAX; at++) {
            if (a->made[at].move->from == TASK_PROCESSING)
                ended[count++] = &a->made[at];
        }
        for (size_t from = 0, n; from < count && !rc; from += n) {
            struct my_query q;
            n = my_begin_rows(&q, c, MY_ATTEMPT_ADD, count - from);
            for (size_t i = from; i < from + n; i++)
                bind_attempt(&q, ended[i]);
            rc = my_run(&q, NULL, err);
        }
    }
    return rc;
}

static int add_events(struct my_conn *c, struct move_args *a, struct err *err)
{
    size_t notices = 0;

    for (size_t i = 0; i < a->made_count; i++) {
        const struct task_move *m = a->made[i].move;
        const struct held_row *row = a->made[i].row;
        a->events[i] = (struct my_event){m->id,        (int)m->from, (int)m->to,
                                         row->attempt, m->actor,     m->detail};
        tally_move(&c->tally, m->from, m->to, row->type, row->queue);
        if (a->announce && m->to == TASK_RECEIVED)
            a->notices[notices++] = (struct my_notice){
                m->id, row->type, row->queue, row->attempt, 0, m->delay_ms, NULL};
    }
    int rc = my_add_events(c, a->events, a->made_count, err);
    return rc ? rc : my_announce(c, a->notices, notices, err);
}

static int mark_runs(struct my_conn *c, struct move_args *a, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; i < a->made_count && !rc; i++) {
        const struct made *made = &a->made[i];
        if (move_ends_step(made->move, made->row->run_id))
            rc = my_mark_run(c, made->move->id, made->row->run_id, err);
    }
    return rc;
}

/* -- moves that were not made -- */

/* Did the attempt that speaks end just so before? Then it says it again. */
static int explain(struct my_conn *c, const struct task_move *m, struct move_result *ret,
                   struct err *err)
{
    struct my_query q;
    int outcome = 0;

    my_begin(&q, c, MY_ATTEMPT_OUTCOME);
    my_id(&q, m->id);
    my_text(&q, m->token);
    my_out_small(&q, &outcome);
    int rc = my_one(&q, err);
    if (rc > 0 && outcome == (int)m->outcome)
        ret->outcome = MOVE_REPEATED; /* the front refuses ATTEMPT_RUNNING, so it has ended */
    return rc < 0 ? rc : 0;
}

static int move_body(struct my_conn *c, void *arg, struct err *err)
{
    struct move_args *a = arg;
    int rc = lock_rows(c, a, err);

    if (!rc) {
        judge(a);
        rc = write_tasks(c, a, err);
    }
    if (!rc)
        rc = add_attempts(c, a, err);
    if (!rc)
        rc = add_events(c, a, err);
    if (!rc)
        rc = mark_runs(c, a, err);
    for (size_t i = 0; i < a->count && !rc; i++) {
        const struct task_move *m = &a->items[a->order[i]];
        if (a->ret[a->order[i]].outcome == MOVE_STALE && m->token[0])
            rc = explain(c, m, &a->ret[a->order[i]], err);
    }
    return rc ? rc : FAILPOINT_ERR(move_written, -E_UNAVAILABLE, err);
}

int my_move(struct store *s, const struct task_move *items, const size_t *order, size_t count,
            bool announce, struct move_result *ret, struct err *err)
{
    struct move_args a = {
        .items = items, .order = order, .count = count, .announce = announce, .ret = ret};

    a.rows = calloc(count, sizeof *a.rows);
    a.made = calloc(count, sizeof *a.made);
    a.events = calloc(count, sizeof *a.events);
    a.notices = calloc(count, sizeof *a.notices);
    int rc = a.rows && a.made && a.events && a.notices
                 ? my_transact((struct store_mysql *)s, move_body, &a, err)
                 : err_set(err, -E_NO_MEMORY, "no memory for %zu moves", count);
    free(a.rows);
    free(a.made);
    free(a.events);
    free(a.notices);
    return rc;
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
