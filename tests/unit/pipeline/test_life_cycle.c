/* test_life_cycle.c - what a pipeline goes through, tick by tick. */
#include "pipeline_help.h"

static void start(struct pipeline *p)
{
    struct pipeline_err err = {0};

    if (pipeline_start(p, &err))
        fail_msg("%s", err.text);
}

static void a_new_pipeline_and_its_steps_are_created_in_order(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", "poll", "do", NULL});

    help_assert_states(p, "created: created created created");
    assert_string_equal(pipeline_name(p), "p");
    assert_string_equal(pipeline_step_name(pipeline_step_at(p, 0)), "do");
    assert_string_equal(pipeline_step_name(pipeline_step_at(p, 1)), "poll");
    assert_string_equal(pipeline_step_name(pipeline_step_at(p, 2)), "do");
    assert_null(pipeline_step_at(p, 3));
    assert_string_equal(pipeline_metadata(p), "{\"current_step\":null}");
    assert_string_equal(pipeline_step_metadata(pipeline_step_at(p, 0)), "{}");
    assert_string_equal(pipeline_reason(p), "");
    help_assert_log(h, "");
    pipeline_free(p);
}

static void a_created_pipeline_is_not_swept_before_it_is_started(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", NULL});

    assert_int_equal(help_sweep(h).found, 0);
    help_assert_states(p, "created: created");
    pipeline_free(p);
}

static void n_steps_that_finish_at_once_need_n_ticks_and_one_more(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", "do", "do", NULL});
    struct pipeline_sweep sweep;

    start(p);
    help_assert_states(p, "pending: finished created created");
    sweep = help_sweep(h);
    assert_int_equal(sweep.found, 1);
    assert_int_equal(sweep.ticked, 1);
    help_assert_states(p, "pending: finished finished created");
    help_sweep(h);
    help_assert_states(p, "pending: finished finished finished");
    help_sweep(h);
    help_assert_states(p, "finished: finished finished finished");
    assert_int_equal(help_sweep(h).found, 0);
    help_assert_log(h,
                    "do:start do:start do:start "); /* finished in on_start: no on_continue */
    pipeline_free(p);
}

static void a_fresh_step_gets_both_calls_and_then_only_on_continue(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"poll", "do", NULL});
    struct pipeline_step *poll = pipeline_step_at(p, 0);
    char current[100];

    start(p);
    help_assert_log(h, "poll:start poll:continue ");
    help_assert_states(p, "pending: pending created");
    assert_string_equal(pipeline_step_reason(poll), "not yet");
    snprintf(current, sizeof current, "{\"current_step\":\"%s\"}", pipeline_step_uuid(poll));
    assert_string_equal(pipeline_metadata(p), current);
    help_sweep(h);
    help_assert_log(h, "poll:continue ");
    help_assert_states(p, "pending: pending created");
    start(p); /* the same by hand */
    help_assert_log(h, "poll:continue ");
    help_assert_states(p, "pending: finished created");
    help_sweep(h);
    help_assert_log(h, "do:start ");
    snprintf(current, sizeof current, "{\"current_step\":\"%s\"}",
             pipeline_step_uuid(pipeline_step_at(p, 1)));
    help_sweep(h);
    help_assert_states(p, "finished: finished finished");
    assert_string_equal(pipeline_metadata(p), current);
    pipeline_free(p);
}

static void a_failed_step_fails_the_pipeline_at_the_next_tick(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", "fail", "do", NULL});

    start(p);
    help_sweep(h);
    help_assert_states(p, "pending: finished failed created");
    assert_string_equal(pipeline_step_reason(pipeline_step_at(p, 1)), "no tape");
    help_sweep(h);
    help_assert_states(p, "failed: finished failed created");
    assert_string_equal(pipeline_reason(p), "the step 'fail' failed: no tape");
    help_assert_log(h, "do:start fail:start ");
    assert_int_equal(help_sweep(h).found, 0);
    pipeline_free(p);
}

static void a_cancelled_step_cancels_the_pipeline_at_the_next_tick(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"cancel", "do", NULL});

    start(p);
    help_assert_states(p, "pending: cancelled created");
    help_sweep(h);
    help_assert_states(p, "cancelled: cancelled created");
    assert_string_equal(pipeline_reason(p), "the step 'cancel' was cancelled: not today");
    pipeline_free(p);
}

