/* model_store_house.c - the model's keys and files in use, and tasks of long ago. */
#include "model_store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int model_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
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

/* -- tasks of long ago -- */

static void forget_events(struct model_db *db, const char *id)
{
    size_t kept = 0;

    for (size_t i = 0; i < db->event_count; i++) {
        if (strcmp(db->events[i].task_id, id) != 0)
            db->events[kept++] = db->events[i];
    }
    db->event_count = kept;
}

/* The array of attempts of the task that goes is kept for one that comes. */
static void forget_task(struct model_db *db, size_t at)
{
    struct model_task gone = db->tasks[at];

    forget_events(db, gone.t.id);
    free(gone.t.params);
    free(gone.t.result);
    memmove(&db->tasks[at], &db->tasks[at + 1], (db->task_count - at - 1) * sizeof gone);
    db->tasks[--db->task_count] = (struct model_task){
        .attempts = gone.attempts, .attempts_capacity = gone.attempts_capacity};
}

int model_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
                size_t *ret_count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "purge", err);

    if (rc)
        return rc;
    for (size_t i = 0; i < c->db->task_count && *ret_count < limit;) {
        const struct task *t = &c->db->tasks[i].t;
        if (!task_state_is_terminal(t->state) || t->finished_ms >= model_now(c) - age_ms) {
            i++;
            continue;
        }
        struct purged *p = &ret[(*ret_count)++];
        memcpy(p->id, t->id, sizeof p->id);
        memcpy(p->input_key, t->input.key, sizeof p->input_key);
        memcpy(p->output_key, t->output.key, sizeof p->output_key);
        forget_task(c->db, i);
    }
    return model_end(c, "purge", *ret_count > 0, err);
}

/* -- files in use -- */

static bool is_in_result(const struct task *t, const char *key)
{
    char quoted[ARTIFACT_KEY_MAX + 2];

    snprintf(quoted, sizeof quoted, "\"%s\"", key);
    return t->result && strstr(t->result, quoted);
}

static void ask(const struct model_db *db, struct key_use *use)
{
    const struct task *owner = NULL;

    use->is_named = use->exists = false;
    for (size_t i = 0; i < db->task_count; i++) {
        const struct task *t = &db->tasks[i].t;
        if (strcmp(t->input.key, use->key) == 0 || strcmp(t->output.key, use->key) == 0)
            use->is_named = true;
        if (strcmp(t->id, use->task_id) == 0)
            owner = t;
    }
    if (use->is_named || !owner)
        return;
    use->is_named = is_in_result(owner, use->key);
    use->exists = true;
    use->state = owner->state;
    use->attempt = owner->attempt;
}

int model_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err)
{
    struct model_conn *c = (struct model_conn *)s;
    int rc = model_begin(c, "key_uses", err);

    for (size_t i = 0; !rc && i < count; i++)
        ask(c->db, &items[i]);
    return rc ? rc : model_end(c, "key_uses", false, err);
}
