/* model_store_runs.c - runs of pipelines: what the SQL of the real stores says, in plain C. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_store.h"

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static struct run *find(struct model_db *db, const char *id)
{
    for (size_t i = 0; i < db->run_count; i++) {
        if (strcmp(db->runs[i].r.id, id) == 0)
            return &db->runs[i].r;
    }
    return NULL;
}

void model_clear_runs(struct model_db *db)
{
    for (size_t i = 0; i < db->run_count; i++)
        run_release(&db->runs[i].r);
    db->run_count = db->run_event_count = db->mark_count = 0;
}

/* -- marks -- */

void model_mark_run(struct model_conn *c, const char *id, const char *run_id)
{
    struct model_db *db = c->db;

    for (size_t i = 0; i < db->mark_count; i++) {
        if (strcmp(db->marks[i].m.id, id) == 0)
            return;
    }
    db->marks = model_room(db->marks, db->mark_count, &db->mark_capacity, sizeof *db->marks);
    struct model_mark *m = &db->marks[db->mark_count++];
    snprintf(m->m.id, sizeof m->m.id, "%s", id);
    snprintf(m->m.run_id, sizeof m->m.run_id, "%s", run_id);
    m->at_ms = model_now(c);
}

static void unmark(struct model_db *db, const char *id)
{
    size_t kept = 0;

    for (size_t i = 0; i < db->mark_count; i++) {
        if (strcmp(db->marks[i].m.id, id) != 0)
            db->marks[kept++] = db->marks[i];
    }
    db->mark_count = kept;
}

int model_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                    size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "run_marks", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < c->db->mark_count && *ret_count < limit; i++) {
        if (c->db->marks[i].at_ms <= model_now(c) - age_ms)
            ret[(*ret_count)++] = c->db->marks[i].m;
    }
    return model_end(c, "run_marks", false, err);
}

int model_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                     struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "run_unmark", err);

    for (size_t i = 0; !rc && i < count; i++)
        unmark(c->db, items[i].id);
    return rc ? rc : model_end(c, "run_unmark", true, err);
}

/* -- change -- */

static void change_step(struct model_conn *c, struct run *r,
                        const struct run_step_change *change)
{
    struct run_step *s = &r->steps[change->index];

    s->state = change->state;
    if (change->task_id)
        snprintf(s->task_id, sizeof s->task_id, "%s", change->task_id);
    s->tries = change->tries;
    s->attempts = change->attempts;
    if (change->state == TASK_PROCESSING || change->state == TASK_RECEIVED)
        s->started_ms = change->state == TASK_PROCESSING ? model_now(c) : 0;
    s->finished_ms = task_state_is_terminal(change->state) ? model_now(c) : 0;
    s->error = *store_error(change->error);
    if (change->params || change->state == TASK_RECEIVED) {
        free(s->params);
        s->params = change->state == TASK_RECEIVED ? NULL : copy_text(change->params);
    }
    free(s->output);
    s->output = copy_text(change->output);
}

static void add_event(struct model_conn *c, const struct run_change *change, int from)
{
    struct model_db *db = c->db;
    const char *detail = change->detail ? change->detail : "";

    db->run_events = model_room(db->run_events, db->run_event_count, &db->run_event_capacity,
                                sizeof *db->run_events);
    struct model_run_event *e = &db->run_events[db->run_event_count++];
    memset(e, 0, sizeof *e);
    snprintf(e->run_id, sizeof e->run_id, "%s", change->id);
    e->e.seq = ++db->event_seq;
    e->e.at_ms = model_now(c);
    e->e.is_first = from < 0;
    e->e.from = from < 0 ? TASK_RECEIVED : (enum task_state)from;
    e->e.to = change->to;
    snprintf(e->e.step, sizeof e->e.step, "%s", change->step);
    snprintf(e->e.actor, sizeof e->e.actor, "%.*s",
             (int)store_fit(change->actor, sizeof e->e.actor), change->actor);
    snprintf(e->e.detail, sizeof e->e.detail, "%.*s",
             (int)store_fit(detail, sizeof e->e.detail), detail);
}

static void apply(struct model_conn *c, struct run *r, const struct run_change *change,
                  int from, bool announce)
{
    r->state = change->to;
    r->is_cancelling = change->is_cancelling;
    r->at = change->at;
    snprintf(r->step, sizeof r->step, "%s", change->step);
    r->error = *store_error(change->error);
    r->finished_ms = change->to == TASK_PROCESSING ? 0 : model_now(c);
    if (change->task)
        model_submit_task(c, change->task, announce, change->actor);
    for (size_t i = 0; i < change->step_count; i++)
        change_step(c, r, &change->steps[i]);
    add_event(c, change, from);
    if (change->ended_task_id)
        unmark(c->db, change->ended_task_id);
    if (change->leaves_mark)
        model_mark_run(c, change->id, change->id);
    if (task_state_is_terminal(change->to))
        unmark(c->db, change->id);
}

int model_run_change(struct store *s, struct run_change *items, const size_t *order,
                     size_t count, bool announce, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "run_change", err);

    for (size_t i = 0; !rc && i < count; i++) {
        struct run_change *change = &items[order[i]];
        struct run *r = find(c->db, change->id);
        change->is_made = r && r->version == change->version;
        if (!change->is_made)
            continue;
        r->version++;
        apply(c, r, change, (int)change->from, announce);
    }
    return rc ? rc : model_end(c, "run_change", true, err);
}

/* -- begin -- */

