/* The use cases on a real SQLite store and a real object store in a temporary folder. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "fs.h"
#include "metrics.h"
#include "service_internal.h"

enum { DEADLINE_MS = 20000 };

struct fixture {
    char dir[64], storage[96], database[128];
    struct config config;
    struct objstore *objects;
    struct store *store;
    struct broker *broker;
    struct service *service;
};

static struct err err; /* of the call before */

static atomic_bool fsync_fails;

/* While it is shut, who syncs waits: a disk that takes its time. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_shut;
    int inside;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void pass_gate(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.inside += gate.is_shut;
    pthread_cond_broadcast(&gate.changed);
    while (gate.is_shut)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static void set_gate(bool is_shut)
{
    pthread_mutex_lock(&gate.lock);
    gate.is_shut = is_shut;
    gate.inside = 0;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

/* False when so many have not come in time. */
static bool wait_inside(int count)
{
    struct timespec until;
    int rc = 0;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&gate.lock);
    while (gate.inside < count && rc == 0)
        rc = pthread_cond_timedwait(&gate.changed, &gate.lock, &until);
    bool came = gate.inside >= count;
    pthread_mutex_unlock(&gate.lock);
    return came;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);

int __wrap_fsync(int fd)
{
    pass_gate();
    if (!atomic_load(&fsync_fails))
        return __real_fsync(fd);
    errno = EIO;
    return -1;
}

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

    snprintf(f->dir, sizeof f->dir, "/tmp/segue-service-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->storage, sizeof f->storage, "file:%s/objects", f->dir);
    snprintf(f->database, sizeof f->database, "sqlite:%s/segue.db", f->dir);
    assert_int_equal(config_load(&f->config, CONFIG_MANAGER, 1, argv, NULL, &err), 0);
    f->config.retry_base_ms = 1;
    f->config.retry_cap_ms = 2;
    f->config.min_free_bytes = 0;
    OK(objstore_open(f->storage, &f->objects, &err));
    OK(store_open(f->database, 4, &f->store, &err));
    OK(store_upgrade(f->store, &err));
    OK(broker_open("", BROKER_PUBLISH, "test", &f->broker, &err));
    *state = f;
    return 0;
}

/* After a test has had its chance to change the configuration. */
static struct service *begin(struct fixture *f)
{
    struct service_parts parts = {&f->config, f->store, f->objects, f->broker};

    OK(service_start(&parts, &f->service, &err));
    return f->service;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];

    service_stop_free(f->service);
    broker_close(f->broker);
    store_close(f->store);
    objstore_close(f->objects);
    config_release(&f->config);
    snprintf(command, sizeof command, "%s", f->dir);
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, command, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    free(f);
    return pid < 0;
}

/* -- helpers -- */

static void submit_noop(struct service *s, char ret_id[ID_TEXT_MAX])
{
    struct submit_request r = {.type = "noop"};
    struct submit_result result;

    OK(service_submit(s, &r, &result, &err));
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

struct claimed_work {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool answered;
    atomic_bool dead;
    int rc;
    size_t count;
    struct work work; /* the first; params not kept */
};

static void on_answer(void *arg, int rc, const struct work *items, size_t count,
                      const struct err *why)
{
    struct claimed_work *c = arg;

    (void)why;
    pthread_mutex_lock(&c->lock);
    c->answered = true;
    c->rc = rc;
    c->count = count;
    if (count) {
        c->work = items[0];
        c->work.params = NULL;
    }
    pthread_cond_signal(&c->wake);
    pthread_mutex_unlock(&c->lock);
}

static bool is_alive(void *arg)
{
    return !((struct claimed_work *)arg)->dead;
}

static void claim_start(struct service *s, struct claimed_work *c, int64_t wait_ms)
{
    struct claim_request request = {
        .worker = "w", .queue_count = 1, .limit = 1, .wait_ms = wait_ms};
    struct claim_reply reply = {on_answer, is_alive, c};

    snprintf(request.queues[0], sizeof request.queues[0], "default");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    service_claim(s, &request, &reply);
}

static void claim_wait(struct claimed_work *c)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += DEADLINE_MS / 1000;
    pthread_mutex_lock(&c->lock);
    while (!c->answered) {
        if (pthread_cond_timedwait(&c->wake, &c->lock, &until))
            fail_msg("the claim was not answered");
    }
    pthread_mutex_unlock(&c->lock);
    assert_int_equal(c->rc, 0);
}

