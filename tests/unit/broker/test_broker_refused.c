/* How long queues are left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "broker_refused.h"

static struct refused table;

static int clear(void **state)
{
    (void)state;
    table.count = 0;
    return 0;
}

static void an_unknown_queue_may_be_tried(void **state)
{
    (void)state;
    assert_int_equal(refused_until_ms(&table, "a"), 0);
    refused_forget(&table, "a");
    assert_int_equal(refused_until_ms(&table, "a"), 0);
}

static void the_time_doubles_up_to_five_minutes(void **state)
{
    static const int64_t waits_ms[] = {5000,  10000,  20000,  40000,
                                       80000, 160000, 300000, 300000};

    (void)state;
    for (size_t i = 0; i < sizeof waits_ms / sizeof waits_ms[0]; i++) {
        refused_add(&table, "a", 1000);
        assert_int_equal(refused_until_ms(&table, "a"), 1000 + waits_ms[i]);
    }
    assert_int_equal(refused_until_ms(&table, "b"), 0);
}

static void a_queue_that_worked_begins_anew(void **state)
{
    (void)state;
    refused_add(&table, "a", 0);
    refused_add(&table, "b", 0);
    refused_add(&table, "a", 0);
    refused_forget(&table, "a");
    assert_int_equal(refused_until_ms(&table, "a"), 0);
    assert_int_equal(refused_until_ms(&table, "b"), 5000);
    refused_add(&table, "a", 0);
    assert_int_equal(refused_until_ms(&table, "a"), 5000);
}

static void one_too_many_takes_the_place_of_the_nearest_trial(void **state)
{
    char name[BROKER_QUEUE_MAX];

    (void)state;
    refused_add(&table, "far", 1000000);
    for (int i = 1; i < REFUSED_MAX; i++) {
        snprintf(name, sizeof name, "q%d", i);
        refused_add(&table, name, i);
    }
    refused_add(&table, "one more", 500);
    assert_int_equal(table.count, REFUSED_MAX);
    assert_int_equal(refused_until_ms(&table, "q1"), 0);
    assert_int_equal(refused_until_ms(&table, "q2"), 5002);
    assert_int_equal(refused_until_ms(&table, "far"), 1005000);
    assert_int_equal(refused_until_ms(&table, "one more"), 5500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_unknown_queue_may_be_tried, clear),
        cmocka_unit_test_setup(the_time_doubles_up_to_five_minutes, clear),
        cmocka_unit_test_setup(a_queue_that_worked_begins_anew, clear),
        cmocka_unit_test_setup(one_too_many_takes_the_place_of_the_nearest_trial, clear),
    };

    return cmocka_run_group_tests_name("broker refused", tests, NULL, NULL);
}
