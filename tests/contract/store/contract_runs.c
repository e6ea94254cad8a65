/* contract_runs.c - runs of pipelines: one transaction for all that goes with a change, which
 * is made once, and marks for what is still to be concluded. */
#include "store_contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "run.h"

enum { STEPS = 3 };

static const char *const names[STEPS] = {"one", "two", "three"};

/* A run with three steps, and the change that begins its first. */
struct draft {
    struct run run;
    struct run_step steps[STEPS];
    struct run_change change;
    struct run_step_change step_changes[STEPS];
    struct submission task;
    struct run_submission item;
};

static void begins(struct draft *d, int index)
{
    d->task = a_submission();
    snprintf(d->task.task.run_id, sizeof d->task.task.run_id, "%s", d->run.id);
    d->step_changes[d->change.step_count++] =
        (struct run_step_change){.index = index,
                                 .state = TASK_PROCESSING,
                                 .task_id = d->task.task.id,
                                 .tries = d->run.steps ? d->run.steps[index].tries + 1 : 1,
                                 .params = "{\"n\":1}"};
    d->change.task = &d->task;
    d->change.at = index;
    d->change.step = names[index];
    d->change.to = TASK_PROCESSING;
}

static void draft_init(struct draft *d, const struct run *r)
{
    struct draft fresh = {.run = *r};

    *d = fresh;
    memcpy(d->change.id, r->id, sizeof d->change.id);
    d->change.version = r->version;
    d->change.from = d->change.to = r->state;
    d->change.at = r->at;
    d->change.step = r->at < STEPS ? names[r->at] : "";
    d->change.steps = d->step_changes;
    d->change.actor = "pipeline";
}

static void draft_new(struct draft *d)
{
    static const struct run none;

    draft_init(d, &none);
    id_new(d->run.id);
    memcpy(d->change.id, d->run.id, sizeof d->change.id);
    snprintf(d->run.name, sizeof d->run.name, "p");
    static char definition[] = "{\"steps\":[]}", input[] = "{\"a\":1}";
    d->run.definition = definition;
    d->run.input = input;
    d->run.step_count = STEPS;
    d->run.steps = d->steps;
    for (int i = 0; i < STEPS; i++)
        snprintf(d->steps[i].name, sizeof d->steps[i].name, "%s", names[i]);
    begins(d, 0);
    d->item = (struct run_submission){.run = &d->run, .begin = &d->change, .client = ""};
}