static void fail_comes_before_cancel_and_cancel_before_finish(void **state)
{
    struct help *h = *state;
    const char *const steps[] = {"by hand", "by hand", "by hand", NULL};
    struct pipeline *p = help_pipeline(h, "p", steps), *q = help_pipeline(h, "p", steps);

    assert_int_equal(pipeline_step_finish(pipeline_step_at(p, 0), NULL), 0);
    assert_int_equal(pipeline_step_cancel(pipeline_step_at(p, 1), NULL, NULL), 0);
    assert_int_equal(pipeline_step_fail(pipeline_step_at(p, 2), "broken", NULL), 0);
    start(p);
    help_assert_states(p, "failed: finished cancelled failed");
    assert_int_equal(pipeline_step_cancel(pipeline_step_at(q, 2), NULL, NULL), 0);
    start(q);
    help_assert_states(q, "cancelled: created created cancelled");
    assert_string_equal(pipeline_reason(q), "the step 'by hand' was cancelled");
    pipeline_free(p);
    pipeline_free(q);
}

static void a_step_without_calls_waits_until_it_is_ended_by_hand(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"by hand", "do", NULL});

    start(p);
    help_sweep(h);
    help_sweep(h);
    help_assert_states(p, "pending: pending created");
    assert_int_equal(pipeline_step_finish(pipeline_step_at(p, 0), NULL), 0);
    help_sweep(h);
    help_assert_states(p, "pending: finished finished");
    pipeline_free(p);
}

static void on_start_alone_is_called_once_however_long_the_step_waits(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"start only", NULL});

    start(p);
    help_sweep(h);
    help_sweep(h);
    help_assert_states(p, "pending: pending");
    help_assert_log(h, "start only:start ");
    pipeline_free(p);
}

static void
a_pipeline_that_is_cancelled_itself_keeps_its_steps_and_is_swept_no_more(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"poll", "do", NULL});
    struct pipeline_err err;

    start(p);
    assert_int_equal(pipeline_cancel(p, "enough", &err), 0);
    assert_int_equal(help_sweep(h).found, 0);
    start(p); /* no harm: it has ended */
    help_assert_states(p, "cancelled: pending created");
    assert_string_equal(pipeline_reason(p), "enough");
    help_assert_log(h, "poll:start poll:continue ");
    assert_int_equal(pipeline_fail(p, "again", &err), -PIPELINE_E_BAD_STATE);
    assert_non_null(strstr(err.text, "is cancelled already"));
    pipeline_free(p);
}

static void a_step_ends_once(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"by hand", NULL}), *other;
    struct pipeline_step *s = pipeline_step_at(p, 0);
    struct pipeline_err err;

    assert_int_equal(pipeline_open(h->o, pipeline_uuid(p), &other, &err), 0);
    assert_int_equal(pipeline_step_fail(s, "", &err), -PIPELINE_E_BAD_VALUE);
    assert_int_equal(pipeline_step_fail(s, NULL, &err), -PIPELINE_E_BAD_VALUE);
    assert_int_equal(pipeline_step_finish(s, &err), 0);
    assert_int_equal(pipeline_step_finish(s, &err), -PIPELINE_E_BAD_STATE);
    assert_string_equal(err.text, "the step 'by hand' is finished already");
    /* A handle that has not seen it yet. */
    assert_int_equal(pipeline_step_state(pipeline_step_at(other, 0)), PIPELINE_CREATED);
    assert_int_equal(pipeline_step_fail(pipeline_step_at(other, 0), "late", &err),
                     -PIPELINE_E_BAD_STATE);
    assert_int_equal(pipeline_step_wait(pipeline_step_at(other, 0), "x", &err),
                     -PIPELINE_E_BAD_STATE);
    help_assert_states(p, "created: finished");
    pipeline_free(p);
    pipeline_free(other);
}

