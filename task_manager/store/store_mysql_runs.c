/* store_mysql_runs.c - runs of pipelines: begun, and changed on their version. */
#include "mysql_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- writing -- */

static int on_id(struct my_conn *c, enum my_stmt which, const char *id, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, which);
    my_id(&q, id);
    return my_run(&q, NULL, err);
}

int my_mark_run(struct my_conn *c, const char *id, const char *run_id, struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_RUN_MARK);
    my_id(&q, id);
    my_id(&q, run_id);
    return my_run(&q, NULL, err);
}

static void bind_error(struct my_query *q, const struct task_error *error)
{
    const struct task_error *e = store_error(error);

    my_int(q, e->class);
    my_text(q, e->code);
    my_text(q, e->message);
}

static int change_step(struct my_conn *c, const char *id, const struct run_step_change *step,
                       struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_RUN_STEP_CHANGE);
    my_int(&q, step->state);
    my_id_or_null(&q, step->task_id);
    my_int(&q, step->tries);
    my_int(&q, step->attempts);
    for (int i = 0; i < 3; i++)
        my_int(&q, step->state);
    bind_error(&q, step->error);
    my_int(&q, step->state);
    my_text(&q, step->params);
    my_text(&q, step->output);
    my_id(&q, id);
    my_int(&q, step->index);
    return my_run(&q, NULL, err);
}

/* The last row that a change writes: it tells after a broken link whether there was a COMMIT.
 */
static int add_event(struct my_conn *c, const struct run_change *change, int from,
                     struct err *err)
{
    struct my_query q;

    my_begin(&q, c, MY_RUN_EVENT_ADD);
    my_id(&q, change->id);
    my_int(&q, from);
    my_int(&q, change->to);
    my_text_in(&q, change->step, RUN_NAME_MAX);
    my_text_in(&q, change->actor, TASK_WORKER_MAX);
    my_text_in(&q, change->detail, ERR_TEXT_MAX);
    my_want_id(&q, &c->probe.seq);
    c->probe.kind = PROBE_RUN;
    memcpy(c->probe.id, change->id, sizeof c->probe.id);
    return my_run(&q, NULL, err);
}

static int submit_step(struct my_conn *c, const struct run_change *change, bool announce,
                       struct err *err)
{
    const struct task *t = &change->task->task;
    const struct my_event event = {t->id, -1, TASK_RECEIVED, 0, change->actor, ""};
    const struct my_notice notice = {t->id, t->type, t->queue, 0, t->run_at_ms, 0, NULL};
    int rc = my_add_tasks(c, &t, 1, err);

    if (!rc)
        rc = my_add_events(c, &event, 1, err);
    if (!rc && announce && !change->task->is_quiet)
        rc = my_announce(c, &notice, 1, err);
    return rc;
}

/* All that goes with a change of the run's own row. */
static int write_rest(struct my_conn *c, const struct run_change *change, int from,
                      bool announce, struct err *err)
{
    int rc = change->task ? submit_step(c, change, announce, err) : 0;

    for (size_t i = 0; i < change->step_count && !rc; i++)
        rc = change_step(c, change->id, &change->steps[i], err);
    if (!rc && change->ended_task_id)
        rc = on_id(c, MY_RUN_UNMARK, change->ended_task_id, err);
    if (!rc && change->leaves_mark)
        rc = my_mark_run(c, change->id, change->id, err);
    if (!rc && task_state_is_terminal(change->to))
        rc = on_id(c, MY_RUN_UNMARK, change->id, err);
    return rc ? rc : add_event(c, change, from, err);
}

/* -- begin -- */

struct add_args {
    const struct run_submission *item;
    bool announce;
    struct submit_result *ret;
};

static struct submission key_of(const struct run_submission *item)
{
    struct submission key = {.client = item->client, .key = item->key};

    memcpy(key.task.id, item->run->id, sizeof key.task.id);
    memcpy(key.request_sha256, item->request_sha256, sizeof key.request_sha256);
    return key;
}

