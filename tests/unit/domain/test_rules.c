/* test_rules.c - the pure rules: which moves a task may make, keys, names, retries. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "artifact.h"
#include "retry.h"
#include "task.h"
#include "task_state.h"

static void a_task_makes_the_legal_moves_and_no_other(void **state)
{
    /* Rows: from; columns: to; both in the order of the enum. */
    static const bool legal[TASK_STATE__COUNT][TASK_STATE__COUNT] = {
        /* to:       RECEIVED PROCESSING DONE FAILED CANCELLED */
        /* RECEIVED */ {false, true, false, true, true},
        /* PROCESSING */ {true, false, true, true, true},
        /* DONE */ {false, false, false, false, false},
        /* FAILED */ {true, false, false, false, false},
        /* CANCELLED */ {false, false, false, false, false},
    };

    (void)state;
    for (int from = 0; from < TASK_STATE__COUNT; from++) {
        for (int to = 0; to < TASK_STATE__COUNT; to++)
            assert_int_equal(task_state_can_move((enum task_state)from, (enum task_state)to),
                             legal[from][to]);
    }
}

static void done_failed_and_cancelled_are_terminal(void **state)
{
    (void)state;
    assert_false(task_state_is_terminal(TASK_RECEIVED));
    assert_false(task_state_is_terminal(TASK_PROCESSING));
    assert_true(task_state_is_terminal(TASK_DONE));
    assert_true(task_state_is_terminal(TASK_FAILED));
    assert_true(task_state_is_terminal(TASK_CANCELLED));
}

