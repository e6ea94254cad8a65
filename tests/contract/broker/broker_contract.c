/* broker_contract.c - what broker.h promises, asked of every implementation. `*state` is the
 * URL to open: empty for "none", TEST_AMQP_URL for RabbitMQ. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "amqp_admin.h"
#include "broker.h"
#include "clock.h"
#include "contract_help.h"

static int use_none(void **state)
{
    static char url[] = "";

    *state = url;
    return 0;
}

/* --- every implementation ------------------------------------------------------------------
 */

static void a_batch_of_256_is_confirmed(const char *url)
{
    struct broker *b = open_broker(url, BROKER_PUBLISH);
    static struct broker_message batch[BROKER_BATCH_MAX];
    bool confirmed[BROKER_BATCH_MAX] = {false};
    struct err err = ERR_INIT;
    char queue[BROKER_QUEUE_MAX] = "q";

    own_queue(url, queue);
    for (size_t i = 0; i < BROKER_BATCH_MAX; i++)
        batch[i] = message(queue, "{}");
    if (broker_publish(b, batch, BROKER_BATCH_MAX, PATIENCE_MS, confirmed, &err) != 0)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < BROKER_BATCH_MAX; i++)
        assert_true(confirmed[i]);
    assert_true(broker_is_up(b));
    assert_int_equal(broker_pump(b, &err), 0);
    broker_close(b);
}

static void an_empty_batch_is_fine(const char *url)
{
    struct broker *b = open_broker(url, BROKER_PUBLISH);
    bool none;

    assert_int_equal(broker_publish(b, NULL, 0, 0, &none, NULL), 0);
    broker_close(b);
}

static void nothing_comes_before_the_time_is_up(const char *url)
{
    struct broker *b = open_broker(url, BROKER_CONSUME);
    char queue[BROKER_QUEUE_MAX] = "q";
    const char *queues[] = {queue};
    struct broker_delivery d;
    int64_t began_ms;

    own_queue(url, queue);
    assert_int_equal(broker_consume(b, queues, 1, 1, NULL), 0);
    began_ms = clock_mono_ms();
    assert_int_equal(broker_next(b, 50, -1, &d, NULL), 0);
    assert_true(clock_mono_ms() - began_ms >= 49);
    broker_close(b);
}

static void a_readable_wake_fd_ends_the_wait(const char *url)
{
    struct broker *b = open_broker(url, BROKER_CONSUME);
    char queue[BROKER_QUEUE_MAX] = "q", byte = 0;
    const char *queues[] = {queue};
    struct broker_delivery d;
    int64_t began_ms;
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "!", 1), 1);
    own_queue(url, queue);
    assert_int_equal(broker_consume(b, queues, 1, 1, NULL), 0);
    began_ms = clock_mono_ms();
    assert_int_equal(broker_next(b, 10 * PATIENCE_MS, ends[0], &d, NULL), 0);
    assert_true(clock_mono_ms() - began_ms < PATIENCE_MS);
    assert_int_equal(read(ends[0], &byte, 1), 1); /* it was not read */
    assert_int_equal(byte, '!');
    close(ends[0]);
    close(ends[1]);
    broker_close(b);
}

static void pausing_and_consuming_again_is_fine(const char *url)
{
    struct broker *b = open_broker(url, BROKER_CONSUME);
    char queue[BROKER_QUEUE_MAX] = "q";
    const char *queues[] = {queue};
    struct broker_delivery d;

    own_queue(url, queue);
    assert_int_equal(broker_pause(b, NULL), 0); /* before anything began */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(broker_consume(b, queues, 1, 1, NULL), 0);
        assert_int_equal(broker_pause(b, NULL), 0);
        assert_int_equal(broker_pause(b, NULL), 0);
        assert_int_equal(broker_next(b, 0, -1, &d, NULL), 0);
    }
    broker_close(b);
}

/* --- those that deliver --------------------------------------------------------------------
 */

static void a_message_arrives_once_with_its_body(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    char queue[BROKER_QUEUE_MAX], body[BROKER_BODY_MAX];

    own_queue(url, queue);
    memset(body, 'x', sizeof body); /* the longest there can be */
    body[sizeof body - 1] = '\0';
    publish_in_the_end(out, queue, body);
    in = open_consumer(url, queue, 10);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, NULL), 1);
    assert_string_equal(d.body, body);
    assert_string_equal(d.queue, queue);
    assert_int_equal(broker_ack(in, d.tag, NULL), 0);
    assert_int_equal(broker_next(in, 200, -1, &d, NULL), 0);
    broker_close(in);
    in = open_consumer(url, queue, 10); /* not for others either */
    assert_int_equal(broker_next(in, 200, -1, &d, NULL), 0);
    broker_close(in);
    broker_close(out);
}

