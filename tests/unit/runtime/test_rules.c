/* test_rules.c - the pure parts of the worker: what to do about hints, and how a death is
 * told. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "death.h"
#include "health.h"
#include "hints.h"
#include "lines.h"
#include "pace.h"

enum { NOW = 100000 };

/* --- hints --- */

static const struct {
    const char *what;
    struct hints hints;
    struct hints_plan plan;
} situations[] = {
    {"no broker, free slots: long poll for as many",
     {.link = HINTS_NONE, .room = 3, .is_in_touch = true},
     {HINTS_CLAIM, 3, HINTS_LONG_POLL_MS}},
    {"no broker, and nothing known of the manager: find out at once",
     {.link = HINTS_NONE, .room = 3},
     {HINTS_CLAIM, 3, 0}},
    {"no broker, no slot: wait",
     {.link = HINTS_NONE, .room = 0},
     {HINTS_WAIT, 0, HINTS_WAIT_MAX_MS}},
    {"broker down, free slots: poll in short turns",
     {.link = HINTS_DOWN, .room = 2, .is_in_touch = true},
     {HINTS_CLAIM, 2, HINTS_SHORT_POLL_MS}},
    {"broker down, no slot: wait",
     {.link = HINTS_DOWN, .room = 0},
     {HINTS_WAIT, 0, HINTS_WAIT_MAX_MS}},
    {"a delivery may stand for many tasks: claim for every slot",
     {.link = HINTS_UP, .room = 4, .held = 2, .poll_ms = 5000, .is_in_touch = true},
     {HINTS_CLAIM, 4, 0}},
    {"more deliveries than slots: claim as many as slots",
     {.link = HINTS_UP, .room = 1, .held = 5, .poll_ms = 5000, .is_in_touch = true},
     {HINTS_CLAIM, 1, 0}},
    {"idle: wait at the manager, and look for lost messages now and then",
     {.link = HINTS_UP, .room = 1, .poll_ms = 5000, .is_in_touch = true},
     {HINTS_CLAIM, 1, 5000}},
    {"idle with several slots: some of them for what comes in elsewhere",
     {.link = HINTS_UP, .room = 5, .poll_ms = 5000, .is_in_touch = true},
     {HINTS_CLAIM, 3, 5000}},
    {"with much room: only a few of them",
     {.link = HINTS_UP, .room = 100, .poll_ms = 5000, .is_in_touch = true},
     {HINTS_CLAIM, 100 - HINTS_ASIDE_MAX, 5000}},
    {"idle, with a long time between looks: no longer than others wait",
     {.link = HINTS_UP, .room = 1, .poll_ms = 60000, .is_in_touch = true},
     {HINTS_CLAIM, 1, HINTS_LONG_POLL_MS}},
    {"idle, and nothing known of the manager: find out at once",
     {.link = HINTS_UP, .room = 4, .poll_ms = 5000},
     {HINTS_CLAIM, 4, 0}},
    {"full with deliveries in hand: keep them for a while",
     {.link = HINTS_UP, .room = 0, .held = 2, .full_since_ms = NOW - 400},
     {HINTS_WAIT, 0, HINTS_GIVE_BACK_MS - 400}},
    {"full for too long: give them to others",
     {.link = HINTS_UP, .room = 0, .held = 2, .full_since_ms = NOW - HINTS_GIVE_BACK_MS},
     {HINTS_PAUSE, 0, 0}},
    {"full for long without deliveries: nothing to give back",
     {.link = HINTS_UP, .room = 0, .held = 0, .full_since_ms = 0},
     {HINTS_WAIT, 0, HINTS_WAIT_MAX_MS}},
    {"paused and still full: wait",
     {.link = HINTS_PAUSED, .room = 0, .full_since_ms = 0},
     {HINTS_WAIT, 0, HINTS_WAIT_MAX_MS}},
    {"paused and a slot is free: take deliveries again",
     {.link = HINTS_PAUSED, .room = 1},
     {HINTS_CONSUME, 0, 0}},
    {"manager away: no claim before its time",
     {.link = HINTS_UP, .room = 2, .held = 2, .retry_at_ms = NOW + 250},
     {HINTS_WAIT, 0, 250}},
    {"manager away without a broker: no claim before its time",
     {.link = HINTS_NONE, .room = 2, .retry_at_ms = NOW + 250},
     {HINTS_WAIT, 0, 250}},
};

