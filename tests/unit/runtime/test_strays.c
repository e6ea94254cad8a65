/* test_strays.c - nothing that a job starts outlives its attempt, wherever it hides and however
 * the attempt ends. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker_bench.h"

/* Two slots are four processes: a keeper and a job's each. */
enum { SLOT_PROCESSES = 4 };

static const char *const words[] = {"group", "session", "stubborn"};

enum { WORDS = sizeof words / sizeof words[0] };

/* Is `pid`, a child of a job's process, the one that the job was asked for? One that goes
 * apart forks twice, and what does so leads its session until it is gone. */
static bool is_stray(pid_t pid, pid_t job, const char *word)
{
    bool is_apart = getsid(pid) != getsid(job) && getsid(pid) != pid;

    return is_alive(pid) && is_apart == (strcmp(word, "group") != 0);
}

static pid_t find_stray(const struct bench *b, const char *word)
{
    pid_t keepers[PIDS_MAX], jobs[PIDS_MAX], found[PIDS_MAX];
    int keeper_count = children_of(b->worker, keepers);

    for (int i = 0; i < keeper_count; i++) {
        int job_count = children_of(keepers[i], jobs);
        for (int k = 0; k < job_count; k++) {
            if (children_of(jobs[k], found) == 1 && is_stray(found[0], jobs[k], word))
                return found[0];
        }
    }
    return 0;
}

static pid_t wait_for_stray(const struct bench *b, const char *word)
{
    pid_t pid;

    wait_for((pid = find_stray(b, word)) > 0);
    return pid;
}

static int offer(struct bench *b, const char *word, const char *members, int64_t timeout_ms)
{
    char params[128];

    snprintf(params, sizeof params, "{\"spawn\":\"%s\"%s}", word, members);
    return fake_manager_offer(&b->manager, params, timeout_ms);
}

static void expect_next_task_to_be_done(struct bench *b)
{
    int before = b->manager.report_count;
    int next = fake_manager_offer(&b->manager, "{}", 0);

    assert_true(fake_manager_wait_reports(&b->manager, before + 1));
    assert_int_equal(fake_manager_report(&b->manager, next)->outcome, ATTEMPT_DONE);
}

static const char sleeps[] = ",\"sleep_ms\":600000";

static void they_end_with_a_cancelled_attempt(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    worker_start(b, NULL, NULL);
    for (int i = 0; i < WORDS; i++) {
        int task = offer(b, words[i], sleeps, 0);
        pid_t stray = wait_for_stray(b, words[i]);
        set(b, lose_all, true);
        wait_for(!is_alive(stray));
        set(b, lose_all, false);
        expect_next_task_to_be_done(b);
        assert_null(fake_manager_report(&b->manager, task));
    }
}

static void they_end_at_the_deadline(void **state)
{
    struct bench *b = *state;

    worker_start(b, NULL, NULL);
    int task = offer(b, "stubborn", sleeps, 3000);
    pid_t stray = wait_for_stray(b, "stubborn");
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    wait_for(!is_alive(stray));
    assert_int_equal(fake_manager_report(&b->manager, task)->error.class, ERROR_TIMEOUT);
    expect_next_task_to_be_done(b);
}

static void they_end_with_a_job_that_crashes_or_is_done(void **state)
{
    struct bench *b = *state;
    static const struct {
        const char *word, *members;
        enum attempt_outcome outcome;
        int signal;
    } ends[] = {{"stubborn", ",\"sleep_ms\":2000,\"crash\":\"segv\"", ATTEMPT_FAILED, SIGSEGV},
                {"session", ",\"sleep_ms\":2000", ATTEMPT_DONE, 0}};

    worker_start(b, NULL, NULL);
    for (int i = 0; i < 2; i++) {
        int task = offer(b, ends[i].word, ends[i].members, 0);
        pid_t stray = wait_for_stray(b, ends[i].word);
        assert_true(fake_manager_wait_reports(&b->manager, i + 1));
        wait_for(!is_alive(stray));
        const struct report *r = fake_manager_report(&b->manager, task);
        assert_int_equal(r->outcome, ends[i].outcome);
        assert_int_equal(r->usage.signal, ends[i].signal);
    }
}

