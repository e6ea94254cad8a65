/* store_sqlite_runs.c - runs of pipelines: begun, looked at, and changed on their version. */
#include "sqlite_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"

/* -- writing -- */

static int on_id(struct lite_conn *c, enum lite_stmt which, const char *id, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, which);
    lite_id(&q, id);
    return lite_run(&q, NULL, err);
}

int lite_mark_run(struct lite_conn *c, const char *id, const char *run_id, struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_RUN_MARK);
    lite_id(&q, id);
    lite_id(&q, run_id);
    return lite_run(&q, NULL, err);
}

static int change_step(struct lite_conn *c, const char *id, const struct run_step_change *step,
                       struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_RUN_STEP_CHANGE);
    lite_id(&q, id);
    lite_int(&q, step->index);
    lite_int(&q, step->state);
    lite_id_or_null(&q, step->task_id);
    lite_int(&q, step->tries);
    lite_bind_error(&q, store_error(step->error));
    lite_text(&q, step->params);
    lite_text(&q, step->output);
    lite_int(&q, step->attempts);
    return lite_run(&q, NULL, err);
}

static int add_event(struct lite_conn *c, const struct run_change *change, int from,
                     struct err *err)
{
    struct lite_query q;

    lite_begin(&q, c, LITE_RUN_EVENT_ADD);
    lite_id(&q, change->id);
    lite_int(&q, from);
    lite_int(&q, change->to);
    lite_text_in(&q, change->step, RUN_NAME_MAX);
    lite_text_in(&q, change->actor, TASK_WORKER_MAX);
    lite_text_in(&q, change->detail, ERR_TEXT_MAX);
    return lite_run(&q, NULL, err);
}

static int submit_step(struct lite_conn *c, const struct run_change *change, bool announce,
                       struct err *err)
{
    const struct submission *item = change->task;
    int rc = lite_add_task(c, &item->task, err);

    if (!rc)
        rc = lite_add_event(c, item->task.id, -1, TASK_RECEIVED, 0, change->actor, "", err);
    if (!rc && announce && !item->is_quiet)
        rc = lite_announce(c, item->task.id, err);
    return rc;
}

/* All that goes with a change of the run's own row. */
static int write_rest(struct lite_conn *c, const struct run_change *change, int from,
                      bool announce, struct err *err)
{
    int rc = change->task ? submit_step(c, change, announce, err) : 0;

    for (size_t i = 0; i < change->step_count && !rc; i++)
        rc = change_step(c, change->id, &change->steps[i], err);
    if (!rc)
        rc = add_event(c, change, from, err);
    if (!rc && change->ended_task_id)
        rc = on_id(c, LITE_RUN_UNMARK, change->ended_task_id, err);
    if (!rc && change->leaves_mark)
        rc = lite_mark_run(c, change->id, change->id, err);
    if (!rc && task_state_is_terminal(change->to))
        rc = on_id(c, LITE_RUN_UNMARK, change->id, err);
    return rc;
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

static int add_row(struct lite_conn *c, const struct run_submission *item, struct err *err)
{
    const struct run *r = item->run;
    struct lite_query q;

    lite_begin(&q, c, LITE_RUN_ADD);
    lite_id(&q, r->id);
    lite_text(&q, r->name);
    lite_int(&q, item->begin->to);
    lite_int(&q, item->begin->at);
    lite_text(&q, item->begin->step);
    lite_int(&q, (int64_t)r->step_count);
    lite_bind_error(&q, store_error(item->begin->error));
    lite_text(&q, r->definition);
    lite_text(&q, r->input);
    int rc = lite_run(&q, NULL, err);
    for (size_t i = 0; i < r->step_count && !rc; i++) {
        lite_begin(&q, c, LITE_RUN_STEP_ADD);
        lite_id(&q, r->id);
        lite_int(&q, (int64_t)i);
        lite_text(&q, r->steps[i].name);
        rc = lite_run(&q, NULL, err);
    }
    return rc;
}

static int add_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct add_args *a = arg;
    struct submission key = key_of(a->item);
    int rc = 0;

    a->ret->outcome = SUBMIT_ACCEPTED;
    snprintf(a->ret->id, sizeof a->ret->id, "%s", a->item->run->id);
    if (key.key)
        rc = lite_take_key(c, &key, a->ret, err);
    if (rc || a->ret->outcome != SUBMIT_ACCEPTED)
        return rc;
    rc = add_row(c, a->item, err);
    return rc ? rc : write_rest(c, a->item->begin, -1, a->announce, err);
}

int lite_run_add(struct store *s, const struct run_submission *item, bool announce,
                 struct submit_result *ret, struct err *err)
{
    struct add_args a = {item, announce, ret};

    return lite_write((struct store_sqlite *)s, add_body, &a, err);
}

