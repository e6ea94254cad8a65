/* test_worker.c - the whole worker program against a manager that does what the test says:
 * claim, run, renew, report, and every way in which one side may go away. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker_bench.h"

static const char long_sleep[] = "{\"sleep_ms\":60000}";

static void tasks_are_claimed_run_and_reported(void **state)
{
    struct bench *b = *state;
    enum { TASKS = 20 };

    for (int i = 0; i < TASKS; i++)
        fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, TASKS));
    for (int i = 0; i < TASKS; i++) {
        const struct report *r = fake_manager_report(&b->manager, i);
        assert_non_null(r);
        assert_int_equal(r->outcome, ATTEMPT_DONE);
    }
    wait_for(worker_log_says(b, "worker.ready"));
    kill(b->worker, SIGTERM);
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(b->manager.report_count, TASKS);
}

static void a_task_offered_to_an_idle_worker_is_taken_at_once(void **state)
{
    struct bench *b = *state;

    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
}

static void a_crash_is_reported_and_the_worker_lives_on(void **state)
{
    struct bench *b = *state;

    int crash = fake_manager_offer(&b->manager, "{\"crash\":\"kill\"}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    const struct report *r = fake_manager_report(&b->manager, crash);
    assert_int_equal(r->error.class, ERROR_CRASH);
    assert_non_null(strstr(r->error.message, "SIGKILL"));
    int next = fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    assert_int_equal(fake_manager_report(&b->manager, next)->outcome, ATTEMPT_DONE);
    assert_true(worker_log_says(b, "slot.died"));
}

/* Enough of them for the worker to hand its slots short attempts ahead. */
enum { SHORT_ONES = 80, MORE = 40 };

static void offer_short(struct bench *b, int count)
{
    for (int i = 0; i < count; i++)
        fake_manager_offer(&b->manager, "{}", 0);
}

/* Done, or handed back by a machine so busy that they seemed long. */
static void expect_no_harm(struct bench *b, int first, int count)
{
    for (int i = first; i < first + count; i++) {
        const struct report *r = fake_manager_report(&b->manager, i);
        assert_non_null(r);
        assert_true(r->outcome == ATTEMPT_DONE || r->outcome == ATTEMPT_RELEASED);
    }
}

static void what_is_behind_a_long_attempt_does_not_wait_for_it(void **state)
{
    struct bench *b = *state;

    offer_short(b, SHORT_ONES);
    int long_one = fake_manager_offer(&b->manager, long_sleep, 0);
    offer_short(b, MORE);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, SHORT_ONES + MORE));
    assert_null(fake_manager_report(&b->manager, long_one));
    expect_no_harm(b, 0, SHORT_ONES);
    expect_no_harm(b, long_one + 1, MORE);
}

static void a_crash_among_short_attempts_is_that_of_one(void **state)
{
    struct bench *b = *state;

    offer_short(b, SHORT_ONES);
    int crash = fake_manager_offer(&b->manager, "{\"crash\":\"kill\"}", 0);
    offer_short(b, MORE);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, SHORT_ONES + 1 + MORE));
    assert_int_equal(fake_manager_report(&b->manager, crash)->error.class, ERROR_CRASH);
    expect_no_harm(b, 0, SHORT_ONES);
    expect_no_harm(b, crash + 1, MORE);
    assert_int_equal(b->manager.report_count, SHORT_ONES + 1 + MORE); /* each once */
}

/* One slot, and it is long at work: others are to have what it cannot begin. */
static void what_no_slot_can_begin_soon_is_handed_back(void **state)
{
    struct bench *b = *state;
    enum { TASKS = 7 };

    fake_manager_offer(&b->manager, long_sleep, 0);
    for (int i = 1; i < TASKS; i++)
        fake_manager_offer(&b->manager, "{}", 0);
    set(b, generous, true);
    worker_start(b, "--slots=1", NULL);
    assert_true(fake_manager_wait_reports(&b->manager, TASKS - 1));
    for (int i = 1; i < TASKS; i++)
        assert_int_equal(fake_manager_report(&b->manager, i)->outcome, ATTEMPT_RELEASED);
    assert_null(fake_manager_report(&b->manager, 0));
}

