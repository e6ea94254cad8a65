/* What stands when much comes at once: lanes of the handler threads, the memory of bodies,
 * the log. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"
#include "clock.h"
#include "fixture.h"
#include "log.h"

#define HOST      "Host: h\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

enum { MIB = 1024 * 1024 };

static void expect(struct client *c, int status, const char *retry_after)
{
    struct answer a;

    client_answer(c, true, &a);
    if (a.status != status)
        fail_msg("%d instead of %d: %s%s", a.status, status, a.head.data, a.body.data);
    assert_string_equal(answer_header(&a, "Retry-After"), retry_after);
    answer_release(&a);
}

static void start(struct fixture *f, int handler_threads)
{
    fixture_init(f);
    f->options.handler_threads = handler_threads;
    fixture_start(f);
}

static void a_handler_that_never_blocks_answers_while_every_thread_waits(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client slow[2];

    start(&f, 2);
    for (int i = 0; i < 2; i++)
        client_open(&slow[i], f.address);
    client_sendf(&slow[0], GET("/slow"));
    client_sendf(&slow[1], GET("/worker/slow"));
    fixture_wait_slow(&f, 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(client_ask(f.address, GET("/now"), NULL), 200);
    assert_int_equal(client_ask(f.address, GET("/probe"), NULL), 200);
    /* HEAD, and two on one connection */
    struct client c;
    client_open(&c, f.address);
    client_sendf(&c, GET("/now") GET("/now"));
    expect(&c, 200, "");
    expect(&c, 200, "");
    client_close(&c);
    assert_int_equal(client_ask(f.address, "HEAD /now HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
    fixture_let_go(&f);
    for (int i = 0; i < 2; i++) {
        expect(&slow[i], 200, "");
        client_close(&slow[i]);
    }
    fixture_release(&f);
}

/* The library's array of events is then exactly full. */
static void requests_that_come_at_the_same_moment_are_all_answered(void **unused)
{
    (void)unused;
    enum { MOST = 256 };
    static const int crowds[] = {127, 128, 129, MOST};
    struct fixture f;
    struct client clients[MOST], stall;

    fixture_init(&f);
    f.options.threads = 1;
    fixture_start(&f);
    for (int i = 0; i < MOST; i++) {
        client_open(&clients[i], f.address);
        client_sendf(&clients[i], GET("/now"));
        expect(&clients[i], 200, "");
    }
    client_open(&stall, f.address);
    for (size_t round = 0; round < sizeof crowds / sizeof crowds[0]; round++) {
        client_sendf(&stall, GET("/stall"));
        fixture_wait_slow(&f, 1); /* the thread is busy while all of them come */
        for (int i = 0; i < crowds[round]; i++)
            client_sendf(&clients[i], GET("/now"));
        fixture_let_go(&f);
        for (int i = 0; i < crowds[round]; i++)
            expect(&clients[i], 200, "");
        expect(&stall, 200, "");
        fixture_hold_again(&f);
    }
    for (int i = 0; i < MOST; i++)
        client_close(&clients[i]);
    client_close(&stall);
    fixture_release(&f);
}

static void workers_are_served_while_all_others_wait(void **unused)
{
    (void)unused;
    enum { THREADS = 8, KEPT = 2, CLIENTS = 20 };
    struct fixture f;
    struct client slow[CLIENTS];

    start(&f, THREADS);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&slow[i], f.address);
        client_sendf(&slow[i], GET("/slow"));
    }
    fixture_wait_slow(&f, THREADS - KEPT);
    for (int i = 0; i < 100; i++)
        assert_int_equal(client_ask(f.address, GET("/worker/ping"), NULL), 200);
    pthread_mutex_lock(&f.lock);
    assert_int_equal(f.slow, THREADS - KEPT);
    pthread_mutex_unlock(&f.lock);
    fixture_let_go(&f);
    for (int i = 0; i < CLIENTS; i++) {
        expect(&slow[i], 200, "");
        client_close(&slow[i]);
    }
    fixture_release(&f);
}

static void workers_may_use_every_thread_and_others_come_after_them(void **unused)
{
    (void)unused;
    enum { THREADS = 4, CLIENTS = 6 };
    struct fixture f;
    struct client slow[CLIENTS], other;

    start(&f, THREADS);
    for (int i = 0; i < CLIENTS; i++) {
        client_open(&slow[i], f.address);
        client_sendf(&slow[i], GET("/worker/slow"));
    }
    fixture_wait_slow(&f, THREADS);
    client_open(&other, f.address);
    client_sendf(&other, GET("/ping"));
    fixture_let_go(&f);
    expect(&other, 200, "");
    client_close(&other);
    for (int i = 0; i < CLIENTS; i++) {
        expect(&slow[i], 200, "");
        client_close(&slow[i]);
    }
    fixture_release(&f);
}

