/* test_outputs.c - what attempts have published is durable before it is reported, or lost and
 * told as such. fsync goes through the wrapper below. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "outputs.h"

#define TASK "01a22c9d-5668-7042-866e-c5d9890ef48f"
#define STEM "processed_data/8f/" TASK ".1."

static atomic_int syncs, failing; /* failing: how many more are to fail */

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    atomic_fetch_add(&syncs, 1);
    if (atomic_load(&failing) == 0)
        return __real_fsync(fd);
    atomic_fetch_sub(&failing, 1);
    errno = EIO;
    return -1;
}

struct bench {
    char dir[64];
    struct objstore *store;
    struct board board;
    struct runtime_options options;
    struct service service;
    pthread_t syncer;
};

static int setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);
    char url[128];

    assert_non_null(b);
    snprintf(b->dir, sizeof b->dir, "/tmp/segue-outputs-XXXXXX");
    assert_non_null(mkdtemp(b->dir));
    snprintf(url, sizeof url, "file:%s", b->dir);
    assert_int_equal(objstore_open(url, &b->store, NULL), 0);
    assert_int_equal(board_open(&b->board, 3000, NULL), 0);
    b->options.store = b->store;
    b->service.options = &b->options;
    b->service.board = &b->board;
    atomic_store(&syncs, 0);
    assert_int_equal(pthread_create(&b->syncer, NULL, syncer_run, &b->service), 0);
    *state = b;
    return 0;
}

static int teardown(void **state)
{
    struct bench *b = *state;
    static const char *const names[] = {"processed_data/8f", "processed_data", "raw_data",
                                        ".tmp", ""};
    char path[128];

    board_quit(&b->board);
    pthread_join(b->syncer, NULL);
    board_close(&b->board);
    objstore_delete(b->store, STEM "totals.csv", NULL);
    objstore_close(b->store);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", b->dir, names[i]);
        rmdir(path);
    }
    free(b);
    return 0;
}

static struct artifact publish(struct bench *b, const char *key)
{
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(b->store, key, &p, NULL), 0);
    assert_int_equal(objstore_put_write(p, "totals", 6, NULL), 0);
    assert_int_equal(objstore_put_publish_free(p, &a, NULL), 0);
    return a;
}

/* Ends an attempt that has published its totals; gives what the reporter gets. */
static struct held *end_attempt(struct bench *b)
{
    struct work w = {.task_id = TASK, .output_stem = STEM, .lease_ms = 10000};
    struct report r = {.task_id = TASK, .outcome = ATTEMPT_DONE, .result = strdup("{}")};
    struct held *ended = NULL;

    assert_int_equal(board_add(&b->board, &w, clock_mono_ms(), NULL), 0);
    struct held *h = board_take(&b->board, clock_mono_ms());
    assert_non_null(h);
    r.output = publish(b, STEM "totals.csv");
    assert_int_equal(atomic_load(&syncs), 0);
    board_end(&b->board, h, &r);
    assert_int_equal(board_wait_ended(&b->board, &ended, 1), 1);
    assert_ptr_equal(ended, h);
    return ended;
}

static bool is_there(struct bench *b, const char *key)
{
    struct artifact a;

    return objstore_stat(b->store, key, false, &a, NULL) == 0;
}

static void an_output_is_synced_before_its_report_is_to_be_had(void **state)
{
    struct bench *b = *state;
    struct held *h = end_attempt(b);

    assert_true(atomic_load(&syncs) >= 2); /* the file and its folder */
    assert_int_equal(h->report.outcome, ATTEMPT_DONE);
    assert_string_equal(h->report.output.key, STEM "totals.csv");
    assert_true(is_there(b, STEM "totals.csv"));
}

static void an_output_that_cannot_be_synced_makes_a_failure_to_try_again(void **state)
{
    struct bench *b = *state;

    publish(b, STEM "rejects.csv");
    atomic_store(&failing, 1);
    struct held *h = end_attempt(b);
    assert_int_equal(h->report.outcome, ATTEMPT_FAILED);
    assert_int_equal(h->report.error.class, ERROR_TRANSIENT);
    assert_non_null(strstr(h->report.error.message, "fsync"));
    assert_string_equal(h->report.output.key, "");
    assert_null(h->report.result);
    assert_string_equal(h->report.task_id, TASK);
    assert_false(is_there(b, STEM "totals.csv"));
    assert_false(is_there(b, STEM "rejects.csv"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_output_is_synced_before_its_report_is_to_be_had,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(
            an_output_that_cannot_be_synced_makes_a_failure_to_try_again, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
