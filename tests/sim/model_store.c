/* model_store.c - the model's tables, its outbox and all that only reads. */
#include "model_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- tables -- */

void *model_room(void *items, size_t count, size_t *capacity, size_t size)
{
    void *grown = store_grow(items, count, capacity, size);

    if (!grown)
        abort();
    return grown;
}

void model_db_init(struct model_db *db)
{
    memset(db, 0, sizeof *db);
    pthread_mutex_init(&db->lock, NULL);
}

void model_db_clear(struct model_db *db)
{
    for (size_t i = 0; i < db->task_count; i++) {
        free(db->tasks[i].t.params);
        free(db->tasks[i].t.result);
    }
    model_clear_runs(db);
    db->task_count = db->event_count = db->outbox_count = db->key_count = 0;
    db->seq = db->event_seq = 0;
}

void model_db_release(struct model_db *db)
{
    model_db_clear(db);
    for (size_t i = 0; i < db->task_capacity; i++)
        free(db->tasks[i].attempts);
    free(db->tasks);
    free(db->events);
    free(db->outbox);
    free(db->keys);
    free(db->runs);
    free(db->run_events);
    free(db->marks);
    pthread_mutex_destroy(&db->lock);
}

struct model_task *model_find(struct model_db *db, const char *id)
{
    for (size_t i = 0; i < db->task_count; i++) {
        if (memcmp(db->tasks[i].t.id, id, ID_TEXT_MAX) == 0)
            return &db->tasks[i];
    }
    return NULL;
}

void model_add_event(struct model_db *db, const struct model_task *t, int from,
                     const char *actor, const char *detail, int64_t now_ms)
{
    db->events =
        model_room(db->events, db->event_count, &db->event_capacity, sizeof *db->events);
    struct task_event *e = &db->events[db->event_count++];
    detail = detail ? detail : "";
    e->seq = ++db->event_seq;
    memcpy(e->task_id, t->t.id, sizeof e->task_id);
    e->at_ms = now_ms;
    e->is_first = from < 0;
    e->from = from < 0 ? TASK_RECEIVED : (enum task_state)from;
    e->to = t->t.state;
    e->attempt = t->t.attempt;
    snprintf(e->actor, sizeof e->actor, "%.*s", (int)store_fit(actor, sizeof e->actor), actor);
    snprintf(e->detail, sizeof e->detail, "%.*s", (int)store_fit(detail, sizeof e->detail),
             detail);
}

int64_t model_announce(struct model_db *db, const struct model_task *t)
{
    db->outbox =
        model_room(db->outbox, db->outbox_count, &db->outbox_capacity, sizeof *db->outbox);
    struct model_row *r = &db->outbox[db->outbox_count++];
    r->row.seq = ++db->seq;
    memcpy(r->row.task_id, t->t.id, sizeof r->row.task_id);
    memcpy(r->row.type, t->t.type, sizeof r->row.type);
    memcpy(r->row.queue, t->t.queue, sizeof r->row.queue);
    r->row.attempt = t->t.attempt;
    r->due_ms = t->t.run_at_ms;
    return r->row.seq;
}

/* -- calls -- */

int model_begin(struct model_conn *c, const char *call, struct err *err)
{
    int rc = c->watch->before ? c->watch->before(c->arg, call, err) : 0;

    if (!rc)
        pthread_mutex_lock(&c->db->lock);
    return rc;
}

int model_end(struct model_conn *c, const char *call, bool wrote, struct err *err)
{
    pthread_mutex_unlock(&c->db->lock);
    return wrote && c->watch->after ? c->watch->after(c->arg, call, err) : 0;
}

int64_t model_now(struct model_conn *c)
{
    return c->watch->now(c->arg);
}

/* -- reading -- */

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static int model_get(struct store *s, const char *id, struct task *ret, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "get", err);

    if (rc)
        return rc;
    const struct model_task *t = model_find(c->db, id);
    if (t) {
        *ret = t->t;
        ret->lease_until_ms = t->t.state == TASK_PROCESSING ? t->wake_ms : 0;
        ret->params = copy_text(t->t.params);
        ret->result = copy_text(t->t.result);
    }
    rc = t ? 0 : -E_NOT_FOUND;
    model_end(c, "get", false, err);
    return rc;
}

static int newest_first(const void *a, const void *b)
{
    return strcmp(((const struct task *)b)->id, ((const struct task *)a)->id);
}

