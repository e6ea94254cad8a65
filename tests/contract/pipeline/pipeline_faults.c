/* pipeline_faults.c - pipelines from beginning to end while any one call, or all from one on,
 * fail: memory, files, threads. What is stored gets through afterwards. */
#include <stdlib.h>
#include <time.h>

#include "faults.h"
#include "pipeline_fixture.h"

enum { PATIENCE_S = 60, LEASE_MS = 30 };

static struct pipeline *p;
static struct orchestrator *o;

static int finish(struct pipeline_step *s, void *unused, struct pipeline_err *err)
{
    (void)unused;
    return pipeline_step_finish(s, err);
}

static int wait_once(struct pipeline_step *s, void *unused, struct pipeline_err *err)
{
    (void)unused;
    return pipeline_step_wait(s, "not yet", err);
}

static int define(struct pipeline_err *err)
{
    const struct pipeline_step_definition steps[] = {{"one", finish, NULL, NULL},
                                                     {"two", wait_once, finish, NULL}};
    const char *const names[] = {"one", "two"};
    const struct pipeline_definition definition = {"p", names, 2};
    int rc = orchestrator_register_step(o, &steps[0], err);

    if (!rc)
        rc = orchestrator_register_step(o, &steps[1], err);
    return rc ? rc : orchestrator_register_pipeline(o, &definition, err);
}

static int live(struct pipeline_err *err)
{
    struct pipeline_sweep sweep = {0};
    int rc = pipeline_new(o, "p", "{\"n\":1}", &p, err);

    if (!rc)
        rc = pipeline_start(p, err);
    for (int i = 0; i < 2 && !rc; i++) {
        rc = orchestrator_execute_pipelines(o, &sweep, err);
        if (!rc && sweep.errors)
            rc = pipeline_err_set(err, sweep.first.code, "%s", sweep.first.text);
    }
    return rc ? rc : pipeline_set_metadata(p, "{\"n\":2}", err);
}

/* Without faults again: whatever was stored ends. */
static void gets_through(void)
{
    struct pipeline_err err = {0};
    time_t until = time(NULL) + PATIENCE_S;

    if (pipeline_state(p) == PIPELINE_CREATED)
        pipeline_refresh(p, NULL);
    while (!pipeline_status_is_final(pipeline_state(p))) {
        int rc = pipeline_start(p, &err);
        if (rc && rc != -PIPELINE_E_BUSY)
            fail_msg("after the fault: %s", err.text);
        if (time(NULL) > until)
            fail_msg("it does not end: %s", err.text);
    }
    assert_int_equal(pipeline_state(p), PIPELINE_FINISHED);
}

static int run(void *arg, struct err *ret)
{
    struct fixture *f = arg;
    struct pipeline_repository *r = NULL;
    const struct orchestrator_options options = {.lease_ms = LEASE_MS};
    struct pipeline_err err = {0};

    p = NULL;
    o = NULL;
    f->r = NULL;
    int rc = fixture_open(f, &r, &err);
    if (!rc)
        rc = orchestrator_new(r, &options, &o, &err);
    if (!rc)
        rc = define(&err);
    if (!rc)
        rc = live(&err);
    faults_disarm();
    if (p)
        gets_through();
    pipeline_free(p);
    orchestrator_free(o);
    pipeline_repository_free(r);
    if (!rc)
        return 0;
    assert_int_equal(err.code, rc);
    assert_true(strlen(err.text) > 0);
    return err_set(ret, rc == -PIPELINE_E_NO_MEMORY ? -E_NO_MEMORY : -E_UNAVAILABLE, "%s",
                   err.text);
}

static void pipelines_get_through_whatever_fails(void **state)
{
    struct fixture *f = *state;
    struct faults_scenario s = {.name = "pipelines", .run = run, .arg = f, .settles = true};
    unsigned faults = 1U << FAULT_MEMORY | 1U << FAULT_THREAD;

    s.limit = fixture_is_shared ? 30 : 0;
    if (strchr(f->place, '/'))
        faults |= FAULTS_OF_FILES;
    else if (fixture_is_shared)
        faults |= FAULTS_OF_LINKS;
    faults_torture(&s, faults);
    f->r = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pipelines_get_through_whatever_fails, fixture_empty,
                                        fixture_end),
    };
    int unavailable = fixture_available();

    /* Connector/C 3.3 copies the server's version by strdup and looks into it without asking
     * whether there is any; where else it would die of that kind nobody has counted. */
    faults_spare_library("libmariadb.", FAULT_MEMORY);
    setenv("TMPDIR", faults_temp_dir(), 1);
    return unavailable ? unavailable : cmocka_run_group_tests(tests, NULL, NULL);
}