static void heartbeats_carry_progress_and_keep_a_long_task(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    int task = fake_manager_offer(&b->manager, "{\"sleep_ms\":2000}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_DONE);
    assert_true(b->manager.heartbeats >= 3);
    assert_true(fake_manager_progress(&b->manager) > 0.1);
}

static void the_time_between_heartbeats_is_a_setting(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 3600000);
    fake_manager_offer(&b->manager, long_sleep, 0);
    worker_start(b, "--heartbeat=50ms", NULL);
    assert_true(fake_manager_wait_heartbeats(&b->manager, 20));
}

static void a_lost_attempt_is_killed_and_never_reported(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    int lost = fake_manager_offer(&b->manager, long_sleep, 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_heartbeats(&b->manager, 1));
    set(b, lose_all, true);
    wait_for(worker_log_says(b, "task.dropped"));
    set(b, lose_all, false);
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_null(fake_manager_report(&b->manager, lost));
}

static void without_heartbeats_the_worker_gives_the_attempt_up_by_itself(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 200);
    set(b, fail_heartbeats, true);
    int lost = fake_manager_offer(&b->manager, long_sleep, 0);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "task.dropped"));
    assert_null(fake_manager_report(&b->manager, lost));
}

static void an_outage_longer_than_a_lease_does_not_end_the_work(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 1500);
    set(b, fail_heartbeats, true);
    int task = fake_manager_offer(&b->manager, "{\"sleep_ms\":3500}", 0); /* of six leases */
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_DONE);
    assert_int_equal(b->manager.heartbeats, 0); /* none got through */
}

static void a_deadline_is_reported_as_a_timeout(void **state)
{
    struct bench *b = *state;
    int task = fake_manager_offer(&b->manager, long_sleep, 200);

    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(fake_manager_report(&b->manager, task)->error.class, ERROR_TIMEOUT);
}

static void a_report_is_sent_until_it_is_answered(void **state)
{
    struct bench *b = *state;

    set(b, fail_reports, 3);
    fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(b->manager.report_calls, 4);
}

static void a_stale_report_is_forgotten_whatever_its_status(void **state)
{
    struct bench *b = *state;

    set(b, stale_reports, 1);
    fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "report.too_late"));
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    assert_int_equal(b->manager.report_calls, 2);
}

/* What the attempt of the first task has in the store: a file that is there, or not. */
static bool has_output(const struct bench *b, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/store/%s%s", b->root, b->manager.works[0].output_prefix,
             name);
    return access(path, F_OK) == 0;
}

static void put_output(const struct bench *b, const char *name)
{
    char path[512];

    snprintf(path, sizeof path, "%s/store", b->root);
    mkdir(path, 0700);
    for (size_t i = 0; b->manager.works[0].output_prefix[i]; i++) {
        snprintf(path, sizeof path, "%s/store/%.*s", b->root, (int)i + 1,
                 b->manager.works[0].output_prefix);
        if (path[strlen(path) - 1] == '/')
            mkdir(path, 0700);
    }
    snprintf(path, sizeof path, "%s/store/%s%s", b->root, b->manager.works[0].output_prefix,
             name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("Song,Date,Number of Plays\n", f);
    fclose(f);
}

static void what_a_stale_attempt_has_written_is_removed(void **state)
{
    struct bench *b = *state;

    set(b, stale_reports, 1);
    fake_manager_offer(&b->manager, "{}", 0);
    put_output(b, "totals.csv");
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "report.too_late"));
    wait_for(!has_output(b, "totals.csv"));
}

static void what_a_cancelled_attempt_has_written_is_removed(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    fake_manager_offer(&b->manager, long_sleep, 0);
    put_output(b, "totals.csv");
    put_output(b, "rejects.csv");
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_heartbeats(&b->manager, 1));
    set(b, lose_all, true);
    wait_for(!has_output(b, "totals.csv") && !has_output(b, "rejects.csv"));
}

static void what_a_recorded_attempt_has_written_stays(void **state)
{
    struct bench *b = *state;

    fake_manager_offer(&b->manager, "{}", 0);
    put_output(b, "totals.csv");
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    kill(b->worker, SIGTERM);
    assert_int_equal(worker_wait_end(b), 0);
    assert_true(has_output(b, "totals.csv"));
}