static void bad_definitions_are_refused_with_a_sentence(void **state)
{
    struct help *h = *state;
    static char too_long[PIPELINE_NAME_MAX + 1];
    const char *const none[] = {NULL}, *const unknown[] = {"do", "nobody"};
    const char *const good[] = {"do"};
    memset(too_long, 'x', sizeof too_long - 1);
    const struct pipeline_step_definition bad_steps[] = {
        {.name = NULL}, {.name = ""}, {.name = "a\nb"}, {.name = "\xff"}, {.name = too_long}};
    const struct {
        struct pipeline_definition definition;
        int code;
        const char *says;
    } cases[] = {
        {{NULL, good, 1}, PIPELINE_E_BAD_VALUE, "a pipeline needs a name"},
        {{"", good, 1}, PIPELINE_E_BAD_VALUE, "a pipeline needs a name"},
        {{"p", NULL, 0},
         PIPELINE_E_BAD_VALUE,
         "the pipeline 'p' needs 1 to 1000 steps and has 0"},
        {{"p", NULL, 3},
         PIPELINE_E_BAD_VALUE,
         "the pipeline 'p' needs 1 to 1000 steps and has 0"},
        {{"p", good, 0},
         PIPELINE_E_BAD_VALUE,
         "the pipeline 'p' needs 1 to 1000 steps and has 0"},
        {{"p", none, 1},
         PIPELINE_E_BAD_VALUE,
         "step 1 of the pipeline 'p', '', is not registered"},
        {{"p", unknown, 2},
         PIPELINE_E_BAD_VALUE,
         "step 2 of the pipeline 'p', 'nobody', is not registered"},
        {{"taken", good, 1}, PIPELINE_E_EXISTS, "the pipeline 'taken' is registered already"},
    };
    struct pipeline_err err;
    struct pipeline *p;

    pipeline_free(help_pipeline(h, "taken", (const char *[]){"do", NULL}));
    for (size_t i = 0; i < sizeof bad_steps / sizeof bad_steps[0]; i++)
        assert_int_equal(orchestrator_register_step(h->o, &bad_steps[i], &err),
                         -PIPELINE_E_BAD_VALUE);
    assert_int_equal(orchestrator_register_step(
                         h->o, &(struct pipeline_step_definition){.name = "do"}, &err),
                     -PIPELINE_E_EXISTS);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(orchestrator_register_pipeline(h->o, &cases[i].definition, &err),
                         -cases[i].code);
        assert_string_equal(err.text, cases[i].says);
    }
    assert_int_equal(pipeline_new(h->o, "p", NULL, &p, &err), -PIPELINE_E_UNKNOWN);
    assert_int_equal(pipeline_new(h->o, NULL, NULL, &p, &err), -PIPELINE_E_UNKNOWN);
    assert_int_equal(pipeline_open(h->o, "no uuid", &p, &err), -PIPELINE_E_NOT_FOUND);
    assert_int_equal(pipeline_open(h->o, "01234567-0123-7123-8123-0123456789ab", &p, &err),
                     -PIPELINE_E_NOT_FOUND);
    assert_int_equal(orchestrator_new(NULL, NULL, &h->o, NULL), -PIPELINE_E_BAD_VALUE);
    assert_string_equal(pipeline_code_name(-PIPELINE_E_UNKNOWN), "UNKNOWN");
    assert_string_equal(pipeline_code_name(PIPELINE_E__COUNT), "?");
}

static void long_sentences_are_cut_between_characters(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"by hand", NULL});
    char text[2001];

    for (size_t i = 0; i + 3 < sizeof text; i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    text[1998] = '\0';
    assert_int_equal(pipeline_step_fail(pipeline_step_at(p, 0), text, NULL), 0);
    assert_int_equal(strlen(pipeline_step_reason(pipeline_step_at(p, 0))), 510);
    start(p);
    size_t len = strlen(pipeline_reason(p));
    assert_true(len > 500 && len < PIPELINE_REASON_MAX);
    assert_memory_equal(pipeline_reason(p) + len - 3, "\xe2\x82\xac", 3);
    pipeline_free(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_start, help_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_new_pipeline_and_its_steps_are_created_in_order),
        T(a_created_pipeline_is_not_swept_before_it_is_started),
        T(n_steps_that_finish_at_once_need_n_ticks_and_one_more),
        T(a_fresh_step_gets_both_calls_and_then_only_on_continue),
        T(a_failed_step_fails_the_pipeline_at_the_next_tick),
        T(a_cancelled_step_cancels_the_pipeline_at_the_next_tick),
        T(fail_comes_before_cancel_and_cancel_before_finish),
        T(a_step_without_calls_waits_until_it_is_ended_by_hand),
        T(on_start_alone_is_called_once_however_long_the_step_waits),
        T(a_pipeline_that_is_cancelled_itself_keeps_its_steps_and_is_swept_no_more),
        T(a_step_ends_once),
        T(bad_definitions_are_refused_with_a_sentence),
        T(long_sentences_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
