/* contract_house.c - removing what is old, and knowing whose the files are. */
#include "store_contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -- crashes -- */

static struct task_move crash(const struct claimed *got, enum task_state to)
{
    struct task_move m = report(got->task.id, got->token, to, ATTEMPT_FAILED);

    m.error.class = ERROR_CRASH;
    return m;
}

static int crashes_of(struct store *s, const char *id)
{
    struct task t;

    assert_ok(store_get(s, id, &t, err));
    int crashes = t.crashes;
    task_release(&t);
    return crashes;
}

static void crashes_are_counted_apart_and_forgotten_by_a_retry_by_hand(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct claimed got;

    submit_to(f->s, "q", 0, id);
    for (int i = 0; i < 2; i++) {
        assert_true(claim_id(f->s, id, 60000, &got));
        assert_int_equal(got.task.crashes, i);
        struct task_move m = crash(&got, TASK_RECEIVED);
        assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
        assert_int_equal(move(f->s, &m).outcome, MOVE_REPEATED); /* and counted once */
        task_release(&got.task);
    }
    assert_true(claim_id(f->s, id, 60000, &got));
    struct task_move transient = report(id, got.token, TASK_RECEIVED, ATTEMPT_FAILED);
    transient.error.class = ERROR_TRANSIENT;
    move(f->s, &transient);
    task_release(&got.task);
    assert_int_equal(crashes_of(f->s, id), 2);

    assert_true(claim_id(f->s, id, 60000, &got));
    struct task_move last = crash(&got, TASK_FAILED);
    move(f->s, &last);
    task_release(&got.task);
    assert_int_equal(crashes_of(f->s, id), 3);
    struct task_move retry = by_hand(id, TASK_FAILED, TASK_RECEIVED);
    retry.reset_attempts = true;
    move(f->s, &retry);
    assert_int_equal(crashes_of(f->s, id), 0);
}

/* -- tasks of long ago -- */

/* One of each end, with files; ids in ret. */
enum { ENDS = 3, OLD = 40 };

static void end_one(struct store *s, enum task_state end, const char *input, const char *output,
                    char ret_id[ID_TEXT_MAX])
{
    struct submission item = a_submission();
    struct submit_result result;
    struct claimed got;

    snprintf(item.task.input.key, sizeof item.task.input.key, "%s", input);
    submit(s, &item, &result);
    memcpy(ret_id, result.id, ID_TEXT_MAX);
    assert_true(claim_id(s, result.id, 60000, &got));
    struct task_move m = report(got.task.id, got.token, end,
                                end == TASK_DONE     ? ATTEMPT_DONE
                                : end == TASK_FAILED ? ATTEMPT_FAILED
                                                     : ATTEMPT_CANCELLED);
    snprintf(m.output.key, sizeof m.output.key, "%s", output);
    assert_int_equal(move(s, &m).outcome, MOVE_MADE);
    task_release(&got.task);
}

struct purge {
    struct store *s;
    struct purged found[OLD];
    size_t count;
};

/* What ended in this very millisecond is not yet older than 0 ms. */
static bool has_purged(void *arg)
{
    struct purge *p = arg;

    assert_ok(store_purge(p->s, 0, 1, p->found, &p->count, err));
    return p->count == 1;
}

static bool is_gone(struct store *s, const char *id)
{
    struct task t;
    int rc = store_get(s, id, &t, NULL);

    if (!rc)
        task_release(&t);
    return rc == -E_NOT_FOUND;
}