static void a_report_that_is_refused_becomes_a_failure(void **state)
{
    struct bench *b = *state;

    set(b, refuse_verdicts, 1);
    fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    assert_int_equal(b->manager.reports[0].outcome, ATTEMPT_DONE);
    const struct report *second = &b->manager.reports[1];
    assert_int_equal(second->outcome, ATTEMPT_FAILED);
    assert_int_equal(second->error.class, ERROR_TRANSIENT);
    assert_non_null(strstr(second->error.message, "the test wants it so"));
    assert_string_equal(second->token, b->manager.reports[0].token);
}

static void a_failure_that_is_refused_as_well_is_forgotten(void **state)
{
    struct bench *b = *state;

    set(b, refuse_verdicts, 2);
    fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    int next = fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 3));
    assert_int_equal(fake_manager_report(&b->manager, next)->outcome, ATTEMPT_DONE);
    assert_int_equal(b->manager.report_calls, 3);
}

static void a_body_that_is_refused_becomes_a_failure(void **state)
{
    struct bench *b = *state;

    set(b, refused_reports, 2); /* in a batch, then alone */
    int task = fake_manager_offer(&b->manager, "{}", 0);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    const struct report *r = fake_manager_report(&b->manager, task);
    assert_int_equal(r->error.class, ERROR_TRANSIENT);
    assert_non_null(strstr(r->error.message, "413"));
    assert_int_equal(b->manager.report_calls, 3);
}

static void a_proxy_in_between_does_not_cost_a_report(void **state)
{
    struct bench *b = *state;
    static const int statuses[] = {404, 401, 302};

    worker_start(b, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        set(b, lost_status, statuses[i]);
        set(b, lost_reports, b->manager.report_calls + 2);
        int task = fake_manager_offer(&b->manager, "{}", 0);
        assert_true(fake_manager_wait_reports(&b->manager, i + 1));
        assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_DONE);
    }
    assert_int_equal(b->manager.report_calls, 9);
}

static void an_unreadable_task_is_failed_and_the_others_are_run(void **state)
{
    struct bench *b = *state;
    static const char element[] =
        "{\"task_id\":\"01890a5d-ac96-774b-bcce-b302099a8057\","
        "\"token\":\"0123456789abcdef0123456789abcdef\",\"type\":\"noop\",\"queue\":7}";

    fake_manager_offer(&b->manager, "{}", 0);
    set(b, claim_element, element);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    assert_int_equal(fake_manager_report(&b->manager, 0)->outcome, ATTEMPT_DONE);
    const struct report *unread = NULL;
    for (int i = 0; i < 2; i++) {
        if (strcmp(b->manager.reports[i].token, "0123456789abcdef0123456789abcdef") == 0)
            unread = &b->manager.reports[i];
    }
    assert_non_null(unread);
    assert_int_equal(unread->outcome, ATTEMPT_FAILED);
    assert_int_equal(unread->error.class, ERROR_INPUT);
    assert_string_equal(unread->error.code, "undecodable");
    assert_non_null(strstr(unread->error.message, "tasks[1].queue"));
}

static void answers_that_make_no_sense_do_not_count_as_success(void **state)
{
    struct bench *b = *state;

    set(b, garble_claims, true);
    worker_start(b, NULL, NULL);
    assert_true(fake_manager_wait_claims(&b->manager, 5));
    assert_true(worker_log_says(b, "manager.away"));
    assert_false(
        worker_log_says(b, "manager.back")); /* so the pause has grown with every one */
    set(b, garble_claims, false);
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    wait_for(worker_log_says(b, "manager.back"));
}

static void a_manager_that_comes_late_or_comes_back_is_found(void **state)
{
    struct bench *b = *state;

    fake_manager_stop(&b->manager);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "manager.away"));
    fake_manager_start(&b->manager);
    fake_manager_offer(&b->manager, "{\"sleep_ms\":700}", 0);
    wait_for(worker_log_says(b, "task.claimed"));
    fake_manager_stop(&b->manager); /* with the task running and its report still to come */
    wait_for(worker_log_says(b, "task.finished"));
    fake_manager_start(&b->manager);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
}

