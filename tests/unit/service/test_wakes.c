/* test_wakes.c - how many submits are announced, and that the others are not forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "service_internal.h"

enum { MANY = 40, ANNOUNCED = 16 };

static int setup(void **state)
{
    struct service *s = calloc(1, sizeof *s);

    assert_non_null(s);
    s->announce = true;
    pthread_mutex_init(&s->wakes.lock, NULL);
    rounds_init(&s->relay);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    struct service *s = *state;

    rounds_release(&s->relay);
    pthread_mutex_destroy(&s->wakes.lock);
    free(s);
    return 0;
}

static struct submission *submits(const char *queue, int64_t run_at_ms)
{
    static struct submission items[MANY];

    memset(items, 0, sizeof items);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(items[i].task.queue, sizeof items[i].task.queue, "%s", queue);
        items[i].task.run_at_ms = run_at_ms;
    }
    return items;
}

static void record(struct service *s, const struct submission *items)
{
    for (size_t i = 0; i < MANY; i++)
        wakes_recorded(s, &items[i]);
}

static size_t announced(const struct submission *items)
{
    size_t count = 0;

    for (size_t i = 0; i < MANY; i++)
        count += !items[i].is_quiet;
    return count;
}

static void a_crowd_sends_few_messages_and_one_more_when_it_is_over(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 0);

    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), ANNOUNCED);
    assert_true(wakes_settle(s) == INT64_MAX); /* nothing is recorded yet */
    record(s, items);
    while (wakes_settle(s) != INT64_MAX) /* its window is short */
        assert_int_equal(s->wakes.count, 0);
    assert_int_equal(s->wakes.count, 1);
    assert_string_equal(s->wakes.queues[0], "q");
    assert_true(wakes_settle(s) == INT64_MAX); /* nothing more is owed */
    assert_int_equal(s->wakes.count, 1);
    items = submits("q", 0);
    wakes_limit(s, items, 1);
    assert_false(items[0].is_quiet);
}

static void ask(struct service *s, const char *queue)
{
    struct claim_request r = {.queue_count = 1};

    snprintf(r.queues[0], sizeof r.queues[0], "%s", queue);
    wakes_asked(s, &r);
}

/* Others are told once for all of them, as they may be too many for the one that asks here. */
static void tasks_that_a_worker_here_has_asked_for_are_told_of_once(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 0);

    ask(s, "q");
    ask(s, "elsewhere");
    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), 0);
    record(s, items);
    while (wakes_settle(s) != INT64_MAX) /* its window is short */
        assert_int_equal(s->wakes.count, 0);
    assert_int_equal(s->wakes.count, 1);
    assert_string_equal(s->wakes.queues[0], "q");
    items = submits("other", 0);
    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), ANNOUNCED);
    items = submits("q", 1);
    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), MANY); /* each when it is due */
}

/* The count of what waits is this manager's, and a second old. */
static void a_full_claim_wakes_the_next_at_once_or_a_little_later(void **state)
{
    struct service *s = *state;

    atomic_store(&s->waiting, 1);
    wakes_more(s, "q");
    assert_int_equal(s->wakes.count, 1);
    s->wakes.count = 0; /* it is sent */
    atomic_store(&s->waiting, 0);
    wakes_more(s, "q");
    wakes_more(s, "q");
    assert_int_equal(s->wakes.count, 0);
    while (wakes_settle(s) != INT64_MAX)
        assert_int_equal(s->wakes.count, 0);
    assert_int_equal(s->wakes.count, 1);
}

static void a_worker_that_asks_no_more_does_not_keep_messages_back(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 0);

    ask(s, "q");
    wakes_limit(s, items, 1);
    assert_true(items[0].is_quiet);
    while (items[0].is_quiet) { /* for a little more than half a second */
        items = submits("q", 0);
        wakes_limit(s, items, 1);
    }
    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), ANNOUNCED);
}

static void each_queue_has_a_limit_of_its_own(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("a", 0);

    wakes_limit(s, items, MANY);
    record(s, items);
    items = submits("b", 0);
    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), ANNOUNCED);
}

static void what_was_not_recorded_does_not_count(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 0);

    for (int i = 0; i < 3; i++) {
        wakes_limit(s, items, MANY); /* and the database failed */
        assert_int_equal(announced(items), ANNOUNCED);
    }
}

static void what_is_owed_stays_so_while_there_is_no_room(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 0);
    const size_t most = sizeof s->wakes.queues / sizeof s->wakes.queues[0];
    char name[TASK_QUEUE_MAX];

    wakes_limit(s, items, MANY);
    record(s, items);
    for (size_t i = 0; i < most; i++) {
        snprintf(name, sizeof name, "other%zu", i);
        relay_wake(s, name);
    }
    while (wakes_settle(s) != 1) /* its window is over, or all but */
        assert_int_equal(s->wakes.count, most);
    s->wakes.count = 0; /* they are sent */
    while (wakes_settle(s) != INT64_MAX)
        assert_int_equal(s->wakes.count, 0);
    assert_int_equal(s->wakes.count, 1);
    assert_string_equal(s->wakes.queues[0], "q");
}

static void tasks_that_wait_for_their_time_have_a_message_each(void **state)
{
    struct service *s = *state;
    struct submission *items = submits("q", 1);

    wakes_limit(s, items, MANY);
    assert_int_equal(announced(items), MANY);
    assert_true(wakes_settle(s) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_crowd_sends_few_messages_and_one_more_when_it_is_over,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(tasks_that_a_worker_here_has_asked_for_are_told_of_once,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_claim_wakes_the_next_at_once_or_a_little_later,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_worker_that_asks_no_more_does_not_keep_messages_back,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(each_queue_has_a_limit_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_recorded_does_not_count, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_owed_stays_so_while_there_is_no_room, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(tasks_that_wait_for_their_time_have_a_message_each,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