static struct work claim_now(struct service *s)
{
    struct claimed_work c = {.answered = false};

    claim_start(s, &c, DEADLINE_MS);
    claim_wait(&c);
    assert_int_equal(c.count, 1);
    return c.work;
}

static struct report_verdict report(struct service *s, const struct work *w,
                                    enum attempt_outcome outcome, enum error_class class,
                                    const struct artifact *output)
{
    struct report r = {.outcome = outcome, .error.class = class};
    struct report_verdict v;

    memcpy(r.task_id, w->task_id, sizeof r.task_id);
    memcpy(r.token, w->token, sizeof r.token);
    if (class != ERROR_NONE)
        snprintf(r.error.message, sizeof r.error.message, "it did not work");
    if (output)
        r.output = *output;
    OK(service_report(s, "w", &r, 1, &v, &err));
    return v;
}

static enum task_state state_of(struct fixture *f, const char *id)
{
    struct task t;

    OK(store_get(f->store, id, &t, &err));
    enum task_state state = t.state;
    task_release(&t);
    return state;
}

static void put_object(struct fixture *f, const char *key, struct artifact *ret)
{
    struct objstore_put *p = NULL;

    OK(objstore_put_begin(f->objects, key, &p, &err));
    OK(objstore_put_write(p, "totals", 6, &err));
    OK(objstore_put_commit_free(p, ret, &err));
}

static bool object_exists(struct fixture *f, const char *key)
{
    struct artifact a;

    return objstore_stat(f->objects, key, false, &a, NULL) == 0;
}

/* -- submit -- */

