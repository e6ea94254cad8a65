/* The rules of runs: what follows from a task, and from where a run goes on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "run.h"

enum { STEPS = 3 };

static struct run_step steps[STEPS];

static struct run a_run(enum task_state state, int at, bool is_cancelling)
{
    struct run r = {.state = state, .at = at, .is_cancelling = is_cancelling};

    for (int i = 0; i < STEPS; i++) {
        snprintf(steps[i].name, sizeof steps[i].name, "s%d", i);
        steps[i].state = i < at ? TASK_DONE : TASK_RECEIVED;
    }
    snprintf(r.id, sizeof r.id, "the-run");
    r.steps = steps;
    r.step_count = STEPS;
    return r;
}

static void failing_wins_over_cancelling_and_cancelling_over_finishing(void **state)
{
    static const struct {
        int at;
        bool is_cancelling;
        enum task_state task;
        enum run_next next;
        enum task_state step, end;
    } cases[] = {
        {0, false, TASK_RECEIVED, RUN_WAITS, 0, 0},
        {0, false, TASK_PROCESSING, RUN_WAITS, 0, 0},
        {0, false, TASK_DONE, RUN_BEGIN_STEP, TASK_DONE, 0},
        {2, false, TASK_DONE, RUN_ENDS, TASK_DONE, TASK_DONE},
        {0, false, TASK_FAILED, RUN_ENDS, TASK_FAILED, TASK_FAILED},
        {0, false, TASK_CANCELLED, RUN_ENDS, TASK_CANCELLED, TASK_CANCELLED},
        {0, true, TASK_RECEIVED, RUN_CANCEL_TASK, 0, 0},
        {0, true, TASK_PROCESSING, RUN_CANCEL_TASK, 0, 0},
        {0, true, TASK_DONE, RUN_ENDS, TASK_DONE, TASK_CANCELLED},
        {2, true, TASK_DONE, RUN_ENDS, TASK_DONE, TASK_CANCELLED},
        {0, true, TASK_FAILED, RUN_ENDS, TASK_FAILED, TASK_FAILED},
        {2, true, TASK_CANCELLED, RUN_ENDS, TASK_CANCELLED, TASK_CANCELLED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct run r = a_run(TASK_PROCESSING, cases[i].at, cases[i].is_cancelling);
        enum task_state step = TASK_RECEIVED, end = TASK_RECEIVED;
        assert_int_equal(run_next(&r, &cases[i].task, &step, &end), cases[i].next);
        if (cases[i].next == RUN_ENDS || cases[i].next == RUN_BEGIN_STEP)
            assert_int_equal(step, cases[i].step);
        if (cases[i].next == RUN_ENDS)
            assert_int_equal(end, cases[i].end);
    }
}

static void a_lost_task_fails_its_run_and_an_ended_run_waits_for_nothing(void **state)
{
    enum task_state step, end, done = TASK_DONE;
    struct run r = a_run(TASK_PROCESSING, 1, false);

    (void)state;
    assert_int_equal(run_next(&r, NULL, &step, &end), RUN_ENDS);
    assert_true(step == TASK_FAILED && end == TASK_FAILED);
    r = a_run(TASK_FAILED, 1, false);
    assert_int_equal(run_next(&r, &done, &step, &end), RUN_WAITS);
}

static int point(struct run r, const char *from, int *ret)
{
    struct err err = ERR_INIT;
    int rc = run_resume_point(&r, from, ret, &err);

    assert_int_equal(rc, err.code);
    return rc;
}

static void a_run_goes_on_from_its_first_open_step_or_an_earlier_one(void **state)
{
    int at = -1;

    (void)state;
    assert_int_equal(point(a_run(TASK_FAILED, 1, false), NULL, &at), 0);
    assert_int_equal(at, 1);
    assert_int_equal(point(a_run(TASK_CANCELLED, 1, false), "s0", &at), 0);
    assert_int_equal(at, 0);
    assert_int_equal(point(a_run(TASK_FAILED, 1, false), "s1", &at), 0);
    assert_int_equal(at, 1);
    assert_int_equal(point(a_run(TASK_FAILED, 1, false), "s2", &at), -E_BAD_STATE);
    assert_int_equal(point(a_run(TASK_FAILED, 1, false), "s9", &at), -E_NOT_FOUND);
    assert_int_equal(point(a_run(TASK_PROCESSING, 1, false), NULL, &at), -E_BAD_STATE);
    assert_int_equal(point(a_run(TASK_PROCESSING, 1, false), "s0", &at), -E_BAD_STATE);
    assert_int_equal(point(a_run(TASK_DONE, 3, false), NULL, &at), -E_BAD_STATE);
    assert_int_equal(point(a_run(TASK_DONE, 3, false), "s2", &at), 0);
    assert_int_equal(at, 2);
    /* Cancelled when all steps were done: only the end is missing. */
    assert_int_equal(point(a_run(TASK_CANCELLED, 3, false), NULL, &at), 0);
    assert_int_equal(at, STEPS);
}

static void names_are_words_without_dots(void **state)
{
    (void)state;
    assert_true(run_name_is_valid("a-b_9"));
    assert_false(run_name_is_valid("a.b"));
    assert_false(run_name_is_valid(""));
    assert_false(run_name_is_valid("-a"));
    assert_false(run_name_is_valid("a b"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failing_wins_over_cancelling_and_cancelling_over_finishing),
        cmocka_unit_test(a_lost_task_fails_its_run_and_an_ended_run_waits_for_nothing),
        cmocka_unit_test(a_run_goes_on_from_its_first_open_step_or_an_earlier_one),
        cmocka_unit_test(names_are_words_without_dots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