static int model_list(struct store *s, const struct store_filter *f, struct task_list *ret,
                      int64_t *ret_total, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    size_t count = 0, from = (size_t)f->offset, limit = (size_t)f->limit;
    int rc = model_begin(c, "list", err);

    if (rc)
        return rc;
    struct task *all = calloc(c->db->task_count + 1, sizeof *all);
    for (size_t i = 0; all && i < c->db->task_count; i++) {
        const struct model_task *t = &c->db->tasks[i];
        if ((f->states && !(f->states >> t->t.state & 1U)) ||
            (f->type && strcmp(f->type, t->t.type) != 0) ||
            (f->queue && strcmp(f->queue, t->t.queue) != 0))
            continue;
        all[count] = t->t;
        all[count].lease_until_ms = t->t.state == TASK_PROCESSING ? t->wake_ms : 0;
        all[count].params = all[count].result = NULL;
        count++;
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
    model_end(c, "list", false, err);
    return rc;
}

static int model_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                          size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "attempts", err);

    if (rc)
        return rc;
    const struct model_task *t = model_find(c->db, id);
    int count = t ? t->t.attempt : 0, from = count > limit ? count - limit : 0;
    *ret = calloc((size_t)count + 1, sizeof **ret);
    for (int i = from; *ret && i < count; i++)
        (*ret)[(*ret_count)++] = t->attempts[i].a;
    model_end(c, "attempts", false, err);
    return *ret ? 0 : err_set(err, -E_NO_MEMORY, "no memory for attempts");
}

static int model_events(struct store *s, const char *id, int64_t after, int limit,
                        struct task_event **ret, size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "events", err);

    if (rc)
        return rc;
    struct task_event *all = calloc(c->db->event_count + 1, sizeof *all);
    size_t count = 0, keep = (size_t)limit;
    for (size_t i = 0; all && i < c->db->event_count; i++) {
        const struct task_event *e = &c->db->events[i];
        if ((!id || strcmp(e->task_id, id) == 0) && e->seq > after)
            all[count++] = *e;
    }
    if (all && after == STORE_LATEST && count > keep)
        memmove(all, all + (count - keep), keep * sizeof *all);
    *ret = all;
    *ret_count = count < keep ? count : keep;
    model_end(c, "events", false, err);
    return all ? 0 : err_set(err, -E_NO_MEMORY, "no memory for events");
}

static int model_counts(struct store *s, int64_t limit, struct store_counts *ret,
                        struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "counts", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < c->db->task_count; i++) {
        enum task_state state = c->db->tasks[i].t.state;
        ret->waiting += state == TASK_RECEIVED && ret->waiting < limit;
        ret->running += state == TASK_PROCESSING && ret->running < limit;
    }
    for (size_t i = 0; i < c->db->outbox_count; i++) {
        int64_t age = model_now(c) - c->db->outbox[i].due_ms;
        if (age >= 0) {
            ret->outbox += ret->outbox < limit;
            ret->outbox_oldest_ms = age > ret->outbox_oldest_ms ? age : ret->outbox_oldest_ms;
        }
    }
    return model_end(c, "counts", false, err);
}

static void use_of(struct model_db *db, struct key_use *use)
{
    const struct model_task *owner = use->task_id[0] ? model_find(db, use->task_id) : NULL;
    char quoted[ARTIFACT_KEY_MAX + 2], folder[ARTIFACT_KEY_MAX + 2];
    const char *slash = strrchr(use->key, '/');

    snprintf(quoted, sizeof quoted, "\"%s\"", use->key);
    snprintf(folder, sizeof folder, "\"%.*s/\"", slash ? (int)(slash - use->key) : 0, use->key);
    use->is_named = owner && owner->t.result &&
                    (strstr(owner->t.result, quoted) || strstr(owner->t.result, folder));
    for (size_t i = 0; i < db->task_count; i++) {
        const struct task *t = &db->tasks[i].t;
        if (strcmp(t->input.key, use->key) == 0 || strcmp(t->output.key, use->key) == 0)
            use->is_named = true;
    }
    use->exists = owner && !use->is_named;
    if (use->exists) {
        use->state = owner->t.state;
        use->attempt = owner->t.attempt;
    }
}

static int model_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "key_uses", err);

    for (size_t i = 0; !rc && i < count; i++)
        use_of(c->db, &items[i]);
    return rc ? rc : model_end(c, "key_uses", false, err);
}

/* -- tasks of long ago -- */

static void remove_task(struct model_db *db, size_t index)
{
    struct model_task gone = db->tasks[index];
    size_t kept = 0;

    free(gone.t.params);
    free(gone.t.result);
    for (size_t i = 0; i < db->event_count; i++) {
        if (strcmp(db->events[i].task_id, gone.t.id) != 0)
            db->events[kept++] = db->events[i];
    }
    db->event_count = kept;
    memmove(&db->tasks[index], &db->tasks[index + 1],
            (db->task_count - index - 1) * sizeof db->tasks[0]);
    db->tasks[--db->task_count] = (struct model_task){
        .attempts = gone.attempts, .attempts_capacity = gone.attempts_capacity};
}

