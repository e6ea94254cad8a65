/* test_mishaps.c - errors in calls, and everything that must not follow from them. */
#include "pipeline_help.h"

static void an_error_in_the_first_on_start_loses_nothing(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"stumble", "do", NULL});
    struct pipeline_err err = {0};

    assert_int_equal(pipeline_start(p, &err), -PIPELINE_E_CALLBACK);
    assert_string_equal(err.text, "on_start of the step 'stumble': the disk is busy");
    help_assert_states(p, "pending: created created");
    assert_string_equal(pipeline_step_reason(pipeline_step_at(p, 0)), "the disk is busy");
    assert_int_equal(help_sweep(h).errors, 0); /* it is picked up, and started again */
    help_assert_states(p, "pending: finished created");
    assert_string_equal(pipeline_step_reason(pipeline_step_at(p, 0)), "");
    help_sweep(h);
    help_sweep(h);
    help_assert_states(p, "finished: finished finished");
    help_assert_log(h, "stumble:start stumble:start do:start ");
    pipeline_free(p);
}

static void an_error_in_a_later_on_start_loses_nothing_either(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"do", "stumble", NULL});

    assert_int_equal(pipeline_start(p, NULL), 0);
    assert_int_equal(help_sweep(h).errors, 1);
    assert_int_equal(h->errors, 1);
    assert_int_equal(h->last.code, -PIPELINE_E_CALLBACK);
    help_assert_states(p, "pending: finished created");
    help_sweep(h);
    help_sweep(h);
    help_assert_states(p, "finished: finished finished");
    pipeline_free(p);
}

static void an_error_in_on_continue_is_tried_again_at_every_tick(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"clumsy", NULL});

    assert_int_equal(pipeline_start(p, NULL), -PIPELINE_E_CALLBACK);
    help_assert_log(h, "clumsy:start clumsy:continue ");
    help_assert_states(p, "pending: pending");
    assert_string_equal(pipeline_step_reason(pipeline_step_at(p, 0)), "fell over");
    assert_int_equal(help_sweep(h).errors, 1);
    assert_int_equal(help_sweep(h).errors, 0);
    help_assert_log(h, "clumsy:continue clumsy:continue ");
    help_assert_states(p, "pending: finished");
    pipeline_free(p);
}

static void errors_in_one_pipeline_never_stop_the_others(void **state)
{
    struct help *h = *state;
    struct pipeline *bad[2], *good[3];
    struct pipeline_sweep sweep;

    for (int i = 0; i < 5; i++) {
        struct pipeline *p =
            i % 2
                ? (bad[i / 2] = help_pipeline(h, "bad", (const char *[]){"hopeless", NULL}))
                : (good[i / 2] = help_pipeline(h, "good", (const char *[]){"do", "do", NULL}));
        assert_int_equal(pipeline_start(p, NULL), i % 2 ? -PIPELINE_E_CALLBACK : 0);
    }
    for (int i = 0; i < 3; i++)
        sweep = help_sweep(h);
    assert_int_equal(sweep.found, 2); /* the good ones have ended */
    assert_int_equal(sweep.ticked, 2);
    assert_int_equal(sweep.errors, 2);
    assert_string_equal(sweep.first.text,
                        "on_start of the step 'hopeless': it gave no reason (code -5)");
    assert_int_equal(h->errors, 6);
    for (int i = 0; i < 3; i++) {
        help_assert_states(good[i], "finished: finished finished");
        pipeline_free(good[i]);
    }
    for (int i = 0; i < 2; i++) {
        help_assert_states(bad[i], "pending: created");
        pipeline_free(bad[i]);
    }
}

static void a_name_that_nobody_registered_here_is_an_error_of_that_pipeline_alone(void **state)
{
    struct help *h = *state;
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"poll", NULL});
    struct orchestrator *other;
    struct pipeline_sweep sweep;
    struct pipeline_err err;

    assert_int_equal(pipeline_start(p, NULL), 0);
    assert_int_equal(orchestrator_new(h->r, NULL, &other, &err), 0);
    assert_int_equal(orchestrator_execute_pipelines(other, &sweep, &err), 0);
    assert_int_equal(sweep.errors, 1);
    assert_int_equal(sweep.first.code, -PIPELINE_E_UNKNOWN);
    assert_string_equal(sweep.first.text, "the pipeline 'p' is not registered here");
    orchestrator_free(other);
    help_assert_states(p, "pending: pending"); /* and the one who knows it goes on */
    help_sweep(h);
    help_sweep(h);
    help_assert_states(p, "pending: finished");
    pipeline_free(p);
}

