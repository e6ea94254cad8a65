/* test_health.c - `data_processor health` tells the truth about a worker to whom things happen.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "worker_bench.h"

static char said[1024]; /* by the last health command */

/* Its exit code. */
static int ask(void)
{
    int fds[2], status;
    size_t len = 0;
    ssize_t got;

    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        dup2(fds[1], STDERR_FILENO);
        close(fds[0]);
        close(fds[1]);
        execl(PROGRAM, PROGRAM, "health", (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    while ((got = read(fds[0], said + len, sizeof said - 1 - len)) > 0)
        len += (size_t)got;
    said[len] = '\0';
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool says(int code, const char *text)
{
    return ask() == code && strstr(said, text);
}

static int setup(void **state)
{
    int rc = worker_bench_setup(state);
    const struct bench *b = *state;
    char path[96];

    snprintf(path, sizeof path, "%s/health", b->root);
    setenv("HEALTH_SOCKET", path, 1);
    return rc;
}

static void a_worker_that_consumes_is_healthy_until_it_is_gone(void **state)
{
    struct bench *b = *state;

    assert_true(says(1, "no worker listens"));
    worker_start(b, NULL, NULL);
    wait_for(says(0, "ok: consuming; 0 of 2 slots busy"));
    assert_non_null(strstr(said, "without a broker"));
    fake_manager_offer(&b->manager, "{\"sleep_ms\":600000}", 0);
    wait_for(says(0, "1 of 2 slots busy"));
    kill(b->worker, SIGTERM);
    wait_for(says(1, "no: the worker is stopping"));
    kill(b->worker, SIGKILL);
    assert_int_equal(worker_wait_end(b), -1);
    fake_manager_stop(&b->manager); /* it would answer the dead worker's long poll */
    fake_manager_start(&b->manager);
    assert_true(says(1, "no worker listens"));
    worker_start(b, NULL, NULL); /* the socket that the other one left gives way */
    wait_for(ask() == 0);
    kill(b->worker, SIGTERM);
    assert_int_equal(worker_wait_end(b), 0);
    assert_int_equal(access(getenv("HEALTH_SOCKET"), F_OK), -1);
}

static void a_worker_without_a_manager_is_not_healthy(void **state)
{
    struct bench *b = *state;

    fake_manager_stop(&b->manager);
    worker_start(b, "--health-after=300ms", NULL);
    wait_for(says(1, "the task manager has not answered"));
    fake_manager_start(&b->manager);
    wait_for(ask() == 0);
    fake_manager_stop(&b->manager);
    wait_for(says(1, "the task manager has not answered"));
    fake_manager_start(&b->manager);
    wait_for(ask() == 0);
}

static void nor_is_one_whose_manager_goes_while_all_slots_are_busy(void **state)
{
    struct bench *b = *state;

    set(b, lease_ms, 1000);
    for (int i = 0; i < 2; i++)
        fake_manager_offer(&b->manager, "{\"sleep_ms\":600000}", 0);
    worker_start(b, "--health-after=2s", NULL);
    wait_for(says(0, "2 of 2 slots busy"));
    set(b, fail_heartbeats, true);
    wait_for(says(1, "the task manager has not answered"));
    set(b, fail_heartbeats, false);
    wait_for(says(0, "slots busy"));
}

static void a_worker_that_is_refused_is_not_healthy(void **state)
{
    struct bench *b = *state;

    worker_start(b, "--health-after=300ms", NULL);
    wait_for(ask() == 0);
    set(b, refuse_status, 404);
    fake_manager_offer(&b->manager, "{}", 0); /* ends the long poll that is under way */
    wait_for(says(1, "no: "));
    assert_null(strstr(said, "stopping"));
    set(b, refuse_status, 0);
    wait_for(ask() == 0);
}

static void a_claim_that_hangs_is_not_healthy_and_a_lost_broker_is_told(void **state)
{
    struct bench *b = *state;

    /* Nobody listens there, so claims wait for two seconds at most. */
    worker_start(b, "--amqp-url=amqp://guest:guest@127.0.0.1:1/", "--health-after=1s");
    wait_for(says(0, "the broker is away, by polling"));
    set(b, hang_claims, true);
    wait_for(says(1, "a claim has been overdue"));
}

static void a_worker_that_cannot_have_a_slot_is_not_healthy_and_keeps_no_work(void **state)
{
    struct bench *b = *state;
    char store[96], away[96];
    pid_t keepers[PIDS_MAX];

    worker_start(b, "--health-after=300ms", NULL);
    wait_for(worker_log_says(b, "worker.ready"));
    wait_for(ask() == 0);
    snprintf(store, sizeof store, "%s/store", b->root);
    snprintf(away, sizeof away, "%s/away", b->root);
    assert_int_equal(rename(store, away), 0);
    fclose(fopen(store, "w")); /* no directory: no slot will start on that */
    /* Both slots die between the claim's answer and its taking up. */
    assert_true(fake_manager_wait_claims(&b->manager, 2)); /* the second is a long poll */
    assert_int_equal(children_of(b->worker, keepers), 2);
    worker_pause(b);
    int task = fake_manager_offer(&b->manager, "{}", 0);
    for (int i = 0; i < 2; i++)
        kill(keepers[i], SIGKILL);
    wait_for(!is_alive(keepers[0]) && !is_alive(keepers[1]));
    kill(b->worker, SIGCONT);
    wait_for(says(1, "no slot has had a process"));
    assert_true(fake_manager_wait_reports(&b->manager, 1));
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_RELEASED);
    assert_int_equal(unlink(store), 0);
    assert_int_equal(rename(away, store), 0);
    wait_for(ask() == 0);
    task = fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_reports(&b->manager, 2));
    assert_int_equal(fake_manager_report(&b->manager, task)->outcome, ATTEMPT_DONE);
}

static void a_stopped_worker_does_not_answer(void **state)
{
    struct bench *b = *state;

    worker_start(b, NULL, NULL);
    wait_for(ask() == 0);
    worker_pause(b);
    assert_true(says(1, "does not answer"));
    kill(b->worker, SIGCONT);
    wait_for(ask() == 0);
}

static void a_worker_that_was_not_told_where_says_so(void **state)
{
    (void)state;
    unsetenv("HEALTH_SOCKET");
    assert_true(says(2, "HEALTH_SOCKET is not set"));
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, worker_bench_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(a_worker_that_consumes_is_healthy_until_it_is_gone),
        test(a_worker_without_a_manager_is_not_healthy),
        test(nor_is_one_whose_manager_goes_while_all_slots_are_busy),
        test(a_worker_that_is_refused_is_not_healthy),
        test(a_claim_that_hangs_is_not_healthy_and_a_lost_broker_is_told),
        test(a_worker_that_cannot_have_a_slot_is_not_healthy_and_keeps_no_work),
        test(a_stopped_worker_does_not_answer),
        test(a_worker_that_was_not_told_where_says_so),
    };
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