static void bad_submits_are_refused_by_name(void **state)
{
    struct service *s = begin(*state);
    static const struct {
        struct submit_request request;
        const char *sentence;
    } cases[] = {
        {{.type = "dance"}, "there is no task type 'dance'"},
        {{.type = "noop", .queue = "a b"}, "queue: "},
        {{.type = "csv_plays"}, "works on a file"},
        {{.type = "noop", .params = "{\"nap\":1}"}, "params.nap"},
        {{.type = "noop", .idempotency_key = ""}, "Idempotency-Key"},
        {{.type = "noop", .idempotency_key = "a\tb"}, "Idempotency-Key"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct submit_result result;
        assert_int_equal(service_submit(s, &cases[i].request, &result, &err), -E_BAD_VALUE);
        if (!strstr(err.text, cases[i].sentence))
            fail_msg("case %zu: %s", i, err.text);
    }
}

static void configured_types_have_a_queue_of_their_own(void **state)
{
    struct fixture *f = *state;
    struct submit_request r = {.type = "mail", .params = "{\"to\":\"x\"}"};
    struct submit_result result;
    struct task t;

    free(f->config.task_types);
    f->config.task_types = strdup("post, mail");
    struct service *s = begin(f);
    OK(service_submit(s, &r, &result, &err));
    OK(store_get(f->store, result.id, &t, &err));
    assert_string_equal(t.queue, "mail");
    task_release(&t);
}

static void a_full_backlog_refuses_with_overload(void **state)
{
    struct fixture *f = *state;
    struct submit_request r = {.type = "noop"};
    struct submit_result result;
    int rc = 0;
    int64_t until = clock_mono_ms() + DEADLINE_MS;

    f->config.max_queued = 1;
    struct service *s = begin(f);
    while (rc == 0 && clock_mono_ms() < until)
        rc = service_submit(s, &r, &result, &err); /* until the next count has seen it */
    assert_int_equal(rc, -E_OVERLOAD);
}

static void a_key_replays_the_same_request_and_refuses_another(void **state)
{
    struct service *s = begin(*state);
    struct submit_request r = {.type = "noop", .idempotency_key = "k"};
    struct submit_result first, again;

    OK(service_submit(s, &r, &first, &err));
    OK(service_submit(s, &r, &again, &err));
    assert_int_equal(again.outcome, SUBMIT_REPLAYED);
    assert_string_equal(again.id, first.id);
    r.priority = 1;
    assert_int_equal(service_submit(s, &r, &again, &err), -E_MISMATCH);
}

struct upload_answer {
    bool is_there;
    int rc;
    struct submit_result *result;
};

static void keep_answer(void *arg, int rc, const struct submit_result *result,
                        const struct err *why)
{
    struct upload_answer *a = arg;

    *a = (struct upload_answer){true, rc, a->result};
    if (rc)
        err = *why;
    else
        *a->result = *result;
}

/* Nobody else submits: this thread leads, and has the answer before the call returns. */
static int end_upload(struct service *s, struct service_upload *u,
                      struct submit_request *request, struct submit_result *ret)
{
    struct upload_answer a = {.result = ret};
    const struct submit_reply reply = {keep_answer, &a};

    service_upload_submit_later(s, u, request, NULL, &reply);
    assert_true(a.is_there);
    return a.rc;
}

static int upload(struct service *s, const char *bytes, const char *key,
                  struct submit_result *ret, struct submit_request *request)
{
    struct service_upload *u = NULL;

    OK(service_upload_begin(s, -1, key != NULL, &u, &err));
    if (*bytes)
        OK(service_upload_write(u, bytes, strlen(bytes), &err));
    *request = (struct submit_request){.type = "csv_plays", .idempotency_key = key};
    return end_upload(s, u, request, ret);
}

/* A sweep may have asked who needs the file before its task was there, and come to it after. */
static void an_upload_of_long_ago_is_young_once_its_task_is_there(void **state)
{
    static const struct timespec long_ago[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct submit_request r = {.type = "csv_plays"};
    struct submit_result result;
    struct service_upload *u = NULL;
    char pattern[128];
    glob_t parts;
    bool removed = true;

    OK(service_upload_begin(s, -1, false, &u, &err));
    OK(service_upload_write(u, "a", 1, &err));
    snprintf(pattern, sizeof pattern, "%s/objects/raw_data/*.part", f->dir);
    assert_int_equal(glob(pattern, 0, NULL, &parts), 0);
    assert_int_equal(utimensat(AT_FDCWD, parts.gl_pathv[0], long_ago, 0), 0);
    globfree(&parts);
    OK(end_upload(s, u, &r, &result));
    OK(objstore_sweep_object(f->objects, r.input.key, 3600000, &removed, &err));
    assert_false(removed);
    assert_true(object_exists(f, r.input.key));
}

static void an_upload_that_makes_no_task_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct submit_request kept, other;
    struct submit_result first, result;

    assert_int_equal(upload(s, "a", "k", &first, &kept), 0);
    assert_true(object_exists(f, kept.input.key));
    assert_int_equal(upload(s, "a", "k", &result, &other), 0);
    assert_string_equal(result.id, first.id);
    assert_false(object_exists(f, other.input.key));
    assert_int_equal(upload(s, "b", "k", &result, &other), -E_MISMATCH);
    assert_false(object_exists(f, other.input.key));
    assert_int_equal(upload(s, "", NULL, &result, &other), -E_BAD_VALUE);
    assert_true(object_exists(f, kept.input.key));
}

static void what_comes_when_submits_are_shed_is_refused_and_leaves_no_file(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct submit_request kept, refused, noop = {.type = "noop"};
    struct submit_result result;

    assert_int_equal(upload(s, "a", NULL, &result, &kept), 0);
    service_shed(s);
    assert_int_equal(upload(s, "a", NULL, &result, &refused), -E_UNAVAILABLE);
    assert_false(object_exists(f, refused.input.key));
    assert_true(object_exists(f, kept.input.key));
    assert_int_equal(service_submit(s, &noop, &result, &err), -E_UNAVAILABLE);
}

static atomic_int uploads_done;

static void count_done(void *arg, int rc, const struct submit_result *result,
                       const struct err *why)
{
    (void)arg;
    (void)result;
    (void)why;
    atomic_fetch_add(&uploads_done, rc == 0);
}

static void *upload_counted(void *arg)
{
    const struct submit_reply reply = {count_done, NULL};
    struct submit_request r = {.type = "csv_plays"};
    struct service_upload *u = NULL;

    if (service_upload_begin(arg, 1, false, &u, NULL) == 0 &&
        service_upload_write(u, "a", 1, NULL) == 0)
        service_upload_submit_later(arg, u, &r, NULL, &reply);
    return NULL;
}

/* Two lead and wait for the disk; once as many wait for each as are worth it, a third leads. */
static void more_threads_lead_when_the_disk_keeps_many_uploads_waiting(void **state)
{
    enum { LEADING = 2, WAITING = 31 };
    struct service *s = begin(*state);
    pthread_t leaders[LEADING + 1];
    bool came = true;

    atomic_store(&uploads_done, 0);
    set_gate(true);
    for (int i = 0; i < LEADING; i++) {
        assert_int_equal(pthread_create(&leaders[i], NULL, upload_counted, s), 0);
        came = wait_inside(i + 1) && came;
    }
    for (int i = 0; came && i < WAITING; i++)
        upload_counted(s); /* returns at once: others lead */
    assert_int_equal(pthread_create(&leaders[LEADING], NULL, upload_counted, s), 0);
    came = wait_inside(LEADING + 1) && came;
    set_gate(false);
    for (int i = 0; i <= LEADING; i++)
        pthread_join(leaders[i], NULL);
    assert_true(came);
    assert_int_equal(atomic_load(&uploads_done), LEADING + WAITING + 1);
}

static void a_file_that_the_disk_does_not_keep_makes_no_task(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct submit_request r;
    struct submit_result result;
    char id[ID_TEXT_MAX];

    atomic_store(&fsync_fails, true);
    int rc = upload(s, "a", NULL, &result, &r);
    submit_noop(s, id); /* needs no file */
    atomic_store(&fsync_fails, false);
    assert_int_equal(rc, -E_IO);
    assert_non_null(strstr(err.text, "fsync"));
    assert_false(object_exists(f, r.input.key));
    assert_int_equal(upload(s, "a", NULL, &result, &r), 0);
}

/* -- claims -- */

static void a_parked_claim_is_answered_by_a_submit(void **state)
{
    struct service *s = begin(*state);
    struct claimed_work c = {.answered = false};
    char id[ID_TEXT_MAX];

    claim_start(s, &c, DEADLINE_MS);
    submit_noop(s, id);
    claim_wait(&c);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.work.task_id, id);
    assert_int_equal(c.work.attempt, 1);
    assert_non_null(strstr(c.work.output_prefix, id));
}