int lite_run_look_up(struct store *s, const struct run_submission *item,
                     struct submit_result *ret, struct err *err)
{
    struct submission key = key_of(item);

    return lite_look_up(s, &key, ret, err);
}

/* -- change -- */

struct change_args {
    struct run_change *items;
    const size_t *order;
    size_t count;
    bool announce;
};

static int change_one(struct lite_conn *c, struct run_change *change, bool announce,
                      struct err *err)
{
    struct lite_query q;
    int changes = 0;

    lite_begin(&q, c, LITE_RUN_CHANGE);
    lite_id(&q, change->id);
    lite_int(&q, change->version);
    lite_int(&q, change->to);
    lite_int(&q, change->is_cancelling);
    lite_int(&q, change->at);
    lite_text(&q, change->step);
    lite_bind_error(&q, store_error(change->error));
    int rc = lite_run(&q, &changes, err);
    change->is_made = changes > 0;
    return rc || !change->is_made ? rc
                                  : write_rest(c, change, (int)change->from, announce, err);
}

static int change_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct change_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = change_one(c, &a->items[a->order[i]], a->announce, err);
    return rc;
}

int lite_run_change(struct store *s, struct run_change *items, const size_t *order,
                    size_t count, bool announce, struct err *err)
{
    struct change_args a = {items, order, count, announce};

    return lite_write((struct store_sqlite *)s, change_body, &a, err);
}

/* -- marks -- */

struct marks_args {
    int64_t age_ms;
    size_t limit;
    struct run_mark *ret;
    size_t *ret_count;
};

static int marks_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct marks_args *a = arg;
    struct lite_query q;
    int rc;

    lite_begin(&q, c, LITE_RUN_MARKS);
    lite_int(&q, a->age_ms);
    lite_int(&q, (int64_t)a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        struct run_mark *m = &a->ret[(*a->ret_count)++];
        lite_get_id(&q, m->id);
        lite_get_id(&q, m->run_id);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

int lite_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                   size_t *ret_count, struct err *err)
{
    struct marks_args a = {age_ms, limit, ret, ret_count};

    return lite_read((struct store_sqlite *)s, marks_body, &a, err);
}

struct unmark_args {
    const struct run_mark *items;
    size_t count;
};

static int unmark_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct unmark_args *a = arg;
    int rc = 0;

    for (size_t i = 0; i < a->count && !rc; i++)
        rc = on_id(c, LITE_RUN_UNMARK, a->items[i].id, err);
    return rc;
}

int lite_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                    struct err *err)
{
    struct unmark_args a = {items, count};

    return lite_write((struct store_sqlite *)s, unmark_body, &a, err);
}

/* -- runs of long ago -- */

struct purge_args {
    int64_t age_ms;
    size_t limit, count;
    char (*ids)[ID_TEXT_MAX]; /* room for limit */
};

/* By the time within the ids, as for tasks. */
static int find_old(struct lite_conn *c, void *arg, struct err *err)
{
    struct purge_args *a = arg;
    struct lite_query q;
    char bound[ID_TEXT_MAX];
    int64_t before_ms = clock_wall_ms() - a->age_ms;
    int rc;

    id_floor(before_ms, bound);
    a->count = 0;
    lite_begin(&q, c, LITE_RUN_PURGE_FIND);
    lite_id(&q, bound);
    lite_int(&q, before_ms);
    lite_int(&q, (int64_t)a->limit);
    while ((rc = lite_next(&q, err)) > 0) {
        lite_get_id(&q, a->ids[a->count++]);
        rc = lite_row_ok(&q, err);
        if (rc)
            break;
    }
    lite_end(&q);
    return rc;
}

static int purge_body(struct lite_conn *c, void *arg, struct err *err)
{
    static const enum lite_stmt statements[] = {LITE_RUN_PURGE_STEPS, LITE_RUN_PURGE_EVENTS,
                                                LITE_RUN_UNMARK, LITE_RUN_PURGE};
    struct purge_args *a = arg;
    int rc = find_old(c, a, err);

    for (size_t i = 0; i < a->count && !rc; i++) {
        for (size_t j = 0; j < sizeof statements / sizeof statements[0] && !rc; j++)
            rc = on_id(c, statements[j], a->ids[i], err);
    }
    return rc;
}

int lite_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                   struct err *err)
{
    struct purge_args a = {age_ms, limit, 0, calloc(limit + 1, ID_TEXT_MAX)};

    int rc = a.ids ? lite_read((struct store_sqlite *)s, find_old, &a, err)
                   : err_set(err, -E_NO_MEMORY, "no memory to remove old runs");
    if (!rc && a.count)
        rc = lite_write((struct store_sqlite *)s, purge_body, &a, err);
    free(a.ids);
    if (!rc)
        *ret_removed = (int64_t)a.count;
    return rc;
}
