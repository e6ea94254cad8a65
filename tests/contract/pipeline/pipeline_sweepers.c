/* pipeline_sweepers.c - several sweeps at once, threads and processes, living and dying: no
 * step is run twice, none is lost. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "pipeline_fixture.h"

enum { SWEEPERS = 4, PIPELINES = 12, STEPS = 3, PATIENCE_S = 60, SHORT_LEASE_MS = 200 };

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void must(int rc, const struct pipeline_err *err)
{
    if (rc)
        fail_msg("%s", err->text);
}

/* Registers the steps and a pipeline "p" of them. */
static struct orchestrator *orchestrate(struct pipeline_repository *r, int lease_ms,
                                        const struct pipeline_step_definition *steps,
                                        size_t count)
{
    const struct orchestrator_options options = {.lease_ms = lease_ms};
    const char *names[STEPS];
    struct pipeline_err err = {0};
    struct orchestrator *o = NULL;

    must(orchestrator_new(r, &options, &o, &err), &err);
    for (size_t i = 0; i < count; i++) {
        must(orchestrator_register_step(o, &steps[i], &err), &err);
        names[i] = steps[i].name;
    }
    const struct pipeline_definition definition = {"p", names, count};
    must(orchestrator_register_pipeline(o, &definition, &err), &err);
    return o;
}

static struct pipeline *make(struct orchestrator *o, const char *metadata)
{
    struct pipeline_err err = {0};
    struct pipeline *p = NULL;

    must(pipeline_new(o, "p", metadata, &p, &err), &err);
    return p;
}

/* Sweeps until nothing is pending. */
static void sweep_all(struct orchestrator *o)
{
    struct pipeline_sweep sweep;
    struct pipeline_err err = {0};
    int64_t until = now_ms() + PATIENCE_S * 1000;

    do {
        must(orchestrator_execute_pipelines(o, &sweep, &err), &err);
        if (sweep.errors)
            fail_msg("%s", sweep.first.text);
        if (now_ms() > until)
            fail_msg("it does not end");
    } while (sweep.found > 0);
}

static void assert_state(struct pipeline *p, enum pipeline_status expected)
{
    struct pipeline_err err = {0};

    must(pipeline_refresh(p, &err), &err);
    assert_string_equal(pipeline_status_name(pipeline_state(p)),
                        pipeline_status_name(expected));
}

/* -- threads beside each other -- */

static atomic_int starts[PIPELINES][STEPS], inside[PIPELINES];
static atomic_int continues[PIPELINES];

static int number_of(struct pipeline_step *s)
{
    const char *at = strstr(pipeline_metadata(pipeline_step_pipeline(s)), "\"n\":");

    return at ? (int)strtol(at + 4, NULL, 10) : -1;
}

static int enter(struct pipeline_step *s)
{
    int n = number_of(s);

    assert_in_range(n, 0, PIPELINES - 1);
    assert_int_equal(atomic_fetch_add(&inside[n], 1), 0); /* nobody else is at this one */
    return n;
}

static void leave(int n)
{
    atomic_fetch_sub(&inside[n], 1);
}

static int count_and_finish(struct pipeline_step *s, void *step, struct pipeline_err *err)
{
    int n = enter(s);

    atomic_fetch_add(&starts[n][*(int *)step], 1);
    int rc = pipeline_step_finish(s, err);
    leave(n);
    return rc;
}

static int count_only(struct pipeline_step *s, void *step, struct pipeline_err *err)
{
    int n = enter(s);

    (void)err;
    atomic_fetch_add(&starts[n][*(int *)step], 1);
    leave(n);
    return 0;
}

static int finish_at_third(struct pipeline_step *s, void *unused, struct pipeline_err *err)
{
    int n = enter(s), rc = 0;

    (void)unused;
    if (atomic_fetch_add(&continues[n], 1) == 2)
        rc = pipeline_step_finish(s, err);
    leave(n);
    return rc;
}

static int step_numbers[STEPS] = {0, 1, 2};
static const struct pipeline_step_definition counting[STEPS] = {
    {"first", count_and_finish, NULL, &step_numbers[0]},
    {"second", count_only, finish_at_third, &step_numbers[1]},
    {"third", count_and_finish, NULL, &step_numbers[2]}};

static void *sweeper(void *arg)
{
    struct fixture *f = arg;
    struct pipeline_repository *r = fixture_door(f);
    struct orchestrator *o = orchestrate(r, 0, counting, STEPS);

    sweep_all(o);
    orchestrator_free(o);
    fixture_shut(f, r);
    return NULL;
}

