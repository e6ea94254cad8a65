/* faults_runs.c - runs of pipelines on SQLite while any one call, or all from one on, fail: no
 * step begins twice or is left out, none is anybody's fault, and what was told is so. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "log.h"
#include "service.h"

static char dir[64], storage[96], database[128];
static struct config config;

/* What was told of the run. */
static char key[64], run_id[ID_TEXT_MAX];
static bool accepted;
static int reported; /* steps */

struct house {
    struct objstore *objects;
    struct store *store;
    struct broker *broker;
    struct service *service;
};

static int house_open(struct house *h, struct err *err)
{
    *h = (struct house){.store = NULL};
    int rc = objstore_open(storage, &h->objects, err);

    if (!rc)
        rc = store_open(database, 4, &h->store, err);
    if (!rc)
        rc = store_upgrade(h->store, err);
    if (!rc)
        rc = broker_open("", BROKER_PUBLISH, "test", &h->broker, err);
    if (!rc) {
        const struct service_parts parts = {&config, h->store, h->objects, h->broker};
        rc = service_start(&parts, &h->service, err);
    }
    return rc;
}

static void house_close(struct house *h)
{
    service_stop_free(h->service);
    broker_close(h->broker);
    store_close(h->store);
    objstore_close(h->objects);
}

static int start(struct service *s, struct err *err)
{
    static const char definition[] =
        "{\"input\":{\"t\":{\"type\":\"string\",\"secret\":true},"
        "\"n\":{\"type\":\"integer\",\"default\":3}},\"steps\":["
        "{\"name\":\"a\",\"type\":\"noop\",\"params\":{\"sleep_ms\":\"${input.n}\"}},"
        "{\"name\":\"b\",\"type\":\"noop\",\"params\":{\"sleep_ms\":\"${steps.a.output.ms}\"}},"
        "{\"name\":\"c\",\"type\":\"noop\"}]}";
    const struct run_request request = {"p", definition, "{\"t\":\"hunter2\"}", key};
    struct submit_result result;
    struct buf mistakes = BUF_INIT;
    int rc = service_run_start(s, &request, &result, &mistakes, err);

    buf_release(&mistakes);
    accepted = !rc;
    if (!rc)
        memcpy(run_id, result.id, sizeof run_id);
    return rc;
}

struct answer {
    int rc;
    size_t count;
    char task_id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct err err;
};

static void on_answer(void *arg, int rc, const struct work *items, size_t count,
                      const struct err *why)
{
    struct answer *a = arg;

    a->rc = rc;
    a->count = count;
    a->err = *why;
    if (count > 0) {
        memcpy(a->task_id, items[0].task_id, sizeof a->task_id);
        memcpy(a->token, items[0].token, sizeof a->token);
    }
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

/* The next step's task, with its end. What followed for the run may have been left behind. */
static int work(struct service *s, const char *error, struct err *err)
{
    struct claim_request request = {.worker = "w", .queue_count = 1, .limit = 1};
    struct answer a = {.rc = 1};
    const struct claim_reply reply = {on_answer, always, &a};
    struct report report = {.outcome = error ? ATTEMPT_FAILED : ATTEMPT_DONE};
    struct report_verdict verdict;
    static char result[] = "{\"ms\":7}";

    snprintf(request.queues[0], sizeof request.queues[0], "default");
    service_claim(s, &request, &reply);
    if (a.rc)
        return err_set(err, a.rc, "%s", a.err.text);
    if (a.count == 0)
        return err_set(err, -E_UNAVAILABLE, "the run was left behind");
    memcpy(report.task_id, a.task_id, sizeof report.task_id);
    memcpy(report.token, a.token, sizeof report.token);
    if (error) {
        report.error.class = ERROR_INPUT;
        snprintf(report.error.message, sizeof report.error.message, "%s", error);
    } else {
        report.result = result;
    }
    int rc = service_report(s, "w", &report, 1, &verdict, err);
    reported += !rc;
    return rc;
}

static int end(struct service *s, struct err *err)
{
    struct run r;
    int rc = service_run_resume(s, run_id, NULL, &r, err);

    if (rc == -E_BAD_STATE) /* it was left behind, and so is still going */
        return err_set(err, -E_UNAVAILABLE, "the run was left behind");
    if (rc)
        return rc;
    assert_int_equal(r.state, TASK_PROCESSING);
    assert_int_equal(r.at, 1);
    run_release(&r);
    rc = service_run_cancel(s, run_id, &r, err);
    if (rc)
        return rc;
    assert_true(r.state == TASK_CANCELLED || r.is_cancelling);
    rc =
        r.state == TASK_CANCELLED ? 0 : err_set(err, -E_UNAVAILABLE, "the run was left behind");
    run_release(&r);
    return rc;
}

static int run(void *arg, struct err *err)
{
    struct house h;
    char id[ID_TEXT_MAX];

    (void)arg;
    id_new(id);
    snprintf(key, sizeof key, "key-%s", id);
    accepted = false;
    reported = 0;
    int rc = house_open(&h, err);
    if (!rc)
        rc = start(h.service, err);
    if (!rc)
        rc = work(h.service, NULL, err);
    if (!rc)
        rc = work(h.service, "no entry for hunter2", err);
    if (!rc)
        rc = end(h.service, err);
    house_close(&h);
    return rc;
}

/* -- afterwards -- */

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    return ftw->level > 0 ? remove(path) : 0;
}