static void messages_of_several_queues_name_their_queue(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct broker *in = open_broker(url, BROKER_CONSUME);
    char a[BROKER_QUEUE_MAX], b[BROKER_QUEUE_MAX];
    const char *queues[] = {a, b};

    own_queue(url, a);
    own_queue(url, b);
    assert_int_equal(broker_consume(in, queues, 2, 5, NULL), 0);
    publish_in_the_end(out, a, "to a");
    assert_string_equal(await_body(in, "to a").queue, a);
    publish_in_the_end(out, b, "to b");
    assert_string_equal(await_body(in, "to b").queue, b);
    broker_close(in);
    broker_close(out);
}

static void what_was_not_acknowledged_comes_again_after_close(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    char queue[BROKER_QUEUE_MAX];

    own_queue(url, queue);
    in = open_consumer(url, queue, 10);
    publish_in_the_end(out, queue, "again");
    (void)await_body(in, "again");
    broker_close(in);
    in = open_consumer(url, queue, 10);
    (void)await_body(in, "again");
    broker_close(in);
    broker_close(out);
}

static void no_more_than_prefetch_are_delivered_unacknowledged(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    char queue[BROKER_QUEUE_MAX];

    own_queue(url, queue);
    for (int i = 0; i < 3; i++)
        publish_in_the_end(out, queue, "one of three");
    in = open_consumer(url, queue, 2);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, NULL), 1);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, NULL), 1);
    assert_int_equal(broker_next(in, 200, -1, &d, NULL), 0);
    assert_int_equal(broker_ack(in, d.tag, NULL), 0);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, NULL), 1);
    broker_close(in);
    broker_close(out);
}

static void prefetch_counts_over_all_queues(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct broker *in = open_broker(url, BROKER_CONSUME);
    char names[3][BROKER_QUEUE_MAX];
    const char *queues[] = {names[0], names[1], names[2]};
    struct broker_delivery d[2];
    int seen = 0;

    for (int i = 0; i < 3; i++) {
        own_queue(url, names[i]);
        for (int k = 0; k < 3; k++)
            publish_in_the_end(out, names[i], "one of nine");
    }
    assert_int_equal(broker_consume(in, queues, 3, 2, NULL), 0);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d[0], NULL), 1);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d[1], NULL), 1);
    for (seen = 2; seen < 9; seen++) {
        struct broker_delivery more;

        assert_int_equal(broker_next(in, 100, -1, &more, NULL), 0);
        assert_int_equal(broker_ack(in, d[seen % 2].tag, NULL), 0);
        assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d[seen % 2], NULL), 1);
    }
    broker_close(in); /* the last two go back, the surplus was empty by then */
    in = open_broker(url, BROKER_CONSUME);
    assert_int_equal(broker_consume(in, queues, 3, 9, NULL), 0);
    for (seen = 0; broker_next(in, 500, -1, &d[0], NULL) == 1; seen++)
        assert_string_equal(d[0].body, "one of nine");
    assert_int_equal(seen, 2);
    broker_close(in);
    broker_close(out);
}

static void a_paused_consumer_gives_its_deliveries_to_another(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *busy, *idle;
    struct broker_delivery d, seen;
    char queue[BROKER_QUEUE_MAX];

    own_queue(url, queue);
    for (int i = 0; i < 5; i++)
        publish_in_the_end(out, queue, "work");
    busy = open_consumer(url, queue, 10);
    assert_int_equal(broker_next(busy, PATIENCE_MS, -1, &d, NULL), 1);
    assert_int_equal(broker_pause(busy, NULL), 0);
    idle = open_consumer(url, queue, 10);
    for (int i = 0; i < 5; i++) {
        seen = await_body(idle, "work");
        assert_int_equal(broker_ack(idle, seen.tag, NULL), 0);
    }
    assert_int_equal(broker_ack(busy, d.tag, NULL), -E_UNAVAILABLE);
    assert_int_equal(broker_next(busy, 50, -1, &d, NULL), 0);
    assert_true(broker_is_up(busy));
    broker_close(idle);

    const char *queues[] = {queue};
    assert_int_equal(broker_consume(busy, queues, 1, 10, NULL), 0);
    publish_in_the_end(out, queue, "later");
    (void)await_body(busy, "later");
    broker_close(busy);
    broker_close(out);
}