static struct submission key_of(const struct run_submission *item)
{
    struct submission key = {.client = item->client, .key = item->key};

    memcpy(key.task.id, item->run->id, sizeof key.task.id);
    memcpy(key.request_sha256, item->request_sha256, sizeof key.request_sha256);
    return key;
}

int model_run_add(struct store *s, const struct run_submission *item, bool announce,
                  struct submit_result *ret, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_db *db = c->db;
    struct submission key = key_of(item);
    int rc = model_begin(c, "run_add", err);

    if (rc)
        return rc;
    if (model_take_key(c, &key, ret)) {
        db->runs = model_room(db->runs, db->run_count, &db->run_capacity, sizeof *db->runs);
        struct run *r = &db->runs[db->run_count++].r;
        *r = *item->run;
        r->version = 1;
        r->created_ms = model_now(c);
        r->definition = copy_text(item->run->definition);
        r->input = copy_text(item->run->input);
        r->steps = calloc(r->step_count, sizeof *r->steps);
        for (size_t i = 0; r->steps && i < r->step_count; i++)
            memcpy(r->steps[i].name, item->run->steps[i].name, sizeof r->steps[i].name);
        apply(c, r, item->begin, -1, announce);
    }
    return model_end(c, "run_add", true, err);
}

int model_run_look_up(struct store *s, const struct run_submission *item,
                      struct submit_result *ret, struct err *err)
{
    struct submission key = key_of(item);

    return model_look_up(s, &key, ret, err);
}

/* -- reading -- */

int model_run_get(struct store *s, const char *id, struct run *ret, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "run_get", err);

    if (rc)
        return rc;
    const struct run *r = find(c->db, id);
    if (r) {
        *ret = *r;
        ret->definition = copy_text(r->definition);
        ret->input = copy_text(r->input);
        ret->steps = calloc(r->step_count, sizeof *ret->steps);
        for (size_t i = 0; ret->steps && i < r->step_count; i++) {
            ret->steps[i] = r->steps[i];
            ret->steps[i].params = copy_text(r->steps[i].params);
            ret->steps[i].output = copy_text(r->steps[i].output);
        }
    }
    model_end(c, "run_get", false, err);
    if (r && (!ret->definition || !ret->input || !ret->steps))
        return err_set(err, -E_NO_MEMORY, "no memory for a run");
    return r ? 0 : -E_NOT_FOUND;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(((const struct run *)b)->id, ((const struct run *)a)->id);
}

int model_run_list(struct store *s, const struct run_filter *f, struct run_list *ret,
                   int64_t *ret_total, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    size_t count = 0, from = (size_t)f->offset, limit = (size_t)f->limit;
    int rc = model_begin(c, "run_list", err);

    if (rc)
        return rc;
    struct run *all = calloc(c->db->run_count + 1, sizeof *all);
    for (size_t i = 0; all && i < c->db->run_count; i++) {
        const struct run *r = &c->db->runs[i].r;
        if ((f->states && !(f->states >> r->state & 1U)) ||
            (f->name && strcmp(f->name, r->name) != 0))
            continue;
        all[count] = *r;
        all[count].definition = all[count].input = NULL;
        all[count++].steps = NULL;
    }
    if (all)
        qsort(all, count, sizeof *all, newest_first);
    else
        rc = err_set(err, -E_NO_MEMORY, "no memory for a list");
    if (ret_total)
        *ret_total = (int64_t)count;
    from = from < count ? from : count;
    ret->count = count - from < limit ? count - from : limit;
    if (all)
        memmove(all, all + from, ret->count * sizeof *all);
    ret->items = all;
    model_end(c, "run_list", false, err);
    return rc;
}

int model_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                     size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    size_t count = 0, keep = (size_t)limit;
    int rc = model_begin(c, "run_events", err);

    if (rc)
        return rc;
    struct run_event *all = calloc(c->db->run_event_count + 1, sizeof *all);
    for (size_t i = 0; all && i < c->db->run_event_count; i++) {
        if (strcmp(c->db->run_events[i].run_id, id) == 0)
            all[count++] = c->db->run_events[i].e;
    }
    if (all && count > keep)
        memmove(all, all + (count - keep), keep * sizeof *all);
    *ret = all;
    *ret_count = count < keep ? count : keep;
    model_end(c, "run_events", false, err);
    return all ? 0 : err_set(err, -E_NO_MEMORY, "no memory for events");
}

/* -- runs of long ago -- */

static void remove_run(struct model_db *db, size_t index)
{
    char id[ID_TEXT_MAX];
    size_t kept = 0;

    memcpy(id, db->runs[index].r.id, sizeof id);
    for (size_t i = 0; i < db->run_event_count; i++) {
        if (strcmp(db->run_events[i].run_id, id) != 0)
            db->run_events[kept++] = db->run_events[i];
    }
    db->run_event_count = kept;
    unmark(db, id);
    run_release(&db->runs[index].r);
    memmove(&db->runs[index], &db->runs[index + 1],
            (db->run_count - index - 1) * sizeof db->runs[0]);
    db->run_count--;
}

int model_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                    struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_db *db = c->db;
    int rc = model_begin(c, "run_purge", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < db->run_count && *ret_removed < (int64_t)limit;) {
        const struct run *r = &db->runs[i].r;
        if (!task_state_is_terminal(r->state) || r->finished_ms >= model_now(c) - age_ms) {
            i++;
            continue;
        }
        remove_run(db, i);
        ++*ret_removed;
    }
    return model_end(c, "run_purge", *ret_removed > 0, err);
}