static void a_parked_claim_ends_empty_when_its_time_is_up(void **state)
{
    struct service *s = begin(*state);
    struct claimed_work c = {.answered = false};

    claim_start(s, &c, 1);
    claim_wait(&c);
    assert_int_equal(c.count, 0);
}

static void nothing_is_claimed_for_a_client_that_has_gone(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct claimed_work gone = {.answered = false}, there = {.answered = false};
    char id[ID_TEXT_MAX];

    claim_start(s, &gone, DEADLINE_MS);
    gone.dead = true;
    claim_start(s, &there, DEADLINE_MS);
    submit_noop(s, id);
    claim_wait(&gone);
    claim_wait(&there);
    assert_int_equal(gone.count, 0);
    assert_int_equal(there.count, 1);
}

static void draining_answers_parked_claims_with_nothing(void **state)
{
    struct service *s = begin(*state);
    struct claimed_work c = {.answered = false}, late = {.answered = false};

    claim_start(s, &c, DEADLINE_MS);
    service_drain(s);
    claim_wait(&c);
    assert_int_equal(c.count, 0);
    claim_start(s, &late, DEADLINE_MS);
    assert_true(late.answered);
}

/* -- reports -- */

static void a_done_report_needs_the_object_it_names(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct artifact output = {.size = 6}, stray;
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    struct work w = claim_now(s);
    snprintf(output.key, sizeof output.key, "%.200stotals.csv", w.output_prefix);
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_REFUSED);
    put_object(f, "processed_data/elsewhere.csv", &stray);
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &stray).word, REPORT_REFUSED);
    put_object(f, output.key, &output);
    output.size = 7;
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_REFUSED);
    output.size = 6;
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_RECORDED);
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_REPEATED);
    assert_int_equal(state_of(f, id), TASK_DONE);
}

static void an_input_error_is_final_and_a_transient_one_is_tried_again(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    char wrong[ID_TEXT_MAX], flaky[ID_TEXT_MAX];

    submit_noop(s, wrong);
    struct work w = claim_now(s);
    report(s, &w, ATTEMPT_FAILED, ERROR_INPUT, NULL);
    assert_int_equal(state_of(f, wrong), TASK_FAILED);

    submit_noop(s, flaky);
    for (int attempt = 1; attempt <= 3; attempt++) {
        w = claim_now(s);
        assert_string_equal(w.task_id, flaky);
        assert_int_equal(w.attempt, attempt);
        report(s, &w, ATTEMPT_FAILED, ERROR_TRANSIENT, NULL);
    }
    assert_int_equal(state_of(f, flaky), TASK_FAILED);
}

