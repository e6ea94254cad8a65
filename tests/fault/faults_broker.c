/* faults_broker.c - publishing to and consuming from RabbitMQ while any one call, or all from
 * one on, fail. The broker is at TEST_AMQP_URL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker.h"
#include "contract_help.h"
#include "faults.h"

enum { MESSAGES = 3, WAIT_MS = 20000 };

static const char *url;
static char queue[BROKER_QUEUE_MAX];

static int publish_some(struct err *err)
{
    struct broker_message messages[MESSAGES];
    bool confirmed[MESSAGES] = {false};
    struct broker *b = NULL;
    int rc = broker_open(url, BROKER_PUBLISH, "test", &b, err);

    if (rc)
        return rc;
    for (int i = 0; i < MESSAGES; i++) {
        snprintf(messages[i].id, sizeof messages[i].id, "%d", i);
        snprintf(messages[i].queue, sizeof messages[i].queue, "%s", queue);
        snprintf(messages[i].body, sizeof messages[i].body, "{\"n\":%d}", i);
    }
    rc = broker_publish(b, messages, MESSAGES, WAIT_MS, confirmed, err);
    for (int i = 0; i < MESSAGES && !rc; i++)
        assert_true(confirmed[i]);
    if (!rc)
        rc = broker_pump(b, err);
    broker_close(b);
    return rc;
}

static int take(struct broker *b, struct err *err)
{
    const char *const queues[] = {queue};
    struct broker_delivery d;
    int rc = broker_consume(b, queues, 1, MESSAGES, err);

    for (int i = 0; i < MESSAGES && !rc; i++) {
        rc = broker_next(b, WAIT_MS, -1, &d, err);
        if (rc == 0)
            fail_msg("a confirmed message does not come");
        rc = rc < 0 ? rc : broker_ack(b, d.tag, err);
    }
    return rc ? rc : broker_pause(b, err);
}

static int run(void *arg, struct err *err)
{
    struct broker *b = NULL;
    int rc = publish_some(err);

    (void)arg;
    if (!rc)
        rc = broker_open(url, BROKER_CONSUME, "test", &b, err);
    if (!rc)
        rc = take(b, err);
    broker_close(b);
    return rc;
}

static void every_call_to_the_broker_fails_with_a_sentence_and_leaves_nothing(void **state)
{
    const struct faults_scenario s = {.name = "rabbitmq", .run = run, .settles = true};

    (void)state;
    /* librabbitmq 0.11 loses its first buffer when the allocation after it fails
     * (amqp_new_connection), and has calls to abort() for others. */
    faults_spare_library("librabbitmq.", FAULT_MEMORY);
    url = need_env("TEST_AMQP_URL");
    own_queue(url, queue);
    faults_torture(&s, FAULTS_OF_LINKS | 1U << FAULT_MEMORY | 1U << FAULT_THREAD);
    delete_own_queues(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_to_the_broker_fails_with_a_sentence_and_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
