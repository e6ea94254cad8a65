/* test_source.c - the thread that claims, between a broker that counts acknowledgements and a
 * manager that counts claims: a hint is given up only once its claim was answered. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "broker_impl.h"
#include "clock.h"
#include "fake_manager.h"
#include "http_client.h"
#include "threads.h"

enum { PATIENCE_MS = 30000, TAG = 7 };

/* A broker with one message at most. */
struct fake_broker {
    struct broker base;
    int fd;                       /* an eventfd: there is a message */
    struct fake_manager *manager; /* its lock guards what follows */
    bool has_message;
    char body[BROKER_BODY_MAX];
    int claims_when_given, claims_when_acked, acks;
};

struct bench {
    struct fake_manager manager;
    struct fake_broker broker;
    struct runtime_options options;
    struct board board;
    struct service service;
    pthread_t thread;
};

static int fake_consume(struct broker *base, const char *const *queues, size_t count,
                        uint16_t prefetch, struct err *err)
{
    (void)base, (void)queues, (void)count, (void)prefetch, (void)err;
    return 0;
}

static int fake_pause(struct broker *base, struct err *err)
{
    (void)base, (void)err;
    return 0;
}

static int fake_next(struct broker *base, int timeout_ms, int wake_fd,
                     struct broker_delivery *ret, struct err *err)
{
    struct fake_broker *b = (struct fake_broker *)base;
    struct pollfd wake = {.fd = wake_fd, .events = POLLIN};

    uint64_t told;

    (void)err;
    if (read(b->fd, &told, sizeof told) < 0)
        told = 0; /* nothing new */
    pthread_mutex_lock(&b->manager->lock);
    bool given = b->has_message;
    if (given) {
        b->has_message = false;
        b->claims_when_given = b->manager->claims;
        *ret = (struct broker_delivery){.tag = TAG};
        snprintf(ret->body, sizeof ret->body, "%s", b->body);
    }
    pthread_mutex_unlock(&b->manager->lock);
    if (!given)
        poll(&wake, 1, timeout_ms < 10 ? timeout_ms : 10);
    return given;
}

static int fake_fd(const struct broker *base)
{
    return ((const struct fake_broker *)base)->fd;
}

static int fake_ack(struct broker *base, uint64_t tag, struct err *err)
{
    struct fake_broker *b = (struct fake_broker *)base;

    (void)err;
    pthread_mutex_lock(&b->manager->lock);
    b->acks += tag == TAG;
    b->claims_when_acked = b->manager->claims;
    pthread_cond_broadcast(&b->manager->changed);
    pthread_mutex_unlock(&b->manager->lock);
    return 0;
}

static bool fake_is_up(const struct broker *base)
{
    (void)base;
    return true;
}

static const struct broker_ops fake_ops = {.name = "fake",
                                           .delivers = true,
                                           .consume = fake_consume,
                                           .pause = fake_pause,
                                           .next = fake_next,
                                           .fd = fake_fd,
                                           .ack = fake_ack,
                                           .is_up = fake_is_up};

static int setup_polling(void **state, int64_t poll_ms)
{
    struct bench *b = calloc(1, sizeof *b);

    assert_non_null(b);
    fake_manager_init(&b->manager);
    fake_manager_start(&b->manager);
    b->broker.base = (struct broker){&fake_ops, BROKER_CONSUME};
    b->broker.manager = &b->manager;
    b->broker.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    assert_true(b->broker.fd >= 0);
    b->options = (struct runtime_options){.manager_url = b->manager.url,
                                          .worker = "w",
                                          .queues = {"default"},
                                          .queue_count = 1,
                                          .slots = 2,
                                          .poll_ms = poll_ms};
    assert_int_equal(board_open(&b->board, 3000, NULL), 0);
    b->service =
        (struct service){.options = &b->options, .board = &b->board, .broker = &b->broker.base};
    assert_int_equal(
        manager_open(&b->service.manager, b->manager.url, "claim", &b->board.quit, NULL), 0);
    board_offer(&b->board, 4, 0, 0);
    assert_int_equal(pthread_create(&b->thread, NULL, source_run, &b->service), 0);
    *state = b;
    return 0;
}

static int setup(void **state)
{
    return setup_polling(state, 3600000);
}

static int setup_idle(void **state)
{
    return setup_polling(state, 200);
}

static int teardown(void **state)
{
    struct bench *b = *state;

    board_stop_claims(&b->board);
    board_quit(&b->board);
    pthread_join(b->thread, NULL);
    manager_close(&b->service.manager);
    board_close(&b->board);
    fake_manager_stop(&b->manager);
    fake_manager_release(&b->manager);
    close(b->broker.fd);
    free(b);
    return 0;
}

static void deliver(struct bench *b, const char *task_id, int attempt)
{
    const uint64_t one = 1;

    pthread_mutex_lock(&b->manager.lock);
    b->broker.has_message = true;
    snprintf(b->broker.body, sizeof b->broker.body,
             "{\"task_id\":\"%s\",\"type\":\"noop\",\"attempt\":%d}", task_id, attempt);
    pthread_mutex_unlock(&b->manager.lock);
    assert_int_equal(write(b->broker.fd, &one, sizeof one), sizeof one);
}

