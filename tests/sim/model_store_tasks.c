/* model_store_tasks.c - submits, attempts and moves: what the SQL of the real stores says, in
 * plain C and one transaction at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model_store.h"

static char *copy_text(const char *text)
{
    return text ? strdup(text) : NULL;
}

static void tell(struct model_conn *c, const struct model_task *t, int from, const char *actor,
                 enum attempt_outcome outcome, int64_t lease_ms)
{
    struct model_change change = {t, from, actor, outcome, lease_ms, model_now(c), false};

    if (c->watch->changed)
        c->watch->changed(c->arg, &change);
}

static void tell_submit(struct model_conn *c, const struct model_task *t, const char *actor,
                        bool is_quiet)
{
    struct model_change change = {t, -1, actor, ATTEMPT_RUNNING, 0, model_now(c), is_quiet};

    if (c->watch->changed)
        c->watch->changed(c->arg, &change);
}

/* -- submit -- */

static struct model_key *find_key(struct model_db *db, const struct submission *item)
{
    for (size_t i = 0; i < db->key_count; i++) {
        if (strcmp(db->keys[i].client, item->client) == 0 &&
            strcmp(db->keys[i].key, item->key) == 0)
            return &db->keys[i];
    }
    return NULL;
}

static void add_task(struct model_conn *c, const struct task *from)
{
    struct model_db *db = c->db;
    int64_t now = model_now(c);
    size_t had = db->task_capacity;

    db->tasks = model_room(db->tasks, db->task_count, &db->task_capacity, sizeof *db->tasks);
    for (size_t i = had; i < db->task_capacity; i++)
        db->tasks[i] = (struct model_task){.attempts = NULL};
    struct model_task *t = &db->tasks[db->task_count++];
    t->t = *from;
    t->t.state = TASK_RECEIVED;
    t->t.attempt = t->t.crashes = 0;
    t->t.created_ms = now;
    t->t.run_at_ms = from->run_at_ms > 0 ? from->run_at_ms : now;
    t->t.started_ms = t->t.finished_ms = t->t.lease_until_ms = 0;
    t->t.progress = 0;
    t->t.worker[0] = '\0';
    t->t.output = (struct artifact){.size = 0};
    t->t.error = (struct task_error){.class = ERROR_NONE};
    t->t.params = copy_text(from->params);
    t->t.result = NULL;
    t->token[0] = '\0';
    t->budget = from->max_attempts;
    t->wake_ms = from->run_at_ms > now ? from->run_at_ms : 0;
}

bool model_take_key(struct model_conn *c, const struct submission *item,
                    struct submit_result *ret)
{
    struct model_db *db = c->db;
    struct model_key *key = item->key ? find_key(db, item) : NULL;

    ret->outcome = SUBMIT_ACCEPTED;
    snprintf(ret->id, sizeof ret->id, "%s", key ? key->id : item->task.id);
    if (key) {
        ret->outcome =
            strcmp(key->sha256, item->request_sha256) == 0 ? SUBMIT_REPLAYED : SUBMIT_MISMATCH;
        return false;
    }
    if (item->key) {
        db->keys = model_room(db->keys, db->key_count, &db->key_capacity, sizeof *db->keys);
        key = &db->keys[db->key_count++];
        snprintf(key->client, sizeof key->client, "%s", item->client);
        snprintf(key->key, sizeof key->key, "%s", item->key);
        memcpy(key->sha256, item->request_sha256, sizeof key->sha256);
        memcpy(key->id, item->task.id, sizeof key->id);
        key->created_ms = model_now(c);
    }
    return true;
}

/* The number of its outbox row, 0 when there is none. */
int64_t model_submit_task(struct model_conn *c, const struct submission *item, bool announce,
                          const char *actor)
{
    int64_t seq = 0;
    struct model_db *db = c->db;

    add_task(c, &item->task);
    struct model_task *t = &db->tasks[db->task_count - 1];
    model_add_event(db, t, -1, actor, "", model_now(c));
    if (announce && !item->is_quiet)
        seq = model_announce(db, t);
    tell_submit(c, t, actor, item->is_quiet);
    return seq;
}

int model_submit(struct store *s, const struct submission *items, const size_t *order,
                 size_t count, bool announce, struct submit_result *ret, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "submit", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < count && !rc; i++) {
        bool taken = model_find(c->db, items[i].task.id) != NULL;
        for (size_t j = 0; j < i; j++)
            taken = taken || strcmp(items[i].task.id, items[j].task.id) == 0;
        if (taken && !(items[i].key && find_key(c->db, &items[i])))
            rc = err_set(err, -E_BUG, "the id '%s' is taken", items[i].task.id);
    }
    for (size_t i = 0; i < count && !rc; i++) {
        ret[order[i]].outbox_seq = 0;
        if (model_take_key(c, &items[order[i]], &ret[order[i]]))
            ret[order[i]].outbox_seq =
                model_submit_task(c, &items[order[i]], announce, "client");
    }
    int end = model_end(c, "submit", rc == 0, err);
    return rc ? rc : end;
}