static void instances_of_a_pipeline_share_no_state(void **state)
{
    struct help *h = *state;
    const char *const steps[] = {"poll", "do", NULL};
    struct pipeline *a = help_pipeline(h, "p", steps), *b = help_pipeline(h, "p", steps);

    assert_int_equal(pipeline_set_metadata(a, "{\"who\":\"a\"}", NULL), 0);
    assert_int_equal(pipeline_step_set_metadata(pipeline_step_at(a, 1), "{\"at\":1}", NULL), 0);
    assert_int_equal(pipeline_start(a, NULL), 0);
    help_assert_states(a, "pending: pending created");
    help_assert_states(b, "created: created created");
    assert_non_null(strstr(pipeline_metadata(a), "\"who\":\"a\""));
    assert_string_equal(pipeline_metadata(b), "{\"current_step\":null}");
    assert_string_equal(pipeline_step_metadata(pipeline_step_at(a, 1)), "{\"at\":1}");
    assert_string_equal(pipeline_step_metadata(pipeline_step_at(b, 1)), "{}");
    assert_string_not_equal(pipeline_step_uuid(pipeline_step_at(a, 0)),
                            pipeline_step_uuid(pipeline_step_at(b, 0)));
    pipeline_free(a);
    pipeline_free(b);
}

/* -- inside a call -- */

static int look_around(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct help *h = arg;
    struct pipeline *p = pipeline_step_pipeline(s), *other;
    struct pipeline_sweep sweep;

    assert_int_equal(pipeline_state(p), PIPELINE_PENDING);
    assert_int_equal(pipeline_step_state(s), PIPELINE_PENDING);
    assert_true(pipeline_step_is_ours(s));
    assert_int_equal(pipeline_start(p, err), -PIPELINE_E_BUSY);
    assert_int_equal(pipeline_refresh(p, err), -PIPELINE_E_BAD_STATE);
    assert_int_equal(pipeline_open(h->o, pipeline_uuid(p), &other, err), 0);
    assert_int_equal(pipeline_start(other, err), -PIPELINE_E_BUSY);
    assert_false(pipeline_step_is_ours(pipeline_step_at(other, 0)));
    pipeline_free(other);
    sweep = help_sweep(h);
    assert_int_equal(sweep.found, 1);
    assert_int_equal(sweep.busy, 1);
    assert_int_equal(sweep.ticked, 0);
    assert_int_equal(sweep.errors, 0);
    assert_int_equal(pipeline_set_metadata(p, "{ \"seen\" : true }", err), 0);
    return pipeline_step_finish(s, err);
}

static void a_pipeline_is_claimed_while_its_step_is_called(void **state)
{
    struct help *h = *state;
    const struct pipeline_step_definition step = {"look", look_around, NULL, h};

    assert_int_equal(orchestrator_register_step(h->o, &step, NULL), 0);
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"look", NULL});
    assert_int_equal(pipeline_start(p, NULL), 0);
    assert_false(pipeline_step_is_ours(pipeline_step_at(p, 0)));
    help_assert_states(p, "pending: finished");
    assert_non_null(strstr(pipeline_metadata(p), " \"seen\" : true }"));
    help_sweep(h);
    help_assert_states(p, "finished: finished");
    pipeline_free(p);
}

static int cancel_all(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    int *calls = arg;

    ++*calls;
    return pipeline_cancel(pipeline_step_pipeline(s), "from inside", err);
}

static void a_pipeline_cancelled_by_its_own_step_is_not_called_again(void **state)
{
    struct help *h = *state;
    int calls = 0;
    const struct pipeline_step_definition step = {"ender", cancel_all, cancel_all, &calls};

    assert_int_equal(orchestrator_register_step(h->o, &step, NULL), 0);
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"ender", NULL});
    assert_int_equal(pipeline_start(p, NULL), 0);
    assert_int_equal(calls, 1);
    help_assert_states(p, "cancelled: pending");
    pipeline_free(p);
}

static int cancel_from_outside(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct help *h = arg;
    struct pipeline *other;

    assert_int_equal(pipeline_open(h->o, pipeline_uuid(pipeline_step_pipeline(s)), &other, err),
                     0);
    assert_int_equal(pipeline_cancel(other, "stop", err), 0);
    pipeline_free(other);
    return pipeline_step_finish(s, err);
}

static void a_cancel_that_comes_while_a_step_runs_is_kept(void **state)
{
    struct help *h = *state;
    const struct pipeline_step_definition step = {"slow", cancel_from_outside, NULL, h};

    assert_int_equal(orchestrator_register_step(h->o, &step, NULL), 0);
    struct pipeline *p = help_pipeline(h, "p", (const char *[]){"slow", "do", NULL});
    assert_int_equal(pipeline_start(p, NULL), 0);
    help_assert_states(p, "cancelled: finished created");
    assert_int_equal(help_sweep(h).found, 0);
    pipeline_free(p);
}

#define T(name) cmocka_unit_test_setup_teardown(name, help_start, help_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(an_error_in_the_first_on_start_loses_nothing),
        T(an_error_in_a_later_on_start_loses_nothing_either),
        T(an_error_in_on_continue_is_tried_again_at_every_tick),
        T(errors_in_one_pipeline_never_stop_the_others),
        T(a_name_that_nobody_registered_here_is_an_error_of_that_pipeline_alone),
        T(instances_of_a_pipeline_share_no_state),
        T(a_pipeline_is_claimed_while_its_step_is_called),
        T(a_pipeline_cancelled_by_its_own_step_is_not_called_again),
        T(a_cancel_that_comes_while_a_step_runs_is_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