static void threads_that_sweep_at_once_never_run_a_step_twice(void **state)
{
    struct fixture *f = *state;
    struct orchestrator *o = orchestrate(f->r, 0, counting, STEPS);
    struct pipeline *p[PIPELINES];
    pthread_t threads[SWEEPERS];
    char metadata[40];

    for (int i = 0; i < PIPELINES; i++) {
        snprintf(metadata, sizeof metadata, "{\"n\":%d}", i);
        p[i] = make(o, metadata);
        assert_int_equal(pipeline_start(p[i], NULL), 0);
    }
    for (int i = 0; i < SWEEPERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sweeper, f), 0);
    for (int i = 0; i < SWEEPERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PIPELINES; i++) {
        assert_state(p[i], PIPELINE_FINISHED);
        for (int step = 0; step < STEPS; step++)
            assert_int_equal(atomic_load(&starts[i][step]), 1);
        assert_int_equal(atomic_load(&continues[i]), 3);
        pipeline_free(p[i]);
    }
    orchestrator_free(o);
}

/* One orchestrator for all threads is as good. */
static void *sweep_shared(void *o)
{
    sweep_all(o);
    return NULL;
}

static void threads_may_share_an_orchestrator(void **state)
{
    struct fixture *f = *state;
    struct orchestrator *o = orchestrate(f->r, 0, counting, STEPS);
    pthread_t threads[SWEEPERS];
    char metadata[40];

    memset(starts, 0, sizeof starts);
    memset(continues, 0, sizeof continues);
    for (int i = 0; i < PIPELINES; i++) {
        snprintf(metadata, sizeof metadata, "{\"n\":%d}", i);
        struct pipeline *p = make(o, metadata);
        assert_int_equal(pipeline_start(p, NULL), 0);
        pipeline_free(p);
    }
    for (int i = 0; i < SWEEPERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, sweep_shared, o), 0);
    for (int i = 0; i < SWEEPERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < PIPELINES * STEPS; i++)
        assert_int_equal(atomic_load(&starts[i / STEPS][i % STEPS]), 1);
    orchestrator_free(o);
}

/* -- processes beside each other -- */

/* A line for each start, in a file that all children append to. */
static int write_line(struct pipeline_step *s, void *fd, struct pipeline_err *err)
{
    char line[100];
    int len = snprintf(line, sizeof line, "%s\n", pipeline_step_uuid(s));

    if (write(*(int *)fd, line, (size_t)len) != len)
        return pipeline_err_set(err, -1, "the line could not be written");
    return pipeline_step_finish(s, err);
}

/* Makes pipelines and closes everything again: no door is open when a test forks, because a
 * file of SQLite must not be open then. */
static void make_and_close(struct fixture *f, const struct pipeline_step_definition *steps,
                           size_t count, bool start, size_t pipelines,
                           char ret_uuids[][PIPELINE_UUID_MAX])
{
    struct pipeline_repository *r = fixture_door(f);
    struct orchestrator *o = orchestrate(r, 0, steps, count);

    for (size_t i = 0; i < pipelines; i++) {
        struct pipeline *p = make(o, NULL);
        if (start)
            assert_int_equal(pipeline_start(p, NULL), 0);
        memcpy(ret_uuids[i], pipeline_uuid(p), PIPELINE_UUID_MAX);
        pipeline_free(p);
    }
    orchestrator_free(o);
    pipeline_repository_free(r);
}

static void sweep_as_child(struct fixture *f, const struct pipeline_step_definition *steps)
{
    sweep_all(orchestrate(fixture_door(f), 0, steps, STEPS));
    _exit(0);
}

static int count_lines(FILE *file, const char *uuid)
{
    char line[100];
    int count = 0;

    rewind(file);
    while (fgets(line, sizeof line, file))
        count += strncmp(line, uuid, strlen(uuid)) == 0;
    return count;
}