static int model_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
                       size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_db *db = c->db;
    int rc = model_begin(c, "purge", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < db->task_count && *ret_count < limit;) {
        const struct task *t = &db->tasks[i].t;
        if (!task_state_is_terminal(t->state) || t->finished_ms >= model_now(c) - age_ms) {
            i++;
            continue;
        }
        struct purged *p = &ret[(*ret_count)++];
        memcpy(p->id, t->id, sizeof p->id);
        memcpy(p->input_key, t->input.key, sizeof p->input_key);
        memcpy(p->output_key, t->output.key, sizeof p->output_key);
        remove_task(db, i);
    }
    return model_end(c, "purge", *ret_count > 0, err);
}

/* -- outbox -- */

static struct model_row *first_due(struct model_db *db, int64_t now)
{
    struct model_row *found = NULL;

    for (size_t i = 0; i < db->outbox_count; i++) {
        struct model_row *r = &db->outbox[i];
        if (r->due_ms <= now && (!found || r->due_ms < found->due_ms ||
                                 (r->due_ms == found->due_ms && r->row.seq < found->row.seq)))
            found = r;
    }
    return found;
}

static int model_outbox_take(struct store *s, size_t limit, int64_t hold_ms,
                             struct outbox_row *ret, size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_row *r;
    int rc = model_begin(c, "outbox_take", err);

    if (rc)
        return rc;
    while (*ret_count < limit && (r = first_due(c->db, model_now(c))) != NULL) {
        ret[(*ret_count)++] = r->row;
        r->due_ms = model_now(c) + (hold_ms > 0 ? hold_ms : 1);
    }
    rc = model_end(c, "outbox_take", *ret_count > 0, err);
    if (rc)
        *ret_count = 0;
    return rc;
}

static int model_outbox_done(struct store *s, const int64_t *seqs, size_t count,
                             struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_db *db = c->db;
    int rc = model_begin(c, "outbox_done", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < db->outbox_count; j++) {
            if (db->outbox[j].row.seq != seqs[i])
                continue;
            memmove(&db->outbox[j], &db->outbox[j + 1],
                    (db->outbox_count - j - 1) * sizeof db->outbox[0]);
            db->outbox_count--;
            if (c->watch->unannounced)
                c->watch->unannounced(c->arg, seqs[i]);
            break;
        }
    }
    return model_end(c, "outbox_done", true, err);
}

static int model_outbox_give_up(struct store *s, const int64_t *seqs, size_t count,
                                struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "outbox_give_up", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < c->db->outbox_count; j++) {
            if (c->db->outbox[j].row.seq == seqs[i])
                c->db->outbox[j].due_ms = model_now(c);
        }
    }
    return model_end(c, "outbox_give_up", true, err);
}

static int model_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                             struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_db *db = c->db;
    int rc = model_begin(c, "forget_keys", err);

    if (rc)
        return rc;
    size_t kept = 0; /* keys are in the order of their age */
    for (size_t i = 0; i < db->key_count; i++) {
        if (*ret_removed < limit && db->keys[i].created_ms < model_now(c) - ttl_ms)
            ++*ret_removed;
        else
            db->keys[kept++] = db->keys[i];
    }
    db->key_count = kept;
    return model_end(c, "forget_keys", *ret_removed > 0, err);
}

/* -- the table -- */

static void model_close(struct store *s)
{
    (void)s;
}

static int model_ping(struct store *s, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "ping", err);

    return rc ? rc : model_end(c, "ping", false, err);
}

/* As old as the world, so that its sweep may take anything. */
static int model_age(struct store *s, int64_t *ret_ms, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "age", err);

    *ret_ms = INT64_MAX;
    return rc ? rc : model_end(c, "age", false, err);
}

static const struct store_ops model_ops = {
    .name = "model",
    .close = model_close,
    .ping = model_ping,
    .age = model_age,
    .submit = model_submit,
    .look_up = model_look_up,
    .get = model_get,
    .list = model_list,
    .attempts = model_attempts,
    .events = model_events,
    .counts = model_counts,
    .claim = model_claim,
    .renew = model_renew,
    .move = model_move,
    .expired = model_expired,
    .run_add = model_run_add,
    .run_look_up = model_run_look_up,
    .run_get = model_run_get,
    .run_list = model_run_list,
    .run_events = model_run_events,
    .run_change = model_run_change,
    .run_marks = model_run_marks,
    .run_unmark = model_run_unmark,
    .run_purge = model_run_purge,
    .outbox_take = model_outbox_take,
    .outbox_done = model_outbox_done,
    .outbox_give_up = model_outbox_give_up,
    .forget_keys = model_forget_keys,
    .purge = model_purge,
    .key_uses = model_key_uses,
};

void model_connect(struct model_conn *conn, struct model_db *db,
                   const struct model_watch *watch, void *arg)
{
    *conn = (struct model_conn){{&model_ops}, db, watch, arg};
}
