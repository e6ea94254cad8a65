/* test_board.c - what waits, runs and has ended, and when the reporter is to have it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "board.h"
#include "clock.h"
#include "pace.h"

enum { NOW = 1000, LEASE_MS = 10000, LONG_MS = 30000, MANY = 200 };

struct bench {
    struct board board;
    pthread_t reporter;
    bool has_reporter;
    struct held *batch[WORKER_BATCH_MAX];
    size_t count;
    int64_t took_ms;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    *state = b;
    return b ? board_open(&b->board, 3000, NULL) : -1;
}

static int teardown(void **state)
{
    struct bench *b = *state;

    if (b->has_reporter) {
        board_quit(&b->board);
        pthread_join(b->reporter, NULL);
    }
    board_close(&b->board);
    free(b);
    return 0;
}

static void add(struct bench *b, int number)
{
    struct work w = {.lease_ms = LEASE_MS};

    snprintf(w.task_id, sizeof w.task_id, "%d", number);
    assert_int_equal(board_add(&b->board, &w, NOW, NULL), 0);
}

static void add_many(struct bench *b, int count)
{
    for (int i = 0; i < count; i++)
        add(b, i);
}

static struct held *take(struct bench *b, const char *task_id)
{
    struct held *h = board_take(&b->board, NOW);

    assert_non_null(h);
    assert_string_equal(h->work.task_id, task_id);
    return h;
}

static void end_next(struct bench *b)
{
    struct report r = {.outcome = ATTEMPT_DONE};
    struct held *h = board_take(&b->board, NOW);

    assert_non_null(h);
    board_end(&b->board, h, &r);
}

static void end_many(struct bench *b, int count)
{
    for (int i = 0; i < count; i++)
        end_next(b);
}

static bool was_rung(int fd)
{
    uint64_t count;

    return read(fd, &count, sizeof count) == (ssize_t)sizeof count;
}

/* --- lists --- */

static void
attempts_are_taken_in_the_order_they_came_and_told_in_the_order_they_ended(void **state)
{
    struct bench *b = *state;
    struct report done = {.outcome = ATTEMPT_DONE};

    add_many(b, 4);
    struct held *first = take(b, "0"), *second = take(b, "1"), *third = take(b, "2");
    board_end(&b->board, second, &done);
    board_end(&b->board, third, &done);
    board_end(&b->board, first, &done);
    assert_int_equal(board_wait_ended(&b->board, b->batch, WORKER_BATCH_MAX), 3);
    assert_ptr_equal(b->batch[0], second);
    assert_ptr_equal(b->batch[1], third);
    assert_ptr_equal(b->batch[2], first);
    board_forget(&b->board, third); /* from the middle, the end and the front */
    board_forget(&b->board, first);
    assert_int_equal(board_wait_ended(&b->board, b->batch, WORKER_BATCH_MAX), 1);
    board_forget(&b->board, second);
    take(b, "3");
    assert_null(board_take(&b->board, NOW));
}

static void what_was_lost_while_it_waited_is_dropped(void **state)
{
    struct bench *b = *state;
    struct heartbeat asked = {.task_id = "0"};
    const struct heartbeat_verdict lost = {.held = false};

    add_many(b, 3);
    board_renewed(&b->board, &asked, &lost, NOW);
    snprintf(asked.task_id, sizeof asked.task_id, "2");
    board_renewed(&b->board, &asked, &lost, NOW);
    take(b, "1");
    assert_null(board_take(&b->board, NOW));
    assert_false(board_is_settled(&b->board));
}

static struct held *write_next(struct bench *b)
{
    struct report r = {.outcome = ATTEMPT_DONE, .output = {.key = "processed_data/x"}};
    struct held *h = board_take(&b->board, NOW);

    assert_non_null(h);
    board_end(&b->board, h, &r);
    return h;
}

