/* store.c - the front of the store: picks the backend by URL, checks what callers promise and
 * settles in which order rows are locked, so that the backends hold SQL and nothing else. */
#include "failpoint.h"
#include "store_internal.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The database holds these numbers (migrations/): they may not change. */
_Static_assert(TASK_RECEIVED == 0 && TASK_PROCESSING == 1 && TASK_DONE == 2 &&
                   TASK_FAILED == 3 && TASK_CANCELLED == 4,
               "states are stored as numbers");
_Static_assert(ERROR_NONE == 0 && ERROR_INPUT == 1 && ERROR_TRANSIENT == 2 &&
                   ERROR_CRASH == 3 && ERROR_TIMEOUT == 4 && ERROR_CANCELLED == 5,
               "error classes are stored as numbers");
_Static_assert(ATTEMPT_RUNNING == 0 && ATTEMPT_DONE == 1 && ATTEMPT_FAILED == 2 &&
                   ATTEMPT_RELEASED == 3 && ATTEMPT_LOST == 4 && ATTEMPT_CANCELLED == 5,
               "outcomes are stored as numbers");

static const struct store_ops *const backends[] = {&store_sqlite_ops, &store_mysql_ops};

static void assert_complete(const struct store_ops *ops)
{
    assert(ops->name && ops->scheme && ops->migrations);
    assert(ops->check_url && ops->open && ops->close && ops->ping && ops->age);
    assert(ops->upgrade && ops->downgrade && ops->version);
    assert(ops->submit && ops->look_up && ops->get && ops->list && ops->attempts &&
           ops->events && ops->counts);
    assert(ops->claim && ops->renew && ops->move && ops->expired);
    assert(ops->run_add && ops->run_look_up && ops->run_get && ops->run_list &&
           ops->run_events && ops->run_change && ops->run_marks && ops->run_unmark &&
           ops->run_purge);
    assert(ops->outbox_take && ops->outbox_done && ops->outbox_give_up);
    assert(ops->forget_keys && ops->purge && ops->key_uses);
}

static const struct store_ops *find_backend(const char *url, struct err *err)
{
    for (size_t i = 0; i < sizeof backends / sizeof backends[0]; i++) {
        assert_complete(backends[i]);
        if (strncmp(url, backends[i]->scheme, strlen(backends[i]->scheme)) == 0)
            return backends[i];
    }
    err_set(err, -E_BAD_VALUE,
            "the database URL must be sqlite:PATH or "
            "mysql://user:password@host:port/database");
    return NULL;
}

int store_check_url(const char *url, struct err *err)
{
    const struct store_ops *ops = find_backend(url, err);

    return ops ? ops->check_url(url, err) : -E_BAD_VALUE;
}

bool store_is_remote(const char *url)
{
    struct err ignored = ERR_INIT;
    const struct store_ops *ops = find_backend(url, &ignored);

    return ops && ops->is_remote;
}

int store_open(const char *url, int connections, struct store **ret, struct err *err)
{
    const struct store_ops *ops = find_backend(url, err);

    assert(connections > 0);
    int rc = ops ? ops->check_url(url, err) : -E_BAD_VALUE;
    return rc ? rc : ops->open(url, connections, ret, err);
}

void store_close(struct store *s)
{
    if (s)
        s->ops->close(s);
}

const char *store_name(const struct store *s)
{
    return s->ops->name;
}

int store_ping(struct store *s, struct err *err)
{
    return s->ops->ping(s, err);
}

int store_age(struct store *s, int64_t *ret_ms, struct err *err)
{
    *ret_ms = 0;
    return s->ops->age(s, ret_ms, err);
}

int store_upgrade(struct store *s, struct err *err)
{
    return s->ops->upgrade(s, err);
}

int store_downgrade(struct store *s, struct err *err)
{
    return s->ops->downgrade(s, err);
}

int store_version(struct store *s, int *ret_version, int *ret_newest, struct err *err)
{
    *ret_newest = (int)s->ops->migrations->count;
    return s->ops->version(s, ret_version, err);
}