static void start(struct store *s, struct draft *d, char ret_id[ID_TEXT_MAX])
{
    struct submit_result result;

    draft_new(d);
    assert_ok(store_run_add(s, &d->item, true, &result, err));
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    assert_string_equal(result.id, d->run.id);
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

static struct run get(struct store *s, const char *id)
{
    struct run r;

    assert_ok(store_run_get(s, id, &r, err));
    return r;
}

static size_t marks(struct store *s, struct run_mark *ret, size_t limit)
{
    size_t count = 0;

    assert_ok(store_run_marks(s, 0, limit, ret, &count, err));
    return count;
}

/* Claims and ends the task; returns the run that has to be told. */
static void end_task(struct store *s, const char *id, enum task_state to,
                     char ret_run_id[ID_TEXT_MAX])
{
    struct claimed got;

    assert_true(claim_id(s, id, 60000, &got));
    struct task_move m =
        report(id, got.token, to, to == TASK_DONE ? ATTEMPT_DONE : ATTEMPT_FAILED);
    m.result = "{\"out\":7}";
    struct move_result result = move(s, &m);
    assert_int_equal(result.outcome, MOVE_MADE);
    memcpy(ret_run_id, result.run_id, ID_TEXT_MAX);
    assert_int_equal(move(s, &m).outcome, MOVE_REPEATED);
    assert_string_equal(move(s, &m).run_id, "");
    task_release(&got.task);
}

/* The first step ended well, the second begins. */
static bool go_on(struct store *s, const struct run *r, char ret_task_id[ID_TEXT_MAX])
{
    struct draft d;

    draft_init(&d, r);
    d.step_changes[d.change.step_count++] = (struct run_step_change){
        .index = r->at, .state = TASK_DONE, .tries = 1, .attempts = 1, .output = "{\"out\":7}"};
    d.change.ended_task_id = r->steps[r->at].task_id;
    begins(&d, r->at + 1);
    assert_ok(store_run_change(s, &d.change, 1, true, err));
    memcpy(ret_task_id, d.task.task.id, ID_TEXT_MAX);
    return d.change.is_made;
}

/* -- begin -- */

static void a_run_begins_with_the_task_of_its_first_step(void **state)
{
    struct fixture *f = *state;
    struct draft d;
    char id[ID_TEXT_MAX];

    start(f->s, &d, id);
    struct run r = get(f->s, id);
    assert_string_equal(r.name, "p");
    assert_int_equal(r.state, TASK_PROCESSING);
    assert_string_equal(r.step, "one");
    assert_int_equal(r.at, 0);
    assert_int_equal(r.step_count, STEPS);
    assert_string_equal(r.input, "{\"a\":1}");
    assert_true(r.created_ms > 0 && r.finished_ms == 0);
    assert_string_equal(r.steps[0].task_id, d.task.task.id);
    assert_string_equal(r.steps[0].params, "{\"n\":1}");
    assert_int_equal(r.steps[0].state, TASK_PROCESSING);
    assert_int_equal(r.steps[0].tries, 1);
    assert_true(r.steps[0].started_ms > 0);
    assert_int_equal(r.steps[1].state, TASK_RECEIVED);
    assert_string_equal(r.steps[1].task_id, "");
    assert_string_equal(r.steps[2].name, "three");
    assert_null(r.steps[2].params);
    run_release(&r);

    struct task t;
    assert_ok(store_get(f->s, d.task.task.id, &t, err));
    assert_string_equal(t.run_id, id);
    task_release(&t);
    struct outbox_row row;
    size_t count = 0;
    assert_ok(store_outbox_take(f->s, 1, 1000, &row, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(row.task_id, d.task.task.id);
    assert_code(E_NOT_FOUND, store_run_get(f->s, d.task.task.id, &r, err));
}

static void a_key_makes_one_run_and_is_shared_with_tasks(void **state)
{
    struct fixture *f = *state;
    struct draft d, again, other;
    struct submit_result result;

    draft_new(&d);
    d.item.key = "k";
    snprintf(d.item.request_sha256, sizeof d.item.request_sha256, "x");
    assert_ok(store_run_add(f->s, &d.item, true, &result, err));
    draft_new(&again);
    again.item.key = "k";
    memcpy(again.item.request_sha256, d.item.request_sha256, sizeof d.item.request_sha256);
    assert_ok(store_run_look_up(f->s, &again.item, &result, err));
    assert_int_equal(result.outcome, SUBMIT_REPLAYED);
    assert_ok(store_run_add(f->s, &again.item, true, &result, err));
    assert_int_equal(result.outcome, SUBMIT_REPLAYED);
    assert_string_equal(result.id, d.run.id);
    draft_new(&other);
    other.item.key = "k";
    assert_ok(store_run_add(f->s, &other.item, true, &result, err));
    assert_int_equal(result.outcome, SUBMIT_MISMATCH);
    struct submission task = a_submission();
    task.key = "k";
    submit(f->s, &task, &result);
    assert_int_equal(result.outcome, SUBMIT_MISMATCH);
    struct run r;
    assert_code(E_NOT_FOUND, store_run_get(f->s, again.run.id, &r, err));
}

/* -- change -- */

static void the_end_of_a_steps_task_leaves_a_mark_until_the_run_goes_on(void **state)
{
    struct fixture *f = *state;
    struct draft d;
    struct run_mark found[2];
    char id[ID_TEXT_MAX], told[ID_TEXT_MAX], next[ID_TEXT_MAX], lone[ID_TEXT_MAX];

    submit_to(f->s, "q", 0, lone);
    end_task(f->s, lone, TASK_DONE, told);
    assert_string_equal(told, ""); /* of no run */
    start(f->s, &d, id);
    assert_int_equal(marks(f->s, found, 2), 0);
    end_task(f->s, d.task.task.id, TASK_DONE, told);
    assert_string_equal(told, id);
    assert_int_equal(marks(f->s, found, 2), 1);
    assert_string_equal(found[0].id, d.task.task.id);
    assert_string_equal(found[0].run_id, id);
    size_t count = 0;
    assert_ok(store_run_marks(f->s, 3600000, 2, found, &count, err));
    assert_int_equal(count, 0); /* too young */

    struct run r = get(f->s, id);
    assert_true(go_on(f->s, &r, next));
    assert_false(go_on(f->s, &r, next)); /* whoever comes second */
    run_release(&r);
    assert_int_equal(marks(f->s, found, 2), 0);
    r = get(f->s, id);
    assert_int_equal(r.at, 1);
    assert_string_equal(r.step, "two");
    assert_int_equal(r.version, 2);
    assert_string_equal(r.steps[0].output, "{\"out\":7}");
    assert_int_equal(r.steps[0].state, TASK_DONE);
    assert_int_equal(r.steps[0].attempts, 1);
    assert_true(r.steps[0].finished_ms >= r.steps[0].started_ms);
    assert_string_equal(r.steps[0].params, "{\"n\":1}"); /* they stay */
    assert_int_equal(r.steps[1].state, TASK_PROCESSING);
    assert_int_not_equal(strcmp(r.steps[1].task_id, next), 0); /* of the first change */
    assert_int_equal(state_of(f->s, r.steps[1].task_id), TASK_RECEIVED);
    run_release(&r);
    struct task t;
    assert_code(E_NOT_FOUND, store_get(f->s, next, &t, err));
}

static void a_run_ends_with_its_error_and_may_go_on_again(void **state)
{
    struct fixture *f = *state;
    const struct task_error why = {ERROR_INPUT, "bad", "it is bad"};
    struct draft d;
    char id[ID_TEXT_MAX], told[ID_TEXT_MAX];
    struct run_event *events;
    size_t count;

    start(f->s, &d, id);
    end_task(f->s, d.task.task.id, TASK_FAILED, told);
    struct run r = get(f->s, id);
    draft_init(&d, &r);
    d.step_changes[d.change.step_count++] =
        (struct run_step_change){.index = 0, .state = TASK_FAILED, .tries = 1, .error = &why};
    d.change.to = TASK_FAILED;
    d.change.error = &why;
    d.change.detail = why.message;
    d.change.ended_task_id = r.steps[0].task_id;
    assert_ok(store_run_change(f->s, &d.change, 1, true, err));
    assert_true(d.change.is_made);
    run_release(&r);
    r = get(f->s, id);
    assert_int_equal(r.state, TASK_FAILED);
    assert_true(r.finished_ms > 0);
    assert_string_equal(r.error.message, "it is bad");
    assert_int_equal(r.steps[0].error.class, ERROR_INPUT);

    draft_init(&d, &r); /* resumed */
    begins(&d, 0);
    d.step_changes[d.change.step_count++] =
        (struct run_step_change){.index = 1, .state = TASK_RECEIVED};
    assert_ok(store_run_change(f->s, &d.change, 1, true, err));
    run_release(&r);
    r = get(f->s, id);
    assert_int_equal(r.state, TASK_PROCESSING);
    assert_int_equal(r.finished_ms, 0);
    assert_int_equal(r.error.class, ERROR_NONE);
    assert_int_equal(r.steps[0].tries, 2);
    assert_int_equal(r.steps[0].error.class, ERROR_NONE);
    assert_null(r.steps[1].params);
    run_release(&r);
    assert_ok(store_run_events(f->s, id, 10, &events, &count, err));
    assert_int_equal(count, 3);
    assert_true(events[0].is_first && events[0].to == TASK_PROCESSING);
    assert_string_equal(events[0].step, "one");
    assert_true(events[1].from == TASK_PROCESSING && events[1].to == TASK_FAILED);
    assert_string_equal(events[1].detail, "it is bad");
    assert_true(events[2].from == TASK_FAILED && events[2].to == TASK_PROCESSING);
    free(events);
    assert_ok(store_run_events(f->s, id, 1, &events, &count, err));
    assert_int_equal(count, 1);
    assert_int_equal(events[0].to, TASK_PROCESSING);
    free(events);
}

static void a_run_told_to_end_is_marked_until_it_has(void **state)
{
    struct fixture *f = *state;
    struct draft d;
    struct run_mark found[2];
    char id[ID_TEXT_MAX];

    start(f->s, &d, id);
    struct run r = get(f->s, id);
    draft_init(&d, &r);
    d.change.is_cancelling = d.change.leaves_mark = true;
    assert_ok(store_run_change(f->s, &d.change, 1, true, err));
    run_release(&r);
    r = get(f->s, id);
    assert_true(r.is_cancelling);
    assert_int_equal(marks(f->s, found, 2), 1);
    assert_string_equal(found[0].id, id);

    draft_init(&d, &r);
    d.change.to = TASK_CANCELLED;
    assert_ok(store_run_change(f->s, &d.change, 1, true, err));
    assert_int_equal(marks(f->s, found, 2), 0);
    run_release(&r);
    r = get(f->s, id);
    assert_false(r.is_cancelling);
    run_release(&r);
}

static void a_mark_from_which_nothing_follows_is_removed_alone(void **state)
{
    struct fixture *f = *state;
    struct draft d, e;
    struct run_mark found[3];
    char a[ID_TEXT_MAX], b[ID_TEXT_MAX], told[ID_TEXT_MAX];

    start(f->s, &d, a);
    start(f->s, &e, b);
    end_task(f->s, d.task.task.id, TASK_DONE, told);
    end_task(f->s, e.task.task.id, TASK_DONE, told);
    assert_int_equal(marks(f->s, found, 3), 2);
    char kept[ID_TEXT_MAX];
    memcpy(kept, found[1].id, sizeof kept);
    assert_ok(store_run_unmark(f->s, found, 1, err));
    assert_int_equal(marks(f->s, found, 3), 1);
    assert_string_equal(found[0].id, kept);
}

/* -- many at once -- */

struct racer {
    struct store *s;
    const struct run *runs;
    int made[8];
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    char task_id[ID_TEXT_MAX];

    for (int i = 0; i < 8; i++)
        racer->made[i] = go_on(racer->s, &racer->runs[i], task_id);
    return NULL;
}

static void of_those_who_come_at_once_one_takes_a_run_further(void **state)
{
    enum { RUNS = 8, RACERS = 4 };
    struct fixture *f = *state;
    struct run runs[RUNS];
    struct racer racers[RACERS];
    pthread_t threads[RACERS];
    char id[ID_TEXT_MAX];

    for (int i = 0; i < RUNS; i++) {
        struct draft d;
        start(f->s, &d, id);
        runs[i] = get(f->s, id);
    }
    for (int i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.s = f->s, .runs = runs};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < RACERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < RUNS; i++) {
        int made = 0;
        for (int j = 0; j < RACERS; j++)
            made += racers[j].made[i];
        assert_int_equal(made, 1);
        struct run r = get(f->s, runs[i].id);
        assert_int_equal(r.version, 2);
        assert_int_equal(r.at, 1);
        run_release(&r);
        run_release(&runs[i]);
    }
}

static void several_runs_change_in_one_call_each_on_its_own_guard(void **state)
{
    enum { RUNS = 5 };
    struct fixture *f = *state;
    static struct draft drafts[RUNS];
    struct run_change changes[RUNS];
    struct run runs[RUNS];
    char id[ID_TEXT_MAX];

    for (int i = 0; i < RUNS; i++) {
        start(f->s, &drafts[i], id);
        runs[i] = get(f->s, id);
        draft_init(&drafts[i], &runs[i]);
        begins(&drafts[i], 1);
        changes[i] = drafts[i].change;
    }
    changes[2].version = 7;
    assert_ok(store_run_change(f->s, changes, RUNS, false, err));
    for (int i = 0; i < RUNS; i++) {
        assert_int_equal(changes[i].is_made, i != 2);
        struct run r = get(f->s, runs[i].id);
        assert_int_equal(r.at, i != 2);
        run_release(&r);
        run_release(&runs[i]);
    }
}

/* -- lists and age -- */

static void runs_are_listed_newest_first_by_state_and_name(void **state)
{
    struct fixture *f = *state;
    char ids[3][ID_TEXT_MAX];
    struct run_list list;
    int64_t total = 0;

    for (int i = 0; i < 3; i++) {
        struct draft d;
        struct submit_result result;
        draft_new(&d);
        snprintf(d.run.name, sizeof d.run.name, i == 1 ? "other" : "p");
        if (i == 2) { /* its first step could not even begin */
            d.change.task = NULL;
            d.change.to = TASK_FAILED;
            d.change.step_count = 0;
        }
        assert_ok(store_run_add(f->s, &d.item, true, &result, err));
        memcpy(ids[i], result.id, ID_TEXT_MAX);
    }
    const struct run_filter all = {.limit = 2}, named = {.name = "p", .limit = 10},
                            rest = {.offset = 2, .limit = 2},
                            failed = {.states = 1U << TASK_FAILED, .name = "p", .limit = 10};
    assert_ok(store_run_list(f->s, &all, &list, &total, err));
    assert_int_equal(total, 3);
    assert_int_equal(list.count, 2);
    assert_string_equal(list.items[0].id, ids[2]);
    assert_true(list.items[0].finished_ms > 0);
    assert_null(list.items[0].definition);
    assert_string_equal(list.items[1].id, ids[1]);
    run_list_release(&list);
    assert_ok(store_run_list(f->s, &rest, &list, NULL, err));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].id, ids[0]);
    run_list_release(&list);
    assert_ok(store_run_list(f->s, &named, &list, &total, err));
    assert_int_equal(total, 2);
    run_list_release(&list);
    assert_ok(store_run_list(f->s, &failed, &list, &total, err));
    assert_int_equal(total, 1);
    assert_string_equal(list.items[0].id, ids[2]);
    run_list_release(&list);
}

