/* test_service_faults.c - use cases while the store fails one chosen call. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "model_store.h"
#include "service_internal.h"

struct fixture {
    char dir[64];
    struct config config;
    struct objstore *objects;
    struct broker *broker;
    struct model_db db;
    struct model_conn conn;
    struct service *service;
};

static const char *failing; /* the call that fails next; NULL: none */

static int64_t now(void *arg)
{
    (void)arg;
    return clock_wall_ms();
}

static int before(void *arg, const char *call, struct err *err)
{
    (void)arg;
    if (!failing || strcmp(call, failing) != 0)
        return 0;
    failing = NULL;
    return err_set(err, -E_UNAVAILABLE, "the database is away");
}

static int setup(void **state)
{
    static const struct model_watch watch = {.now = now, .before = before};
    struct fixture *f = calloc(1, sizeof *f);
    char url[96], program[] = "test";
    char *const argv[] = {program, NULL};

    assert_non_null(f);
    snprintf(f->dir, sizeof f->dir, "/tmp/segue-service-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(url, sizeof url, "file:%s", f->dir);
    assert_int_equal(config_load(&f->config, CONFIG_MANAGER, 1, argv, NULL, NULL), 0);
    assert_int_equal(objstore_open(url, &f->objects, NULL), 0);
    assert_int_equal(broker_open("", BROKER_PUBLISH, "test", &f->broker, NULL), 0);
    model_db_init(&f->db);
    model_connect(&f->conn, &f->db, &watch, NULL);
    struct service_parts parts = {&f->config, &f->conn.base, f->objects, f->broker};
    assert_int_equal(service_new(&parts, &f->service, NULL), 0);
    failing = NULL;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    static const char *const folders[] = {"raw_data", "processed_data", ".tmp", ""};
    struct fixture *f = *state;
    char path[96];

    service_stop_free(f->service);
    model_db_release(&f->db);
    broker_close(f->broker);
    objstore_close(f->objects);
    config_release(&f->config);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f->dir, folders[i]);
        rmdir(path);
    }
    free(f);
    return 0;
}

/* A task that runs; its report says DONE and names an object that is not there. */
static struct report claim_and_lie(struct fixture *f)
{
    struct submit_request request = {.type = "noop"};
    struct claim_request claim = {.worker = "w", .queue_count = 1, .limit = 1};
    struct report r = {.outcome = ATTEMPT_DONE, .output = {.size = 1}};
    struct submit_result result;
    struct work *work = NULL;
    size_t count = 0;

    snprintf(claim.queues[0], sizeof claim.queues[0], "default");
    assert_int_equal(service_submit(f->service, &request, &result, NULL), 0);
    assert_int_equal(claim_once(f->service, &claim, &work, &count, NULL), 0);
    assert_int_equal(count, 1);
    memcpy(r.task_id, work->task_id, sizeof r.task_id);
    memcpy(r.token, work->token, sizeof r.token);
    snprintf(r.output.key, sizeof r.output.key, "%.200sx", work->output_prefix);
    work_items_free(work, count);
    return r;
}

static void a_bad_output_is_not_recorded_because_the_store_failed(void **state)
{
    struct fixture *f = *state;
    struct report r = claim_and_lie(f);
    struct report_verdict verdict;
    struct task t;

    failing = "renew"; /* while it is asked who owns the task */
    assert_int_equal(service_report(f->service, "w", &r, 1, &verdict, NULL), -E_UNAVAILABLE);
    assert_int_equal(service_report(f->service, "w", &r, 1, &verdict, NULL), 0);
    assert_int_equal(verdict.word, REPORT_REFUSED);
    assert_int_equal(store_get(&f->conn.base, r.task_id, &t, NULL), 0);
    assert_int_equal(t.state, TASK_PROCESSING);
    task_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_bad_output_is_not_recorded_because_the_store_failed,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