int store_history(struct store *s, struct buf *out, struct err *err)
{
    int version = 0;
    int rc = s->ops->version(s, &version, err);

    if (rc)
        return rc;
    for (size_t i = 0; i < s->ops->migrations->count; i++) {
        const struct migration *m = &s->ops->migrations->items[i];
        buf_printf(out, "%04d %s  %s\n", m->version, m->name,
                   m->version <= version ? "applied" : "pending");
    }
    return buf_ok(out) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the list of migrations");
}

/* -- lock order -- */

static int lock_key_compare(const void *a, const void *b)
{
    const struct lock_key *x = a, *y = b;
    int order = strcmp(x->first, y->first);

    if (!order)
        order = strcmp(x->second, y->second);
    if (!order) /* equal keys keep the caller's order */
        order = x->index < y->index ? -1 : x->index > y->index;
    return order;
}

struct lock_key *lock_keys_new(size_t count, struct err *err)
{
    struct lock_key *keys = calloc(count, sizeof *keys);

    if (!keys)
        err_set(err, -E_NO_MEMORY, "no memory for a batch of %zu", count);
    return keys;
}

size_t *lock_order(struct lock_key *keys, size_t count, struct err *err)
{
    size_t *order = calloc(count ? count : 1, sizeof *order);

    if (!order)
        err_set(err, -E_NO_MEMORY, "no memory for a batch of %zu", count);
    qsort(keys, count, sizeof *keys, lock_key_compare);
    for (size_t i = 0; order && i < count; i++)
        order[i] = keys[i].index;
    free(keys);
    return order;
}

/* -- submit -- */

int submission_check(const struct submission *item, struct err *err)
{
    const struct task *t = &item->task;

    if (!id_is_valid(t->id))
        return err_set(err, -E_BUG, "submit of a task without a valid id");
    if (t->priority < -TASK_PRIORITY_LIMIT || t->priority > TASK_PRIORITY_LIMIT)
        return err_set(err, -E_BAD_VALUE, "priority %d is not within -%d and %d", t->priority,
                       TASK_PRIORITY_LIMIT, TASK_PRIORITY_LIMIT);
    if (t->params && strlen(t->params) > STORE_TEXT_LIMIT)
        return err_set(err, -E_TOO_BIG, "params are larger than %d bytes", STORE_TEXT_LIMIT);
    if (!item->key)
        return 0;
    if (strlen(item->key) >= TASK_KEY_MAX || strlen(item->client) >= TASK_KEY_MAX)
        return err_set(err, -E_BAD_VALUE,
                       "an idempotency key and its client have at most %d bytes",
                       TASK_KEY_MAX - 1);
    return 0;
}

int store_submit(struct store *s, const struct submission *items, size_t count, bool announce,
                 struct submit_result *ret, struct err *err)
{
    if (count == 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        int rc = submission_check(&items[i], err);
        if (rc)
            return rc;
    }

    struct lock_key *keys = lock_keys_new(count, err);
    if (!keys)
        return -E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        /* Only rows with a key can be waited for; the others follow in the caller's order. */
        keys[i] = (struct lock_key){items[i].key ? items[i].client : "",
                                    items[i].key ? items[i].key : "", i};
    }
    size_t *order = lock_order(keys, count, err);
    if (!order)
        return -E_NO_MEMORY;
    int rc = s->ops->submit(s, items, order, count, announce, ret, err);
    if (!rc)
        FAILPOINT(submit_committed);
    free(order);
    return rc;
}

int store_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                  struct err *err)
{
    int rc = submission_check(item, err);

    assert(item->key);
    ret->outcome = SUBMIT_ACCEPTED;
    ret->id[0] = '\0';
    return rc ? rc : s->ops->look_up(s, item, ret, err);
}

/* -- read -- */

static int no_such_task(const char *id, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "there is no task '%.64s'", id);
}

int store_get(struct store *s, const char *id, struct task *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (!id_is_valid(id))
        return no_such_task(id, err);
    int rc = s->ops->get(s, id, ret, err);
    if (rc)
        task_release(ret);
    return rc == -E_NOT_FOUND ? no_such_task(id, err) : rc;
}