static void ended_tasks_of_long_ago_are_removed_and_all_others_stay(void **state)
{
    static const enum task_state ends[ENDS] = {TASK_DONE, TASK_FAILED, TASK_CANCELLED};
    struct fixture *f = *state;
    struct purge p = {.s = f->s};
    char ids[ENDS][ID_TEXT_MAX], waiting[ID_TEXT_MAX], running[ID_TEXT_MAX],
        token[TOKEN_TEXT_MAX];
    struct task_event *events;
    struct attempt *attempts;
    size_t count;

    submit_to(f->s, "other", 0, waiting);
    start_one(f->s, running, token);
    for (int i = 0; i < ENDS; i++)
        end_one(f->s, ends[i], "raw_data/in", "processed_data/out", ids[i]);
    assert_ok(store_purge(f->s, 3600000, OLD, p.found, &p.count, err));
    assert_int_equal(p.count, 0); /* too young */

    for (int i = 0; i < ENDS; i++) { /* one at a time: the limit counts */
        wait_until(has_purged, &p);
        assert_string_equal(p.found[0].input_key, "raw_data/in");
        bool was_done = strcmp(p.found[0].id, ids[0]) == 0;
        assert_string_equal(p.found[0].output_key, was_done ? "processed_data/out" : "");
        assert_true(is_gone(f->s, p.found[0].id));
    }
    assert_ok(store_purge(f->s, 0, OLD, p.found, &p.count, err));
    assert_int_equal(p.count, 0);
    for (int i = 0; i < ENDS; i++) {
        assert_true(is_gone(f->s, ids[i]));
        assert_ok(store_events(f->s, ids[i], 0, OLD, &events, &count, err));
        assert_int_equal(count, 0);
        free(events);
        assert_ok(store_attempts(f->s, ids[i], OLD, &attempts, &count, err));
        assert_int_equal(count, 0);
        free(attempts);
    }
    assert_int_equal(state_of(f->s, waiting), TASK_RECEIVED);
    assert_int_equal(state_of(f->s, running), TASK_PROCESSING);
}

static void a_task_retried_by_hand_is_not_old_any_more(void **state)
{
    struct fixture *f = *state;
    struct purge p = {.s = f->s};
    char retried[ID_TEXT_MAX], other[ID_TEXT_MAX];

    end_one(f->s, TASK_FAILED, "raw_data/in", "", retried);
    struct task_move retry = by_hand(retried, TASK_FAILED, TASK_RECEIVED);
    move(f->s, &retry);
    end_one(f->s, TASK_FAILED, "", "", other);
    wait_until(has_purged, &p);
    assert_string_equal(p.found[0].id, other);
    assert_int_equal(state_of(f->s, retried), TASK_RECEIVED);
}

struct purger {
    struct store *s;
    size_t removed;
    int rc;
};

static void *purge_all(void *arg)
{
    struct purger *p = arg;
    struct purged found[7];
    int empty = 0;

    while (empty < 5 && !p->rc) {
        size_t count = 0;
        p->rc = store_purge(p->s, 0, 7, found, &count, NULL);
        p->removed += count;
        empty = count ? 0 : empty + 1;
    }
    return NULL;
}

static void several_may_remove_at_once_and_each_task_is_told_once(void **state)
{
    enum { PURGERS = 4 };
    struct fixture *f = *state;
    struct purger purgers[PURGERS];
    pthread_t threads[PURGERS];
    char id[ID_TEXT_MAX];
    size_t removed = 0;

    for (int i = 0; i < OLD; i++)
        end_one(f->s, TASK_DONE, "", "", id);
    for (int i = 0; i < PURGERS; i++) {
        purgers[i] = (struct purger){.s = f->s};
        assert_int_equal(pthread_create(&threads[i], NULL, purge_all, &purgers[i]), 0);
    }
    for (int i = 0; i < PURGERS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(purgers[i].rc, 0);
        removed += purgers[i].removed;
    }
    while (removed < OLD) { /* those that ended in the very last millisecond */
        struct purger rest = {.s = f->s};
        purge_all(&rest);
        assert_int_equal(rest.rc, 0);
        removed += rest.removed;
    }
    assert_int_equal(removed, OLD);
    assert_true(is_gone(f->s, id));
}