static void they_end_with_a_keeper_that_is_killed(void **state)
{
    struct bench *b = *state;
    pid_t keepers[PIDS_MAX];

    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    int task = offer(b, "stubborn", sleeps, 0);
    pid_t stray = wait_for_stray(b, "stubborn");
    assert_int_equal(children_of(b->worker, keepers), 2);
    for (int i = 0; i < 2; i++)
        kill(keepers[i], SIGKILL);
    wait_for(!is_alive(stray));
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    const struct report *r = fake_manager_report(&b->manager, task);
    assert_int_equal(r->error.class, ERROR_CRASH);
    assert_int_equal(r->usage.signal, SIGKILL);
    expect_next_task_to_be_done(b);
}

static void they_end_with_a_worker_that_is_killed(void **state)
{
    struct bench *b = *state;
    pid_t family[PIDS_MAX];

    for (int i = 0; i < WORDS; i++) {
        worker_start(b, NULL, NULL);
        offer(b, words[i], sleeps, 0);
        wait_for_stray(b, words[i]);
        wait_for(family_of(b->worker, family) == SLOT_PROCESSES + 1);
        kill(b->worker, SIGKILL);
        assert_int_equal(worker_wait_end(b), -1);
        for (int k = 0; k < SLOT_PROCESSES + 1; k++)
            wait_for(!is_alive(family[k]));
        fake_manager_stop(&b->manager); /* it would answer the dead worker's long poll */
        fake_manager_start(&b->manager);
    }
}

static void they_end_with_a_worker_that_stops(void **state)
{
    struct bench *b = *state;
    pid_t family[PIDS_MAX];

    worker_start(b, "--stop-grace=0s", NULL);
    int task = offer(b, "stubborn", sleeps, 0);
    wait_for_stray(b, "stubborn");
    wait_for(family_of(b->worker, family) == SLOT_PROCESSES + 1);
    kill(b->worker, SIGTERM);
    assert_int_equal(worker_wait_end(b), 0);
    for (int i = 0; i < SLOT_PROCESSES + 1; i++)
        assert_false(is_alive(family[i]));
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_RELEASED);
}

static void the_other_slots_job_is_left_alone(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    worker_start(b, NULL, NULL);
    int other = offer(b, "session", sleeps, 0);
    pid_t stays = wait_for_stray(b, "session");
    int task = fake_manager_offer(&b->manager, "{\"crash\":\"kill\"}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_non_null(fake_manager_report(&b->manager, task));
    expect_next_task_to_be_done(b);
    assert_true(is_alive(stays));
    assert_null(fake_manager_report(&b->manager, other));
}

static void a_child_that_was_there_before_the_worker_is_left_alone(void **state)
{
    struct bench *b = *state;
    pid_t found[PIDS_MAX];

    b->brings_child = true;
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    assert_int_equal(children_of(b->worker, found), 3); /* itself, and two keepers */
    fake_manager_offer(&b->manager, "{\"crash\":\"kill\"}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    expect_next_task_to_be_done(b);
    assert_true(is_alive(found[0]));
}

#define test(name)                                                                             \
    cmocka_unit_test_setup_teardown(name, worker_bench_setup, worker_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(they_end_with_a_cancelled_attempt),
        test(they_end_at_the_deadline),
        test(they_end_with_a_job_that_crashes_or_is_done),
        test(they_end_with_a_keeper_that_is_killed),
        test(they_end_with_a_worker_that_is_killed),
        test(they_end_with_a_worker_that_stops),
        test(the_other_slots_job_is_left_alone),
        test(a_child_that_was_there_before_the_worker_is_left_alone),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