/* --- RabbitMQ's own ------------------------------------------------------------------------
 */

static void publishing_makes_no_queue_and_drops_what_nobody_consumes(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    struct err err = ERR_INIT;
    char queue[BROKER_QUEUE_MAX], full[FULL_MAX];

    own_name(queue);
    full_name(queue, full);
    if (publish(out, queue, "nobody is there", PATIENCE_MS, &err) != 0)
        fail_msg("%s", err.text);
    assert_false(amqp_admin_has_queue(url, full));
    in = open_consumer(url, queue, 10);
    assert_true(amqp_admin_has_queue(url, full));
    assert_int_equal(broker_next(in, 200, -1, &d, NULL), 0);
    publish_in_the_end(out, queue, "now there is");
    (void)await_body(in, "now there is");
    broker_close(in);
    broker_close(out);
}

static void what_a_queue_refuses_is_not_confirmed(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct err err = ERR_INIT;
    char queue[BROKER_QUEUE_MAX], full[FULL_MAX];

    own_name(queue);
    full_name(queue, full);
    amqp_admin_declare_tiny(url, full);
    publish_in_the_end(out, queue, "the one it holds");
    assert_int_equal(publish(out, queue, "one too many", PATIENCE_MS, &err), -E_TIMEOUT);
    assert_non_null(strstr(err.text, queue));
    assert_true(broker_is_up(out));
    broker_close(out);
}

static void a_consumer_outlives_the_deletion_of_its_queue(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    char queue[BROKER_QUEUE_MAX], full[FULL_MAX];

    own_queue(url, queue);
    full_name(queue, full);
    in = open_consumer(url, queue, 10);
    assert_int_equal(broker_next(in, 0, -1, &d, NULL), 0);
    amqp_admin_delete_queue(url, full);
    assert_int_equal(broker_next(in, 500, -1, &d, NULL), 0);
    publish_in_the_end(out, queue, "after");
    (void)await_body(in, "after");
    broker_close(in);
    broker_close(out);
}

static void foreign_messages_are_dropped(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    char queue[BROKER_QUEUE_MAX], full[FULL_MAX];
    size_t len = 300000; /* several frames */
    char *big = malloc(len);

    assert_non_null(big);
    memset(big, 'x', len);
    own_queue(url, queue);
    full_name(queue, full);
    in = open_consumer(url, queue, 1);
    amqp_admin_publish(url, full, big, len);
    amqp_admin_publish(url, full, big, BROKER_BODY_MAX); /* one too long */
    amqp_admin_publish(url, full, "a\0b", 3);
    amqp_admin_publish(url, full, "", 0);
    publish_in_the_end(out, queue, "ours");
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, NULL), 1);
    assert_string_equal(d.body, "ours");
    assert_int_equal(broker_ack(in, d.tag, NULL), 0);
    broker_close(in);
    in = open_consumer(url, queue, 10);
    assert_int_equal(broker_next(in, 200, -1, &d, NULL), 0);
    broker_close(in);
    broker_close(out);
    free(big);
}

static void a_queue_with_other_settings_stops_no_consumer_of_others(const char *url)
{
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct broker *in = open_broker(url, BROKER_CONSUME);
    struct err err = ERR_INIT;
    char bad[BROKER_QUEUE_MAX], good[BROKER_QUEUE_MAX], full[FULL_MAX];
    const char *queues[] = {bad, good};

    own_name(bad);
    own_name(good);
    full_name(bad, full);
    amqp_admin_declare(url, full, "classic");
    assert_int_equal(broker_consume(in, queues, 2, 5, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, full));
    assert_non_null(strstr(err.text, "406"));
    assert_int_equal(broker_consume(in, queues, 2, 5, &err), 0);
    publish_in_the_end(out, bad, "a classic queue takes it");
    publish_in_the_end(out, good, "others");
    (void)await_body(in, "others");
    amqp_admin_delete_queue(url, full);
    while (!amqp_admin_has_queue(url, full)) {
        struct broker_delivery d;

        (void)broker_next(in, 100, -1, &d, NULL);
    }
    publish_in_the_end(out, bad, "mended");
    (void)await_body(in, "mended");
    broker_close(in);
    broker_close(out);
}

