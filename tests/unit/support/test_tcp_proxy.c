/* test_tcp_proxy.c - a link that fails must fail in the way that was asked for: what other
 * tests prove rests on it. A client and a server of the test's own at both ends. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>

#include "clock.h"
#include "tcp_proxy.h"

enum { PATIENCE_S = 60, SILENCE_MS = 50 };

struct link {
    struct tcp_proxy *proxy;
    int listener, client, server;
};

static int new_socket(void)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

static struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                .sin_port = htons((uint16_t)port)};
}

static int connect_client(const struct link *l)
{
    struct sockaddr_in at = loopback(tcp_proxy_port(l->proxy));
    int fd = new_socket();

    assert_int_equal(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
    return fd;
}

static int accept_server(const struct link *l)
{
    struct timeval patience = {.tv_sec = PATIENCE_S};
    int fd = accept(l->listener, NULL, NULL);

    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience), 0);
    return fd;
}

static void begin(struct link *l)
{
    struct sockaddr_in at = loopback(0);
    socklen_t len = sizeof at;

    l->listener = new_socket();
    assert_int_equal(bind(l->listener, (const struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(l->listener, 8), 0);
    assert_int_equal(getsockname(l->listener, (struct sockaddr *)&at, &len), 0);
    l->proxy = tcp_proxy_open("127.0.0.1", ntohs(at.sin_port));
    assert_non_null(l->proxy);
    l->client = connect_client(l);
    l->server = accept_server(l);
}

static void end(struct link *l)
{
    tcp_proxy_close(l->proxy);
    close(l->client);
    close(l->server);
    close(l->listener);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hear(int fd, const char *text)
{
    char got[256];
    size_t len = strlen(text);

    assert_int_equal(recv(fd, got, len, MSG_WAITALL), len);
    assert_memory_equal(got, text, len);
}

static void hear_end(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static void hear_reset(int fd)
{
    char byte;

    assert_int_equal(recv(fd, &byte, 1, 0), -1);
    assert_int_equal(errno, ECONNRESET);
}

static void hear_nothing(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    assert_int_equal(poll(&p, 1, SILENCE_MS), 0);
}

static void wait_dropped(struct tcp_proxy *p, uint64_t bytes)
{
    int64_t until_ms = clock_mono_ms() + PATIENCE_S * 1000;

    while (tcp_proxy_dropped(p) < bytes) {
        assert_true(clock_mono_ms() < until_ms);
        poll(NULL, 0, 1);
    }
}

static void bytes_and_their_end_pass_each_way_by_itself(void **state)
{
    struct link l;

    (void)state;
    begin(&l);
    say(l.client, "question");
    assert_int_equal(shutdown(l.client, SHUT_WR), 0);
    hear(l.server, "question");
    hear_end(l.server);
    say(l.server, "answer");
    hear(l.client, "answer");
    close(l.server);
    l.server = -1;
    hear_end(l.client);
    assert_int_equal(tcp_proxy_accepted(l.proxy), 1);
    end(&l);
}

static void what_was_paused_arrives_later_and_in_order(void **state)
{
    static const struct {
        enum tcp_proxy_mode mode;
        bool requests, answers; /* held up */
    } cases[] = {{TCP_PROXY_PAUSE, true, true},
                 {TCP_PROXY_PAUSE_REQUESTS, true, false},
                 {TCP_PROXY_PAUSE_ANSWERS, false, true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct link l;
        begin(&l);
        tcp_proxy_set_mode(l.proxy, cases[i].mode);
        say(l.client, "up 1");
        say(l.server, "down 1");
        cases[i].requests ? hear_nothing(l.server) : hear(l.server, "up 1");
        cases[i].answers ? hear_nothing(l.client) : hear(l.client, "down 1");
        say(l.client, "up 2");
        say(l.server, "down 2");
        tcp_proxy_set_mode(l.proxy, TCP_PROXY_PASS);
        hear(l.server, cases[i].requests ? "up 1up 2" : "up 2");
        hear(l.client, cases[i].answers ? "down 1down 2" : "down 2");
        end(&l);
    }
}

