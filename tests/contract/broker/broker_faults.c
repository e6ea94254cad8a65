/* broker_faults.c - RabbitMQ behind a network that fails: cut, silent, one-way, refusing.
 * What is asked: no call hangs, the caller learns of it, and it works again by itself. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "broker.h"
#include "broker_url.h"
#include "clock.h"
#include "contract_help.h"
#include "tcp_proxy.h"

/* No call may take longer than its own timeout plus this. */
enum { BOUND_MS = 15000 };

struct fixture {
    const char *direct; /* URL around the proxy */
    char url[512];      /* URL through it */
    char queue[BROKER_QUEUE_MAX];
    struct tcp_proxy *proxy;
};

static void begin_with(struct fixture *f, const char *parameters)
{
    struct broker_url u;

    f->direct = need_env("TEST_AMQP_URL");
    assert_int_equal(broker_url_parse(f->direct, &u, NULL), 0);
    f->proxy = tcp_proxy_open(u.host, u.port);
    assert_non_null(f->proxy);
    url_through(f->direct, tcp_proxy_port(f->proxy), parameters, f->url, sizeof f->url);
    own_queue(f->direct, f->queue);
}

static void begin(struct fixture *f)
{
    begin_with(f, "?heartbeat=1");
}

static void end(struct fixture *f)
{
    tcp_proxy_close(f->proxy);
    delete_own_queues(f->direct);
}

/* Calls `publish` until the link is known to be lost. */
static void publish_until_unavailable(struct broker *b, const char *queue, int timeout_ms)
{
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct err err = ERR_INIT;

    for (;;) {
        int64_t began_ms = clock_mono_ms();
        int rc = publish(b, queue, "{}", timeout_ms, &err);

        assert_true(clock_mono_ms() - began_ms < timeout_ms + BOUND_MS);
        if (rc == -E_UNAVAILABLE)
            return;
        assert_true(rc == 0 || rc == -E_TIMEOUT);
        assert_true(clock_mono_ms() < deadline_ms);
    }
}

static void next_until_unavailable(struct broker *b)
{
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct broker_delivery d;

    while (broker_next(b, 500, -1, &d, NULL) != -E_UNAVAILABLE)
        assert_true(clock_mono_ms() < deadline_ms);
}

static void a_cut_publisher_says_so_and_comes_back(void **state)
{
    struct fixture f;
    struct broker *b;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "before");
    tcp_proxy_reset(f.proxy);
    publish_until_unavailable(b, f.queue, 1000);
    assert_false(broker_is_up(b));
    publish_in_the_end(b, f.queue, "after");
    assert_true(broker_is_up(b));
    broker_close(b);
    end(&f);
}

static void an_idle_publisher_learns_of_a_cut_from_pump(void **state)
{
    struct fixture f;
    struct broker *b;
    int64_t deadline_ms;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    tcp_proxy_reset(f.proxy);
    deadline_ms = clock_mono_ms() + PATIENCE_MS;
    while (broker_pump(b, NULL) == 0) {
        assert_true(clock_mono_ms() < deadline_ms);
        poll(NULL, 0, 5);
    }
    assert_false(broker_is_up(b));
    assert_int_equal(broker_pump(b, NULL), 0); /* once is enough */
    broker_close(b);
    end(&f);
}

static void an_idle_publisher_stays_connected_while_pumped(void **state)
{
    struct fixture f;
    struct broker *b;
    int64_t until_ms;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    until_ms = clock_mono_ms() + 4000; /* four beats; the broker gives up after two */
    while (clock_mono_ms() < until_ms) {
        assert_int_equal(broker_pump(b, NULL), 0);
        poll(NULL, 0, 300);
    }
    assert_int_equal(publish(b, f.queue, "{}", PATIENCE_MS, NULL), 0);
    assert_int_equal(tcp_proxy_accepted(f.proxy), 1);
    broker_close(b);
    end(&f);
}

