/* Slow clients are cut, whatever they are slow at; patient and suspended ones are not. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include <cmocka.h>

#include "client.h"
#include "clock.h"
#include "fixture.h"
#include "log.h"
#include "metrics.h"

#define HOST "Host: h\r\n"

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_init(f);
    f->options.idle_timeout_ms = 1000;
    f->options.header_timeout_ms = 300;
    f->options.request_timeout_ms = 300;
    f->options.min_body_rate = 20000;
    fixture_start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_release(f);
    free(f);
    return 0;
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* Has the server ended the connection? Does not wait. */
static bool is_cut(struct client *c)
{
    char byte;
    return recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Sends the text over and over, `pause` apart, until the server ends the connection. How
 * long that took. */
static int64_t drip(struct client *c, const char *text, long pause)
{
    int64_t start = clock_mono_ms();
    while (!is_cut(c)) {
        if (clock_mono_ms() - start > 20000)
            fail_msg("a slow client is still connected");
        client_send(c, text, strlen(text));
        pause_ms(pause);
    }
    return clock_mono_ms() - start;
}

static void a_header_that_drips_in_is_cut(void **state)
{
    struct fixture *f = *state;
    struct client c;
    int64_t before = metric_get(METRIC_HTTP_OVERDUE);

    client_open(&c, f->address);
    client_sendf(&c, "GET /ping HTTP/1.1\r\nX: ");
    assert_true(drip(&c, "x", 20) >= 250);
    assert_int_equal(metric_get(METRIC_HTTP_OVERDUE), before + 1);
    client_close(&c);
}

static void so_is_the_header_of_a_second_request(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct answer a;

    client_open(&c, f->address);
    client_sendf(&c, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    drip(&c, "x", 20);
    client_close(&c);
}

static void an_idle_connection_is_closed_without_blame(void **state)
{
    struct fixture *f = *state;
    struct client silent, used;
    struct answer a;
    int64_t before = metric_get(METRIC_HTTP_OVERDUE), start = clock_mono_ms();

    client_open(&silent, f->address);
    client_open(&used, f->address);
    client_sendf(&used, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    client_answer(&used, true, &a);
    answer_release(&a);
    assert_true(client_is_closed(&silent));
    assert_true(client_is_closed(&used));
    assert_true(clock_mono_ms() - start >= 900);
    assert_int_equal(metric_get(METRIC_HTTP_OVERDUE), before);
    client_close(&silent);
    client_close(&used);
}

static void a_body_that_drips_in_is_cut_and_its_sink_aborted(void **state)
{
    struct fixture *f = *state;
    struct client c;
    int64_t before = metric_get(METRIC_HTTP_OVERDUE);

    client_open(&c, f->address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
    drip(&c, "xxxxxxxxxx", 20);
    wait_for(&f->aborted, 1);
    assert_int_equal(metric_get(METRIC_HTTP_OVERDUE), before + 1);
    client_close(&c);
}

static void a_body_that_stalls_is_cut_however_fast_it_began(void **state)
{
    struct fixture *f = *state;
    struct client c;
    static char block[1 << 20];

    client_open(&c, f->address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 100000000\r\n\r\n");
    for (int i = 0; i < 10; i++)
        client_send(&c, block, sizeof block); /* worth 500 s at the least rate */
    assert_true(client_is_closed(&c));
    wait_for(&f->aborted, 1);
    client_close(&c);
}

static void a_slow_but_steady_upload_may_take_its_time(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct answer a;
    static char block[4000];

    client_open(&c, f->address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                 30 * sizeof block);
    for (int i = 0; i < 30; i++) { /* 40 to 80 kB/s for five times the request's time */
        client_send(&c, block, sizeof block);
        pause_ms(50);
    }
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 202);
    answer_release(&a);
    client_close(&c);
}

static void a_download_that_nobody_reads_is_cut(void **state)
{
    struct fixture *f = *state;
    struct client c;
    int64_t before = metric_get(METRIC_HTTP_OVERDUE), start = clock_mono_ms();

    fixture_make_file(f, 30 << 20);
    client_open(&c, f->address);
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &(int){4096}, sizeof(int));
    client_sendf(&c, "GET /file HTTP/1.1\r\n" HOST "\r\n");
    while (metric_get(METRIC_HTTP_OVERDUE) == before) {
        assert_true(clock_mono_ms() - start < 20000);
        pause_ms(10);
    }
    client_close(&c);
}

static void a_suspended_request_is_not_cut(void **state)
{
    struct fixture *f = *state;
    struct client parked, slow;
    struct answer a;
    int64_t before = metric_get(METRIC_HTTP_OVERDUE);

    client_open(&parked, f->address);
    client_open(&slow, f->address);
    client_sendf(&parked, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    client_sendf(&slow, "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_parked(f, 1);
    fixture_wait_slow(f, 1);
    pause_ms(2500); /* longer than any limit */
    reply_text(fixture_take_parked(f), 200, "text/plain", "now");
    fixture_let_go(f);
    client_answer(&parked, true, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    client_answer(&slow, true, &a);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    assert_int_equal(metric_get(METRIC_HTTP_OVERDUE), before);
    client_close(&parked);
    client_close(&slow);
}

static void many_silent_connections_do_not_stop_others(void **state)
{
    struct fixture *f = *state;
    struct client silent[300];

    for (int i = 0; i < 300; i++) {
        client_open(&silent[i], f->address);
        if (i % 2)
            client_sendf(&silent[i], "GET /ping HTTP/1.1\r\n");
    }
    for (int i = 0; i < 50; i++)
        assert_int_equal(client_ask(f->address, "GET /ping HTTP/1.1\r\n" HOST "\r\n", NULL),
                         200);
    for (int i = 0; i < 300; i++) {
        assert_true(client_is_closed(&silent[i]));
        client_close(&silent[i]);
    }
}

static void the_gauge_of_connections_returns_to_zero(void **state)
{
    struct fixture *f = *state;
    struct client c;
    int64_t start = clock_mono_ms();

    client_open(&c, f->address);
    while (metric_get(METRIC_HTTP_CONNECTIONS) != 1) {
        assert_true(clock_mono_ms() - start < 20000);
        pause_ms(1);
    }
    client_close(&c);
    while (metric_get(METRIC_HTTP_CONNECTIONS) != 0) {
        assert_true(clock_mono_ms() - start < 20000);
        pause_ms(1);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_header_that_drips_in_is_cut),
        T(so_is_the_header_of_a_second_request),
        T(an_idle_connection_is_closed_without_blame),
        T(a_body_that_drips_in_is_cut_and_its_sink_aborted),
        T(a_body_that_stalls_is_cut_however_fast_it_began),
        T(a_slow_but_steady_upload_may_take_its_time),
        T(a_download_that_nobody_reads_is_cut),
        T(a_suspended_request_is_not_cut),
        T(many_silent_connections_do_not_stop_others),
        T(the_gauge_of_connections_returns_to_zero),
    };
    log_setup(LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
