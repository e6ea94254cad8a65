/* broker_relay.c - the manager's outbox relay against a real broker: a backlog does not hold
 * up the end of the manager, and the rows of a bad queue do not stand before all others. */
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
#include "service.h"

struct fixture {
    char dir[64], database[128], storage[96];
    struct config config;
    struct objstore *objects;
    struct store *store;
    struct broker *broker;
    struct service *service;
};

static struct err err; /* of the call before */

#define OK(call)                                                                               \
    do {                                                                                       \
        if ((call) != 0)                                                                       \
            fail_msg("%s: %s", #call, err.text);                                               \
    } while (0)

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    char program[] = "test";
    char *const argv[] = {program, NULL};

    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/segue-relay-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->storage, sizeof f->storage, "file:%s/objects", f->dir);
    snprintf(f->database, sizeof f->database, "sqlite:%s/segue.db", f->dir);
    OK(config_load(&f->config, CONFIG_MANAGER, 1, argv, NULL, &err));
    f->config.min_free_bytes = 0;
    OK(objstore_open(f->storage, &f->objects, &err));
    OK(store_open(f->database, 4, &f->store, &err));
    OK(store_upgrade(f->store, &err));
    *state = f;
    return 0;
}

static void stop(struct fixture *f)
{
    service_stop_free(f->service);
    broker_close(f->broker);
    f->service = NULL;
    f->broker = NULL;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, f->dir, NULL};
    pid_t pid;

    stop(f);
    store_close(f->store);
    objstore_close(f->objects);
    config_release(&f->config);
    pid = fork();
    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    free(f);
    return pid < 0;
}

static void start(struct fixture *f, const char *url)
{
    struct service_parts parts = {&f->config, f->store, f->objects, NULL};

    OK(broker_open(url, BROKER_PUBLISH, "segue test", &f->broker, &err));
    parts.publisher = f->broker;
    OK(service_start(&parts, &f->service, &err));
}

/* Tasks that waited for a time, which has come: each has a message of its own. */
static void submit(struct fixture *f, const char *queue, size_t count)
{
    struct submit_request request = {.type = "noop", .run_at_ms = 1};
    struct submit_result result;

    snprintf(request.queue, sizeof request.queue, "%s", queue);
    for (size_t i = 0; i < count; i++)
        OK(service_submit(f->service, &request, &result, &err));
}

static int64_t rows(struct fixture *f)
{
    struct store_counts counts;

    OK(store_counts(f->store, 1000000, &counts, &err));
    return counts.outbox;
}

static const char nobody[] = "amqp://guest:guest@127.0.0.1:1/";

static void a_backlog_does_not_hold_up_the_end(void **state)
{
    enum { TASKS = 5 * BROKER_BATCH_MAX };
    struct fixture *f = *state;
    const char *url = need_env("TEST_AMQP_URL");

    start(f, nobody);
    submit(f, "nobody-consumes", TASKS);
    stop(f);
    assert_int_equal(rows(f), TASKS);
    start(f, url);
    stop(f);
    assert_true(rows(f) >= TASKS - 2 * BROKER_BATCH_MAX);
}

static void rows_of_a_queue_that_hangs_are_put_off_and_let_others_pass(void **state)
{
    struct fixture *f = *state;
    const char *url = need_env("TEST_AMQP_URL"), *dir = need_env("TEST_SERVERS_DIR");
    char bad[BROKER_QUEUE_MAX], good[BROKER_QUEUE_MAX];
    struct broker *in;
    struct broker_delivery d;

    own_queue(url, bad);
    own_queue(url, good);
    hang_queue(dir, bad);
    start(f, nobody);
    submit(f, bad, BROKER_BATCH_MAX + 40);
    submit(f, good, 1);
    stop(f);
    start(f, url);
    in = open_consumer(url, good, 1);
    assert_int_equal(broker_next(in, PATIENCE_MS, -1, &d, &err), 1);
    stop(f);
    assert_int_equal(rows(f), 0); /* that are due */
    broker_close(in);
    revive_queue(dir, bad);
    delete_own_queues(url);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_backlog_does_not_hold_up_the_end),
        TEST(rows_of_a_queue_that_hangs_are_put_off_and_let_others_pass),
    };

    return cmocka_run_group_tests_name("broker relay", tests, NULL, NULL);
}