static void a_consumer_of_nothing_but_a_bad_queue_says_so_until_it_is_mended(const char *url)
{
    struct broker *in = open_broker(url, BROKER_CONSUME);
    struct err err = ERR_INIT;
    char bad[BROKER_QUEUE_MAX], full[FULL_MAX];
    const char *queues[] = {bad};
    struct broker_delivery d;
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;

    own_name(bad);
    full_name(bad, full);
    amqp_admin_declare(url, full, "classic");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(broker_consume(in, queues, 1, 5, &err), -E_UNAVAILABLE);
        assert_non_null(strstr(err.text, full));
        assert_int_equal(broker_next(in, 0, -1, &d, NULL), -E_UNAVAILABLE);
    }
    amqp_admin_delete_queue(url, full);
    while (broker_next(in, 0, -1, &d, NULL) != 0) {
        assert_true(clock_mono_ms() < deadline_ms);
        poll(NULL, 0, 20); /* between two tries, which are refused at once */
    }
    assert_true(amqp_admin_has_queue(url, full));
    broker_close(in);
}

/* --- the tables -----------------------------------------------------------------------------
 */

static void bad_urls_are_refused_at_open(void **state)
{
    static const char *const urls[] = {"http://h/", "amqp://", "amqp://u:secret@h:x/",
                                       "sqlite:a.db", "amqp://u:secret@h/?nonsense=1"};

    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        struct broker *b = NULL;
        struct err err = ERR_INIT;

        assert_int_equal(broker_open(urls[i], BROKER_PUBLISH, "t", &b, &err), -E_BAD_VALUE);
        assert_null(b);
        assert_null(strstr(err.text, "secret"));
        assert_non_null(strstr(err.text, "broker URL"));
    }
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    broker_close(NULL);
}

#define CASES_FOR_ALL(X)                                                                       \
    X(a_batch_of_256_is_confirmed)                                                             \
    X(an_empty_batch_is_fine)                                                                  \
    X(nothing_comes_before_the_time_is_up)                                                     \
    X(a_readable_wake_fd_ends_the_wait)                                                        \
    X(pausing_and_consuming_again_is_fine)

#define CASES_FOR_RABBITMQ(X)                                                                  \
    X(a_message_arrives_once_with_its_body)                                                    \
    X(messages_of_several_queues_name_their_queue)                                             \
    X(what_was_not_acknowledged_comes_again_after_close)                                       \
    X(no_more_than_prefetch_are_delivered_unacknowledged)                                      \
    X(prefetch_counts_over_all_queues)                                                         \
    X(a_paused_consumer_gives_its_deliveries_to_another)                                       \
    X(publishing_makes_no_queue_and_drops_what_nobody_consumes)                                \
    X(what_a_queue_refuses_is_not_confirmed)                                                   \
    X(a_consumer_outlives_the_deletion_of_its_queue)                                           \
    X(foreign_messages_are_dropped)                                                            \
    X(a_queue_with_other_settings_stops_no_consumer_of_others)                                 \
    X(a_consumer_of_nothing_but_a_bad_queue_says_so_until_it_is_mended)

#define NONE_TEST(name)                                                                        \
    static void none_##name(void **state)                                                      \
    {                                                                                          \
        name(*state);                                                                          \
    }
#define RABBITMQ_TEST(name)                                                                    \
    static void rabbitmq_##name(void **state)                                                  \
    {                                                                                          \
        const char *url = need_env("TEST_AMQP_URL");                                           \
                                                                                               \
        (void)state;                                                                           \
        name(url);                                                                             \
        delete_own_queues(url);                                                                \
    }
CASES_FOR_ALL(NONE_TEST)
CASES_FOR_ALL(RABBITMQ_TEST)
CASES_FOR_RABBITMQ(RABBITMQ_TEST)

int main(void)
{
#define NONE_ENTRY(name)     cmocka_unit_test_setup(none_##name, use_none),
#define RABBITMQ_ENTRY(name) cmocka_unit_test(rabbitmq_##name),
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_urls_are_refused_at_open),
                                       cmocka_unit_test(closing_nothing_is_fine),
                                       CASES_FOR_ALL(NONE_ENTRY) CASES_FOR_ALL(RABBITMQ_ENTRY)
                                           CASES_FOR_RABBITMQ(RABBITMQ_ENTRY)};

    return cmocka_run_group_tests_name("broker contract", tests, NULL, NULL);
}