static void a_key_outlives_its_task(void **state)
{
    struct fixture *f = *state;
    struct purge p = {.s = f->s};
    struct submission item = a_submission(), again;
    struct submit_result result;

    item.key = "k";
    snprintf(item.request_sha256, sizeof item.request_sha256, "x");
    again = item;
    id_new(again.task.id);
    submit(f->s, &item, &result);
    struct task_move cancel = by_hand(item.task.id, TASK_RECEIVED, TASK_CANCELLED);
    move(f->s, &cancel);
    wait_until(has_purged, &p);
    submit(f->s, &again, &result);
    assert_int_equal(result.outcome, SUBMIT_REPLAYED);
    assert_string_equal(result.id, item.task.id);
}

/* -- files in use -- */

static struct key_use use_of(const char *key, const char *task_id)
{
    struct key_use use = {.is_named = true, .exists = true};

    snprintf(use.key, sizeof use.key, "%s", key);
    snprintf(use.task_id, sizeof use.task_id, "%s", task_id);
    return use;
}

static void a_file_is_known_by_the_task_that_names_it(void **state)
{
    struct fixture *f = *state;
    char done[ID_TEXT_MAX], running[ID_TEXT_MAX], token[TOKEN_TEXT_MAX], unknown[ID_TEXT_MAX];
    struct submission item = a_submission();
    struct submit_result result;
    struct claimed got;

    snprintf(item.task.input.key, sizeof item.task.input.key, "raw_data/in");
    submit(f->s, &item, &result);
    memcpy(done, result.id, sizeof done);
    assert_true(claim_id(f->s, done, 60000, &got));
    task_release(&got.task);
    struct task_move m = report(done, got.token, TASK_DONE, ATTEMPT_DONE);
    snprintf(m.output.key, sizeof m.output.key, "processed_data/out");
    m.result = "{\"rejects\":{\"key\":\"processed_data/rejects\"},"
               "\"folder\":\"processed_data/parts/\"}";
    move(f->s, &m);
    start_one(f->s, running, token);
    id_new(unknown);

    enum { COUNT = 50 }; /* more than any statement takes */
    struct key_use uses[COUNT] = {
        use_of("raw_data/in", ""),
        use_of("processed_data/out", unknown),
        use_of("processed_data/rejects", done),
        use_of("processed_data/reject", done), /* a piece of a string names nothing */
        use_of("processed_data/rejects", ""),  /* only its own task's result counts */
        use_of("raw_data/IN", ""),
        use_of("processed_data/x", running),
        use_of("processed_data/x", unknown),
        use_of("processed_data/parts/a", done), /* its folder is named */
        use_of("processed_data/parts/a/b", done),
        use_of("processed_data/parts/a", running),
    };
    for (int i = 11; i < COUNT - 1; i++)
        uses[i] = use_of("raw_data/none", "");
    uses[COUNT - 1] = use_of("raw_data/in", "");
    assert_ok(store_key_uses(f->s, uses, COUNT, err));
    static const bool named[11] = {[0] = true, [1] = true, [2] = true, [8] = true};
    for (int i = 0; i < COUNT - 1; i++)
        assert_int_equal(uses[i].is_named, i < 11 && named[i]);
    assert_true(uses[COUNT - 1].is_named);
    assert_true(uses[3].exists && uses[3].state == TASK_DONE && uses[3].attempt == 1);
    assert_true(uses[6].exists && uses[6].state == TASK_PROCESSING && uses[6].attempt == 1);
    assert_false(uses[7].exists);
}

int contract_house(void)
{
    const struct CMUnitTest tests[] = {
        with_store(crashes_are_counted_apart_and_forgotten_by_a_retry_by_hand),
        with_store(ended_tasks_of_long_ago_are_removed_and_all_others_stay),
        with_store(a_task_retried_by_hand_is_not_old_any_more),
        with_store(several_may_remove_at_once_and_each_task_is_told_once),
        with_store(a_key_outlives_its_task),
        with_store(a_file_is_known_by_the_task_that_names_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
