/* Waiting for the end of tasks, and what the repository services ask, on a real SQLite store.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "service.h"

enum { DEADLINE_MS = 20000, LONG_MS = 600000, CROWD = 200 };

struct fixture {
    char dir[64];
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
    char program[] = "test", url[128];
    char *const argv[] = {program, NULL};

    snprintf(f->dir, sizeof f->dir, "/tmp/segue-await-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    assert_int_equal(config_load(&f->config, CONFIG_MANAGER, 1, argv, NULL, &err), 0);
    snprintf(url, sizeof url, "file:%s/objects", f->dir);
    OK(objstore_open(url, &f->objects, &err));
    snprintf(url, sizeof url, "sqlite:%s/segue.db", f->dir);
    OK(store_open(url, 4, &f->store, &err));
    OK(store_upgrade(f->store, &err));
    OK(broker_open("", BROKER_PUBLISH, "test", &f->broker, &err));
    const struct service_parts parts = {&f->config, f->store, f->objects, f->broker};
    OK(service_start(&parts, &f->service, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char dir[64];

    service_stop_free(f->service);
    broker_close(f->broker);
    store_close(f->store);
    objstore_close(f->objects);
    config_release(&f->config);
    snprintf(dir, sizeof dir, "%s", f->dir);
    free(f);
    char *const argv[] = {(char[]){"rm"}, (char[]){"-rf"}, dir, NULL};
    pid_t pid = fork();
    if (pid == 0) {
        execvp("rm", argv);
        _exit(127);
    }
    return pid < 0;
}

static void submit_noop(struct service *s, char ret_id[ID_TEXT_MAX])
{
    struct submit_request r = {.type = "noop"};
    struct submit_result result;

    OK(service_submit(s, &r, &result, &err));
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

/* -- who waits -- */

struct waiting {
    atomic_int answers;
    atomic_bool is_dead;
    int rc;
    enum task_state state; /* of the task that came with the answer */
};

static void on_end(void *arg, int rc, const struct task *t, const struct err *why)
{
    struct waiting *w = arg;

    assert_int_equal(why->code, rc);
    w->rc = rc;
    if (t)
        w->state = t->state;
    atomic_fetch_add(&w->answers, 1);
}

static bool is_alive(void *arg)
{
    return !atomic_load(&((struct waiting *)arg)->is_dead);
}

static void await(struct service *s, const char *id, int64_t wait_ms, struct waiting *w)
{
    const struct await_reply reply = {on_end, is_alive, w};

    service_await(s, id, wait_ms, &reply);
}

static void until_answered(struct waiting *w)
{
    int64_t limit = clock_mono_ms() + DEADLINE_MS;

    while (atomic_load(&w->answers) == 0 && clock_mono_ms() < limit)
        usleep(1000);
    assert_int_equal(atomic_load(&w->answers), 1);
}

static void an_ended_task_is_told_of_at_once(void **state)
{
    struct service *s = ((struct fixture *)*state)->service;
    struct waiting w = {0};
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    OK(service_cancel(s, id, NULL, &err));
    await(s, id, LONG_MS, &w);
    until_answered(&w);
    assert_int_equal(w.rc, 0);
    assert_int_equal(w.state, TASK_CANCELLED);
}

static void only_who_waits_for_a_task_hears_of_its_end(void **state)
{
    struct service *s = ((struct fixture *)*state)->service;
    struct waiting *all = calloc(CROWD, sizeof *all);
    char ids[2][ID_TEXT_MAX];

    submit_noop(s, ids[0]);
    submit_noop(s, ids[1]);
    for (int i = 0; i < CROWD; i++)
        await(s, ids[i % 2], LONG_MS, &all[i]);
    OK(service_cancel(s, ids[1], NULL, &err));
    for (int i = 1; i < CROWD; i += 2)
        until_answered(&all[i]);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(atomic_load(&all[i].answers), i % 2);
        assert_int_equal(all[i].rc, 0);
    }
    OK(service_cancel(s, ids[0], NULL, &err));
    for (int i = 0; i < CROWD; i += 2)
        until_answered(&all[i]);
    free(all);
}

static void when_the_time_is_over_the_task_goes_on(void **state)
{
    struct service *s = ((struct fixture *)*state)->service;
    struct waiting w = {0};
    char id[ID_TEXT_MAX];
    struct task t;

    submit_noop(s, id);
    await(s, id, 1, &w);
    until_answered(&w);
    assert_int_equal(w.rc, -E_TIMEOUT);
    OK(store_get(service_store(s), id, &t, &err));
    assert_int_equal(t.state, TASK_RECEIVED);
    task_release(&t);
}