static void what_was_dropped_never_arrives_nor_does_the_end(void **state)
{
    static const struct {
        enum tcp_proxy_mode mode;
        bool requests, answers; /* thrown away */
    } cases[] = {{TCP_PROXY_DROP, true, true},
                 {TCP_PROXY_DROP_REQUESTS, true, false},
                 {TCP_PROXY_DROP_ANSWERS, false, true}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct link l;
        begin(&l);
        tcp_proxy_set_mode(l.proxy, cases[i].mode);
        say(l.client, "up");
        say(l.server, "down");
        assert_int_equal(shutdown(l.client, SHUT_WR), 0);
        assert_int_equal(shutdown(l.server, SHUT_WR), 0);
        wait_dropped(l.proxy, (cases[i].requests ? 2u : 0u) + (cases[i].answers ? 4u : 0u));
        cases[i].requests ? hear_nothing(l.server) : hear(l.server, "up");
        cases[i].answers ? hear_nothing(l.client) : hear(l.client, "down");
        tcp_proxy_set_mode(l.proxy, TCP_PROXY_PASS);
        hear_end(l.server);
        hear_end(l.client);
        end(&l);
    }
}

static void a_reset_cuts_both_ends_and_the_next_client_gets_through(void **state)
{
    struct link l;

    (void)state;
    begin(&l);
    say(l.client, "a");
    hear(l.server, "a");
    tcp_proxy_reset(l.proxy);
    hear_reset(l.client);
    hear_reset(l.server);
    int client = connect_client(&l), server = accept_server(&l);
    say(client, "b");
    hear(server, "b");
    close(client);
    hear_end(server);
    close(server);
    end(&l);
}

static void refused_are_new_clients_only(void **state)
{
    struct link l;

    (void)state;
    begin(&l);
    tcp_proxy_set_mode(l.proxy, TCP_PROXY_REFUSE);
    int client = connect_client(&l); /* the kernel's accept; the proxy's answer is a reset */
    hear_reset(client);
    close(client);
    say(l.client, "still here");
    hear(l.server, "still here");
    end(&l);
}

static void a_client_of_a_dead_target_is_cut(void **state)
{
    struct link l;
    char byte;

    (void)state;
    begin(&l);
    close(l.listener);
    l.listener = -1;
    int client = connect_client(&l);
    assert_int_equal(recv(client, &byte, 1, 0), -1);
    close(client);
    end(&l);
}

static void a_target_may_move(void **state)
{
    struct link l, other;

    (void)state;
    begin(&l);
    begin(&other);
    struct sockaddr_in at;
    socklen_t len = sizeof at;
    assert_int_equal(getsockname(other.listener, (struct sockaddr *)&at, &len), 0);
    tcp_proxy_set_target(l.proxy, ntohs(at.sin_port));
    int client = connect_client(&l), server = accept_server(&other);
    say(client, "moved");
    hear(server, "moved");
    say(l.client, "stayed");
    hear(l.server, "stayed");
    close(client);
    close(server);
    tcp_proxy_set_target(l.proxy, 0);
    client = connect_client(&l);
    hear_reset(client);
    close(client);
    end(&other);
    end(&l);
}

static void a_slow_link_is_slow_both_ways(void **state)
{
    enum { DELAY_MS = 80 };
    struct link l;

    (void)state;
    begin(&l);
    tcp_proxy_set_delay(l.proxy, DELAY_MS);
    int64_t began_ms = clock_mono_ms();
    say(l.client, "ping");
    hear(l.server, "ping");
    say(l.server, "pong");
    hear(l.client, "pong");
    assert_true(clock_mono_ms() - began_ms >= 2 * DELAY_MS - 2);
    end(&l);
}

