/* test_pipeline_rules.c - the pure rules of pipelines: precedence, the current step, the call.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pipeline_rules.h"

#define CR PIPELINE_CREATED
#define PE PIPELINE_PENDING
#define FI PIPELINE_FINISHED
#define CA PIPELINE_CANCELLED
#define FA PIPELINE_FAILED

static void failed_beats_cancelled_beats_open_beats_finished(void **state)
{
    static const struct {
        enum pipeline_status steps[4], status;
        size_t step;
    } cases[] = {
        {{CR, CR, CR, CR}, PE, 0}, {{PE, CR, CR, CR}, PE, 0}, {{FI, CR, CR, CR}, PE, 1},
        {{FI, PE, CR, CR}, PE, 1}, {{FI, FI, FI, PE}, PE, 3}, {{PE, FI, FI, FI}, PE, 0},
        {{FI, FI, FI, FI}, FI, 3}, {{FI, CA, CR, CR}, CA, 1}, {{FI, CA, FI, FA}, FA, 3},
        {{FA, CA, CR, PE}, FA, 0}, {{CA, FI, FI, FI}, CA, 0}, {{CR, FI, CA, FA}, FA, 3},
        {{FI, FA, FA, CR}, FA, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pipeline_verdict verdict = pipeline_judge(cases[i].steps, 4);
        assert_int_equal(verdict.status, cases[i].status);
        assert_int_equal(verdict.step, cases[i].step);
    }
}

static void a_single_step_decides_alone(void **state)
{
    static const enum pipeline_status expected[PIPELINE_STATUS__COUNT] = {
        [CR] = PE, [PE] = PE, [FI] = FI, [CA] = CA, [FA] = FA};

    (void)state;
    for (int i = 0; i < PIPELINE_STATUS__COUNT; i++) {
        const enum pipeline_status step = (enum pipeline_status)i;
        assert_int_equal(pipeline_judge(&step, 1).status, expected[i]);
        assert_int_equal(pipeline_judge(&step, 1).step, 0);
    }
}

static void a_step_is_started_once_unless_its_start_died_and_nobody_can_ask(void **state)
{
    (void)state;
    assert_int_equal(pipeline_first_call(CR, false, false), PIPELINE_CALL_START);
    assert_int_equal(pipeline_first_call(CR, false, true), PIPELINE_CALL_START);
    assert_int_equal(pipeline_first_call(CR, true, true), PIPELINE_CALL_START);
    assert_int_equal(pipeline_first_call(PE, true, true), PIPELINE_CALL_CONTINUE);
    assert_int_equal(pipeline_first_call(PE, true, false), PIPELINE_CALL_CONTINUE);
    assert_int_equal(pipeline_first_call(PE, false, true), PIPELINE_CALL_CONTINUE);
    assert_int_equal(pipeline_first_call(PE, false, false), PIPELINE_CALL_START);
}

static void nothing_leaves_a_final_state(void **state)
{
    /* Rows: from; columns: to; both in the order of the enum. */
    static const bool legal[PIPELINE_STATUS__COUNT][PIPELINE_STATUS__COUNT] = {
        {false, true, true, true, true},
        {true, false, true, true, true},
    };

    (void)state;
    for (int from = 0; from < PIPELINE_STATUS__COUNT; from++) {
        for (int to = 0; to < PIPELINE_STATUS__COUNT; to++)
            assert_int_equal(
                pipeline_can_move((enum pipeline_status)from, (enum pipeline_status)to),
                legal[from][to]);
        assert_int_equal(pipeline_status_is_final((enum pipeline_status)from), from >= FI);
    }
}

static void names_go_both_ways_and_are_exact(void **state)
{
    static const char *const bad[] = {"", "Created", "pending ", "done", "finishedX"};
    enum pipeline_status parsed = PIPELINE_FAILED;

    (void)state;
    for (int i = 0; i < PIPELINE_STATUS__COUNT; i++) {
        assert_true(
            pipeline_status_parse(pipeline_status_name((enum pipeline_status)i), &parsed));
        assert_int_equal(parsed, i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(pipeline_status_parse(bad[i], &parsed));
    assert_false(pipeline_status_parse(NULL, &parsed));
    assert_int_equal(parsed, PIPELINE_FAILED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_beats_cancelled_beats_open_beats_finished),
        cmocka_unit_test(a_single_step_decides_alone),
        cmocka_unit_test(a_step_is_started_once_unless_its_start_died_and_nobody_can_ask),
        cmocka_unit_test(nothing_leaves_a_final_state),
        cmocka_unit_test(names_go_both_ways_and_are_exact),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