int store_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
               int64_t *ret_total, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    int rc = s->ops->list(s, filter, ret, ret_total, err);
    if (rc)
        task_list_release(ret);
    return rc;
}

void task_list_release(struct task_list *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        task_release(&list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

int store_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                   size_t *ret_count, struct err *err)
{
    *ret = NULL;
    *ret_count = 0;
    return id_is_valid(id) ? s->ops->attempts(s, id, limit, ret, ret_count, err) : 0;
}

int store_events(struct store *s, const char *id, int64_t after, int limit,
                 struct task_event **ret, size_t *ret_count, struct err *err)
{
    assert(id || after != STORE_LATEST);
    *ret = NULL;
    *ret_count = 0;
    return !id || id_is_valid(id) ? s->ops->events(s, id, after, limit, ret, ret_count, err)
                                  : 0;
}

int store_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err)
{
    assert(limit >= 0);
    memset(ret, 0, sizeof *ret);
    return s->ops->counts(s, limit, ret, err);
}

/* -- attempts -- */

int store_claim(struct store *s, const struct claim *claim, struct claimed *ret,
                size_t *ret_count, struct err *err)
{
    assert(claim->worker && claim->limit >= 0);
    *ret_count = 0;
    if (claim->limit == 0 || (claim->task_id && !id_is_valid(claim->task_id)))
        return 0;
    int rc = s->ops->claim(s, claim, ret, ret_count, err);
    if (rc)
        claimed_clear(ret, ret_count);
    if (*ret_count > 0)
        FAILPOINT(claim_committed);
    return rc;
}

int store_renew(struct store *s, struct renewal *items, size_t count, int64_t lease_ms,
                struct err *err)
{
    if (count == 0)
        return 0;
    struct lock_key *keys = lock_keys_new(count, err);
    if (!keys)
        return -E_NO_MEMORY;
    size_t valid = 0;
    for (size_t i = 0; i < count; i++) {
        items[i].ok = items[i].exists = false;
        if (isnan(items[i].progress))
            items[i].progress = -1;
        else if (items[i].progress > 1)
            items[i].progress = 1;
        if (id_is_valid(items[i].task_id))
            keys[valid++] = (struct lock_key){items[i].task_id, "", i};
    }
    size_t *order = lock_order(keys, valid, err);
    if (!order)
        return -E_NO_MEMORY;
    int rc = valid ? s->ops->renew(s, items, order, valid, lease_ms, err) : 0;
    FAILPOINT(renew_committed);
    free(order);
    return rc;
}

/* -- moves -- */

static int move_check(const struct task_move *m, struct err *err)
{
    if (m->to == TASK_PROCESSING)
        return err_set(err, -E_BUG, "a task becomes PROCESSING by store_claim only");
    if (!task_state_can_move(m->from, m->to))
        return err_set(err, -E_BUG, "no task may move from %s to %s", task_state_name(m->from),
                       task_state_name(m->to));
    if (m->from == TASK_PROCESSING && m->outcome == ATTEMPT_RUNNING)
        return err_set(err, -E_BUG, "a move from PROCESSING must say how the attempt ended");
    if (m->from != TASK_PROCESSING && (m->token[0] || m->lease_expired))
        return err_set(err, -E_BUG, "only a PROCESSING task has a token and a lease");
    if (m->result && strlen(m->result) > STORE_TEXT_LIMIT)
        return err_set(err, -E_TOO_BIG, "the result is larger than %d bytes", STORE_TEXT_LIMIT);
    return 0;
}