static void processes_that_sweep_at_once_never_run_a_step_twice(void **state)
{
    struct fixture *f = *state;
    char name[] = "/tmp/segue-lines.XXXXXX", uuids[PIPELINES][PIPELINE_UUID_MAX];
    int fd = mkostemp(name, O_APPEND), status;
    const struct pipeline_step_definition steps[STEPS] = {{"a", write_line, NULL, &fd},
                                                          {"b", write_line, NULL, &fd},
                                                          {"c", write_line, NULL, &fd}};
    pid_t children[SWEEPERS];
    struct pipeline *p;

    assert_true(fd >= 0);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    unlink(name);
    make_and_close(f, steps, STEPS, true, PIPELINES, uuids);
    for (int i = 0; i < SWEEPERS; i++) {
        children[i] = fork();
        if (children[i] == 0)
            sweep_as_child(f, steps);
        assert_true(children[i] > 0);
    }
    for (int i = 0; i < SWEEPERS; i++) {
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    f->r = fixture_door(f);
    struct orchestrator *o = orchestrate(f->r, 0, steps, STEPS);
    for (int i = 0; i < PIPELINES; i++) {
        assert_int_equal(pipeline_open(o, uuids[i], &p, NULL), 0);
        assert_int_equal(pipeline_state(p), PIPELINE_FINISHED);
        for (size_t k = 0; k < STEPS; k++)
            assert_int_equal(count_lines(file, pipeline_step_uuid(pipeline_step_at(p, k))), 1);
        pipeline_free(p);
    }
    orchestrator_free(o);
    fclose(file);
    close(fd);
}

/* -- a sweeper that dies, or is stopped, in the middle -- */

static int told_fd = -1;

static int tell_and_hang(struct pipeline_step *s, void *unused, struct pipeline_err *err)
{
    (void)s;
    (void)unused;
    (void)err;
    if (write(told_fd, "x", 1) != 1)
        _exit(9);
    for (;;)
        pause();
}

static int count_call(struct pipeline_step *s, void *calls, struct pipeline_err *err)
{
    ++*(int *)calls;
    return pipeline_step_finish(s, err);
}

/* A child that starts the pipeline and hangs in on_start of its step. */
static pid_t hanging_child(struct fixture *f, const char *uuid,
                           const struct pipeline_step_definition *step, int *ret_told)
{
    int told[2];
    char byte;

    assert_int_equal(pipe(told), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct pipeline *p = NULL;
        struct pipeline_err err = {0};
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nobody hanging */
        told_fd = told[1];
        struct orchestrator *o = orchestrate(fixture_door(f), SHORT_LEASE_MS, step, 1);
        must(pipeline_open(o, uuid, &p, &err), &err);
        _exit(-pipeline_start(p, &err));
    }
    assert_true(pid > 0);
    close(told[1]);
    assert_int_equal(read(told[0], &byte, 1), 1);
    *ret_told = told[0];
    return pid;
}

static void dies_in_on_start(struct fixture *f, bool has_continue)
{
    int started = 0, continued = 0, told, status;
    const struct pipeline_step_definition theirs = {"s", tell_and_hang, NULL, NULL};
    const struct pipeline_step_definition ours = {"s", count_call, NULL, &started};
    const struct pipeline_step_definition asking = {"s", NULL, count_call, &continued};
    char uuid[1][PIPELINE_UUID_MAX];
    struct pipeline *p;

    make_and_close(f, &theirs, 1, false, 1, uuid);
    pid_t pid = hanging_child(f, uuid[0], &theirs, &told);
    f->r = fixture_door(f);
    struct orchestrator *o =
        orchestrate(f->r, SHORT_LEASE_MS, has_continue ? &asking : &ours, 1);
    assert_int_equal(pipeline_open(o, uuid[0], &p, NULL), 0);
    /* It lives, so its claim is renewed, for longer than one lease. */
    for (int64_t until = now_ms() + 3 * SHORT_LEASE_MS; now_ms() < until;)
        assert_int_equal(pipeline_start(p, NULL), -PIPELINE_E_BUSY);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    close(told);
    sweep_all(o);
    assert_state(p, PIPELINE_FINISHED);
    assert_int_equal(started, has_continue ? 0 : 1);
    assert_int_equal(continued, has_continue ? 1 : 0);
    pipeline_free(p);
    orchestrator_free(o);
}

static void when_a_sweeper_dies_its_claim_ends_and_on_continue_is_asked(void **state)
{
    dies_in_on_start(*state, true);
}

static void when_a_sweeper_dies_a_step_that_cannot_be_asked_is_started_again(void **state)
{
    dies_in_on_start(*state, false);
}

static int tell_then_stop(struct pipeline_step *s, void *unused, struct pipeline_err *err)
{
    (void)unused;
    if (write(told_fd, "x", 1) != 1)
        _exit(9);
    raise(SIGSTOP); /* and is woken when others have gone on */
    while (pipeline_step_is_ours(s)) {
    }
    int rc = pipeline_step_finish(s, err);
    if (rc != -PIPELINE_E_BAD_STATE)
        _exit(8);
    return 0;
}

static void a_sweeper_that_was_stopped_too_long_is_told_that_its_claim_is_lost(void **state)
{
    struct fixture *f = *state;
    int continued = 0, told, status;
    const struct pipeline_step_definition theirs = {"s", tell_then_stop, NULL, NULL};
    const struct pipeline_step_definition ours = {"s", NULL, count_call, &continued};
    char uuid[1][PIPELINE_UUID_MAX];
    struct pipeline *p;

    make_and_close(f, &theirs, 1, false, 1, uuid);
    pid_t pid = hanging_child(f, uuid[0], &theirs, &told);
    assert_int_equal(waitpid(pid, &status, WUNTRACED), pid);
    assert_true(WIFSTOPPED(status));
    f->r = fixture_door(f);
    struct orchestrator *o = orchestrate(f->r, SHORT_LEASE_MS, &ours, 1);
    assert_int_equal(pipeline_open(o, uuid[0], &p, NULL), 0);
    sweep_all(o);
    assert_state(p, PIPELINE_FINISHED);
    assert_int_equal(continued, 1);
    kill(pid, SIGCONT);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), PIPELINE_E_STALE);
    assert_state(p, PIPELINE_FINISHED);
    close(told);
    pipeline_free(p);
    orchestrator_free(o);
}