static void a_limit_truncates_what_is_sent(void **state)
{
    struct link l;

    (void)state;
    begin(&l);
    tcp_proxy_set_limit(l.proxy, TCP_PROXY_REQUESTS, 5);
    say(l.client, "123");
    hear(l.server, "123");
    say(l.server, "go on");
    hear(l.client, "go on");
    say(l.client, "45678");
    hear(l.server, "45");
    hear_end(l.server);
    end(&l);

    begin(&l);
    tcp_proxy_set_limit(l.proxy, TCP_PROXY_ANSWERS, 0);
    say(l.client, "question");
    hear(l.server, "question");
    say(l.server, "answer");
    hear_end(l.client);
    end(&l);
}

/* The pattern comes in two pieces, after a false start. */
static void say_pattern(const struct link *l)
{
    say(l->client, "xCOMCOM");
    hear(l->server, "xCOMCOM");
    say(l->client, "MIT;");
}

static void set_trap(struct link *l, enum tcp_proxy_cut cut)
{
    begin(l);
    tcp_proxy_set_trap(l->proxy, cut, "COMMIT", 6, 1);
    say_pattern(l);
}

static void a_trap_cuts_where_it_was_asked_to(void **state)
{
    struct link l;

    (void)state;
    set_trap(&l, TCP_PROXY_CUT_BEFORE);
    hear_reset(l.server);
    hear_reset(l.client);
    assert_int_equal(tcp_proxy_sprung(l.proxy), 1);
    end(&l);

    set_trap(&l, TCP_PROXY_CUT_UNANSWERED);
    hear(l.server, "MIT;");
    hear_nothing(l.client);
    assert_int_equal(tcp_proxy_sprung(l.proxy), 0);
    say(l.server, "OK");
    hear_reset(l.client);
    hear_reset(l.server);
    assert_int_equal(tcp_proxy_sprung(l.proxy), 1);
    end(&l);

    set_trap(&l, TCP_PROXY_CUT_ANSWERED);
    hear(l.server, "MIT;");
    say(l.server, "OK");
    hear(l.client, "OK");
    hear_end(l.client);
    hear_end(l.server);
    end(&l);
}

static void a_trap_springs_so_often_and_no_more(void **state)
{
    struct link l;

    (void)state;
    set_trap(&l, TCP_PROXY_CUT_BEFORE);
    hear_reset(l.client);
    close(l.client);
    close(l.server);
    l.client = connect_client(&l);
    l.server = accept_server(&l);
    say_pattern(&l);
    hear(l.server, "MIT;");
    tcp_proxy_set_trap(l.proxy, TCP_PROXY_CUT_BEFORE, "COMMIT", 6, 5);
    tcp_proxy_set_trap(l.proxy, TCP_PROXY_CUT_BEFORE, NULL, 0, 0);
    say_pattern(&l);
    hear(l.server, "MIT;");
    assert_int_equal(tcp_proxy_sprung(l.proxy), 1);
    end(&l);
}

static void modes_have_names(void **state)
{
    (void)state;
    for (int mode = 0; mode < TCP_PROXY_MODE__COUNT; mode++) {
        const char *name = tcp_proxy_mode_name((enum tcp_proxy_mode)mode);
        assert_int_equal(tcp_proxy_mode_named(name), mode);
    }
    assert_int_equal(tcp_proxy_mode_named("nonsense"), TCP_PROXY_MODE__COUNT);
    assert_null(tcp_proxy_mode_name(TCP_PROXY_MODE__COUNT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_and_their_end_pass_each_way_by_itself),
        cmocka_unit_test(what_was_paused_arrives_later_and_in_order),
        cmocka_unit_test(what_was_dropped_never_arrives_nor_does_the_end),
        cmocka_unit_test(a_reset_cuts_both_ends_and_the_next_client_gets_through),
        cmocka_unit_test(refused_are_new_clients_only),
        cmocka_unit_test(a_client_of_a_dead_target_is_cut),
        cmocka_unit_test(a_target_may_move),
        cmocka_unit_test(a_slow_link_is_slow_both_ways),
        cmocka_unit_test(a_limit_truncates_what_is_sent),
        cmocka_unit_test(a_trap_cuts_where_it_was_asked_to),
        cmocka_unit_test(a_trap_springs_so_often_and_no_more),
        cmocka_unit_test(modes_have_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