static void state_names_go_both_ways_and_are_exact(void **state)
{
    static const char *const bad[] = {"", "done", "DONE ", "QUEUED", "RECEIVEDX"};
    enum task_state parsed = TASK_CANCELLED;

    (void)state;
    for (int i = 0; i < TASK_STATE__COUNT; i++) {
        assert_true(task_state_parse(task_state_name((enum task_state)i), &parsed));
        assert_int_equal(parsed, i);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(task_state_parse(bad[i], &parsed));
    assert_false(task_state_parse(NULL, &parsed));
    assert_int_equal(parsed, TASK_CANCELLED);
}

static void class_and_outcome_names_go_both_ways(void **state)
{
    enum error_class class = ERROR_NONE;
    enum attempt_outcome outcome = ATTEMPT_RUNNING;

    (void)state;
    for (int i = 0; i < ERROR__COUNT; i++) {
        assert_true(error_class_parse(error_class_name((enum error_class)i), &class));
        assert_int_equal(class, i);
    }
    for (int i = 0; i < ATTEMPT__COUNT; i++) {
        assert_true(
            attempt_outcome_parse(attempt_outcome_name((enum attempt_outcome)i), &outcome));
        assert_int_equal(outcome, i);
    }
    assert_false(error_class_parse("Input", &class));
    assert_false(attempt_outcome_parse(NULL, &outcome));
}

static void keys_that_stay_inside_are_keys(void **state)
{
    static const char *const good[] = {
        "a",
        "raw_data/0198-a.csv",
        "processed_data/t/1/out.csv",
        "A-Z_0.9",
        "a..b",
        "a.parts",
        "part/x",
        "a/b/c/d/e/f",
    };

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        assert_true(artifact_key_is_valid(good[i]));
}

static void keys_that_could_leave_are_none(void **state)
{
    static const char *const bad[] = {
        "",     "/",     "/a",      "a/",    "a//b",   ".",        "..",       "../a",
        "a/..", "a/./b", ".hidden", "a/.b",  "x.part", "x.part/y", ".part",    "a b",
        "a\nb", "a\tb",  "a\\b",    "a%2fb", "a:b",    "a*",       "\xC3\xA9", "a\x7F",
    };
    char key[ARTIFACT_KEY_MAX + 2];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(artifact_key_is_valid(bad[i]));
    assert_false(artifact_key_is_valid(NULL));

    memset(key, 'k', sizeof key);
    key[100] = '/';
    key[ARTIFACT_KEY_MAX - 1] = '\0';
    assert_true(artifact_key_is_valid(key));
    key[ARTIFACT_KEY_MAX - 1] = 'k';
    key[ARTIFACT_KEY_MAX] = '\0';
    assert_false(artifact_key_is_valid(key));
    memset(key, 'k', sizeof key);
    key[ARTIFACT_SEGMENT_MAX] = '\0';
    assert_true(artifact_key_is_valid(key));
    key[ARTIFACT_SEGMENT_MAX] = 'k';
    key[ARTIFACT_SEGMENT_MAX + 1] = '\0';
    assert_false(artifact_key_is_valid(key));
}

static void words_are_short_and_plain(void **state)
{
    char word[TASK_QUEUE_MAX + 1];

    (void)state;
    assert_true(task_word_is_valid("csv_plays"));
    assert_true(task_word_is_valid("9.a-b"));
    assert_false(task_word_is_valid(""));
    assert_false(task_word_is_valid(NULL));
    assert_false(task_word_is_valid("-a"));
    assert_false(task_word_is_valid("a b"));
    assert_false(task_word_is_valid("a/b"));
    assert_false(task_word_is_valid("a\n"));
    memset(word, 'w', sizeof word);
    word[TASK_QUEUE_MAX - 1] = '\0';
    assert_true(task_word_is_valid(word));
    word[TASK_QUEUE_MAX - 1] = 'w';
    word[TASK_QUEUE_MAX] = '\0';
    assert_false(task_word_is_valid(word));
}

static void the_last_of_so_many_crashes_makes_a_task_poison(void **state)
{
    (void)state;
    assert_false(retry_is_poison(3, ERROR_CRASH, 1));
    assert_true(retry_is_poison(3, ERROR_CRASH, 2));
    assert_true(retry_is_poison(3, ERROR_CRASH, 9)); /* the setting was lowered */
    assert_true(retry_is_poison(1, ERROR_CRASH, 0));
    assert_false(retry_is_poison(0, ERROR_CRASH, 99));
    for (int class = ERROR_NONE; class < ERROR__COUNT; class ++)
        assert_true(class == ERROR_CRASH || !retry_is_poison(1, (enum error_class) class, 9));
}

static void an_attempt_is_followed_by_another_when_that_can_help(void **state)
{
    static const struct retry_policy policy = {1000, 60000};
    static const struct {
        enum error_class class;
        int attempt, max_attempts;
        enum task_state to;
    } cases[] = {
        {ERROR_TRANSIENT, 1, 3, TASK_RECEIVED}, {ERROR_TRANSIENT, 2, 3, TASK_RECEIVED},
        {ERROR_TRANSIENT, 3, 3, TASK_FAILED},   {ERROR_TRANSIENT, 1, 1, TASK_FAILED},
        {ERROR_CRASH, 1, 3, TASK_RECEIVED},     {ERROR_CRASH, 3, 3, TASK_FAILED},
        {ERROR_TIMEOUT, 1, 3, TASK_RECEIVED},   {ERROR_NONE, 1, 3, TASK_RECEIVED},
        {ERROR_INPUT, 1, 3, TASK_FAILED},       {ERROR_CANCELLED, 1, 3, TASK_FAILED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct retry_decision decision = retry_decide(&policy, cases[i].class, cases[i].attempt,
                                                      cases[i].max_attempts, false);
        assert_int_equal(decision.to, cases[i].to);
        if (decision.to == TASK_FAILED)
            assert_int_equal(decision.delay_ms, 0);
    }
}

static void the_wait_grows_with_the_attempts_unless_none_is_needed(void **state)
{
    static const struct retry_policy policy = {1000, 4000};
    static const int64_t ceilings[] = {1000, 2000, 4000, 4000};

    (void)state;
    for (int attempt = 1; attempt <= 4; attempt++) {
        int64_t most = 0;
        for (int i = 0; i < 500; i++) {
            struct retry_decision d =
                retry_decide(&policy, ERROR_TRANSIENT, attempt, 100, false);
            assert_true(d.delay_ms >= 0 && d.delay_ms <= ceilings[attempt - 1]);
            most = d.delay_ms > most ? d.delay_ms : most;
        }
        assert_true(most > ceilings[attempt - 1] * 9 / 10);
        assert_int_equal(retry_decide(&policy, ERROR_TRANSIENT, attempt, 100, true).delay_ms,
                         0);
    }
}

static void releasing_a_task_frees_and_forgets(void **state)
{
    struct task t = {.attempt = 3, .params = strdup("{}"), .result = strdup("{}")};

    (void)state;
    task_release(&t);
    assert_null(t.params);
    assert_null(t.result);
    assert_int_equal(t.attempt, 0);
    task_release(&t);
    task_release(NULL);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(a_task_makes_the_legal_moves_and_no_other),
        cmocka_unit_test(done_failed_and_cancelled_are_terminal),
        cmocka_unit_test(state_names_go_both_ways_and_are_exact),
        cmocka_unit_test(class_and_outcome_names_go_both_ways),
        cmocka_unit_test(keys_that_stay_inside_are_keys),
        cmocka_unit_test(keys_that_could_leave_are_none),
        cmocka_unit_test(words_are_short_and_plain),
        cmocka_unit_test(an_attempt_is_followed_by_another_when_that_can_help),
        cmocka_unit_test(the_last_of_so_many_crashes_makes_a_task_poison),
        cmocka_unit_test(the_wait_grows_with_the_attempts_unless_none_is_needed),
        cmocka_unit_test(releasing_a_task_frees_and_forgets),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