static void who_has_gone_waits_no_longer(void **state)
{
    struct service *s = ((struct fixture *)*state)->service;
    struct waiting gone = {.is_dead = true}, stays = {0};
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    await(s, id, LONG_MS, &stays);
    await(s, id, LONG_MS, &gone);
    until_answered(&gone);
    assert_int_equal(gone.rc, -E_CANCELLED);
    assert_int_equal(atomic_load(&stays.answers), 0);
    OK(service_cancel(s, id, NULL, &err));
    until_answered(&stays);
}

static void a_drained_service_answers_all(void **state)
{
    struct service *s = ((struct fixture *)*state)->service;
    struct waiting before = {0}, after = {0};
    char id[ID_TEXT_MAX];

    submit_noop(s, id);
    await(s, id, LONG_MS, &before);
    service_drain(s);
    until_answered(&before);
    assert_int_equal(before.rc, -E_UNAVAILABLE);
    await(s, id, LONG_MS, &after);
    assert_int_equal(atomic_load(&after.answers), 1); /* by this very thread */
    assert_int_equal(after.rc, -E_UNAVAILABLE);
}

static void a_task_that_is_not_there_is_not_waited_for(void **state)
{
    struct waiting w = {0};

    await(((struct fixture *)*state)->service, "01890a5d-ac96-774b-bcce-b302099a8057", LONG_MS,
          &w);
    until_answered(&w);
    assert_int_equal(w.rc, -E_NOT_FOUND);
}

/* -- addresses -- */

static void addresses_are_taken_as_the_hosts_would_redirect_them(void **state)
{
    static const struct {
        const char *text, *url; /* NULL: refused */
    } cases[] = {
        {"https://github.com/o/r.git", "https://github.com/o/r.git"},
        {"http://github.com/o/r.git", "https://github.com/o/r.git"},
        {"https://www.github.com/o/r.git", "https://www.github.com/o/r.git"},
        {"http://www.github.com/o/r.git", "https://www.github.com/o/r.git"},
        {"https://github.com/o/r", NULL},
        {"https://github.com/o/r.git/", NULL},
        {"https://github.com/r.git", NULL},
        {"https://www.example.com/o/r.git", NULL},
        {"ftp://www.github.com/o/r.git", NULL},
        {"https://t@github.com/o/r.git", NULL},
        {"www.github.com/o/r.git", NULL},
        {"git@github.com:o/r.git", NULL},
        {".git", NULL},
        {"", NULL},
    };
    struct service *s = ((struct fixture *)*state)->service;
    char url[REPOSITORY_URL_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int rc = service_repository_url(s, cases[i].text, url, &err);
        assert_int_equal(rc, cases[i].url ? 0 : -E_BAD_VALUE);
        if (cases[i].url)
            assert_string_equal(url, cases[i].url);
    }
}

static void no_other_path_is_a_download(void **state)
{
    static const char *const paths[] = {
        "",
        "/",
        "///",
        "outputs",
        "/etc/passwd",
        "outputs/01890a5d-ac96-774b-bcce-b302099a8057/1/owner-name",
        "outputs/01890a5d-ac96-774b-bcce-b302099a8057/1/..",
        "01890a5d-ac96-774b-bcce-b302099a8057/1/x",
    };
    struct service *s = ((struct fixture *)*state)->service;
    struct download found;
    char id[ID_TEXT_MAX], path[128];

    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(service_find_download(s, paths[i], &found, &err), -E_NOT_FOUND);
    submit_noop(s, id); /* a task, but no download */
    snprintf(path, sizeof path, "outputs/%s/1/owner-name", id);
    assert_int_equal(service_find_download(s, path, &found, &err), -E_NOT_FOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_ended_task_is_told_of_at_once),
        TEST(only_who_waits_for_a_task_hears_of_its_end),
        TEST(when_the_time_is_over_the_task_goes_on),
        TEST(who_has_gone_waits_no_longer),
        TEST(a_drained_service_answers_all),
        TEST(a_task_that_is_not_there_is_not_waited_for),
        TEST(addresses_are_taken_as_the_hosts_would_redirect_them),
        TEST(no_other_path_is_a_download),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
