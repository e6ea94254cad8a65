/* store_runs.c - the front of the store for runs: what callers promise, and the order of locks.
 */
#include "store_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int no_such_run(const char *id, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "there is no run '%.64s'", id);
}

static int text_check(const char *text, const char *what, struct err *err)
{
    if (text && strlen(text) > RUN_TEXT_LIMIT)
        return err_set(err, -E_TOO_BIG, "%s is larger than %d bytes", what, RUN_TEXT_LIMIT);
    return 0;
}

static int change_check(const struct run_change *c, struct err *err)
{
    int rc = c->task ? submission_check(c->task, err) : 0;

    if (c->to == TASK_RECEIVED)
        return err_set(err, -E_BUG, "a run never waits to be claimed");
    if (c->task && (c->to != TASK_PROCESSING || strcmp(c->task->task.run_id, c->id) != 0))
        return err_set(err, -E_BUG, "a step begins in its own run, while that goes on");
    for (size_t i = 0; i < c->step_count && !rc; i++) {
        rc = text_check(c->steps[i].params, "what a step gets", err);
        if (!rc)
            rc = text_check(c->steps[i].output, "the output of a step", err);
    }
    return rc;
}

static int key_check(const struct run_submission *item, struct err *err)
{
    if (!item->key || (strlen(item->key) < TASK_KEY_MAX && strlen(item->client) < TASK_KEY_MAX))
        return 0;
    return err_set(err, -E_BAD_VALUE, "an idempotency key and its client have at most %d bytes",
                   TASK_KEY_MAX - 1);
}

int store_run_add(struct store *s, const struct run_submission *item, bool announce,
                  struct submit_result *ret, struct err *err)
{
    int rc = change_check(item->begin, err);

    assert(strcmp(item->run->id, item->begin->id) == 0);
    if (!rc)
        rc = key_check(item, err);
    if (!rc)
        rc = text_check(item->run->definition, "the definition", err);
    if (!rc)
        rc = text_check(item->run->input, "the input", err);
    return rc ? rc : s->ops->run_add(s, item, announce, ret, err);
}

int store_run_look_up(struct store *s, const struct run_submission *item,
                      struct submit_result *ret, struct err *err)
{
    int rc = key_check(item, err);

    assert(item->key);
    ret->outcome = SUBMIT_ACCEPTED;
    ret->id[0] = '\0';
    return rc ? rc : s->ops->run_look_up(s, item, ret, err);
}

int store_run_get(struct store *s, const char *id, struct run *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (!id_is_valid(id))
        return no_such_run(id, err);
    int rc = s->ops->run_get(s, id, ret, err);
    if (rc)
        run_release(ret);
    return rc == -E_NOT_FOUND ? no_such_run(id, err) : rc;
}

int store_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                   int64_t *ret_total, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    int rc = s->ops->run_list(s, filter, ret, ret_total, err);
    if (rc)
        run_list_release(ret);
    return rc;
}

void run_list_release(struct run_list *list)
{
    if (!list)
        return;
    for (size_t i = 0; i < list->count; i++)
        run_release(&list->items[i]);
    free(list->items);
    memset(list, 0, sizeof *list);
}

int store_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                     size_t *ret_count, struct err *err)
{
    *ret = NULL;
    *ret_count = 0;
    return id_is_valid(id) ? s->ops->run_events(s, id, limit, ret, ret_count, err) : 0;
}

int store_run_change(struct store *s, struct run_change *items, size_t count, bool announce,
                     struct err *err)
{
    if (count == 0)
        return 0;
    struct lock_key *keys = lock_keys_new(count, err);
    if (!keys)
        return -E_NO_MEMORY;
    for (size_t i = 0; i < count; i++) {
        int rc = change_check(&items[i], err);
        if (rc) {
            free(keys);
            return rc;
        }
        items[i].is_made = false;
        keys[i] = (struct lock_key){items[i].id, "", i};
    }
    size_t *order = lock_order(keys, count, err);
    if (!order)
        return -E_NO_MEMORY;
    int rc = s->ops->run_change(s, items, order, count, announce, err);
    free(order);
    return rc;
}

int store_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                    size_t *ret_count, struct err *err)
{
    *ret_count = 0;
    return s->ops->run_marks(s, age_ms, limit, ret, ret_count, err);
}

int store_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                     struct err *err)
{
    return count ? s->ops->run_unmark(s, items, count, err) : 0;
}

int store_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                    struct err *err)
{
    *ret_removed = 0;
    return s->ops->run_purge(s, age_ms, limit, ret_removed, err);
}