static void a_released_attempt_is_to_be_had_at_once(void **state)
{
    struct service *s = begin(*state);
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    struct work w = claim_now(s);
    assert_int_equal(report(s, &w, ATTEMPT_RELEASED, ERROR_NONE, NULL).word, REPORT_RECORDED);
    assert_string_equal(claim_now(s).task_id, id);
}

static void a_lost_lease_goes_to_another_and_the_late_report_is_swept(void **state)
{
    struct fixture *f = *state;
    struct artifact late;
    struct artifact beside, fresh;
    char id[ID_TEXT_MAX], key[ARTIFACT_KEY_MAX], stem[ARTIFACT_KEY_MAX];

    f->config.lease_ms = 1;
    struct service *s = begin(f);
    submit_noop(s, id);
    struct work first = claim_now(s);
    snprintf(key, sizeof key, "%.200stotals.csv", first.output_prefix);
    put_object(f, key, &late);
    snprintf(stem, sizeof stem, "%.200srejects.csv", first.output_stem);
    put_object(f, stem, &beside);
    f->config.lease_ms = 60000;
    struct work second = claim_now(s); /* waits for the reaper */
    assert_string_equal(second.task_id, id);
    assert_int_equal(second.attempt, 2);
    snprintf(key, sizeof key, "%.200stotals.csv", second.output_stem);
    put_object(f, key, &fresh);
    assert_int_equal(report(s, &first, ATTEMPT_DONE, ERROR_NONE, &late).word, REPORT_STALE);
    assert_false(object_exists(f, late.key));
    assert_false(object_exists(f, stem));
    assert_true(object_exists(f, key));
    assert_int_equal(report(s, &second, ATTEMPT_DONE, ERROR_NONE, &fresh).word,
                     REPORT_RECORDED);
}

static void a_stale_report_cannot_remove_what_others_wrote(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct artifact output;
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    struct work w = claim_now(s), forger = w;
    snprintf(output.key, sizeof output.key, "%.200stotals.csv", w.output_prefix);
    put_object(f, output.key, &output);
    memset(forger.token, '0', sizeof forger.token - 1);
    assert_int_equal(report(s, &forger, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_STALE);
    assert_true(object_exists(f, output.key)); /* of the running attempt */
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_RECORDED);
    assert_int_equal(report(s, &forger, ATTEMPT_DONE, ERROR_NONE, &output).word, REPORT_STALE);
    assert_true(object_exists(f, output.key)); /* of the recorded one */
}

static void a_stale_report_is_stale_whatever_else_is_wrong_with_it(void **state)
{
    struct fixture *f = *state;
    struct artifact missing = {.size = 1};
    char id[ID_TEXT_MAX];

    struct service *s = begin(f);
    submit_noop(s, id);
    struct work w = claim_now(s);
    snprintf(missing.key, sizeof missing.key, "%.200stotals.csv", w.output_prefix);
    OK(service_cancel(s, id, NULL, &err));
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &missing).word, REPORT_STALE);
    assert_int_equal(report(s, &w, ATTEMPT_DONE, ERROR_NONE, &missing).word, REPORT_STALE);
}

/* The reaper wakes the hub; stopping freed the hub first once. */
static void a_service_stops_while_its_reaper_returns_tasks(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];

    f->config.lease_ms = 1;
    f->config.max_attempts = 100;
    submit_noop(begin(f), id);
    for (int i = 0; i < 5; i++) {
        claim_now(f->service);
        service_stop_free(f->service);
        begin(f);
    }
}