int model_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                  struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "look_up", err);

    if (rc)
        return rc;
    const struct model_key *key = find_key(c->db, item);
    if (key) {
        memcpy(ret->id, key->id, sizeof ret->id);
        ret->outcome =
            strcmp(key->sha256, item->request_sha256) == 0 ? SUBMIT_REPLAYED : SUBMIT_MISMATCH;
    }
    return model_end(c, "look_up", false, err);
}

/* -- claim -- */

static bool is_due(const struct model_task *t, int64_t now)
{
    return t->t.state == TASK_RECEIVED && t->wake_ms <= now;
}

static bool is_asked_for(const struct model_task *t, const struct claim *claim)
{
    if (claim->task_id)
        return strcmp(t->t.id, claim->task_id) == 0;
    for (size_t i = 0; i < claim->queue_count; i++) {
        if (strcmp(t->t.queue, claim->queues[i]) == 0)
            return true;
    }
    return false;
}

/* The best of those that may be claimed: highest priority, then lowest id. */
static struct model_task *best(struct model_conn *c, const struct claim *claim)
{
    struct model_task *found = NULL;

    for (size_t i = 0; i < c->db->task_count; i++) {
        struct model_task *t = &c->db->tasks[i];
        if (!is_due(t, model_now(c)) || !is_asked_for(t, claim))
            continue;
        if (!found || t->t.priority > found->t.priority ||
            (t->t.priority == found->t.priority && strcmp(t->t.id, found->t.id) < 0))
            found = t;
    }
    return found;
}

static void copy_task(const struct model_task *from, struct task *ret)
{
    *ret = from->t;
    ret->lease_until_ms = from->t.state == TASK_PROCESSING ? from->wake_ms : 0;
    ret->params = copy_text(from->t.params);
    ret->result = copy_text(from->t.result);
}

static void begin_attempt(struct model_conn *c, struct model_task *t, const struct claim *claim,
                          struct claimed *ret)
{
    int64_t now = model_now(c);

    token_new(ret->token);
    t->attempts = model_room(t->attempts, (size_t)t->t.attempt, &t->attempts_capacity,
                             sizeof *t->attempts);
    struct model_attempt *a = &t->attempts[t->t.attempt++];
    *a = (struct model_attempt){.a = {.number = t->t.attempt, .started_ms = now}};
    snprintf(a->a.worker, sizeof a->a.worker, "%.*s",
             (int)store_fit(claim->worker, sizeof a->a.worker), claim->worker);
    memcpy(a->token, ret->token, sizeof a->token);
    memcpy(t->token, ret->token, sizeof t->token);
    memcpy(t->t.worker, a->a.worker, sizeof t->t.worker);
    t->t.state = TASK_PROCESSING;
    t->t.started_ms = now;
    t->t.progress = 0;
    t->wake_ms = now + claim->lease_ms;
    model_add_event(c->db, t, TASK_RECEIVED, claim->worker, "", now);
    tell(c, t, TASK_RECEIVED, claim->worker, ATTEMPT_RUNNING, 0);
    copy_task(t, &ret->task);
}

int model_claim(struct store *s, const struct claim *claim, struct claimed *ret,
                size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    struct model_task *t;
    int rc = model_begin(c, "claim", err);

    if (rc)
        return rc;
    while (*ret_count < (size_t)claim->limit && (t = best(c, claim)) != NULL)
        begin_attempt(c, t, claim, &ret[(*ret_count)++]);
    return model_end(c, "claim", *ret_count > 0, err);
}

/* -- renew -- */

int model_renew(struct store *s, struct renewal *items, const size_t *order, size_t count,
                int64_t lease_ms, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "renew", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct renewal *item = &items[order[i]];
        struct model_task *t = model_find(c->db, item->task_id);
        item->exists = t != NULL;
        item->ok = t && t->t.state == TASK_PROCESSING && strcmp(t->token, item->token) == 0;
        if (t)
            item->state = t->t.state;
        if (item->ok) {
            if (c->watch->renewed)
                c->watch->renewed(c->arg, item->task_id, item->token);
            t->wake_ms = model_now(c) + lease_ms;
            t->t.progress = item->progress < 0 ? t->t.progress : item->progress;
        }
    }
    return model_end(c, "renew", true, err);
}

/* -- moves -- */

static bool guard_holds(struct model_conn *c, const struct model_task *t,
                        const struct task_move *m)
{
    return t->t.state == m->from && (!m->token[0] || strcmp(m->token, t->token) == 0) &&
           (!m->lease_expired || t->wake_ms <= model_now(c));
}