static void a_cut_consumer_says_so_and_gets_its_deliveries_again(void **state)
{
    struct fixture f;
    struct broker *in, *out;
    struct broker_delivery d;
    struct err err = ERR_INIT;

    (void)state;
    begin(&f);
    out = open_broker(f.direct, BROKER_PUBLISH);
    in = open_consumer(f.url, f.queue, 10);
    publish_in_the_end(out, f.queue, "kept");
    d = await_body(in, "kept");
    tcp_proxy_reset(f.proxy);
    next_until_unavailable(in);
    assert_int_equal(broker_ack(in, d.tag, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, "come again"));
    d = await_body(in, "kept"); /* the acknowledgement of the old link must not count here */
    assert_int_equal(broker_ack(in, d.tag, NULL), 0);
    broker_close(in);
    broker_close(out);
    end(&f);
}

static void a_silent_network_is_noticed_and_publish_does_not_hang(void **state)
{
    struct fixture f;
    struct broker *b;
    int64_t began_ms;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    began_ms = clock_mono_ms();
    assert_int_equal(publish(b, f.queue, "{}", 100, NULL), -E_UNAVAILABLE);
    assert_true(clock_mono_ms() - began_ms < BOUND_MS);
    publish_until_unavailable(b, f.queue, 100);
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PASS);
    publish_in_the_end(b, f.queue, "{}");
    broker_close(b);
    end(&f);
}

/* librabbitmq's issue 780: a publish after two silent beats waited for ever. The link has to
 * be found dead before, not by the watchdog (RABBIT_CALL_MS, 5 s). */
static void publishing_after_a_long_silence_does_not_hang(void **state)
{
    struct fixture f;
    struct broker *b;
    int64_t began_ms;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    poll(NULL, 0, 3000); /* the fault itself: an owner that does not call for three beats */
    began_ms = clock_mono_ms();
    assert_int_equal(publish(b, f.queue, "{}", 100, NULL), -E_UNAVAILABLE);
    assert_true(clock_mono_ms() - began_ms < 4000);
    broker_close(b);
    end(&f);
}

static void a_silent_network_is_noticed_by_a_consumer(void **state)
{
    struct fixture f;
    struct broker *in, *out;

    (void)state;
    begin(&f);
    out = open_broker(f.direct, BROKER_PUBLISH);
    in = open_consumer(f.url, f.queue, 10);
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    next_until_unavailable(in);
    publish_in_the_end(out, f.queue, "meanwhile");
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PASS);
    (void)await_body(in, "meanwhile");
    broker_close(in);
    broker_close(out);
    end(&f);
}

static void lost_confirms_are_no_confirms(void **state)
{
    struct fixture f;
    struct broker *b;

    (void)state;
    begin(&f);
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_DROP_ANSWERS);
    assert_int_equal(publish(b, f.queue, "{}", 200, NULL), -E_UNAVAILABLE);
    assert_false(broker_is_up(b)); /* the silence was the link's and not the queue's */
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PASS);
    publish_in_the_end(b, f.queue, "{}");
    broker_close(b);
    end(&f);
}

static void while_nobody_answers_each_call_is_refused_within_bounds(void **state)
{
    struct fixture f;
    struct broker *b;
    struct err err = ERR_INIT;

    (void)state;
    begin(&f);
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_REFUSE);
    b = open_broker(f.url, BROKER_PUBLISH);
    for (int i = 0; i < 50; i++) {
        int64_t began_ms = clock_mono_ms();

        assert_int_equal(publish(b, f.queue, "{}", 1000, &err), -E_UNAVAILABLE);
        assert_true(clock_mono_ms() - began_ms < BOUND_MS);
        assert_non_null(strstr(err.text, "rabbitmq at 127.0.0.1:"));
    }
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PASS);
    publish_in_the_end(b, f.queue, "{}");
    broker_close(b);
    end(&f);
}

/* A server that takes connections and never says a word: the handshake must give up. */
static void a_silent_server_is_given_up(void **state)
{
    struct fixture f;
    struct broker *b;
    int64_t began_ms;

    (void)state;
    begin(&f);
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    b = open_broker(f.url, BROKER_PUBLISH);
    began_ms = clock_mono_ms();
    assert_int_equal(publish(b, f.queue, "{}", 100, NULL), -E_UNAVAILABLE);
    assert_true(clock_mono_ms() - began_ms < BOUND_MS);
    began_ms = clock_mono_ms();
    broker_close(b);
    assert_true(clock_mono_ms() - began_ms < BOUND_MS);
    end(&f);
}