int store_move(struct store *s, const struct task_move *items, size_t count, bool announce,
               struct move_result *ret, struct err *err)
{
    if (count == 0)
        return 0;
    struct lock_key *keys = lock_keys_new(count, err);
    if (!keys)
        return -E_NO_MEMORY;
    size_t valid = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = move_check(&items[i], err);
        if (rc) {
            free(keys);
            return rc;
        }
        ret[i].outcome = MOVE_NOT_FOUND;
        ret[i].run_id[0] = '\0';
        if (id_is_valid(items[i].id))
            keys[valid++] = (struct lock_key){items[i].id, "", i};
    }
    size_t *order = lock_order(keys, valid, err);
    if (!order)
        return -E_NO_MEMORY;
    int rc = valid ? s->ops->move(s, items, order, valid, announce, ret, err) : 0;
    FAILPOINT(move_committed);
    free(order);
    return rc;
}

int store_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                  struct err *err)
{
    *ret_count = 0;
    return s->ops->expired(s, ret, limit, ret_count, err);
}

/* -- outbox and housekeeping -- */

int store_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                      size_t *ret_count, struct err *err)
{
    *ret_count = 0;
    return s->ops->outbox_take(s, limit, hold_ms, ret, ret_count, err);
}

int store_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    return count ? s->ops->outbox_done(s, seqs, count, err) : 0;
}

int store_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err)
{
    return count ? s->ops->outbox_give_up(s, seqs, count, err) : 0;
}

int store_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                      struct err *err)
{
    *ret_removed = 0;
    return s->ops->forget_keys(s, ttl_ms, limit, ret_removed, err);
}

int store_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
                size_t *ret_count, struct err *err)
{
    *ret_count = 0;
    return s->ops->purge(s, age_ms, limit, ret, ret_count, err);
}

int store_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        assert(artifact_key_is_valid(items[i].key));
        assert(!items[i].task_id[0] || id_is_valid(items[i].task_id));
        items[i].is_named = items[i].exists = false;
    }
    return count ? s->ops->key_uses(s, items, count, err) : 0;
}

/* -- for the backends -- */

void *store_grow(void *items, size_t count, size_t *capacity, size_t item_size)
{
    if (count < *capacity)
        return items;
    size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = reallocarray(items, wanted, item_size);
    if (grown)
        *capacity = wanted;
    return grown;
}

void claimed_clear(struct claimed *items, size_t *count)
{
    for (size_t i = 0; i < *count; i++)
        task_release(&items[i].task);
    *count = 0;
}

bool move_is_release(const struct task_move *m)
{
    return m->from == TASK_PROCESSING && m->to == TASK_RECEIVED &&
           m->outcome == ATTEMPT_RELEASED;
}

bool move_is_crash(const struct task_move *m)
{
    return m->from == TASK_PROCESSING && m->outcome == ATTEMPT_FAILED &&
           m->error.class == ERROR_CRASH;
}

bool move_ends_step(const struct task_move *m, const char *run_id)
{
    return run_id[0] && task_state_is_terminal(m->to);
}

const struct task_error *store_error(const struct task_error *e)
{
    static const struct task_error none;

    return e ? e : &none;
}

void id_or_none(char id[ID_TEXT_MAX])
{
    if (strspn(id, "0-") == ID_TEXT_MAX - 1)
        id[0] = '\0';
}

void key_folder(const char *key, char ret_folder[ARTIFACT_KEY_MAX])
{
    const char *slash = strrchr(key, '/');

    snprintf(ret_folder, ARTIFACT_KEY_MAX, "%.*s", slash ? (int)(slash - key) + 1 : 0, key);
}

size_t store_fit(const char *text, size_t size)
{
    size_t len = strnlen(text, size);

    if (len < size)
        return len;
    len = size - 1;
    while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
        len--;
    return len;
}

void id_floor(int64_t wall_ms, char ret_id[ID_TEXT_MAX])
{
    uint8_t bytes[ID_BYTES] = {0};

    for (int i = 0; i < 6; i++)
        bytes[i] = (uint8_t)(wall_ms >> (40 - 8 * i));
    id_from_bytes(bytes, ret_id);
}

int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;

    if (x->turn != y->turn)
        return x->turn < y->turn ? -1 : 1;
    return strcmp(x->id, y->id);
}

void candidates_sort(struct candidate *items, size_t count)
{
    qsort(items, count, sizeof *items, candidate_compare);
}