/* -- a call that takes longer than the lease -- */

struct long_call {
    atomic_bool is_inside, may_end;
    bool was_ours;
};

static int take_long(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct long_call *call = arg;
    int64_t until = now_ms() + 4 * SHORT_LEASE_MS;

    atomic_store(&call->is_inside, true);
    while (now_ms() < until || !atomic_load(&call->may_end)) {
        if (!pipeline_step_is_ours(s))
            return pipeline_err_set(err, -1, "the claim was lost");
    }
    call->was_ours = true;
    return pipeline_step_finish(s, err);
}

static void *start_it(void *p)
{
    assert_int_equal(pipeline_start(p, NULL), 0);
    return NULL;
}

static void a_call_that_takes_longer_than_the_lease_keeps_its_claim(void **state)
{
    struct fixture *f = *state;
    struct long_call call = {0};
    const struct pipeline_step_definition step = {"s", take_long, NULL, &call};
    struct orchestrator *o = orchestrate(f->r, SHORT_LEASE_MS, &step, 1);
    struct pipeline_repository *door = fixture_door(f);
    struct orchestrator *other = orchestrate(door, SHORT_LEASE_MS, &step, 1);
    struct pipeline *p = make(o, NULL);
    struct pipeline_sweep sweep;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, start_it, p), 0);
    while (!atomic_load(&call.is_inside)) {
    }
    for (int64_t until = now_ms() + 3 * SHORT_LEASE_MS; now_ms() < until;) {
        assert_int_equal(orchestrator_execute_pipelines(other, &sweep, NULL), 0);
        assert_int_equal(sweep.found, 1);
        assert_int_equal(sweep.busy, 1);
        assert_int_equal(sweep.ticked, 0);
    }
    atomic_store(&call.may_end, true);
    pthread_join(thread, NULL);
    assert_true(call.was_ours);
    sweep_all(other);
    assert_state(p, PIPELINE_FINISHED);
    pipeline_free(p);
    orchestrator_free(other);
    fixture_shut(f, door);
    orchestrator_free(o);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_ready, fixture_end)
#define P(name) cmocka_unit_test_setup_teardown(name, fixture_empty, fixture_end)

int main(void)
{
    const struct CMUnitTest threads[] = {
        T(threads_that_sweep_at_once_never_run_a_step_twice),
        T(threads_may_share_an_orchestrator),
        T(a_call_that_takes_longer_than_the_lease_keeps_its_claim),
    };
    const struct CMUnitTest processes[] = {
        P(processes_that_sweep_at_once_never_run_a_step_twice),
        P(when_a_sweeper_dies_its_claim_ends_and_on_continue_is_asked),
        P(when_a_sweeper_dies_a_step_that_cannot_be_asked_is_started_again),
        P(a_sweeper_that_was_stopped_too_long_is_told_that_its_claim_is_lost),
    };
    int unavailable = fixture_available();

    if (unavailable)
        return unavailable;
    int failed = fixture_is_shared ? cmocka_run_group_tests(processes, NULL, NULL) : 0;
    return failed + cmocka_run_group_tests(threads, NULL, NULL);
}