static void closing_on_a_silent_network_does_not_hang(void **state)
{
    struct fixture f;
    struct broker *in;
    int64_t began_ms;

    (void)state;
    begin(&f);
    in = open_consumer(f.url, f.queue, 10);
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    began_ms = clock_mono_ms();
    broker_close(in);
    assert_true(clock_mono_ms() - began_ms < BOUND_MS);
    end(&f);
}

/* The broker stops reading while batches go out: the socket fills up, and the library would
 * wait for room for two heartbeats, here two minutes. The watchdog has to cut it. */
static void a_network_that_stops_taking_bytes_does_not_hang_a_batch(void **state)
{
    static struct broker_message batch[BROKER_BATCH_MAX];
    static bool confirmed[BROKER_BATCH_MAX];
    struct fixture f;
    struct broker *b;
    struct err err = ERR_INIT;
    int64_t began_ms;
    int rc;

    (void)state;
    begin_with(&f, "?heartbeat=60");
    b = open_broker(f.url, BROKER_PUBLISH);
    publish_in_the_end(b, f.queue, "{}");
    for (size_t i = 0; i < BROKER_BATCH_MAX; i++) {
        batch[i] = message(f.queue, "");
        memset(batch[i].body, 'x', BROKER_BODY_MAX - 1);
    }
    tcp_proxy_set_mode(f.proxy, TCP_PROXY_PAUSE);
    began_ms = clock_mono_ms();
    do {
        rc = broker_publish(b, batch, BROKER_BATCH_MAX, 0, confirmed, &err);
    } while (rc == -E_TIMEOUT && clock_mono_ms() - began_ms < 2 * BOUND_MS);
    assert_int_equal(rc, -E_UNAVAILABLE);
    assert_true(clock_mono_ms() - began_ms < 2 * BOUND_MS);
    assert_non_null(strstr(err.text, "took too long and was cut"));
    broker_close(b);
    end(&f);
}

static void a_wrong_password_is_refused_and_not_shown(void **state)
{
    const char *direct = need_env("TEST_AMQP_URL");
    struct broker_url u;
    struct broker *b;
    struct err err = ERR_INIT;
    char url[512];

    (void)state;
    assert_int_equal(broker_url_parse(direct, &u, NULL), 0);
    snprintf(url, sizeof url, "amqp://guest:topsecret@%s:%d/", u.host, u.port);
    b = open_broker(url, BROKER_PUBLISH);
    for (int i = 0; i < 2; i++) { /* the second is told from memory */
        assert_int_equal(publish(b, "q", "{}", 1000, &err), -E_UNAVAILABLE);
        assert_non_null(strstr(err.text, "ACCESS_REFUSED"));
        assert_null(strstr(err.text, "topsecret"));
    }
    broker_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cut_publisher_says_so_and_comes_back),
        cmocka_unit_test(an_idle_publisher_learns_of_a_cut_from_pump),
        cmocka_unit_test(an_idle_publisher_stays_connected_while_pumped),
        cmocka_unit_test(a_cut_consumer_says_so_and_gets_its_deliveries_again),
        cmocka_unit_test(a_silent_network_is_noticed_and_publish_does_not_hang),
        cmocka_unit_test(publishing_after_a_long_silence_does_not_hang),
        cmocka_unit_test(a_silent_network_is_noticed_by_a_consumer),
        cmocka_unit_test(lost_confirms_are_no_confirms),
        cmocka_unit_test(while_nobody_answers_each_call_is_refused_within_bounds),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(closing_on_a_silent_network_does_not_hang),
        cmocka_unit_test(a_network_that_stops_taking_bytes_does_not_hang_a_batch),
        cmocka_unit_test(a_wrong_password_is_refused_and_not_shown),
    };

    return cmocka_run_group_tests_name("broker faults", tests, NULL, NULL);
}