/* Ends it, which draws every conclusion that was not drawn; then it is whole. */
static void check_run(struct house *h, const char *id)
{
    struct run r;
    struct err err = ERR_INIT;
    struct task_list tasks;
    int tries = 0, found = 0;

    int rc = service_run_cancel(h->service, id, &r, &err);
    assert_true(rc == 0 || rc == -E_BAD_STATE);
    run_release(&r);
    assert_int_equal(store_run_get(h->store, id, &r, &err), 0);
    assert_true(r.state == TASK_CANCELLED || r.state == TASK_FAILED);
    assert_false(r.is_cancelling);
    assert_string_equal(r.error.code, r.state == TASK_CANCELLED ? "cancelled" : "");
    if (reported > 0) {
        assert_int_equal(r.steps[0].state, TASK_DONE);
        assert_string_equal(r.steps[0].output, "{\"ms\":7}");
    }
    assert_int_equal(
        store_list(h->store, &(struct store_filter){.limit = 20}, &tasks, NULL, &err), 0);
    for (size_t i = 0; i < tasks.count; i++) {
        assert_true(task_state_is_terminal(tasks.items[i].state));
        assert_null(strstr(tasks.items[i].error.message, "hunter2"));
        found += strcmp(tasks.items[i].run_id, id) == 0;
    }
    for (size_t i = 0; i < r.step_count; i++) {
        struct task t;
        tries += r.steps[i].tries;
        assert_null(strstr(r.steps[i].error.message, "hunter2"));
        if (!r.steps[i].task_id[0])
            continue;
        assert_int_equal(store_get(h->store, r.steps[i].task_id, &t, &err), 0);
        assert_int_equal(t.state, r.steps[i].state);
        task_release(&t);
    }
    assert_int_equal(found, tries);
    task_list_release(&tasks);
    run_release(&r);
}

static void check(void *arg, int rc)
{
    struct house h;
    struct err err = ERR_INIT;
    struct run_list list;
    struct run_mark mark;
    size_t count = 0;

    (void)arg;
    (void)rc;
    if (house_open(&h, &err))
        fail_msg("%s", err.text);
    /* The client asks again with its key: the same run, or one now. */
    bool was_accepted = accepted;
    char before[ID_TEXT_MAX];
    memcpy(before, run_id, sizeof before);
    assert_int_equal(start(h.service, &err), 0);
    if (was_accepted)
        assert_string_equal(run_id, before);
    assert_int_equal(
        store_run_list(h.store, &(struct run_filter){.limit = 5}, &list, NULL, &err), 0);
    assert_int_equal(list.count, 1);
    run_list_release(&list);
    check_run(&h, run_id);
    assert_int_equal(store_run_marks(h.store, 0, 1, &mark, &count, &err), 0);
    assert_int_equal(count, 0);
    house_close(&h);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* the next run begins with nothing */
}

static void a_run_is_whole_whatever_fails(void **state)
{
    const struct faults_scenario s = {
        .name = "runs", .run = run, .check = check, .settles = true, .limit = 60};

    (void)state;
    faults_torture(&s, 1U << FAULT_WRITE | 1U << FAULT_SYNC | 1U << FAULT_MEMORY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_is_whole_whatever_fails),
    };
    char *const argv[] = {(char[]){"test"}, NULL};
    struct err err = ERR_INIT;

    if (config_load(&config, CONFIG_MANAGER, 1, argv, NULL, &err))
        return 1;
    config.min_free_bytes = 0;
    /* Thousands of faults would be told. */
    log_setup(getenv("SEGUE_FAULTS_LOG") ? LOG_DEBUG : LOG__COUNT, LOG_TEXT);
    snprintf(dir, sizeof dir, "%s/segue-faults-runs-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    snprintf(storage, sizeof storage, "file:%s/objects", dir);
    snprintf(database, sizeof database, "sqlite:%s/segue.db", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    rmdir(dir);
    config_release(&config);
    return failed;
}
