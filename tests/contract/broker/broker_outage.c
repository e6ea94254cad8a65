/* broker_outage.c - the broker itself dies, comes back, or runs out of memory. Needs the
 * folder of servers.sh (TEST_SERVERS_DIR) and a broker that nobody else is using just now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "broker.h"
#include "clock.h"
#include "contract_help.h"

/* The clean restart in the middle is for RabbitMQ: a quorum queue declared within the last
 * half second before a kill comes back empty and without a leader (rabbitmq-server issue
 * 10070), because the list of its queues is saved a little later than its messages. */
static void confirmed_messages_survive_a_killed_broker(void **state)
{
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    char queue[BROKER_QUEUE_MAX];

    (void)state;
    own_queue(url, queue);
    in = open_consumer(url, queue, 10);
    SERVERS("restart", "rabbitmq", dir);
    publish_in_the_end(out, queue, "unacknowledged");
    (void)await_body(in, "unacknowledged");
    SERVERS("kill", "rabbitmq", dir);
    assert_int_equal(publish(out, queue, "{}", 1000, NULL), -E_UNAVAILABLE);
    assert_int_equal(broker_next(in, 1000, -1, &d, NULL), -E_UNAVAILABLE);
    SERVERS("restart", "rabbitmq", dir);
    (void)await_body(in, "unacknowledged");
    publish_in_the_end(out, queue, "after");
    (void)await_body(in, "after");
    broker_close(in);
    broker_close(out);
    delete_own_queues(url);
}

static void a_broker_low_on_memory_refuses_publishers_and_serves_consumers(void **state)
{
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    struct broker *out = open_broker(url, BROKER_PUBLISH), *in;
    struct broker_delivery d;
    struct err err = ERR_INIT;
    char queue[BROKER_QUEUE_MAX];
    int64_t began_ms;

    (void)state;
    own_queue(url, queue);
    publish_in_the_end(out, queue, "before");
    SERVERS("rabbitmqctl", dir, "set_vm_memory_high_watermark", "0.00001");
    began_ms = clock_mono_ms();
    assert_int_equal(publish(out, queue, "{}", 2 * PATIENCE_MS, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, "low on memory"));
    assert_true(clock_mono_ms() - began_ms < PATIENCE_MS); /* told, not timed out */
    assert_true(broker_is_up(out));
    in = open_consumer(url, queue, 10);
    d = await_body(in, "before");
    assert_int_equal(broker_ack(in, d.tag, NULL), 0);
    SERVERS("rabbitmqctl", dir, "set_vm_memory_high_watermark", "0.4");
    publish_in_the_end(out, queue, "after");
    (void)await_body(in, "after");
    broker_close(in);
    broker_close(out);
    delete_own_queues(url);
}

enum {
    TIMEOUT_MS = 10000,
    OTHERS = 40,
    FOR_BAD = 60 /* more than RabbitMQ lets be on the way */
};

static size_t fill_batch(struct broker_message *batch, const char *bad,
                         char others[OTHERS][BROKER_QUEUE_MAX])
{
    size_t count = 0;

    for (; count < FOR_BAD; count++)
        batch[count] = message(bad, "{}");
    for (size_t i = 0; i < OTHERS; i++)
        batch[count++] = message(others[i], "{}");
    return count;
}

static void a_queue_that_hangs_holds_up_no_other_publish(void **state)
{
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    static struct broker_message batch[BROKER_BATCH_MAX];
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct err err = ERR_INIT;
    char bad[BROKER_QUEUE_MAX], others[OTHERS][BROKER_QUEUE_MAX];
    bool confirmed[BROKER_BATCH_MAX];
    size_t count;

    (void)state;
    own_queue(url, bad);
    for (size_t i = 0; i < OTHERS; i++)
        own_queue(url, others[i]);
    hang_queue(dir, bad);
    count = fill_batch(batch, bad, others);
    for (int round = 0; round < 3; round++) {
        int64_t began_ms = clock_mono_ms();

        assert_int_equal(broker_publish(out, batch, count, TIMEOUT_MS, confirmed, &err),
                         -E_TIMEOUT);
        assert_non_null(strstr(err.text, bad));
        assert_true(broker_is_up(out));
        for (size_t i = 0; i < count; i++)
            assert_int_equal(confirmed[i], i >= FOR_BAD);
        /* found out within seconds; from then on nobody waits for it */
        assert_true(clock_mono_ms() - began_ms < (round == 0 ? TIMEOUT_MS : 1000));
    }
    revive_queue(dir, bad);
    publish_in_the_end(out, bad, "{}");
    assert_int_equal(broker_publish(out, batch, count, PATIENCE_MS, confirmed, &err), 0);
    broker_close(out);
    delete_own_queues(url);
}

static void a_lonely_message_for_a_queue_that_hangs_waits_for_its_time_once(void **state)
{
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct err err = ERR_INIT;
    char bad[BROKER_QUEUE_MAX], good[BROKER_QUEUE_MAX];
    int64_t began_ms;

    (void)state;
    own_queue(url, bad);
    own_queue(url, good);
    hang_queue(dir, bad);
    assert_int_equal(publish(out, bad, "{}", 1000, &err), -E_TIMEOUT);
    began_ms = clock_mono_ms();
    assert_int_equal(publish(out, bad, "{}", PATIENCE_MS, &err), -E_TIMEOUT);
    assert_int_equal(publish(out, good, "{}", PATIENCE_MS, &err), 0);
    assert_true(clock_mono_ms() - began_ms < 1000);
    revive_queue(dir, bad);
    broker_close(out);
    delete_own_queues(url);
}

static void a_queue_that_hangs_stops_no_consumer_of_others(void **state)
{
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    struct broker *out = open_broker(url, BROKER_PUBLISH);
    struct broker *in = open_broker(url, BROKER_CONSUME);
    struct err err = ERR_INIT;
    char bad[BROKER_QUEUE_MAX], good[BROKER_QUEUE_MAX];
    const char *queues[] = {bad, good};

    (void)state;
    own_queue(url, bad);
    own_queue(url, good);
    hang_queue(dir, bad);
    assert_int_equal(broker_consume(in, queues, 2, 5, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, bad));
    assert_int_equal(broker_consume(in, queues, 2, 5, &err), 0);
    publish_in_the_end(out, good, "others");
    (void)await_body(in, "others");
    revive_queue(dir, bad);
    publish_in_the_end(out, bad, "well again");
    (void)await_body(in, "well again");
    broker_close(in);
    broker_close(out);
    delete_own_queues(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confirmed_messages_survive_a_killed_broker),
        cmocka_unit_test(a_broker_low_on_memory_refuses_publishers_and_serves_consumers),
        cmocka_unit_test(a_queue_that_hangs_holds_up_no_other_publish),
        cmocka_unit_test(a_lonely_message_for_a_queue_that_hangs_waits_for_its_time_once),
        cmocka_unit_test(a_queue_that_hangs_stops_no_consumer_of_others),
    };

    return cmocka_run_group_tests_name("broker outage", tests, NULL, NULL);
}
