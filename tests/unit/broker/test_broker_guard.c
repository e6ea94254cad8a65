/* test_broker_guard.c - the watchdog cuts a call that overruns, and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker_guard.h"

struct fixture {
    struct broker_guard *guard;
    int pair[2];
};

static int set_up(void **state)
{
    static struct fixture f;

    *state = &f;
    return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, f.pair) ||
           broker_guard_new(&f.guard, NULL);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    broker_guard_free(f->guard);
    close(f->pair[0]);
    close(f->pair[1]);
    return 0;
}

static void a_read_that_never_ends_is_cut(void **state)
{
    struct fixture *f = *state;
    char byte;

    broker_guard_arm(f->guard, f->pair[0], 20);
    assert_int_equal(read(f->pair[0], &byte, 1), 0); /* blocks until the shutdown */
    assert_true(broker_guard_has_fired(f->guard));
}

static void a_shorter_limit_after_a_longer_one_counts(void **state)
{
    struct fixture *f = *state;
    char byte;

    broker_guard_arm(f->guard, f->pair[0], 60000);
    broker_guard_disarm(f->guard);
    broker_guard_arm(f->guard, f->pair[0], 20);
    assert_int_equal(read(f->pair[0], &byte, 1), 0);
}

static void a_call_that_ended_in_time_is_left_alone(void **state)
{
    struct fixture *f = *state;
    int other[2];
    char byte;

    broker_guard_arm(f->guard, f->pair[0], 1);
    broker_guard_disarm(f->guard);
    if (broker_guard_has_fired(f->guard)) /* the machine slept between arm and disarm */
        skip();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, other), 0);
    broker_guard_arm(f->guard, other[0], 20); /* the guard is past the first limit after this */
    assert_int_equal(read(other[0], &byte, 1), 0);
    assert_int_equal(write(f->pair[1], "x", 1), 1);
    assert_int_equal(read(f->pair[0], &byte, 1), 1);
    close(other[0]);
    close(other[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_read_that_never_ends_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_shorter_limit_after_a_longer_one_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_call_that_ended_in_time_is_left_alone, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