static void explain(const struct model_task *t, const struct task_move *m,
                    struct move_result *ret)
{
    ret->outcome = MOVE_STALE;
    ret->state = t->t.state;
    for (int i = 0; m->token[0] && i < t->t.attempt; i++) {
        if (strcmp(t->attempts[i].token, m->token) == 0 &&
            t->attempts[i].a.outcome == m->outcome)
            ret->outcome = MOVE_REPEATED;
    }
}

static void move_back(struct model_conn *c, struct model_task *t, const struct task_move *m)
{
    t->t.state = TASK_RECEIVED;
    t->t.run_at_ms = model_now(c) + m->delay_ms;
    t->wake_ms = m->delay_ms > 0 ? t->t.run_at_ms : 0;
    t->t.max_attempts =
        m->reset_attempts ? t->t.attempt + t->budget : t->t.max_attempts + move_is_release(m);
    t->t.crashes = m->reset_attempts ? 0 : t->t.crashes + move_is_crash(m);
    t->t.finished_ms = 0;
    t->t.progress = 0;
    t->t.worker[0] = '\0';
    t->t.error = (struct task_error){.class = ERROR_NONE};
}

static void move_to_end(struct model_conn *c, struct model_task *t, const struct task_move *m)
{
    bool done = m->to == TASK_DONE;

    t->t.state = m->to;
    t->t.finished_ms = model_now(c);
    t->wake_ms = 0;
    t->t.crashes += move_is_crash(m);
    t->t.progress = done ? 1 : t->t.progress;
    t->t.error = done ? (struct task_error){.class = ERROR_NONE} : m->error;
    t->t.output = done ? m->output : (struct artifact){.size = 0};
    free(t->t.result);
    t->t.result = copy_text(done ? m->result : NULL);
}

static void end_attempt(struct model_conn *c, struct model_task *t, const struct task_move *m)
{
    struct attempt *a = &t->attempts[t->t.attempt - 1].a;

    if (a->outcome != ATTEMPT_RUNNING)
        return;
    a->ended_ms = model_now(c);
    a->outcome = m->outcome;
    a->error = m->error;
    a->usage = m->usage;
}

static void move_one(struct model_conn *c, const struct task_move *m, bool announce,
                     struct move_result *ret)
{
    struct model_task *t = model_find(c->db, m->id);

    ret->outcome = MOVE_NOT_FOUND;
    if (!t)
        return;
    if (!guard_holds(c, t, m)) {
        explain(t, m, ret);
        return;
    }
    if (m->attempt && m->attempt != t->t.attempt) {
        *ret = (struct move_result){.outcome = MOVE_OTHER_ATTEMPT, .state = m->from};
        return;
    }
    int64_t lease_ms = t->wake_ms;
    if (m->to == TASK_RECEIVED)
        move_back(c, t, m);
    else
        move_to_end(c, t, m);
    t->token[0] = '\0';
    if (m->from == TASK_PROCESSING)
        end_attempt(c, t, m);
    *ret = (struct move_result){.outcome = MOVE_MADE, .state = m->to};
    model_add_event(c->db, t, (int)m->from, m->actor, m->detail, model_now(c));
    if (announce && m->to == TASK_RECEIVED)
        model_announce(c->db, t);
    if (move_ends_step(m, t->t.run_id)) {
        memcpy(ret->run_id, t->t.run_id, sizeof ret->run_id);
        model_mark_run(c, m->id, t->t.run_id);
    }
    tell(c, t, (int)m->from, m->actor, m->outcome, lease_ms);
}

int model_move(struct store *s, const struct task_move *items, const size_t *order,
               size_t count, bool announce, struct move_result *ret, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "move", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++)
        move_one(c, &items[order[i]], announce, &ret[order[i]]);
    return model_end(c, "move", true, err);
}

int model_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                  struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int64_t after = INT64_MIN; /* listed so far: all leases up to this */
    int rc = model_begin(c, "expired", err);

    while (!rc && *ret_count < limit) {
        int64_t next = INT64_MAX;
        for (size_t i = 0; i < c->db->task_count; i++) {
            const struct model_task *t = &c->db->tasks[i];
            if (t->t.state == TASK_PROCESSING && t->wake_ms <= model_now(c) &&
                t->wake_ms > after && t->wake_ms < next)
                next = t->wake_ms;
        }
        if (next == INT64_MAX)
            break;
        for (size_t i = 0; i < c->db->task_count && *ret_count < limit; i++) {
            const struct model_task *t = &c->db->tasks[i];
            if (t->t.state != TASK_PROCESSING || t->wake_ms != next)
                continue;
            struct expired *e = &ret[(*ret_count)++];
            memcpy(e->id, t->t.id, sizeof e->id);
            memcpy(e->token, t->token, sizeof e->token);
            memcpy(e->worker, t->t.worker, sizeof e->worker);
            e->attempt = t->t.attempt;
            e->max_attempts = t->t.max_attempts;
        }
        after = next;
    }
    return rc ? rc : model_end(c, "expired", false, err);
}
