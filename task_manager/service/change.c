/* change.c - moves that clients ask for: cancel, retry, and the old API's status calls. */
#include <stdio.h>
#include <string.h>

#include "failpoint.h"
#include "log.h"
#include "service_internal.h"

enum { TRIES = 5 };

static const char actor[] = "client";

/* Fits a move to what the task is now. Non-zero ends the try with that code; 1 means there is
 * nothing to do. */
typedef int plan_fn(const struct task *t, struct task_move *move, void *arg, struct err *err);

static int not_from(const struct task *t, const char *what, struct err *err)
{
    return err_set(err, -E_BAD_STATE, "task %s is %s and cannot be %s", t->id,
                   task_state_name(t->state), what);
}

/* Reads, plans, and moves if the task is still as read; again when somebody was faster. */
static int change(struct service *s, const char *id, plan_fn *plan, void *arg, struct task *ret,
                  struct err *err)
{
    for (int i = 0; i < TRIES; i++) {
        struct task t;
        struct move_result result;
        int rc = store_get(s->parts.store, id, &t, err);
        if (rc)
            return rc;
        struct task_move move = {.from = t.state, .outcome = ATTEMPT_CANCELLED, .actor = actor};
        memcpy(move.id, t.id, sizeof move.id);
        rc = plan(&t, &move, arg, err);
        if (rc == 1 && ret) {
            *ret = t;
            return 0;
        }
        task_release(&t);
        if (rc)
            return rc == 1 ? 0 : rc;
        rc = FAILPOINT_ERR(change_planned, -E_UNAVAILABLE, err);
        if (!rc)
            rc = store_move(s->parts.store, &move, 1, s->announce, &result, err);
        if (rc)
            return rc;
        if (result.outcome == MOVE_MADE) {
            FAILPOINT(change_made);
            service_note_move(&move);
            runs_follow(s, &result, 1);
            service_announce(s);
            return ret ? store_get(s->parts.store, id, ret, err) : 0;
        }
    }
    return err_set(err, -E_BAD_STATE, "task %s keeps changing; try again", id);
}

static int plan_cancel(const struct task *t, struct task_move *move, void *arg, struct err *err)
{
    (void)arg;
    if (t->state == TASK_CANCELLED)
        return 1;
    if (!task_state_can_move(t->state, TASK_CANCELLED))
        return not_from(t, "cancelled", err);
    move->to = TASK_CANCELLED;
    move->error.class = ERROR_CANCELLED;
    snprintf(move->error.code, sizeof move->error.code, "cancelled");
    snprintf(move->error.message, sizeof move->error.message, "cancelled by a client");
    return 0;
}

int service_cancel(struct service *s, const char *id, struct task *ret, struct err *err)
{
    return change(s, id, plan_cancel, NULL, ret, err);
}

static int plan_retry(const struct task *t, struct task_move *move, void *arg, struct err *err)
{
    (void)arg;
    if (t->state != TASK_FAILED)
        return not_from(t, "retried", err);
    if (t->run_id[0])
        return err_set(err, -E_BAD_STATE,
                       "task %s is a step of run %s: resume that, or start another", t->id,
                       t->run_id);
    move->to = TASK_RECEIVED;
    move->reset_attempts = true;
    move->detail = "retried by hand";
    return 0;
}

int service_retry(struct service *s, const char *id, struct task *ret, struct err *err)
{
    return change(s, id, plan_retry, NULL, ret, err);
}

static int plan_put(const struct task *t, struct task_move *move, void *arg, struct err *err)
{
    enum task_state to = *(const enum task_state *)arg;

    if (to == TASK_CANCELLED)
        return plan_cancel(t, move, NULL, err);
    if (!task_state_can_move(t->state, to))
        return err_set(err, -E_BAD_STATE, "task %s cannot go from %s to %s", t->id,
                       task_state_name(t->state), task_state_name(to));
    if (t->state == TASK_FAILED)
        return plan_retry(t, move, NULL, err);
    move->to = to;
    move->detail = "status set by a client";
    move->outcome = to == TASK_DONE       ? ATTEMPT_DONE
                    : to == TASK_RECEIVED ? ATTEMPT_RELEASED
                                          : ATTEMPT_FAILED;
    if (to == TASK_FAILED) {
        move->error.class = ERROR_TRANSIENT;
        snprintf(move->error.code, sizeof move->error.code, "set_by_client");
        snprintf(move->error.message, sizeof move->error.message,
                 "a client set the status to FAILED");
    }
    return 0;
}

/* An old-style worker that says it has begun: an attempt with a long lease, since it will
 * send no heartbeats. */
static int begin_foreign_attempt(struct service *s, const char *id, struct task *ret,
                                 struct err *err)
{
    struct claimed claimed;
    size_t count = 0;
    struct claim claim = {.worker = "foreign",
                          .task_id = id,
                          .limit = 1,
                          .lease_ms = s->parts.config->foreign_lease_ms};
    int rc = store_claim(s->parts.store, &claim, &claimed, &count, err);

    if (rc)
        return rc;
    if (count == 1)
        task_release(&claimed.task);
    rc = store_get(s->parts.store, id, ret, err);
    if (rc || count == 1)
        return rc;
    rc = err_set(err, -E_BAD_STATE, "task %s is %s and cannot be started now", id,
                 task_state_name(ret->state));
    task_release(ret);
    return rc;
}

int service_put_state(struct service *s, const char *id, enum task_state to, struct task *ret,
                      struct err *err)
{
    if (to == TASK_PROCESSING)
        return begin_foreign_attempt(s, id, ret, err);
    return change(s, id, plan_put, &to, ret, err);
}

struct notice {
    bool is_done;
    struct artifact output;
};

static int plan_notify(const struct task *t, struct task_move *move, void *arg, struct err *err)
{
    const struct notice *n = arg;

    if (t->state != TASK_PROCESSING)
        return not_from(t, "completed", err);
    move->to = n->is_done ? TASK_DONE : TASK_FAILED;
    move->outcome = n->is_done ? ATTEMPT_DONE : ATTEMPT_FAILED;
    move->output = n->output;
    move->actor = "foreign";
    if (!n->is_done) {
        move->error.class = ERROR_TRANSIENT;
        snprintf(move->error.code, sizeof move->error.code, "foreign_worker");
        snprintf(move->error.message, sizeof move->error.message,
                 "the worker reported a failure");
    }
    return 0;
}

/* A client may only point at results: what others have uploaded is not theirs to fetch. */
static int find_result(struct service *s, const char *path, struct artifact *ret,
                       struct err *err)
{
    static const char results[] = "processed_data/";
    char key[ARTIFACT_KEY_MAX];
    int rc = objstore_key_of(s->parts.objects, path, key, err);

    if (rc)
        return rc;
    if (strncmp(key, results, sizeof results - 1) != 0)
        return err_set(err, -E_BAD_VALUE, "file_output_path: '%.200s' is not in %s", path,
                       results);
    rc = objstore_stat(s->parts.objects, key, false, ret, err);
    if (rc == -E_NOT_FOUND)
        return err_set(err, -E_BAD_VALUE, "file_output_path: the object store has no '%.200s'",
                       path);
    return rc;
}

int service_notify(struct service *s, const char *id, bool is_done, const char *path,
                   struct err *err)
{
    struct notice notice = {.is_done = is_done};
    int rc = is_done ? find_result(s, path, &notice.output, err) : 0;

    return rc ? rc : change(s, id, plan_notify, &notice, NULL, err);
}