/* Sends a JSON body of blanks. */
static void post(struct client *c, const char *path, size_t len)
{
    char *blanks = malloc(len);

    assert_non_null(blanks);
    memset(blanks, ' ', len);
    client_sendf(c,
                 "POST %s HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                 "Content-Length: %zu\r\n\r\n",
                 path, len);
    client_send(c, blanks, len);
    free(blanks);
}

static void large_bodies_share_a_budget_and_small_ones_pass(void **unused)
{
    (void)unused;
    enum { HELD = 4, LARGE = 16 * MIB - 1 }; /* four of 16 MiB are the 64 MiB */
    struct fixture f;
    struct client held[HELD], extra, small;

    fixture_init(&f);
    f.options.max_json_bytes = MIB;
    fixture_start(&f);
    for (int i = 0; i < HELD; i++) {
        client_open(&held[i], f.address);
        post(&held[i], "/hold", LARGE);
    }
    fixture_wait_parked(&f, HELD);
    for (int i = 0; i < 3; i++) { /* what is refused takes nothing of it for good */
        client_open(&extra, f.address);
        post(&extra, "/batch", LARGE);
        expect(&extra, 503, "1");
        client_close(&extra);
    }
    client_open(&small, f.address);
    post(&small, "/echo", 4000);
    expect(&small, 200, "");
    client_close(&small);
    for (int i = 0; i < HELD; i++) {
        reply_text(fixture_take_parked(&f), 200, "text/plain", "done");
        expect(&held[i], 200, "");
        client_close(&held[i]);
    }
    client_open(&extra, f.address);
    post(&extra, "/batch", LARGE);
    expect(&extra, 200, "");
    client_close(&extra);
    fixture_release(&f);
}

static void the_budget_always_has_room_for_one_body(void **unused)
{
    (void)unused;
    enum { LARGE = 80 * MIB };
    struct fixture f;
    struct client c;

    fixture_init(&f);
    f.options.max_json_bytes = LARGE / 16;
    fixture_start(&f);
    client_open(&c, f.address);
    post(&c, "/hold", LARGE);
    fixture_wait_parked(&f, 1);
    reply_text(fixture_take_parked(&f), 200, "text/plain", "done");
    expect(&c, 200, "");
    client_close(&c);
    fixture_release(&f);
}

static void a_storm_of_failures_is_logged_once_a_second(void **unused)
{
    (void)unused;
    enum { STORM = 300 };
    struct fixture f;
    char path[] = "/tmp/segue-log-XXXXXX", text[16384], request[64];
    int lines = 0, fd = mkostemp(path, O_CLOEXEC), before = dup(STDERR_FILENO);

    assert_true(fd >= 0 && before >= 0);
    start(&f, 4);
    snprintf(request, sizeof request, "GET /err/%d HTTP/1.1\r\n" HOST "\r\n", E_CORRUPT);
    int64_t began = clock_mono_ms();
    dup2(fd, STDERR_FILENO);
    log_setup(LOG_WARN, LOG_TEXT);
    int wrong = 0;
    for (int i = 0; i < STORM; i++)
        wrong += client_ask(f.address, request, NULL) != 500;
    log_setup(LOG_ERROR, LOG_TEXT);
    dup2(before, STDERR_FILENO);
    int64_t seconds = (clock_mono_ms() - began) / 1000;
    ssize_t len = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    close(before);
    unlink(path);
    assert_int_equal(wrong, 0);
    assert_true(len > 0);
    text[len] = '\0';
    for (const char *p = text; (p = strstr(p, "http.request_failed")) != NULL; p++)
        lines++;
    assert_non_null(strstr(text, "secret sentence"));
    assert_true(lines >= 1 && lines <= seconds + 1);
    fixture_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_handler_that_never_blocks_answers_while_every_thread_waits),
        cmocka_unit_test(requests_that_come_at_the_same_moment_are_all_answered),
        cmocka_unit_test(workers_are_served_while_all_others_wait),
        cmocka_unit_test(workers_may_use_every_thread_and_others_come_after_them),
        cmocka_unit_test(large_bodies_share_a_budget_and_small_ones_pass),
        cmocka_unit_test(the_budget_always_has_room_for_one_body),
        cmocka_unit_test(a_storm_of_failures_is_logged_once_a_second),
    };
    log_setup(LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