static void the_next_step_follows_from_slots_and_deliveries(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof situations / sizeof situations[0]; i++) {
        struct hints_plan plan = hints_next(&situations[i].hints, NOW);
        if (plan.action != situations[i].plan.action ||
            plan.limit != situations[i].plan.limit || plan.ms != situations[i].plan.ms)
            fail_msg("%s: got action %d, limit %d, %lld ms", situations[i].what,
                     (int)plan.action, plan.limit, (long long)plan.ms);
    }
}

static const struct {
    const char *what;
    int held, asked, got;
    int acked, held_after;
} answers[] = {
    {"all that was asked for: as many hints are used up", 5, 2, 2, 2, 3},
    {"fewer: the queues are drained and all hints void", 5, 2, 1, 5, 0},
    {"none: the same", 3, 3, 0, 3, 0},
    {"nothing held, nothing to acknowledge", 0, 4, 4, 0, 0},
    {"more than there were hints: all used", 2, 4, 4, 2, 0},
};

static void a_claims_answer_decides_which_deliveries_are_acknowledged(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        struct hints h = {.link = HINTS_UP, .held = answers[i].held};
        int acked = hints_claimed(&h, answers[i].asked, answers[i].got);
        if (acked != answers[i].acked || h.held != answers[i].held_after || !h.is_in_touch)
            fail_msg("%s: acked %d, held %d", answers[i].what, acked, h.held);
    }
}

/* --- pace --- */

static void only_short_attempts_are_held_ahead(void **state)
{
    struct pace p;

    (void)state;
    pace_init(&p);
    assert_int_equal(pace_ahead(&p, 4), 0); /* nothing is known yet */
    for (int i = 0; i < 100; i++)
        pace_note(&p, 10);
    assert_in_range(pace_ahead(&p, 4), 38, 40); /* ten each of four slots */
    assert_int_equal(pace_ahead(&p, 0), 0);
    for (int i = 0; i < 100; i++)
        pace_note(&p, 0);
    assert_int_equal(pace_ahead(&p, 4), PACE_AHEAD_MAX);
    for (int i = 0; i < 8; i++)
        pace_note(&p, 5000);
    assert_int_equal(pace_ahead(&p, 4), 0); /* the latest count most */
}

static void what_would_take_too_long_is_not_held(void **state)
{
    struct pace p;

    (void)state;
    pace_init(&p);
    assert_true(pace_is_stuck(&p, 1, 1));
    assert_true(pace_is_stuck(&p, 2, 6));
    for (int i = 0; i < 100; i++)
        pace_note(&p, 1);
    assert_false(pace_is_stuck(&p, 1, pace_ahead(&p, 1)));
    assert_true(pace_is_stuck(&p, 0, 1)); /* nobody works */
    assert_false(pace_is_stuck(&p, 0, 0));
    for (unsigned slots = 1; slots < 200; slots++) /* what was claimed a moment ago stays */
        assert_false(pace_is_stuck(&p, slots, pace_ahead(&p, slots)));
    for (int i = 0; i < 8; i++)
        pace_note(&p, 250);
    assert_true(pace_is_stuck(&p, 1, PACE_AHEAD_MAX)); /* for half a minute */
}

static void a_slot_is_handed_ahead_only_what_is_short(void **state)
{
    struct pace p;

    (void)state;
    pace_init(&p);
    assert_int_equal(pace_slot_ahead(&p), 0); /* nothing is known yet */
    for (int i = 0; i < 100; i++)
        pace_note(&p, 0);
    assert_true(pace_slot_ahead(&p) >= 16);
    for (int i = 0; i < 100; i++)
        pace_note(&p, 1);
    assert_in_range(pace_slot_ahead(&p), 1, 2);
    pace_note(&p, 100);
    assert_int_equal(pace_slot_ahead(&p), 0); /* one that was long is enough */
}

static void only_short_attempts_are_gathered_into_a_batch(void **state)
{
    struct pace p;

    (void)state;
    pace_init(&p);
    assert_false(pace_fills_batch(pace_ahead(&p, 8), 1)); /* nothing is known yet */
    for (int i = 0; i < 100; i++)
        pace_note(&p, 0);
    assert_true(pace_fills_batch(pace_ahead(&p, 2), 1));
    assert_true(pace_fills_batch(pace_ahead(&p, 2), PACE_BATCH_FULL - 1));
    assert_false(pace_fills_batch(pace_ahead(&p, 2), PACE_BATCH_FULL));
    for (int i = 0; i < 100; i++)
        pace_note(&p, 20);
    assert_false(pace_fills_batch(pace_ahead(&p, 2), 1)); /* one in two waits would come */
    assert_true(pace_fills_batch(pace_ahead(&p, 20), 1));
}

/* --- deaths --- */

