/* test_slot_ahead.c - attempts that a slot is handed while it has one under way: begun in
 * order, or taken back; never run when they were taken back, never blamed for the one before
 * them. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "id.h"
#include "slot.h"

enum { PATIENCE_MS = 30000, ATTEMPTS_MAX = 200 };

/* What became of an attempt. */
struct tried {
    struct work work;
    struct report report;
    int ended, lost, returned;
    int order; /* of its end or its return */
};

struct bench {
    char root[64], storage_flag[96];
    const char *args[2];
    struct runtime_options options;
    struct slot_events events;
    struct slot slot;
    struct tried attempts[ATTEMPTS_MAX];
    int count, told, died;
};

static void on_progress(void *arg, struct slot *s, const struct job_progress *p)
{
    (void)arg;
    (void)s;
    (void)p;
}

static void on_ended(void *arg, struct slot *s, struct report *report)
{
    struct bench *b = arg;
    struct tried *a = s->attempt;

    assert_ptr_equal(s->work, &a->work);
    a->ended++;
    a->order = b->told++;
    a->lost = !report;
    if (!report)
        return;
    assert_string_equal(report->task_id, a->work.task_id);
    a->report = *report;
    memset(report, 0, sizeof *report);
}

static void on_died(void *arg, struct slot *s, const struct death *d)
{
    struct bench *b = arg;

    (void)s;
    (void)d;
    b->died++;
}

static void on_returned(void *arg, struct slot *s, void *attempt)
{
    struct bench *b = arg;
    struct tried *a = attempt;

    (void)s;
    a->returned++;
    a->order = b->told++;
}

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    if (!b)
        return -1;
    *state = b;
    snprintf(b->root, sizeof b->root, "/tmp/segue-ahead-XXXXXX");
    if (!mkdtemp(b->root))
        return -1;
    snprintf(b->storage_flag, sizeof b->storage_flag, "--storage-url=file:%s", b->root);
    b->args[0] = b->storage_flag;
    b->options = (struct runtime_options){
        .program = PROGRAM, .slot_args = b->args, .kill_grace_ms = 500, .slots = 1};
    b->events = (struct slot_events){on_progress, on_ended, on_died, on_returned, b};
    slot_init(&b->slot, 0, &b->options, &b->events);
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    char command[96];

    slot_release(&b->slot);
    for (int i = 0; i < b->count; i++) {
        report_release(&b->attempts[i].report);
        work_release(&b->attempts[i].work);
    }
    snprintf(command, sizeof command, "rm -rf '%s'", b->root);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    free(b);
    return 0;
}

/* What the main thread does, for one slot and a few milliseconds. */
static void turn(struct bench *b)
{
    struct pollfd p = {b->slot.fd, slot_poll_events(&b->slot), 0};

    poll(&p, 1, 5);
    slot_handle(&b->slot, p.revents, clock_mono_ms());
    slot_reap(&b->slot, clock_mono_ms());
    slot_tick(&b->slot, clock_mono_ms());
}

