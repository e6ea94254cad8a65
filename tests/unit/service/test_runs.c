/* Runs of pipelines on a real SQLite store: what comes together, what is left behind, and what
 * cannot be kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "service_internal.h"

enum { DEADLINE_MS = 20000 };

struct fixture {
    char dir[64], storage[96], database[128];
    struct config config;
    struct objstore *objects;
    struct store *store;
    struct broker *broker;
    struct service *service; /* without threads: nobody sweeps unless asked */
};

static struct err err; /* of the call before */

#define OK(call)                                                                               \
    do {                                                                                       \
        if ((call) != 0)                                                                       \
            fail_msg("%s: %s", #call, err.text);                                               \
    } while (0)

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char program[] = "test";
    char *const argv[] = {program, NULL};

    snprintf(f->dir, sizeof f->dir, "/tmp/segue-runs-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->storage, sizeof f->storage, "file:%s/objects", f->dir);
    snprintf(f->database, sizeof f->database, "sqlite:%s/segue.db", f->dir);
    assert_int_equal(config_load(&f->config, CONFIG_MANAGER, 1, argv, NULL, &err), 0);
    OK(objstore_open(f->storage, &f->objects, &err));
    OK(store_open(f->database, 4, &f->store, &err));
    OK(store_upgrade(f->store, &err));
    OK(broker_open("", BROKER_PUBLISH, "test", &f->broker, &err));
    struct service_parts parts = {&f->config, f->store, f->objects, f->broker};
    OK(service_new(&parts, &f->service, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    service_stop_free(f->service);
    broker_close(f->broker);
    store_close(f->store);
    objstore_close(f->objects);
    config_release(&f->config);
    snprintf(command, sizeof command, "%s", f->dir);
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, command, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    free(f);
    return pid < 0;
}

/* -- helpers -- */

#define TWO                                                                                    \
    "{\"steps\":[{\"name\":\"a\",\"type\":\"noop\"},{\"name\":\"b\",\"type\":\"noop\"}]}"

static void start(struct fixture *f, const char *definition, char ret_id[ID_TEXT_MAX])
{
    const struct run_request request = {"p", definition, NULL, NULL};
    struct submit_result result;

    OK(service_run_start(f->service, &request, &result, NULL, &err));
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

static struct run get(struct fixture *f, const char *id)
{
    struct run r;

    OK(service_run_get(f->service, id, &r, &err));
    return r;
}

/* Ends the task of the current step behind the service's back, as a manager does that dies
 * right after. */
static void end_task(struct fixture *f, const char *id, enum task_state to, const char *result)
{
    struct run r = get(f, id);
    struct claim claim = {
        .worker = "w", .task_id = r.steps[r.at].task_id, .limit = 1, .lease_ms = 60000};
    struct claimed claimed;
    struct move_result moved;
    size_t count = 0;

    OK(store_claim(f->store, &claim, &claimed, &count, &err));
    assert_int_equal(count, 1);
    struct task_move m = {.from = TASK_PROCESSING,
                          .to = to,
                          .outcome = to == TASK_DONE ? ATTEMPT_DONE : ATTEMPT_FAILED,
                          .result = result,
                          .error = {ERROR_INPUT, "broken", "it broke"},
                          .actor = "w"};
    memcpy(m.id, claimed.task.id, sizeof m.id);
    OK(store_move(f->store, &m, 1, false, &moved, &err));
    assert_int_equal(moved.outcome, MOVE_MADE);
    assert_string_equal(moved.run_id, id);
    task_release(&claimed.task);
    run_release(&r);
}

static void advance(struct fixture *f, const char *id, bool expect_idle)
{
    bool is_idle = false;

    OK(runs_advance(f->service, &id, 1, &is_idle, &err));
    assert_int_equal(is_idle, expect_idle);
}

static void assert_run(struct fixture *f, const char *id, enum task_state state,
                       enum task_state a, enum task_state b)
{
    struct run r = get(f, id);

    assert_int_equal(r.state, state);
    assert_int_equal(r.steps[0].state, a);
    assert_int_equal(r.steps[1].state, b);
    run_release(&r);
}

/* -- tests -- */

static void what_is_left_behind_is_found_by_the_sweep(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;
    const struct timespec pause = {0, 20000000};
    struct run r;

    start(f, TWO, id);
    end_task(f, id, TASK_DONE, "{\"x\":1}");
    OK(runs_sweep(f->service, &err)); /* too young: somebody may be at it */
    assert_run(f, id, TASK_PROCESSING, TASK_PROCESSING, TASK_RECEIVED);
    do {
        nanosleep(&pause, NULL);
        OK(runs_sweep(f->service, &err));
        r = get(f, id);
        int at = r.at;
        run_release(&r);
        if (at == 1)
            break;
    } while (clock_mono_ms() < deadline);
    assert_run(f, id, TASK_PROCESSING, TASK_DONE, TASK_PROCESSING);
    advance(f, id, true); /* nothing more follows */
    assert_run(f, id, TASK_PROCESSING, TASK_DONE, TASK_PROCESSING);
}

static void a_cancel_finds_what_had_come_before_it(void **state)
{
    struct fixture *f = *state;
    char failed[ID_TEXT_MAX], done[ID_TEXT_MAX], both[ID_TEXT_MAX];
    struct run r;

    start(f, TWO, failed);
    end_task(f, failed, TASK_FAILED, NULL);
    assert_int_equal(service_run_cancel(f->service, failed, &r, &err), -E_BAD_STATE);
    assert_run(f, failed, TASK_FAILED, TASK_FAILED, TASK_RECEIVED);

    start(f, TWO, done);
    end_task(f, done, TASK_DONE, "{\"x\":1}");
    OK(service_run_cancel(f->service, done, &r, &err));
    assert_string_equal(r.steps[0].output, "{\"x\":1}"); /* it is kept */
    assert_int_equal(r.error.class, ERROR_CANCELLED);
    run_release(&r);
    assert_run(f, done, TASK_CANCELLED, TASK_DONE, TASK_RECEIVED);

    start(f, TWO, both); /* and of the last step: only the end is missing */
    end_task(f, both, TASK_DONE, NULL);
    advance(f, both, false);
    end_task(f, both, TASK_DONE, NULL);
    OK(service_run_cancel(f->service, both, &r, &err));
    run_release(&r);
    assert_run(f, both, TASK_CANCELLED, TASK_DONE, TASK_DONE);
    OK(service_run_resume(f->service, both, NULL, &r, &err));
    assert_int_equal(r.state, TASK_DONE);
    assert_int_equal(r.error.class, ERROR_NONE);
    run_release(&r);
}

static void an_output_that_cannot_be_kept_fails_its_step(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct buf large = BUF_INIT;

    buf_append_str(&large, "{\"x\":\"");
    for (int i = 0; i < RUN_TEXT_LIMIT / 16 + 1; i++)
        buf_append_str(&large, "0123456789abcdef");
    buf_append_str(&large, "\"}");
    start(f, TWO, id);
    end_task(f, id, TASK_DONE, large.data);
    advance(f, id, false);
    struct run r = get(f, id);
    assert_int_equal(r.state, TASK_FAILED);
    assert_string_equal(r.steps[0].error.code, "output_too_big");
    assert_null(r.steps[0].output);
    run_release(&r);
    buf_release(&large);
}

static void a_run_whose_task_is_gone_fails(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct purged purged;
    size_t count = 0;
    int64_t deadline = clock_mono_ms() + DEADLINE_MS;

    start(f, TWO, id);
    end_task(f, id, TASK_DONE, NULL);
    while (count == 0 && clock_mono_ms() < deadline) /* what ended just now is not old yet */
        OK(store_purge(f->store, 0, 1, &purged, &count, &err));
    assert_int_equal(count, 1);
    advance(f, id, false);
    struct run r = get(f, id);
    assert_int_equal(r.state, TASK_FAILED);
    assert_string_equal(r.error.code, "task_lost");
    run_release(&r);
}

static void many_runs_advance_together_and_an_unknown_one_hinders_none(void **state)
{
    enum { RUNS = 150 }; /* more than a batch */
    struct fixture *f = *state;
    static char ids[RUNS][ID_TEXT_MAX];
    const char *list[RUNS];
    bool idle[RUNS];

    for (int i = 0; i < RUNS; i++) {
        if (i == 7)
            id_new(ids[i]);
        else
            start(f, TWO, ids[i]);
        if (i != 7 && i != 8)
            end_task(f, ids[i], TASK_DONE, NULL);
        list[i] = ids[i];
    }
    OK(runs_advance(f->service, list, RUNS, idle, &err));
    for (int i = 0; i < RUNS; i++) {
        assert_int_equal(idle[i], i == 7 || i == 8);
        if (i != 7 && i != 8)
            assert_run(f, ids[i], TASK_PROCESSING, TASK_DONE, TASK_PROCESSING);
    }
}

/* -- secrets -- */

#define SECRET "a-secret-of-some-length"
#define WITH_SECRET                                                                            \
    "{\"input\":{\"t\":{\"type\":\"string\",\"secret\":true}},\"steps\":["                     \
    "{\"name\":\"a\",\"http\":{\"url\":\"http://example.org/${input.t}\",\"method\":\"POST\"," \
    "\"json\":{\"k\":\"${input.t}\"}}},"                                                       \
    "{\"name\":\"b\",\"type\":\"noop\"}]}"

static void start_with_secret(struct fixture *f, char ret_id[ID_TEXT_MAX])
{
    const struct run_request request = {"p", WITH_SECRET, "{\"t\":\"" SECRET "\"}", NULL};
    struct submit_result result;

    OK(service_run_start(f->service, &request, &result, NULL, &err));
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

/* What an administrator does who loses the key. */
static void change_key(struct fixture *f)
{
    OK(seal_key_of("another key of some length", &f->service->secret_key, &err));
    f->service->has_secret_key = true;
}

static void a_secret_is_stored_encrypted_wherever_it_was_put(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], other[ID_TEXT_MAX];
    struct task t;

    start_with_secret(f, id);
    struct run r = get(f, id);
    assert_string_equal(r.input, "{\"t\":\"" SECRET "\"}");
    OK(store_get(f->store, r.steps[0].task_id, &t, &err));
    assert_null(strstr(t.params, SECRET));
    assert_null(strstr(r.steps[0].params, SECRET));
    char *copy = strdup(t.params);
    id_new(other);
    secrets_open(f->service, other, t.type, &copy); /* of no use to another task */
    assert_string_equal(copy, t.params);
    secrets_open(f->service, t.id, t.type, &copy);
    assert_string_equal(copy, "{\"json\":{\"k\":\"" SECRET "\"},\"method\":\"POST\",\"url\":"
                              "\"http://example.org/" SECRET "\"}");
    free(copy);
    task_release(&t);
    run_release(&r);
}

/* It is seen, ended and gone on with, and the others go on too. */
static void a_run_whose_key_is_gone_hinders_nobody(void **state)
{
    struct fixture *f = *state;
    char lost[ID_TEXT_MAX], ended[ID_TEXT_MAX], other[ID_TEXT_MAX];
    struct task_error error = {ERROR_INPUT, "broken", "it says " SECRET};
    struct run r;

    start_with_secret(f, lost);
    start_with_secret(f, ended);
    start(f, TWO, other);
    change_key(f);
    end_task(f, lost, TASK_DONE, NULL);
    end_task(f, other, TASK_DONE, NULL);
    const char *const ids[] = {lost, other};
    OK(runs_advance(f->service, ids, 2, NULL, &err));
    assert_run(f, other, TASK_PROCESSING, TASK_DONE, TASK_PROCESSING);
    assert_run(f, lost, TASK_FAILED, TASK_DONE, TASK_FAILED);
    r = get(f, lost);
    assert_true(r.has_lost_secrets);
    assert_string_equal(r.input, "{}");
    assert_string_equal(r.error.code, "secrets_lost");
    run_release(&r);
    OK(runs_hide_error(f->service, ended, &error, &err));
    assert_null(strstr(error.message, SECRET));
    OK(service_run_cancel(f->service, ended, &r, &err));
    assert_int_equal(r.state, TASK_CANCELLED);
    run_release(&r);
}

int main(void)
{
#define with(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        with(what_is_left_behind_is_found_by_the_sweep),
        with(a_cancel_finds_what_had_come_before_it),
        with(an_output_that_cannot_be_kept_fails_its_step),
        with(a_run_whose_task_is_gone_fails),
        with(many_runs_advance_together_and_an_unknown_one_hinders_none),
        with(a_secret_is_stored_encrypted_wherever_it_was_put),
        with(a_run_whose_key_is_gone_hinders_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