static int add_row(struct my_conn *c, const struct run_submission *item, struct err *err)
{
    const struct run *r = item->run;
    struct my_query q;

    my_begin(&q, c, MY_RUN_ADD);
    my_id(&q, r->id);
    my_text(&q, r->name);
    my_int(&q, item->begin->to);
    my_int(&q, item->begin->at);
    my_text(&q, item->begin->step);
    my_int(&q, (int64_t)r->step_count);
    my_int(&q, item->begin->to);
    bind_error(&q, item->begin->error);
    my_text(&q, r->definition);
    my_text(&q, r->input);
    int rc = my_run(&q, NULL, err);
    for (size_t from = 0, n; from < r->step_count && !rc; from += n) {
        n = my_begin_rows(&q, c, MY_RUN_STEP_ADD, r->step_count - from);
        for (size_t i = from; i < from + n; i++) {
            my_id(&q, r->id);
            my_int(&q, (int64_t)i);
            my_text(&q, r->steps[i].name);
        }
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

static int add_body(struct my_conn *c, void *arg, struct err *err)
{
    struct add_args *a = arg;
    struct submission key = key_of(a->item);
    int rc = 0;

    a->ret->outcome = SUBMIT_ACCEPTED;
    snprintf(a->ret->id, sizeof a->ret->id, "%s", a->item->run->id);
    if (key.key)
        rc = my_take_key(c, &key, a->ret, err);
    if (rc || a->ret->outcome != SUBMIT_ACCEPTED)
        return rc;
    rc = add_row(c, a->item, err);
    return rc ? rc : write_rest(c, a->item->begin, -1, a->announce, err);
}

int my_run_add(struct store *s, const struct run_submission *item, bool announce,
               struct submit_result *ret, struct err *err)
{
    struct add_args a = {item, announce, ret};

    return my_transact((struct store_mysql *)s, add_body, &a, err);
}

int my_run_look_up(struct store *s, const struct run_submission *item,
                   struct submit_result *ret, struct err *err)
{
    struct submission key = key_of(item);

    return my_look_up(s, &key, ret, err);
}

/* -- change -- */

struct change_args {
    struct run_change *items;
    const size_t *order;
    size_t count;
    bool announce;
};

static int change_one(struct my_conn *c, struct run_change *change, bool announce,
                      struct err *err)
{
    struct my_query q;
    int64_t changes = 0;

    my_begin(&q, c, MY_RUN_CHANGE);
    my_int(&q, change->to);
    my_int(&q, change->is_cancelling);
    my_int(&q, change->at);
    my_text(&q, change->step);
    bind_error(&q, change->error);
    my_int(&q, change->to);
    my_id(&q, change->id);
    my_int(&q, change->version);
    int rc = my_run(&q, &changes, err);
    change->is_made = changes > 0;
    return rc || !change->is_made ? rc
                                  : write_rest(c, change, (int)change->from, announce, err);
}

static int change_body(struct my_conn *c, void *arg, struct err *err)
{
    struct change_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = change_one(c, &a->items[a->order[i]], a->announce, err);
    return rc;
}

int my_run_change(struct store *s, struct run_change *items, const size_t *order, size_t count,
                  bool announce, struct err *err)
{
    struct change_args a = {items, order, count, announce};

    return my_transact((struct store_mysql *)s, change_body, &a, err);
}

/* -- marks -- */

struct unmark_args {
    const struct run_mark *items;
    size_t count;
};

static int unmark_body(struct my_conn *c, void *arg, struct err *err)
{
    struct unmark_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = on_id(c, MY_RUN_UNMARK, a->items[i].id, err);
    return rc;
}

int my_run_unmark(struct store *s, const struct run_mark *items, size_t count, struct err *err)
{
    struct unmark_args a = {items, count};

    return my_transact((struct store_mysql *)s, unmark_body, &a, err);
}

/* -- runs of long ago -- */

struct purge_args {
    int64_t age_ms, removed;
    size_t limit, count;
    char (*ids)[ID_TEXT_MAX]; /* room for limit: found without a lock */
};

/* By the time within the ids, as for tasks. */
static int find_old(struct my_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    struct my_query q;
    char bound[ID_TEXT_MAX], id[ID_TEXT_MAX];
    int64_t before_ms = 0;

    a->count = 0;
    my_begin(&q, c, MY_CLOCK);
    my_out_int(&q, &before_ms);
    int rc = my_one(&q, err);
    if (rc < 0)
        return rc;
    before_ms -= a->age_ms;
    id_floor(before_ms, bound);
    my_begin(&q, c, MY_RUN_PURGE_FIND);
    my_id(&q, bound);
    my_int(&q, before_ms);
    my_int(&q, (int64_t)a->limit);
    my_out_id(&q, id);
    rc = my_query_exec(&q, err);
    while (!rc && (rc = my_next(&q, err)) > 0) {
        memcpy(a->ids[a->count++], id, sizeof id);
        rc = 0;
    }
    my_end(&q);
    return rc;
}

/* Somebody may be resuming it, or another manager removing it. */
static int remove_one(struct my_conn *c, struct purge_args *a, const char *id, struct err *err)
{
    static const enum my_stmt statements[] = {MY_RUN_PURGE_STEPS, MY_RUN_PURGE_EVENTS,
                                              MY_RUN_UNMARK, MY_RUN_PURGE};
    struct my_query q;
    char found[ID_TEXT_MAX];

    my_begin(&q, c, MY_RUN_PURGE_LOCK);
    my_id(&q, id);
    my_int(&q, a->age_ms);
    my_out_id(&q, found);
    int rc = my_one(&q, err);
    if (rc <= 0)
        return rc;
    rc = 0;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0] && !rc; i++)
        rc = on_id(c, statements[i], id, err);
    a->removed += !rc;
    return rc;
}

static int purge_body(struct my_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    int rc = 0;

    a->removed = 0;
    for (size_t i = 0; i < a->count && !rc; i++)
        rc = remove_one(c, a, a->ids[i], err);
    return rc;
}

int my_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                 struct err *err)
{
    struct purge_args a = {age_ms, 0, limit, 0, calloc(limit + 1, ID_TEXT_MAX)};

    int rc = a.ids ? my_read((struct store_mysql *)s, find_old, &a, err)
                   : err_set(err, -E_NO_MEMORY, "no memory to remove old runs");
    if (!rc && a.count)
        rc = my_transact((struct store_mysql *)s, purge_body, &a, err);
    free(a.ids);
    if (!rc)
        *ret_removed = a.removed;
    return rc;
}
