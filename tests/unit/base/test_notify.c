/* test_notify.c - what the service manager hears. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "notify.h"

/* Listens as systemd does, at a name without a file; sets NOTIFY_SOCKET. */
static int listen_for_it(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int len =
        snprintf(address.sun_path, sizeof address.sun_path, "@segue-test-%ld", (long)getpid());

    assert_true(fd >= 0);
    setenv("NOTIFY_SOCKET", address.sun_path, 1);
    address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)len)),
                     0);
    return fd;
}

static void hears(int fd, const char *expected)
{
    char text[600];
    ssize_t len = recv(fd, text, sizeof text - 1, 0);

    text[len > 0 ? len : 0] = '\0';
    assert_string_equal(text, expected);
}

static void set_watchdog(int64_t usec, long pid)
{
    char text[32];

    snprintf(text, sizeof text, "%lld", (long long)usec);
    setenv("WATCHDOG_USEC", text, 1);
    snprintf(text, sizeof text, "%ld", pid);
    setenv("WATCHDOG_PID", text, 1);
}

static void without_a_service_manager_nothing_is_said(void **state)
{
    (void)state;
    unsetenv("NOTIFY_SOCKET");
    set_watchdog(1000000, (long)getpid());
    notify_open();
    assert_true(notify_due_ms() == INT64_MAX);
    notify_tell("READY=1");
    notify_alive(true, "fine");
    notify_stopping(1000);
}

static void it_is_told_when_we_are_ready_and_when_we_stop(void **state)
{
    int fd = listen_for_it();

    (void)state;
    notify_open();
    assert_true(notify_due_ms() == INT64_MAX); /* no watchdog was asked for */
    notify_tell("READY=%d", 1);
    hears(fd, "READY=1");
    notify_alive(true, NULL);
    hears(fd, "");
    notify_stopping(25000);
    hears(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=25000000");
    close(fd);
}

static void signs_of_life_are_due_and_are_withheld_from_the_dead(void **state)
{
    int fd = listen_for_it();

    (void)state;
    set_watchdog(30000000, (long)getpid());
    notify_open();
    assert_true(notify_due_ms() <= clock_mono_ms());
    notify_alive(true, NULL);
    hears(fd, "WATCHDOG=1");
    assert_in_range(notify_due_ms() - clock_mono_ms(), 5000, 10001);
    notify_alive(true, "at work");
    hears(fd, "STATUS=at work\nWATCHDOG=1");
    notify_alive(false, "stuck");
    hears(fd, "STATUS=stuck");
    notify_stopping(1000);
    hears(fd, "STOPPING=1\nEXTEND_TIMEOUT_USEC=1000000");
    assert_true(notify_due_ms() == INT64_MAX);
    close(fd);
}

static void no_child_speaks_for_us_and_we_for_no_parent(void **state)
{
    int fd = listen_for_it();

    (void)state;
    set_watchdog(30000000, (long)getpid() + 1);
    notify_open();
    assert_true(notify_due_ms() == INT64_MAX);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    close(fd);
}

static void nonsense_is_no_address(void **state)
{
    static const char *const values[] = {"", "@", "/", "relative/path"};

    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        setenv("NOTIFY_SOCKET", values[i], 1);
        set_watchdog(1000000, (long)getpid());
        notify_open();
        assert_true(notify_due_ms() == INT64_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_service_manager_nothing_is_said),
        cmocka_unit_test(it_is_told_when_we_are_ready_and_when_we_stop),
        cmocka_unit_test(signs_of_life_are_due_and_are_withheld_from_the_dead),
        cmocka_unit_test(no_child_speaks_for_us_and_we_for_no_parent),
        cmocka_unit_test(nonsense_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