enum { MIB = 1 << 20 };

static int exited(int code)
{
    return code << 8; /* wait(2)'s encoding on Linux */
}

static const struct {
    struct death death;
    enum attempt_outcome outcome;
    enum error_class class;
    const char *code, *sentence;
} deaths[] = {
    {{DEATH_OWN, SIGKILL, 1234, 700, INT64_C(812) * MIB, 0, 0},
     ATTEMPT_FAILED,
     ERROR_CRASH,
     "signal",
     "the job's process was killed by signal 9 (SIGKILL) after 1.2 s; peak memory 812 "
     "MiB; the machine may have run out of memory"},
    {{DEATH_OWN, SIGSEGV | 0x80 /* with a core */, 10, 0, 3 * MIB, 0, 0},
     ATTEMPT_FAILED,
     ERROR_CRASH,
     "signal",
     "the job's process was killed by signal 11 (SIGSEGV) after 0.0 s; peak memory 3 MiB"},
    {{DEATH_OWN, 3 << 8, 61000, 700, 5 * MIB, 0, 0},
     ATTEMPT_FAILED,
     ERROR_CRASH,
     "exit",
     "the job's process ended with exit code 3 after 61.0 s; peak memory 5 MiB"},
    {{DEATH_OWN, SIGKILL, 100, 0, 0, 0, 10 * MIB},
     ATTEMPT_FAILED,
     ERROR_CRASH,
     "signal",
     "the job's process was killed by signal 9 (SIGKILL) after 0.1 s; peak memory below 11 "
     "MiB; the machine may have run out of memory"},
    {{DEATH_DEADLINE, SIGTERM, 1510, 700, 5 * MIB, 1500, 0},
     ATTEMPT_FAILED,
     ERROR_TIMEOUT,
     "deadline",
     "the attempt was stopped at its time limit of 1.5 s; peak memory 5 MiB"},
    {{DEATH_GARBLED, SIGKILL, 10, 0, 0, 0, 0},
     ATTEMPT_FAILED,
     ERROR_CRASH,
     "garbled",
     "the job's process was stopped because what it said was no report"},
    {{DEATH_STOP, SIGTERM, 10, 0, 0, 0, 0}, ATTEMPT_RELEASED, ERROR_NONE, "", ""},
};

static void a_death_is_told_with_its_cause_and_its_cost(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        struct report r = {.task_id = ""};
        death_report(&deaths[i].death, &r);
        assert_int_equal(r.outcome, deaths[i].outcome);
        assert_int_equal(r.error.class, deaths[i].class);
        assert_string_equal(r.error.code, deaths[i].code);
        assert_string_equal(r.error.message, deaths[i].sentence);
        assert_int_equal(r.usage.wall_ms, deaths[i].death.wall_ms);
        assert_int_equal(r.usage.peak_rss_bytes, deaths[i].death.peak_rss_bytes);
    }
}

static void exit_codes_and_signals_are_kept_apart_in_the_usage(void **state)
{
    struct death own = {.cause = DEATH_OWN, .status = exited(7)};
    struct report r = {.task_id = ""};

    (void)state;
    death_report(&own, &r);
    assert_int_equal(r.usage.exit_code, 7);
    assert_int_equal(r.usage.signal, 0);
    own.status = SIGABRT;
    death_report(&own, &r);
    assert_int_equal(r.usage.exit_code, 0);
    assert_int_equal(r.usage.signal, SIGABRT);
}

/* --- health --- */

enum { LIMIT = 1000 };

/* Everything well, a second ago. */
static const struct health well = {
    .limit_ms = LIMIT,
    .slots = 2,
    .busy = 1,
    .slot_ms = NOW,
    .claimed_ms = NOW - 500,
    .heard_ms = NOW - 500,
    .back_by_ms = NOW + 20000,
    .link = HINTS_UP,
};

static void expect_health(struct health h, bool is_ok, const char *sentence)
{
    char text[HEALTH_TEXT_MAX];

    if (health_judge(&h, NOW, text) != is_ok || !strstr(text, sentence))
        fail_msg("expected '%s', got '%s'", sentence, text);
}

static void a_worker_is_healthy_while_it_consumes(void **state)
{
    struct health h = well;

    (void)state;
    expect_health(h, true, "1 of 2 slots busy; last claim answered 0.5 s ago");
    h.link = HINTS_DOWN;
    expect_health(h, true, "the broker is away, by polling");
    h.link = HINTS_NONE;
    expect_health(h, true, "without a broker");
    h.busy = 2; /* with long work: claims are of the past, heartbeats are answered */
    h.claimed_ms = NOW - 90000;
    expect_health(h, true, "2 of 2 slots busy");
}