struct purge {
    struct store *s;
    int64_t removed;
};

static bool has_purged(void *arg)
{
    struct purge *p = arg;

    assert_ok(store_run_purge(p->s, 0, 10, &p->removed, err));
    return p->removed > 0;
}

static void ended_runs_of_long_ago_are_removed_with_all_that_is_theirs(void **state)
{
    struct fixture *f = *state;
    struct draft d;
    char going[ID_TEXT_MAX], ended[ID_TEXT_MAX], told[ID_TEXT_MAX];
    struct run_event *events;
    struct purge p = {.s = f->s};
    size_t count;

    start(f->s, &d, going);
    start(f->s, &d, ended);
    end_task(f->s, d.task.task.id, TASK_FAILED, told);
    struct run r = get(f->s, ended);
    draft_init(&d, &r);
    d.change.to = TASK_FAILED;
    assert_ok(store_run_change(f->s, &d.change, 1, true, err));
    assert_ok(store_run_purge(f->s, 3600000, 10, &p.removed, err));
    assert_int_equal(p.removed, 0); /* too young */
    wait_until(has_purged, &p);
    assert_int_equal(p.removed, 1);
    run_release(&r);
    assert_code(E_NOT_FOUND, store_run_get(f->s, ended, &r, err));
    assert_ok(store_run_events(f->s, ended, 10, &events, &count, err));
    assert_int_equal(count, 0);
    free(events);
    r = get(f->s, going);
    assert_int_equal(r.state, TASK_PROCESSING);
    run_release(&r);
}

int contract_runs(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_run_begins_with_the_task_of_its_first_step),
        with_store(a_key_makes_one_run_and_is_shared_with_tasks),
        with_store(the_end_of_a_steps_task_leaves_a_mark_until_the_run_goes_on),
        with_store(a_run_ends_with_its_error_and_may_go_on_again),
        with_store(a_run_told_to_end_is_marked_until_it_has),
        with_store(a_mark_from_which_nothing_follows_is_removed_alone),
        with_store(of_those_who_come_at_once_one_takes_a_run_further),
        with_store(several_runs_change_in_one_call_each_on_its_own_guard),
        with_store(runs_are_listed_newest_first_by_state_and_name),
        with_store(ended_runs_of_long_ago_are_removed_with_all_that_is_theirs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