#define wait_for(condition, doing)                                                             \
    do {                                                                                       \
        int64_t until = clock_mono_ms() + PATIENCE_MS;                                         \
        while (!(condition)) {                                                                 \
            if (clock_mono_ms() > until)                                                       \
                fail_msg("waited in vain for %s", #condition);                                 \
            doing;                                                                             \
        }                                                                                      \
    } while (0)
#define turn_until(b, condition) wait_for(condition, turn(b))

static void make_ready(struct bench *b)
{
    turn_until(b, b->slot.state == SLOT_IDLE);
}

static struct tried *hand(struct bench *b, const char *params, int64_t timeout_ms)
{
    assert_true(b->count < ATTEMPTS_MAX);
    struct tried *a = &b->attempts[b->count++];
    struct work *w = &a->work;

    snprintf(w->type, sizeof w->type, "noop");
    snprintf(w->queue, sizeof w->queue, "default");
    id_new(w->task_id);
    token_new(w->token);
    w->attempt = 1;
    w->max_attempts = 3;
    w->lease_ms = 10000;
    w->timeout_ms = timeout_ms;
    snprintf(w->output_prefix, sizeof w->output_prefix, "processed_data/none/1/");
    w->params = strdup(params);
    assert_true(slot_room(&b->slot) > 0);
    assert_int_equal(slot_assign(&b->slot, w, a, clock_mono_ms(), NULL), 0);
    slot_flush(&b->slot);
    return a;
}

static void expect_done(const struct tried *a)
{
    assert_int_equal(a->ended, 1);
    assert_int_equal(a->returned, 0);
    assert_int_equal(a->report.outcome, ATTEMPT_DONE);
}

static void expect_returned(const struct tried *a)
{
    assert_int_equal(a->ended, 0);
    assert_int_equal(a->returned, 1);
}

static bool is_begun(const struct bench *b, uint64_t line)
{
    return atomic_load(&b->slot.tickets->of[line % TICKETS_MAX]) == 2 * line + 1;
}

/* The child has begun the last line that it was sent; nothing it says is read meanwhile. */
static void wait_until_begun(struct bench *b)
{
    const struct timespec pause = {0, 1000000};

    wait_for(is_begun(b, b->slot.lines), nanosleep(&pause, NULL));
}

/* --- in order --- */

static void attempts_are_begun_one_after_the_other(void **state)
{
    struct bench *b = *state;
    enum { COUNT = 1 + SLOT_AHEAD_MAX };

    make_ready(b);
    assert_int_equal(slot_room(&b->slot), COUNT);
    for (int i = 0; i < COUNT; i++)
        hand(b, i == 0 ? "{\"sleep_ms\":30}" : "{}", 0);
    assert_int_equal(slot_room(&b->slot), 0);
    assert_ptr_equal(b->slot.attempt, &b->attempts[0]);
    turn_until(b, b->told == COUNT);
    for (int i = 0; i < COUNT; i++) {
        expect_done(&b->attempts[i]);
        assert_int_equal(b->attempts[i].order, i);
    }
    assert_int_equal(b->slot.state, SLOT_IDLE);
    assert_int_equal(b->died, 0);
}

static void the_time_of_an_attempt_begins_when_it_does(void **state)
{
    struct bench *b = *state;

    make_ready(b);
    struct tried *first = hand(b, "{\"sleep_ms\":1500}", 0);
    struct tried *second = hand(b, "{}", 1000), *third = hand(b, "{\"sleep_ms\":60000}", 150);
    turn_until(b, b->told == 3);
    expect_done(first);
    expect_done(second); /* it waited for longer than it may run */
    assert_int_equal(third->report.error.class, ERROR_TIMEOUT);
    assert_true(third->report.usage.wall_ms >= 150 && third->report.usage.wall_ms < 1500);
}

/* As where the system has no memory to share. */
static void a_slot_without_tickets_is_handed_one_at_a_time(void **state)
{
    struct bench *b = *state;
    char path[96];

    snprintf(path, sizeof path, "%s/script", b->root);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    dprintf(fd, "#!/bin/sh\nexec 4>&-\nexec '%s' \"$@\"\n", PROGRAM);
    close(fd);
    b->options.program = path;
    make_ready(b);
    assert_int_equal(slot_room(&b->slot), 1);
    struct tried *first = hand(b, "{}", 0);
    assert_int_equal(slot_room(&b->slot), 0);
    turn_until(b, first->ended);
    expect_done(first);
    assert_int_equal(slot_room(&b->slot), 1);
}

/* --- taken back --- */

static void what_has_not_begun_can_be_taken_back_and_is_not_run(void **state)
{
    struct bench *b = *state;

    make_ready(b);
    struct tried *first = hand(b, "{\"sleep_ms\":100}", 0);
    kill(-b->slot.pid, SIGSTOP); /* however slow we are, it does not get further */
    struct tried *second = hand(b, "{\"crash\":\"kill\"}", 0); /* it would be noticed */
    struct tried *third = hand(b, "{\"crash\":\"kill\"}", 0);
    slot_take_back(&b->slot);
    expect_returned(second);
    expect_returned(third);
    assert_true(third->order < second->order);
    assert_int_equal(b->slot.skips, 2);
    kill(-b->slot.pid, SIGCONT);
    struct tried *fourth = hand(b, "{}", 0);
    turn_until(b, b->told == 4);
    expect_done(first);
    expect_done(fourth);
    assert_int_equal(b->slot.skips, 0);
    assert_int_equal(b->died, 0);
}

/* Again and again, so that tickets and lines come round. */
static void taking_back_leaves_the_slot_as_it_was(void **state)
{
    struct bench *b = *state;
    int returned = 0;

    make_ready(b);
    for (int round = 0; round < 2 * TICKETS_MAX / 3; round++) {
        int told = b->told;
        hand(b, "{\"sleep_ms\":2}", 0);
        hand(b, "{}", 0);
        hand(b, "{}", 0);
        slot_take_back(&b->slot);
        turn_until(b, b->told == told + 3 && b->slot.skips == 0);
        assert_int_equal(b->slot.state, SLOT_IDLE);
    }
    for (int i = 0; i < b->count; i++) {
        returned += b->attempts[i].returned;
        assert_int_equal(b->attempts[i].ended + b->attempts[i].returned, 1);
    }
    assert_true(returned > 0);
    assert_int_equal(b->died, 0);
}

static void what_has_begun_cannot_be_taken_back(void **state)
{
    struct bench *b = *state;

    make_ready(b);
    hand(b, "{}", 0);
    struct tried *second = hand(b, "{}", 0);
    wait_until_begun(b);
    slot_take_back(&b->slot);
    turn_until(b, b->told == 2);
    expect_done(second);
}

/* --- deaths --- */

static void only_the_attempt_under_way_has_crashed(void **state)
{
    struct bench *b = *state;

    make_ready(b);
    struct tried *first = hand(b, "{}", 0), *second = hand(b, "{\"crash\":\"kill\"}", 0);
    struct tried *third = hand(b, "{}", 0), *fourth = hand(b, "{}", 0);
    turn_until(b, b->told == 4);
    expect_done(first);
    assert_int_equal(second->ended, 1);
    assert_int_equal(second->report.error.class, ERROR_CRASH);
    expect_returned(third);
    expect_returned(fourth);
    assert_true(fourth->order < third->order);
    make_ready(b); /* at once: it had a reason */
    turn_until(b, slot_room(&b->slot) > 0);
    struct tried *fifth = hand(b, "{}", 0);
    turn_until(b, fifth->ended);
    expect_done(fifth);
}

/* The process died of the first one, when that had been reported. */
static void an_attempt_that_was_not_begun_has_not_crashed(void **state)
{
    struct bench *b = *state;

    setenv("FAILPOINT", "slot_reported:kill", 1);
    make_ready(b);
    unsetenv("FAILPOINT");
    struct tried *first = hand(b, "{\"sleep_ms\":50}", 0), *second = hand(b, "{}", 0);
    turn_until(b, b->died == 1);
    expect_done(first);
    expect_returned(second);
}

static void ending_an_attempt_spares_those_behind_it(void **state)
{
    struct bench *b = *state;

    make_ready(b);
    struct tried *first = hand(b, "{\"sleep_ms\":60000}", 0), *second = hand(b, "{}", 0);
    slot_end(&b->slot, DEATH_LOST, 100, clock_mono_ms());
    expect_returned(second);
    assert_int_equal(slot_room(&b->slot), 0);
    turn_until(b, first->ended);
    assert_true(first->lost);
}

/* It was cancelled a moment too late: it had ended, and the slot had gone on. */
static void an_attempt_that_is_hit_in_place_of_the_one_before_is_handed_back(void **state)
{
    static const enum death_cause causes[] = {DEATH_LOST, DEATH_DEADLINE};
    struct bench *b = *state;

    for (size_t i = 0; i < sizeof causes / sizeof causes[0]; i++) {
        make_ready(b);
        struct tried *first = hand(b, "{}", 0);
        struct tried *second = hand(b, "{\"sleep_ms\":60000}", 0);
        wait_until_begun(b);
        slot_end(&b->slot, causes[i], 100, clock_mono_ms());
        turn_until(b, first->ended && second->ended);
        assert_int_equal(first->lost, causes[i] == DEATH_LOST);
        assert_false(second->lost);
        assert_int_equal(second->report.outcome, ATTEMPT_RELEASED);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(attempts_are_begun_one_after_the_other),
        test(the_time_of_an_attempt_begins_when_it_does),
        test(a_slot_without_tickets_is_handed_one_at_a_time),
        test(what_has_not_begun_can_be_taken_back_and_is_not_run),
        test(taking_back_leaves_the_slot_as_it_was),
        test(what_has_begun_cannot_be_taken_back),
        test(only_the_attempt_under_way_has_crashed),
        test(an_attempt_that_was_not_begun_has_not_crashed),
        test(ending_an_attempt_spares_those_behind_it),
        test(an_attempt_that_is_hit_in_place_of_the_one_before_is_handed_back),
    };
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* as the worker is */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