static void trouble_counts_once_it_lasts(void **state)
{
    struct health h = well;

    (void)state;
    h.claimed_ms = 0;
    expect_health(h, false, "no claim has been answered yet");
    h = well;
    h.is_stopping = true;
    expect_health(h, false, "stopping");
    h = well;
    h.slot_ms = NOW - LIMIT;
    expect_health(h, true, "consuming");
    h.slot_ms--;
    expect_health(h, false, "no slot has had a process for 1.0 s");
    h = well;
    h.heard_ms = NOW - 20000; /* a long poll takes that long */
    h.failing_ms = NOW - 10;
    expect_health(h, true, "consuming");
    h.failing_ms = NOW - 2 * LIMIT;
    expect_health(h, false, "the task manager has not answered for 2.0 s");
    h.heard_ms = NOW;
    expect_health(h, true, "consuming");
    h.refused_ms = NOW - 2 * LIMIT;
    expect_health(h, false, "claims have failed for 2.0 s");
    h = well;
    h.back_by_ms = NOW - LIMIT;
    expect_health(h, true, "consuming");
    h.back_by_ms--;
    expect_health(h, false, "a claim has been overdue for 1.0 s");
}

static void only_a_worker_that_is_stuck_itself_is_to_be_started_anew(void **state)
{
    struct health h = well;

    (void)state;
    assert_false(health_is_stuck(&h, NOW));
    h.heard_ms = h.claimed_ms = NOW - 90 * LIMIT;
    h.failing_ms = h.refused_ms = NOW - 90 * LIMIT; /* the task manager is away */
    assert_false(health_is_stuck(&h, NOW));
    h.slot_ms = NOW - LIMIT - 1;
    assert_true(health_is_stuck(&h, NOW));
    h.is_stopping = true;
    assert_false(health_is_stuck(&h, NOW));
    h = well;
    h.back_by_ms = NOW - LIMIT - 1;
    assert_true(health_is_stuck(&h, NOW));
}

/* --- lines --- */

static void lines_come_whole_however_the_bytes_arrive(void **state)
{
    struct lines l = LINES_INIT;
    char *line;
    size_t len;
    int fds[2];

    (void)state;
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "one\ntw", 6), 6);
    assert_int_equal(lines_read(&l, fds[0], 100, NULL), 1);
    assert_true(lines_next(&l, &line, &len));
    assert_string_equal(line, "one");
    assert_false(lines_next(&l, &line, &len));
    assert_int_equal(write(fds[1], "o\n\n", 3), 3);
    assert_int_equal(lines_read(&l, fds[0], 100, NULL), 1);
    assert_true(lines_next(&l, &line, &len));
    assert_string_equal(line, "two");
    assert_true(lines_next(&l, &line, &len));
    assert_int_equal(len, 0);
    close(fds[1]);
    assert_int_equal(lines_read(&l, fds[0], 100, NULL), 0);
    close(fds[0]);
    lines_release(&l);
}

static void a_line_without_end_is_refused(void **state)
{
    struct lines l = LINES_INIT;
    int fds[2], rc = 1;

    (void)state;
    assert_int_equal(pipe(fds), 0);
    for (int i = 0; i < 5 && rc > 0; i++) {
        assert_int_equal(write(fds[1], "xxxxx", 5), 5);
        rc = lines_read(&l, fds[0], 16, NULL);
    }
    assert_int_equal(rc, -E_TOO_BIG);
    close(fds[0]);
    close(fds[1]);
    lines_release(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_step_follows_from_slots_and_deliveries),
        cmocka_unit_test(a_claims_answer_decides_which_deliveries_are_acknowledged),
        cmocka_unit_test(only_short_attempts_are_held_ahead),
        cmocka_unit_test(what_would_take_too_long_is_not_held),
        cmocka_unit_test(a_slot_is_handed_ahead_only_what_is_short),
        cmocka_unit_test(only_short_attempts_are_gathered_into_a_batch),
        cmocka_unit_test(a_death_is_told_with_its_cause_and_its_cost),
        cmocka_unit_test(exit_codes_and_signals_are_kept_apart_in_the_usage),
        cmocka_unit_test(a_worker_is_healthy_while_it_consumes),
        cmocka_unit_test(trouble_counts_once_it_lasts),
        cmocka_unit_test(only_a_worker_that_is_stuck_itself_is_to_be_started_anew),
        cmocka_unit_test(lines_come_whole_however_the_bytes_arrive),
        cmocka_unit_test(a_line_without_end_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