static void after_a_start_every_lease_gets_its_time_to_be_renewed(void **state)
{
    struct fixture *f = *state;
    struct heartbeat beat = {.progress = 0.5};
    struct heartbeat_verdict v;
    struct claimed claimed;
    struct expired expired;
    size_t count = 0, expired_count = 0;
    int64_t until = clock_mono_ms() + DEADLINE_MS;
    char id[ID_TEXT_MAX];

    submit_noop(begin(f), id);
    OK(store_claim(f->store,
                   &(struct claim){.worker = "w", .task_id = id, .limit = 1, .lease_ms = 1},
                   &claimed, &count, &err));
    task_release(&claimed.task);
    while (expired_count == 0)
        OK(store_expired(f->store, &expired, 1, &expired_count, &err));
    metric_set(METRIC_TASKS_RUNNING, -1);
    while (metric_get(METRIC_TASKS_RUNNING) < 0) /* the reaper's next round */
        assert_true(clock_mono_ms() < until);
    memcpy(beat.task_id, id, sizeof beat.task_id);
    memcpy(beat.token, claimed.token, sizeof beat.token);
    OK(service_heartbeat(f->service, &beat, 1, &v, &err));
    assert_true(v.held);
}

static void a_configured_type_must_be_a_name(void **state)
{
    struct fixture *f = *state;
    struct service_parts parts = {&f->config, f->store, f->objects, f->broker};

    free(f->config.task_types);
    f->config.task_types = strdup("mail, send \"x\"");
    assert_int_equal(service_start(&parts, &f->service, &err), -E_BAD_VALUE);
    assert_non_null(strstr(err.text, "TASK_TYPES: 'send \"x\"'"));
    assert_null(f->service);
}

static void a_heartbeat_of_a_cancelled_attempt_says_so(void **state)
{
    struct service *s = begin(*state);
    struct heartbeat beat = {.progress = 0.5};
    struct heartbeat_verdict v;
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    struct work w = claim_now(s);
    memcpy(beat.task_id, w.task_id, sizeof beat.task_id);
    memcpy(beat.token, w.token, sizeof beat.token);
    OK(service_heartbeat(s, &beat, 1, &v, &err));
    assert_true(v.held);
    OK(service_cancel(s, id, NULL, &err));
    OK(service_heartbeat(s, &beat, 1, &v, &err));
    assert_false(v.held);
    assert_string_equal(v.state, "CANCELLED");
}

/* -- changes by clients -- */

static void only_a_failed_task_is_retried_with_a_fresh_budget(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    assert_int_equal(service_retry(s, id, NULL, &err), -E_BAD_STATE);
    struct work w = claim_now(s);
    report(s, &w, ATTEMPT_FAILED, ERROR_INPUT, NULL);
    OK(service_retry(s, id, NULL, &err));
    w = claim_now(s);
    assert_int_equal(w.attempt, 2);
    assert_int_equal(w.max_attempts, 1 + 3);
}

static void cancelling_twice_is_fine_and_cancelling_done_work_is_not(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    OK(service_cancel(s, id, NULL, &err));
    OK(service_cancel(s, id, NULL, &err));
    submit_noop(s, id);
    struct work w = claim_now(s);
    report(s, &w, ATTEMPT_DONE, ERROR_NONE, NULL);
    assert_int_equal(service_cancel(s, id, NULL, &err), -E_BAD_STATE);
    assert_non_null(strstr(err.text, "DONE"));
    assert_int_equal(service_cancel(s, "01890a5d-ac96-774b-bcce-b302099a8057", NULL, &err),
                     -E_NOT_FOUND);
}

static void a_foreign_worker_starts_and_completes_by_status(void **state)
{
    struct fixture *f = *state;
    struct service *s = begin(f);
    struct artifact output;
    struct task t;
    char id[ID_TEXT_MAX], path[256];

    submit_noop(s, id);
    assert_int_equal(service_notify(s, id, true, "processed_data/x.csv", &err), -E_BAD_VALUE);
    put_object(f, "processed_data/x.csv", &output);
    assert_int_equal(service_notify(s, id, true, "processed_data/x.csv", &err), -E_BAD_STATE);
    OK(service_put_state(s, id, TASK_PROCESSING, &t, &err));
    assert_int_equal(t.state, TASK_PROCESSING);
    task_release(&t);
    assert_int_equal(service_put_state(s, id, TASK_PROCESSING, &t, &err), -E_BAD_STATE);
    assert_int_equal(service_notify(s, id, true, "/etc/passwd", &err), -E_BAD_VALUE);
    put_object(f, "raw_data/of-another.csv", &output);
    assert_int_equal(service_notify(s, id, true, output.key, &err), -E_BAD_VALUE);
    snprintf(path, sizeof path, "%s/objects/processed_data/x.csv", f->dir);
    OK(service_notify(s, id, true, path, &err));
    OK(store_get(f->store, id, &t, &err));
    assert_int_equal(t.state, TASK_DONE);
    assert_string_equal(t.output.key, "processed_data/x.csv");
    assert_int_equal(t.output.size, 6);
    task_release(&t);
}