/* Bit n - 1 of SigBlk is signal n. */
static bool is_blocked(pid_t pid, int signum)
{
    char path[64], line[256];
    unsigned long long mask = 0;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, "SigBlk:", 7) == 0)
            mask = strtoull(line + 7, NULL, 16);
    }
    fclose(f);
    return mask >> (signum - 1) & 1;
}

static void a_sigterm_in_its_first_moment_is_a_good_end(void **state)
{
    struct bench *b = *state;
    char env_file[96];

    /* A .env that does not come to its end holds the program up before it has any setting. */
    snprintf(env_file, sizeof env_file, "%s/.env", b->root);
    assert_int_equal(mkfifo(env_file, 0600), 0);
    worker_start(b, NULL, NULL);
    wait_for(is_blocked(b->worker, SIGTERM));
    kill(b->worker, SIGTERM);
    int fd = open(env_file, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(worker_wait_end(b), 0);
    assert_true(worker_log_says(b, "worker.stopped"));
}

static void sigterm_lets_running_work_finish(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    int task = fake_manager_offer(&b->manager, "{\"sleep_ms\":3000}", 0);
    worker_start(b, NULL, NULL);
    wait_for(fake_manager_progress(&b->manager) > 0); /* so a slot has it */
    kill(b->worker, SIGTERM);
    wait_for(worker_log_says(b, "worker.stopping"));
    int late = fake_manager_offer(&b->manager, "{}", 0); /* not for a worker that stops */
    assert_int_equal(worker_wait_end(b), 0);
    const struct report *r = fake_manager_report(&b->manager, task);
    assert_non_null(r);
    assert_int_equal(r->outcome, ATTEMPT_DONE);
    r = fake_manager_report(&b->manager, late); /* if it got it all the same */
    assert_true(!r || r->outcome == ATTEMPT_RELEASED);
}

static void work_that_outlasts_the_grace_is_handed_back(void **state)
{
    struct bench *b = *state;
    int task = fake_manager_offer(&b->manager, long_sleep, 0);

    worker_start(b, "--stop-grace=200ms", NULL);
    wait_for(worker_log_says(b, "task.claimed"));
    kill(b->worker, SIGTERM);
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_RELEASED);
}

static void a_second_sigterm_hands_everything_back_at_once(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    int task = fake_manager_offer(&b->manager, long_sleep, 0);
    worker_start(b, "--stop-grace=1h", NULL);
    wait_for(fake_manager_progress(&b->manager) > 0); /* so a slot has it */
    kill(b->worker, SIGTERM);
    wait_for(worker_log_says(b, "worker.stopping"));
    wait_for(kill(b->worker, SIGTERM) == 0 && worker_log_says(b, "hand_back_now=1"));
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_RELEASED);
}

static void a_signal_that_comes_twice_at_once_is_one_request(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 600);
    int task = fake_manager_offer(&b->manager, "{\"sleep_ms\":3000}", 0);
    worker_start(b, NULL, NULL);
    wait_for(fake_manager_progress(&b->manager) > 0); /* so a slot has it */
    worker_pause(b);                                  /* so that both are there when it looks */
    kill(b->worker, SIGINT);
    kill(b->worker, SIGTERM);
    kill(b->worker, SIGCONT);
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_DONE);
}

/* As systemd does it: every process of the unit gets the signal, in any order. */
static void a_job_that_is_ended_by_the_same_signal_is_handed_back(void **state)
{
    struct bench *b = *state;
    pid_t slots[PIDS_MAX];

    int task = fake_manager_offer(&b->manager, long_sleep, 0);
    set(b, lease_ms, 600);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    assert_int_equal(children_of(b->worker, slots), 2);
    wait_for(fake_manager_progress(&b->manager) > 0);
    worker_pause(b); /* so that all is there when it looks */
    for (int i = 0; i < 2; i++)
        kill(slots[i], SIGTERM);
    wait_for(!is_alive(slots[0]) && !is_alive(slots[1]));
    kill(b->worker, SIGTERM);
    kill(b->worker, SIGCONT);
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_RELEASED);
}

static void slots_die_with_a_worker_that_is_killed(void **state)
{
    struct bench *b = *state;
    pid_t slots[PIDS_MAX];

    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    fake_manager_offer(&b->manager, long_sleep, 0);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    assert_int_equal(children_of(b->worker, slots), 2);
    kill(b->worker, SIGKILL);
    assert_int_equal(worker_wait_end(b), -1);
    for (int i = 0; i < 2; i++)
        wait_for(waitpid(slots[i], NULL, WNOHANG) == slots[i]);
    assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
}

