/* faults_service.c - the use cases on SQLite and a local object store while any one call, or
 * all from one on, fail: the life of an upload, in this process. */
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
static char key[64], upload_id[ID_TEXT_MAX];
static bool accepted, unknown, reported;

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

struct upload_answer {
    bool is_there;
    int rc;
    struct err *err;
};

static void keep_answer(void *arg, int rc, const struct submit_result *result,
                        const struct err *why)
{
    struct upload_answer *a = arg;

    a->is_there = true;
    a->rc = rc;
    if (rc)
        *a->err = *why;
    else
        memcpy(upload_id, result->id, sizeof upload_id);
}

static int upload(struct service *s, struct err *err)
{
    struct submit_request request = {.type = "csv_plays", .idempotency_key = key};
    struct upload_answer answer = {.err = err};
    const struct submit_reply reply = {keep_answer, &answer};
    struct service_upload *u = NULL;
    int rc = service_upload_begin(s, 12, false, &u, err);

    if (!rc)
        rc = service_upload_write(u, "twelve bytes", 12, err);
    if (rc) {
        service_upload_abort_free(u);
        return rc;
    }
    service_upload_submit_later(s, u, &request, NULL, &reply);
    assert_true(answer.is_there); /* nobody else submits */
    accepted = !answer.rc;
    unknown = answer.rc == -E_UNKNOWN_OUTCOME;
    return answer.rc;
}

struct answer {
    int rc;
    size_t count;
    struct work work;
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
        a->work = items[0];
        a->work.params = NULL;
    }
}

static bool always(void *arg)
{
    (void)arg;
    return true;
}

static int claim(struct service *s, struct work *ret, struct err *err)
{
    struct claim_request request = {.worker = "w", .queue_count = 1, .limit = 1};
    struct answer a = {.rc = 1};
    const struct claim_reply reply = {on_answer, always, &a};

    snprintf(request.queues[0], sizeof request.queues[0], "default");
    service_claim(s, &request, &reply);
    assert_true(a.rc <= 0); /* answered exactly once, at once */
    if (a.rc)
        return err_set(err, a.rc, "%s", a.err.text);
    assert_int_equal(a.count, 1);
    *ret = a.work;
    return 0;
}

static int put_output(struct objstore *objects, const struct work *w, struct artifact *ret,
                      struct err *err)
{
    char name[ARTIFACT_KEY_MAX];
    struct objstore_put *p = NULL;

    snprintf(name, sizeof name, "%.200stotals.csv", w->output_prefix);
    int rc = objstore_put_begin(objects, name, &p, err);
    if (!rc)
        rc = objstore_put_write(p, "totals", 6, err);
    if (rc) {
        objstore_put_abort_free(p);
        return rc;
    }
    return objstore_put_commit_free(p, ret, err);
}

static int work(struct house *h, struct err *err)
{
    struct work w;
    struct heartbeat beat = {.progress = 0.5};
    struct heartbeat_verdict held;
    struct report report = {.outcome = ATTEMPT_DONE};
    struct report_verdict verdict;
    int rc = claim(h->service, &w, err);

    if (rc)
        return rc;
    assert_string_equal(w.task_id, upload_id);
    memcpy(beat.task_id, w.task_id, sizeof beat.task_id);
    memcpy(beat.token, w.token, sizeof beat.token);
    memcpy(report.task_id, w.task_id, sizeof report.task_id);
    memcpy(report.token, w.token, sizeof report.token);
    rc = service_heartbeat(h->service, &beat, 1, &held, err);
    if (!rc)
        rc = put_output(h->objects, &w, &report.output, err);
    if (!rc)
        rc = service_report(h->service, "w", &report, 1, &verdict, err);
    if (!rc && verdict.word != REPORT_RECORDED)
        rc = err_set(err, -E_IO, "the report is '%s': %s", report_word_name(verdict.word),
                     verdict.detail);
    reported = !rc;
    return rc;
}

