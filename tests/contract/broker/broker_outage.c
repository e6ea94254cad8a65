/* broker_outage.c - the broker itself dies, comes back, or runs out of memory. Needs the
 * folder of servers.sh (TEST_SERVERS_DIR) and a broker that nobody else is using just now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker.h"
#include "clock.h"
#include "contract_help.h"

/* Runs tests/support/servers.sh (ctest's working directory is the root of the sources). */
static void servers(const char *const args[])
{
    const char *argv[8] = {"servers.sh"};
    int status;
    pid_t pid;

    for (size_t i = 0; args[i]; i++) {
        assert_true(i + 2 < sizeof argv / sizeof argv[0]);
        argv[i + 1] = args[i];
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        execv("tests/support/servers.sh", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define SERVERS(...) servers((const char *const[]){__VA_ARGS__, NULL})

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
    own_queue(queue);
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
    own_queue(queue);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(confirmed_messages_survive_a_killed_broker),
        cmocka_unit_test(a_broker_low_on_memory_refuses_publishers_and_serves_consumers),
    };

    return cmocka_run_group_tests_name("broker outage", tests, NULL, NULL);
}