static void an_idle_slot_that_is_killed_is_replaced(void **state)
{
    struct bench *b = *state;
    pid_t slots[PIDS_MAX];

    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    assert_int_equal(children_of(b->worker, slots), 2);
    for (int i = 0; i < 2; i++)
        kill(slots[i], SIGKILL);
    wait_for(worker_log_says(b, "slot.died"));
    wait_for(kill(slots[0], 0) != 0 && kill(slots[1], 0) != 0);
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(b->manager.reports[0].outcome, ATTEMPT_DONE);
}

static void a_manager_that_refuses_does_not_end_the_worker(void **state)
{
    struct bench *b = *state;

    set(b, refuse_status, 404);
    worker_start(b, NULL, NULL);
    wait_for(worker_log_says(b, "claim.refused"));
    set(b, refuse_status, 0);
    fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 1));
}

static void bad_settings_are_told_before_anything_starts(void **state)
{
    struct bench *b = *state;

    worker_start(b, "--queues=not a queue", NULL);
    assert_int_equal(worker_wait_end(b), 2);
    assert_true(worker_log_says(b, "QUEUES"));
    worker_start(b, "--log-level=chatty", NULL);
    assert_int_equal(worker_wait_end(b), 2);
    assert_true(worker_log_says(b, "LOG_LEVEL"));
    worker_start(b, "--worker-name=two\nlines", NULL);
    assert_int_equal(worker_wait_end(b), 2);
    assert_true(worker_log_says(b, "WORKER_NAME: must be valid UTF-8"));
    worker_start(b, "--worker-name=not \xff UTF-8", NULL);
    assert_int_equal(worker_wait_end(b), 2);
}

#define test(name)                                                                             \
    cmocka_unit_test_setup_teardown(name, worker_bench_setup, worker_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(what_is_behind_a_long_attempt_does_not_wait_for_it),
        test(a_crash_among_short_attempts_is_that_of_one),
        test(what_no_slot_can_begin_soon_is_handed_back),
        test(tasks_are_claimed_run_and_reported),
        test(a_task_offered_to_an_idle_worker_is_taken_at_once),
        test(a_crash_is_reported_and_the_worker_lives_on),
        test(heartbeats_carry_progress_and_keep_a_long_task),
        test(the_time_between_heartbeats_is_a_setting),
        test(a_lost_attempt_is_killed_and_never_reported),
        test(without_heartbeats_the_worker_gives_the_attempt_up_by_itself),
        test(an_outage_longer_than_a_lease_does_not_end_the_work),
        test(a_deadline_is_reported_as_a_timeout),
        test(a_report_is_sent_until_it_is_answered),
        test(a_stale_report_is_forgotten_whatever_its_status),
        test(what_a_stale_attempt_has_written_is_removed),
        test(what_a_cancelled_attempt_has_written_is_removed),
        test(what_a_recorded_attempt_has_written_stays),
        test(a_report_that_is_refused_becomes_a_failure),
        test(a_failure_that_is_refused_as_well_is_forgotten),
        test(a_body_that_is_refused_becomes_a_failure),
        test(a_proxy_in_between_does_not_cost_a_report),
        test(an_unreadable_task_is_failed_and_the_others_are_run),
        test(answers_that_make_no_sense_do_not_count_as_success),
        test(a_manager_that_comes_late_or_comes_back_is_found),
        test(a_sigterm_in_its_first_moment_is_a_good_end),
        test(sigterm_lets_running_work_finish),
        test(work_that_outlasts_the_grace_is_handed_back),
        test(a_second_sigterm_hands_everything_back_at_once),
        test(a_signal_that_comes_twice_at_once_is_one_request),
        test(a_job_that_is_ended_by_the_same_signal_is_handed_back),
        test(slots_die_with_a_worker_that_is_killed),
        test(an_idle_slot_that_is_killed_is_replaced),
        test(a_manager_that_refuses_does_not_end_the_worker),
        test(bad_settings_are_told_before_anything_starts),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