static int change(struct service *s, struct err *err)
{
    struct submit_request request = {.type = "noop", .params = "{\"sleep_ms\":1}"};
    struct submit_result result;
    struct task task;
    struct readiness ready;
    int rc = service_submit(s, &request, &result, err);

    if (!rc)
        rc = service_cancel(s, result.id, &task, err);
    if (rc)
        return rc;
    assert_int_equal(task.state, TASK_CANCELLED);
    task_release(&task);
    service_readiness(s, &ready);
    return 0;
}

static int run(void *arg, struct err *err)
{
    struct house h;
    char id[ID_TEXT_MAX];

    (void)arg;
    id_new(id);
    snprintf(key, sizeof key, "key-%s", id);
    accepted = unknown = reported = false;
    int rc = house_open(&h, err);
    if (!rc)
        rc = upload(h.service, err);
    if (!rc)
        rc = work(&h, err);
    if (!rc)
        rc = change(h.service, err);
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

static int no_part(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t len = strlen(path);

    (void)st;
    (void)ftw;
    if (type == FTW_F && len > 5 && strcmp(path + len - 5, ".part") == 0)
        fail_msg("a part is left: %s", path);
    return 0;
}

static void file_is_there(struct house *h, const struct artifact *a)
{
    struct artifact seen;
    struct err err = ERR_INIT;

    if (!a->key[0])
        return;
    if (objstore_stat(h->objects, a->key, true, &seen, &err))
        fail_msg("a task names a file that is not there: %s", err.text);
    assert_int_equal(seen.size, a->size);
    assert_string_equal(seen.sha256, a->sha256);
}

/* Every task's files are there and right; what was told is so; and it all works again. */
static void check(void *arg, int rc)
{
    struct house h;
    struct err err = ERR_INIT;
    struct task_list list = {0};
    struct task task;

    (void)rc;
    nftw(dir, no_part, 8, FTW_PHYS);
    if (house_open(&h, &err))
        fail_msg("%s", err.text);
    assert_int_equal(
        store_list(h.store, &(struct store_filter){.limit = 20}, &list, NULL, &err), 0);
    for (size_t i = 0; i < list.count; i++) {
        const struct task *t = &list.items[i];
        file_is_there(&h, &t->input);
        file_is_there(&h, &t->output);
        if (!task_state_can_move(t->state, TASK_CANCELLED))
            continue;
        assert_int_equal(service_cancel(h.service, t->id, &task, &err), 0);
        task_release(&task);
    }
    task_list_release(&list);
    if (reported) {
        assert_int_equal(store_get(h.store, upload_id, &task, &err), 0);
        assert_int_equal(task.state, TASK_DONE);
        task_release(&task);
    }
    /* The client asks again with its key: the same task, or one now. */
    bool was_accepted = accepted;
    char before[ID_TEXT_MAX];
    memcpy(before, upload_id, sizeof before);
    assert_int_equal(upload(h.service, &err), 0);
    if (was_accepted)
        assert_string_equal(upload_id, before);
    if (store_get(h.store, upload_id, &task, &err) == 0) {
        if (task_state_can_move(task.state, TASK_CANCELLED)) {
            struct task cancelled;
            assert_int_equal(service_cancel(h.service, upload_id, &cancelled, &err), 0);
            task_release(&cancelled);
        }
        task_release(&task);
    }
    house_close(&h);
    (void)arg;
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS); /* the next run begins with nothing */
}

static void what_was_told_is_so_whatever_fails(void **state)
{
    const struct faults_scenario s = {
        .name = "service", .run = run, .check = check, .settles = true, .limit = 30};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY | 1U << FAULT_THREAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_told_is_so_whatever_fails),
    };
    char *const argv[] = {(char[]){"test"}, NULL};
    struct err err = ERR_INIT;

    if (config_load(&config, CONFIG_MANAGER, 1, argv, NULL, &err))
        return 1;
    config.min_free_bytes = 0;
    /* Thousands of faults would be told. */
    log_setup(getenv("SEGUE_FAULTS_LOG") ? LOG_DEBUG : LOG__COUNT, LOG_TEXT);
    snprintf(dir, sizeof dir, "%s/segue-faults-service-XXXXXX", faults_temp_dir());
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