/* A busy machine may take longer than the answer waits. */
static void ask_readiness(struct service *s, struct readiness *ret)
{
    int64_t until = clock_mono_ms() + DEADLINE_MS;

    do {
        service_readiness(s, ret);
    } while ((ret->store_rc == -E_TIMEOUT || ret->disk_rc == -E_TIMEOUT) &&
             clock_mono_ms() < until);
}

static void readiness_names_a_disk_that_is_low(void **state)
{
    struct fixture *f = *state;
    struct readiness r;
    struct service_upload *u = NULL;

    struct service *s = begin(f);
    ask_readiness(s, &r);
    assert_true(r.is_ready);
    assert_string_equal(r.broker, "none");
    service_end_readiness(s);
    ask_readiness(s, &r);
    assert_false(r.is_ready);
    f->config.min_free_bytes = INT64_MAX;
    ask_readiness(s, &r);
    assert_false(r.is_ready);
    assert_string_equal(r.store, "ok");
    assert_non_null(strstr(r.disk, "bytes are free"));
    assert_int_equal(service_upload_begin(s, 10, false, &u, &err), -E_NO_SPACE);
}

/* Without threads, so that no count comes in between. */
static void what_is_handed_out_makes_room(void **state)
{
    struct fixture *f = *state;
    const struct service_parts parts = {&f->config, f->store, f->objects, f->broker};
    struct submit_request r = {.type = "noop"};
    struct submit_result result;
    struct claimed_work c = {.answered = false};
    char id[ID_TEXT_MAX];

    f->config.max_queued = 2;
    OK(service_new(&parts, &f->service, &err));
    submit_noop(f->service, id);
    submit_noop(f->service, id);
    assert_int_equal(service_submit(f->service, &r, &result, &err), -E_OVERLOAD);
    claim_start(f->service, &c, 0);
    claim_wait(&c);
    assert_int_equal(c.count, 1);
    submit_noop(f->service, id);
    assert_int_equal(service_submit(f->service, &r, &result, &err), -E_OVERLOAD);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(bad_submits_are_refused_by_name),
        TEST(configured_types_have_a_queue_of_their_own),
        TEST(a_full_backlog_refuses_with_overload),
        TEST(what_is_handed_out_makes_room),
        TEST(a_key_replays_the_same_request_and_refuses_another),
        TEST(an_upload_that_makes_no_task_leaves_no_file),
        TEST(what_comes_when_submits_are_shed_is_refused_and_leaves_no_file),
        TEST(a_file_that_the_disk_does_not_keep_makes_no_task),
        TEST(more_threads_lead_when_the_disk_keeps_many_uploads_waiting),
        TEST(an_upload_of_long_ago_is_young_once_its_task_is_there),
        TEST(a_parked_claim_is_answered_by_a_submit),
        TEST(a_parked_claim_ends_empty_when_its_time_is_up),
        TEST(nothing_is_claimed_for_a_client_that_has_gone),
        TEST(draining_answers_parked_claims_with_nothing),
        TEST(a_done_report_needs_the_object_it_names),
        TEST(an_input_error_is_final_and_a_transient_one_is_tried_again),
        TEST(a_released_attempt_is_to_be_had_at_once),
        TEST(a_lost_lease_goes_to_another_and_the_late_report_is_swept),
        TEST(a_stale_report_cannot_remove_what_others_wrote),
        TEST(a_stale_report_is_stale_whatever_else_is_wrong_with_it),
        TEST(a_service_stops_while_its_reaper_returns_tasks),
        TEST(after_a_start_every_lease_gets_its_time_to_be_renewed),
        TEST(a_configured_type_must_be_a_name),
        TEST(a_heartbeat_of_a_cancelled_attempt_says_so),
        TEST(only_a_failed_task_is_retried_with_a_fresh_budget),
        TEST(cancelling_twice_is_fine_and_cancelling_done_work_is_not),
        TEST(a_foreign_worker_starts_and_completes_by_status),
        TEST(readiness_names_a_disk_that_is_low),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