/* Work comes in through another manager: the one that is asked does not hear of it by itself.
 */
static void send_hint(struct bench *b)
{
    pthread_mutex_lock(&b->manager.lock);
    b->manager.deaf_polls = true;
    pthread_mutex_unlock(&b->manager.lock);
    int index = fake_manager_offer(&b->manager, "{}", 0);
    deliver(b, b->manager.works[index].task_id, 0);
}

static int wait_ack(struct bench *b)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&b->manager.lock);
    while (b->broker.acks == 0 &&
           pthread_cond_timedwait(&b->manager.changed, &b->manager.lock, &until) == 0) {
    }
    int acks = b->broker.acks;
    pthread_mutex_unlock(&b->manager.lock);
    return acks;
}

static void a_hint_is_acknowledged_once_its_claim_is_answered(void **state)
{
    struct bench *b = *state;

    assert_true(fake_manager_wait_claims(&b->manager, 2)); /* one that looks, one that waits */
    send_hint(b);
    assert_int_equal(wait_ack(b), 1);
    assert_int_equal(b->broker.claims_when_given, 2);
    assert_int_equal(b->broker.claims_when_acked, 3); /* the second still waits */
    assert_int_equal(b->manager.claimed, 1);
}

static void what_was_handed_over_before_the_broker_told_of_it_is_not_asked_for(void **state)
{
    struct bench *b = *state;

    assert_true(fake_manager_wait_claims(&b->manager, 2));
    int index = fake_manager_offer(&b->manager, "{}", 0); /* to the claim that waits */
    assert_true(fake_manager_wait_claims(&b->manager, 3));
    deliver(b, b->manager.works[index].task_id, 0);
    assert_int_equal(wait_ack(b), 1);
    assert_int_equal(b->broker.claims_when_acked, 3);
}

static void another_try_at_a_known_task_is_asked_for(void **state)
{
    struct bench *b = *state;

    assert_true(fake_manager_wait_claims(&b->manager, 2));
    int index = fake_manager_offer(&b->manager, "{}", 0);
    assert_true(fake_manager_wait_claims(&b->manager, 3));
    deliver(b, b->manager.works[index].task_id, 1);
    assert_int_equal(wait_ack(b), 1);
    assert_int_equal(b->broker.claims_when_acked, 4);
}

static void a_hint_is_kept_while_claims_fail(void **state)
{
    struct bench *b = *state;

    assert_true(fake_manager_wait_claims(&b->manager, 2));
    pthread_mutex_lock(&b->manager.lock);
    b->manager.garble_claims = true;
    int claims = b->manager.claims;
    pthread_mutex_unlock(&b->manager.lock);
    send_hint(b);
    assert_true(fake_manager_wait_claims(&b->manager, claims + 2));
    pthread_mutex_lock(&b->manager.lock);
    int acks = b->broker.acks; /* the first of the two claims has been answered */
    b->manager.garble_claims = false;
    pthread_mutex_unlock(&b->manager.lock);
    assert_int_equal(acks, 0);
    assert_int_equal(wait_ack(b), 1);
}

enum { BLOCKS = 8000, BLOCK_BYTES = 2000 };

static size_t resident_bytes(void)
{
    FILE *in = fopen("/proc/self/statm", "re");
    unsigned long all = 0, resident = 0;

    assert_non_null(in);
    assert_int_equal(fscanf(in, "%lu %lu", &all, &resident), 2);
    fclose(in);
    return resident * (size_t)sysconf(_SC_PAGESIZE);
}

/* The last block stays, so that what is free lies in the middle and no free() gives it back. */
static void *leave_free_memory(void)
{
    static char *blocks[BLOCKS];

    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = malloc(BLOCK_BYTES);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, BLOCK_BYTES);
    }
    for (size_t i = 0; i < BLOCKS - 1; i++)
        free(blocks[i]);
    return blocks[BLOCKS - 1];
}

static void memory_that_is_free_goes_back_once_there_is_no_work_for_a_while(void **state)
{
    struct bench *b = *state;
    const int64_t until_ms = clock_mono_ms() + PATIENCE_MS;
#ifdef __SANITIZE_ADDRESS__
    skip(); /* it keeps what was freed */
#endif
    void *last = leave_free_memory();
    size_t before = resident_bytes();
    send_hint(b);
    assert_int_equal(wait_ack(b), 1);
    while (resident_bytes() > before - BLOCKS * BLOCK_BYTES / 2) {
        assert_true(clock_mono_ms() < until_ms);
        poll(NULL, 0, 20);
    }
    free(last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_hint_is_acknowledged_once_its_claim_is_answered,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_hint_is_kept_while_claims_fail, setup, teardown),
        cmocka_unit_test_setup_teardown(
            what_was_handed_over_before_the_broker_told_of_it_is_not_asked_for, setup,
            teardown),
        cmocka_unit_test_setup_teardown(another_try_at_a_known_task_is_asked_for, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            memory_that_is_free_goes_back_once_there_is_no_work_for_a_while, setup_idle,
            teardown),
    };

    assert_int_equal(http_client_global_init(NULL), 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