static void what_the_disk_does_not_have_yet_holds_up_no_other_report(void **state)
{
    struct bench *b = *state;

    add_many(b, 3);
    struct held *first = write_next(b), *second = write_next(b);
    end_next(b);
    assert_int_equal(board_wait_ended(&b->board, b->batch, WORKER_BATCH_MAX), 1);
    assert_string_equal(b->batch[0]->work.task_id, "2");
    assert_int_equal(board_wait_written(&b->board, b->batch, 1), 1);
    assert_ptr_equal(b->batch[0], first);
    board_durable(&b->board, first);
    assert_int_equal(board_wait_written(&b->board, b->batch, WORKER_BATCH_MAX), 1);
    assert_ptr_equal(b->batch[0], second);
    assert_int_equal(board_wait_ended(&b->board, b->batch, WORKER_BATCH_MAX), 2);
    assert_ptr_equal(b->batch[1], first);
    board_forget(&b->board, first);
    assert_false(board_is_settled(&b->board));
}

static void a_disk_that_takes_nothing_back_ends_the_claims(void **state)
{
    struct bench *b = *state;

    board_offer(&b->board, 1, 0, 0);
    add_many(b, BOARD_REPORTS_MAX + 1);
    for (int i = 0; i < BOARD_REPORTS_MAX; i++)
        write_next(b);
    end_next(b);
    board_offer(&b->board, 1, 0, 0);
    assert_int_equal(board_room(&b->board), 0);
    board_durable(&b->board, b->board.lists[HELD_WRITTEN].first);
    board_forget(&b->board, b->board.lists[HELD_ENDED].first);
    board_forget(&b->board, b->board.lists[HELD_ENDED].first);
    assert_int_equal(board_room(&b->board), 1);
}

static void every_phase_is_in_the_heartbeats(void **state)
{
    struct bench *b = *state;
    struct heartbeat *items = NULL;
    size_t count = 0;

    add_many(b, 4);
    end_next(b);
    write_next(b);
    take(b, "2");
    assert_int_equal(board_wait_due(&b->board, 0, &items, &count, NULL), 0);
    assert_int_equal(count, 4);
    free(items);
}

static void the_main_thread_is_rung_for_the_first_that_waits(void **state)
{
    struct bench *b = *state;

    add(b, 0);
    assert_true(was_rung(b->board.main_fd));
    add(b, 1);
    assert_false(was_rung(b->board.main_fd)); /* it will see both */
    take(b, "0");
    take(b, "1");
    add(b, 2);
    assert_true(was_rung(b->board.main_fd));
}

static void what_was_not_begun_after_all_is_the_next_again(void **state)
{
    struct bench *b = *state;

    add_many(b, 4);
    struct held *first = take(b, "0"), *second = take(b, "1");
    take(b, "2");
    board_put_back(&b->board, second);
    board_put_back(&b->board, first);
    take(b, "0");
    take(b, "1");
    take(b, "3");
}

static void what_waits_in_slots_counts_as_held_ahead(void **state)
{
    struct bench *b = *state;

    board_offer(&b->board, 0, 0, 20);
    assert_int_equal(board_room(&b->board), 20);
    board_offer(&b->board, 0, 8, 20);
    assert_int_equal(board_room(&b->board), 12);
    board_offer(&b->board, 0, 11, 20); /* more than half */
    assert_int_equal(board_room(&b->board), 0);
    board_offer(&b->board, 2, 0, 20);
    assert_int_equal(board_room(&b->board), 22);
}

static void a_loss_is_told_to_the_main_thread_once(void **state)
{
    struct bench *b = *state;
    const struct heartbeat asked = {.task_id = "0"};
    const struct heartbeat_verdict kept = {.held = true}, lost = {.held = false};

    add_many(b, 1);
    struct held *h = take(b, "0");
    board_renewed(&b->board, &asked, &kept, NOW);
    assert_false(board_lost_some(&b->board));
    board_renewed(&b->board, &asked, &lost, NOW);
    assert_true(board_lost_some(&b->board));
    assert_false(board_lost_some(&b->board));
    assert_true(board_is_lost(&b->board, h, NOW));
}

