/* contract_schema.c - opening and migrating. */
#include "store_contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void open_it(struct fixture *f)
{
    assert_ok(store_open(f->url, 4, &f->s, err));
}

static void a_database_goes_up_and_down_and_tells_its_history(void **state)
{
    struct fixture *f = *state;
    struct buf history = BUF_INIT;
    int version = -1, newest = -1;

    open_it(f);
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, 0);
    assert_true(newest >= 3);
    assert_ok(store_history(f->s, &history, err));
    assert_non_null(strstr(history.data, "0001 tasks  pending\n"));
    assert_ok(store_upgrade(f->s, err));
    assert_ok(store_upgrade(f->s, err)); /* nothing left to do */
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, newest);

    assert_ok(store_downgrade(f->s, err));
    buf_clear(&history);
    assert_ok(store_history(f->s, &history, err));
    const char *pending = strstr(history.data, "  pending\n"); /* the last, and only it */
    assert_non_null(strstr(history.data, "0003 health  applied\n"));
    assert_non_null(pending);
    assert_string_equal(pending, "  pending\n");
    for (int i = 1; i < newest; i++)
        assert_ok(store_downgrade(f->s, err));
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, 0);
    assert_code(E_BAD_STATE, store_downgrade(f->s, err));
    assert_ok(store_upgrade(f->s, err));
    assert_ok(store_ping(f->s, err));
    buf_release(&history);
}

/* What fixture_end checks: tasks from before the store counted them are counted. */
static void tasks_stay_and_are_counted_when_the_database_goes_down_and_up(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct task task;
    int version = 0, newest = 0;

    submit_to(f->s, "q", 0, id);
    start_one(f->s, id, token);
    assert_ok(store_version(f->s, &version, &newest, err));
    for (; version > 4; version--)
        assert_ok(store_downgrade(f->s, err));
    assert_ok(store_upgrade(f->s, err));
    assert_ok(store_get(f->s, id, &task, err));
    assert_int_equal(task.state, TASK_PROCESSING);
    task_release(&task);
}

static void a_database_without_tables_is_unavailable_not_broken(void **state)
{
    struct fixture *f = *state;
    struct submission item = a_submission();
    struct submit_result result;

    open_it(f);
    assert_code(E_UNAVAILABLE, store_submit(f->s, &item, 1, true, &result, err));
    assert_code(E_UNAVAILABLE, store_ping(f->s, err));
}

static void *upgrade(void *arg)
{
    return store_upgrade(arg, NULL) ? arg : NULL;
}

static void managers_that_upgrade_at_once_take_turns(void **state)
{
    enum { MANAGERS = 4 };
    struct fixture *f = *state;
    struct store *stores[MANAGERS];
    pthread_t threads[MANAGERS];
    int version, newest;
    void *failed;

    open_it(f);
    for (int i = 0; i < MANAGERS; i++) {
        stores[i] = f->s; /* SQLite has one manager, so there the threads of one */
        if (strcmp(STORE_BACKEND, "mysql") == 0)
            assert_ok(store_open(f->url, 2, &stores[i], err));
        assert_int_equal(pthread_create(&threads[i], NULL, upgrade, stores[i]), 0);
    }
    for (int i = 0; i < MANAGERS; i++) {
        pthread_join(threads[i], &failed);
        assert_null(failed);
        if (stores[i] != f->s)
            store_close(stores[i]);
    }
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, newest);
}

static void a_database_newer_than_the_program_is_refused(void **state)
{
    struct fixture *f = *state;
    int version, newest;

    open_it(f);
    assert_ok(store_upgrade(f->s, err));
    store_close(f->s);
    f->s = NULL;
    help_sql(f, "INSERT INTO schema_migration VALUES (9999, 'future', 0)");
    open_it(f);
    assert_code(E_UNSUPPORTED, store_upgrade(f->s, err));
    assert_code(E_UNSUPPORTED, store_downgrade(f->s, err));
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, 9999);
}

static void rows_survive_closing_and_opening(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];

    open_it(f);
    assert_ok(store_upgrade(f->s, err));
    submit_to(f->s, "q", 0, id);
    store_close(f->s);
    open_it(f);
    assert_int_equal(state_of(f->s, id), TASK_RECEIVED);
}

static void a_wrong_address_is_refused_without_showing_the_password(void **state)
{
    static const char *const wrong[] = {
        "postgres://u:hunter2@h/d",
        "mysql://u:hunter2@/d",
        "mysql://u:hunter2@h:99999/d",
        "mysql://u:hunter2@h",
        "mysql://:hunter2@h/db",
        "mysql://u:hunter2%zz@h/d",
        "sqlite:",
    };
    struct store *s;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct err err = ERR_INIT;
        assert_int_equal(store_open(wrong[i], 2, &s, &err), -E_BAD_VALUE);
        assert_null(strstr(err.text, "hunter2"));
        assert_true(err.text[0] != '\0');
    }
}

int contract_schema(void)
{
    const struct CMUnitTest tests[] = {
        with_empty(a_database_goes_up_and_down_and_tells_its_history),
        with_store(tasks_stay_and_are_counted_when_the_database_goes_down_and_up),
        with_empty(a_database_without_tables_is_unavailable_not_broken),
        with_empty(managers_that_upgrade_at_once_take_turns),
        with_empty(a_database_newer_than_the_program_is_refused),
        with_empty(rows_survive_closing_and_opening),
        cmocka_unit_test(a_wrong_address_is_refused_without_showing_the_password),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