/* --- batches --- */

static void *report(void *arg)
{
    struct bench *b = arg;
    const int64_t start = clock_mono_ms();

    b->count = board_wait_ended(&b->board, b->batch, WORKER_BATCH_MAX);
    b->took_ms = clock_mono_ms() - start;
    return NULL;
}

/* A reporter that would wait for ever for its batch. */
static void begin_report(struct bench *b)
{
    b->board.batch_wait_ms = LONG_MS;
    board_offer(&b->board, 0, 0, PACE_AHEAD_MAX);
    b->has_reporter = pthread_create(&b->reporter, NULL, report, b) == 0;
    assert_true(b->has_reporter);
}

static void expect_report(struct bench *b, size_t count)
{
    pthread_join(b->reporter, NULL);
    b->has_reporter = false;
    assert_int_equal(b->count, count);
    assert_true(b->took_ms < LONG_MS);
}

static void what_has_ended_waits_for_a_full_batch_while_short_work_waits(void **state)
{
    struct bench *b = *state;

    add_many(b, MANY);
    begin_report(b);
    end_many(b, PACE_BATCH_FULL);
    expect_report(b, PACE_BATCH_FULL);
}

static void it_does_not_wait_when_slots_run_dry(void **state)
{
    struct bench *b = *state;

    add_many(b, 2);
    begin_report(b);
    end_next(b);
    take(b, "1");
    expect_report(b, 1);
}

static void what_waits_in_slots_is_worth_waiting_for(void **state)
{
    struct bench *b = *state;

    struct report r = {.outcome = ATTEMPT_DONE};

    add_many(b, 3);
    begin_report(b);
    end_next(b);
    board_offer(&b->board, 0, 1, PACE_AHEAD_MAX);
    struct held *h = take(b, "1");
    take(b, "2");
    board_end(&b->board, h, &r);
    board_offer(&b->board, 0, 0, PACE_AHEAD_MAX);
    expect_report(b, 2);
}

static void it_does_not_wait_for_what_is_long(void **state)
{
    struct bench *b = *state;

    add_many(b, 2);
    begin_report(b);
    end_next(b);
    board_offer(&b->board, 0, 0, 4); /* 50 ms each, of two slots */
    expect_report(b, 1);
}

static void it_does_not_wait_once_the_worker_stops(void **state)
{
    struct bench *b = *state;

    add_many(b, 2);
    begin_report(b);
    end_next(b);
    board_stop_claims(&b->board);
    expect_report(b, 1);
}

static void it_waits_only_for_a_while(void **state)
{
    struct bench *b = *state;

    add_many(b, 2);
    board_offer(&b->board, 0, 0, PACE_AHEAD_MAX);
    end_next(b);
    report(b);
    assert_int_equal(b->count, 1);
    assert_true(b->took_ms >= PACE_BATCH_MS - 1); /* in whole milliseconds */
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(attempts_are_taken_in_the_order_they_came_and_told_in_the_order_they_ended),
        test(what_was_lost_while_it_waited_is_dropped),
        test(what_the_disk_does_not_have_yet_holds_up_no_other_report),
        test(a_disk_that_takes_nothing_back_ends_the_claims),
        test(every_phase_is_in_the_heartbeats),
        test(the_main_thread_is_rung_for_the_first_that_waits),
        test(what_was_not_begun_after_all_is_the_next_again),
        test(what_waits_in_slots_counts_as_held_ahead),
        test(a_loss_is_told_to_the_main_thread_once),
        test(what_has_ended_waits_for_a_full_batch_while_short_work_waits),
        test(it_does_not_wait_when_slots_run_dry),
        test(what_waits_in_slots_is_worth_waiting_for),
        test(it_does_not_wait_for_what_is_long),
        test(it_does_not_wait_once_the_worker_stops),
        test(it_waits_only_for_a_while),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
