/* store_mysql_faults.c - links that break at the worst moments: between statements, while the
 * server is away, and during COMMIT, when nobody knows whether it counted. The store talks
 * to the server through a proxy; a session of root's looks on and interferes. */
#include "store_help.h"

#include <mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "tcp_proxy.h"

struct faults {
    struct fixture *f; /* its own store is not used; the database is */
    struct tcp_proxy *proxy;
    struct store *s;
    MYSQL *root;
};

static int faults_begin(void **state)
{
    static struct faults all;
    char user[64], password[64], host[64], database[160], url[512];
    unsigned port = 0;
    void *fixture = NULL;

    all = (struct faults){0};
    *state = &all;
    if (fixture_ready(&fixture))
        return -1;
    all.f = fixture;
    if (sscanf(all.f->url, "mysql://%63[^:]:%63[^@]@%63[^:]:%u/%159s", user, password, host,
               &port, database) != 5)
        return -1;
    all.proxy = tcp_proxy_open(host, (int)port);
    if (!all.proxy)
        return -1;
    snprintf(url, sizeof url, "mysql://%s:%s@127.0.0.1:%d/%s", user, password,
             tcp_proxy_port(all.proxy), database);
    if (store_open(url, 8, &all.s, NULL))
        return -1;
    all.root = mysql_init(NULL);
    if (!mysql_real_connect(all.root, host, "root", NULL, NULL, port, NULL, 0))
        fprintf(stderr, "root of the private server: %s\n", mysql_error(all.root));
    return 0;
}

static int faults_end(void **state)
{
    struct faults *a = *state;
    void *fixture = a->f;

    store_close(a->s);
    tcp_proxy_close(a->proxy);
    mysql_close(a->root);
    return fixture_end(&fixture);
}

static void as_root(struct faults *a, const char *sql)
{
    if (mysql_query(a->root, sql) != 0)
        fail_msg("%s: %s", sql, mysql_error(a->root));
}

/* The number of a session in the test's database for which `what` holds, or 0. */
static unsigned long find_session(struct faults *a, const char *what)
{
    char sql[400];
    unsigned long id = 0;

    snprintf(sql, sizeof sql,
             "SELECT id FROM information_schema.processlist WHERE db = '%s' AND %s",
             a->f->place, what);
    as_root(a, sql);
    MYSQL_RES *rows = mysql_store_result(a->root);
    assert_non_null(rows);
    MYSQL_ROW row = mysql_fetch_row(rows);
    if (row)
        id = strtoul(row[0], NULL, 10);
    mysql_free_result(rows);
    return id;
}

static void kill_sessions(struct faults *a)
{
    unsigned long id, last = 0;
    char sql[64];

    while ((id = find_session(a, "command <> 'Killed'")) != 0 && id != last) {
        snprintf(sql, sizeof sql, "KILL CONNECTION %lu", id);
        mysql_query(a->root, sql); /* it may have ended by itself */
        last = id;
    }
}

/* -- links lost outside COMMIT -- */

static void calls_go_on_after_their_connections_were_killed(void **state)
{
    struct faults *a = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];

    start_one(a->s, id, token);
    kill_sessions(a);
    assert_int_equal(state_of(a->s, id), TASK_PROCESSING);
    tcp_proxy_reset(a->proxy);
    struct task_move m = report(id, token, TASK_DONE, ATTEMPT_DONE);
    assert_int_equal(move(a->s, &m).outcome, MOVE_MADE);
    tcp_proxy_reset(a->proxy);
    assert_ok(store_ping(a->s, err));
    tcp_proxy_reset(a->proxy);
    assert_ok(store_ping(a->s, err));
}

static void a_server_that_is_away_is_unavailable_soon_and_then_back(void **state)
{
    struct faults *a = *state;
    struct submission item = a_submission();
    struct submit_result result;
    int64_t began_ms = clock_mono_ms();

    tcp_proxy_set_mode(a->proxy, TCP_PROXY_REFUSE);
    tcp_proxy_reset(a->proxy);
    /* The reset may come before or after the transaction was sent. */
    int rc = store_submit(a->s, &item, 1, true, &result, NULL);
    assert_true(rc == -E_UNAVAILABLE || rc == -E_UNKNOWN_OUTCOME);
    assert_code(E_UNAVAILABLE, store_submit(a->s, &item, 1, true, &result, err));
    assert_code(E_UNAVAILABLE, store_ping(a->s, err));
    assert_true(clock_mono_ms() - began_ms < 10000);
    tcp_proxy_set_mode(a->proxy, TCP_PROXY_PASS);
    submit(a->s, &item, &result);
    assert_int_equal(state_of(a->s, item.task.id), TASK_RECEIVED);
}

static void a_silent_network_fails_a_ping_in_time(void **state)
{
    struct faults *a = *state;
    int64_t began_ms;

    assert_ok(store_ping(a->s, err));
    began_ms = clock_mono_ms();
    tcp_proxy_set_mode(a->proxy, TCP_PROXY_PAUSE);
    assert_code(E_UNAVAILABLE, store_ping(a->s, err));
    assert_true(clock_mono_ms() - began_ms < 5000);
    tcp_proxy_set_mode(a->proxy, TCP_PROXY_PASS);
    assert_ok(store_ping(a->s, err));
}

/* -- a storm of writes while links break -- */

enum { WRITERS = 6, EACH = 40 };

struct writer {
    struct store *s;
    char ids[EACH][ID_TEXT_MAX];
    bool told[EACH]; /* its submit returned 0 */
    int ended, strange;
};

static void *write_all(void *arg)
{
    struct writer *w = arg;

    for (int i = 0; i < EACH; i++) {
        struct submission item = a_submission();
        struct submit_result result;
        int rc = store_submit(w->s, &item, 1, true, &result, NULL);
        memcpy(w->ids[i], item.task.id, ID_TEXT_MAX);
        w->told[i] = rc == 0;
        w->strange += rc && rc != -E_UNAVAILABLE && rc != -E_UNKNOWN_OUTCOME;
    }
    __atomic_store_n(&w->ended, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void every_submit_that_returned_is_there_once_after_broken_links(void **state)
{
    struct faults *a = *state;
    static struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    const struct timespec pause = {0, 5000000};
    int told = 0;

    memset(writers, 0, sizeof writers);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].s = a->s;
        assert_int_equal(pthread_create(&threads[i], NULL, write_all, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        while (!__atomic_load_n(&writers[i].ended, __ATOMIC_ACQUIRE)) {
            tcp_proxy_reset(a->proxy);
            nanosleep(&pause, NULL); /* paces the faults; nothing waits for it */
        }
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(writers[i].strange, 0);
        for (int k = 0; k < EACH; k++) {
            struct task_event *events;
            size_t count;
            assert_ok(store_events(a->s, writers[i].ids[k], 0, 9, &events, &count, err));
            free(events);
            assert_true(count <= 1);
            if (writers[i].told[k])
                assert_int_equal(count, 1);
            told += writers[i].told[k];
        }
    }
    assert_true(told > 0);
}

/* -- links lost during COMMIT -- */

struct call {
    struct store *s;
    struct submission item;
    struct submit_result result;
    struct err err;
    int rc;
};

static void *submit_call(void *arg)
{
    struct call *c = arg;

    c->rc = store_submit(c->s, &c->item, 1, true, &c->result, &c->err);
    return NULL;
}

static bool commit_waits(void *arg)
{
    return find_session(arg, "state LIKE 'Waiting for backup lock%' AND info LIKE 'COMMIT%'") !=
           0;
}

static bool probe_waits(void *arg)
{
    return find_session(arg, "info LIKE '%FOR UPDATE%'") != 0;
}

/* Holds up COMMITs on the server, cuts the link of one, and lets the commit through or kills
 * it once the store has come to ask. */
static void commit_with_a_cut(struct faults *a, bool let_through)
{
    struct call call = {.s = a->s, .item = a_submission()};
    struct outbox_row rows[4];
    struct task_event *events;
    pthread_t thread;
    size_t count;
    char sql[64];

    as_root(a, "BACKUP STAGE START");
    as_root(a, "BACKUP STAGE BLOCK_COMMIT");
    assert_int_equal(pthread_create(&thread, NULL, submit_call, &call), 0);
    wait_until(commit_waits, a);
    unsigned long session = find_session(a, "info LIKE 'COMMIT%'");
    tcp_proxy_reset(a->proxy);
    wait_until(probe_waits, a);
    if (!let_through) {
        snprintf(sql, sizeof sql, "KILL CONNECTION %lu", session);
        as_root(a, sql);
        wait_until(commit_waits, a); /* it was rolled back, and the store does it again */
    }
    as_root(a, "BACKUP STAGE END");
    pthread_join(thread, NULL);

    if (call.rc)
        fail_msg("%s", call.err.text);
    assert_int_equal(call.result.outcome, SUBMIT_ACCEPTED);
    assert_string_equal(call.result.id, call.item.task.id);
    assert_ok(store_events(a->s, call.item.task.id, 0, 9, &events, &count, err));
    assert_int_equal(count, 1);
    free(events);
    assert_ok(store_outbox_take(a->s, 4, 60000, rows, &count, err));
    assert_int_equal(count, 1);
}

static void a_commit_that_counted_is_found_after_its_link_was_cut(void **state)
{
    commit_with_a_cut(*state, true);
}

static void a_commit_that_did_not_count_is_done_again_after_its_link_was_cut(void **state)
{
    commit_with_a_cut(*state, false);
}

enum { CROWD = 64 };

struct crowd {
    struct store *s;
    struct submission items[CROWD];
    struct submit_result results[CROWD];
    size_t count;
    int rc;
};

static void *crowd_call(void *arg)
{
    struct crowd *c = arg;

    c->rc = store_submit(c->s, c->items, c->count, true, c->results, NULL);
    return NULL;
}

/* So many statements that COMMIT fills the script, or comes just before or after. */
static void a_crowd_is_recorded_once_after_its_link_was_cut(void **state)
{
    static struct crowd call;
    struct faults *a = *state;
    pthread_t thread;
    struct task t;

    for (call.count = CROWD - 8; call.count <= CROWD - 4; call.count++) {
        call.s = a->s;
        for (size_t i = 0; i < call.count; i++)
            call.items[i] = a_submission();
        as_root(a, "BACKUP STAGE START");
        as_root(a, "BACKUP STAGE BLOCK_COMMIT");
        assert_int_equal(pthread_create(&thread, NULL, crowd_call, &call), 0);
        wait_until(commit_waits, a);
        tcp_proxy_reset(a->proxy);
        wait_until(probe_waits, a);
        as_root(a, "BACKUP STAGE END");
        pthread_join(thread, NULL);
        assert_int_equal(call.rc, 0);
        for (size_t i = 0; i < call.count; i++) {
            assert_int_equal(call.results[i].outcome, SUBMIT_ACCEPTED);
            assert_ok(store_get(a->s, call.items[i].task.id, &t, err));
            task_release(&t);
        }
    }
}

struct changing {
    struct store *s;
    struct task_move move;
    struct move_result result;
    int rc;
};

static void *move_call(void *arg)
{
    struct changing *c = arg;

    c->rc = store_move(c->s, &c->move, 1, false, &c->result, NULL);
    return NULL;
}

static void change(struct changing *c, enum task_state from, enum task_state to)
{
    c->move.from = from;
    c->move.to = to;
    c->move.reset_attempts = to == TASK_RECEIVED;
}

/* A client sets a state and retries: the same change comes twice with the same attempt. */
static void a_change_that_came_before_is_not_taken_for_the_one_that_was_cut(void **state)
{
    struct faults *a = *state;
    struct submission item = a_submission();
    struct submit_result result;
    struct changing call = {.s = a->s};
    pthread_t thread;
    char sql[64];

    submit(a->s, &item, &result);
    memcpy(call.move.id, item.task.id, sizeof call.move.id);
    call.move.actor = "client";
    call.move.outcome = ATTEMPT_FAILED;
    call.move.error.class = ERROR_TRANSIENT;
    for (int i = 0; i < 3; i++) {
        change(&call, i % 2 ? TASK_FAILED : TASK_RECEIVED, i % 2 ? TASK_RECEIVED : TASK_FAILED);
        move_call(&call);
        assert_int_equal(call.rc, 0);
        assert_int_equal(call.result.outcome, MOVE_MADE);
    }
    change(&call, TASK_FAILED, TASK_RECEIVED);
    as_root(a, "BACKUP STAGE START");
    as_root(a, "BACKUP STAGE BLOCK_COMMIT");
    assert_int_equal(pthread_create(&thread, NULL, move_call, &call), 0);
    wait_until(commit_waits, a);
    unsigned long session = find_session(a, "info LIKE 'COMMIT%'");
    tcp_proxy_reset(a->proxy);
    wait_until(probe_waits, a);
    snprintf(sql, sizeof sql, "KILL CONNECTION %lu", session);
    as_root(a, sql);
    wait_until(commit_waits, a);
    as_root(a, "BACKUP STAGE END");
    pthread_join(thread, NULL);
    assert_int_equal(call.rc, 0);
    assert_int_equal(state_of(a->s, item.task.id), TASK_RECEIVED);
}

static void a_commit_that_nobody_can_ask_about_has_an_unknown_outcome(void **state)
{
    struct faults *a = *state;
    struct call call = {.s = a->s, .item = a_submission()};
    pthread_t thread;

    as_root(a, "BACKUP STAGE START");
    as_root(a, "BACKUP STAGE BLOCK_COMMIT");
    assert_int_equal(pthread_create(&thread, NULL, submit_call, &call), 0);
    wait_until(commit_waits, a);
    tcp_proxy_set_mode(a->proxy, TCP_PROXY_REFUSE);
    tcp_proxy_reset(a->proxy);
    pthread_join(thread, NULL);
    as_root(a, "BACKUP STAGE END");
    assert_int_equal(call.rc, -E_UNKNOWN_OUTCOME);
    tcp_proxy_set_mode(a->proxy, TCP_PROXY_PASS);
    assert_ok(store_ping(a->s, err));
}

/* As the second of three that count their rows in steps: no other may write its counters. */
static void a_server_of_a_cluster_has_counters_of_its_own(void **state)
{
    struct faults *a = *state;
    char sql[400];

    as_root(a, "SET GLOBAL auto_increment_increment = 3, GLOBAL auto_increment_offset = 2");
    for (int i = 0; i < 20; i++) {
        struct submission item = a_submission();
        struct submit_result result;
        kill_sessions(a); /* the next has another number */
        submit(a->s, &item, &result);
    }
    as_root(a, "SET GLOBAL auto_increment_increment = 1, GLOBAL auto_increment_offset = 1");
    snprintf(sql, sizeof sql,
             "SELECT SUM(n), MIN(shard %% 3), MAX(shard %% 3) FROM %s.task_count", a->f->place);
    as_root(a, sql);
    MYSQL_RES *rows = mysql_store_result(a->root);
    assert_non_null(rows);
    MYSQL_ROW row = mysql_fetch_row(rows);
    assert_non_null(row);
    assert_string_equal(row[0], "20");
    assert_string_equal(row[1], "1");
    assert_string_equal(row[2], "1");
    mysql_free_result(rows);
}

#define with_faults(test) cmocka_unit_test_setup_teardown(test, faults_begin, faults_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_faults(calls_go_on_after_their_connections_were_killed),
        with_faults(a_server_that_is_away_is_unavailable_soon_and_then_back),
        with_faults(a_silent_network_fails_a_ping_in_time),
        with_faults(every_submit_that_returned_is_there_once_after_broken_links),
        with_faults(a_commit_that_counted_is_found_after_its_link_was_cut),
        with_faults(a_crowd_is_recorded_once_after_its_link_was_cut),
        with_faults(a_change_that_came_before_is_not_taken_for_the_one_that_was_cut),
        with_faults(a_commit_that_did_not_count_is_done_again_after_its_link_was_cut),
        with_faults(a_server_of_a_cluster_has_counters_of_its_own),
        with_faults(a_commit_that_nobody_can_ask_about_has_an_unknown_outcome),
    };
    int unavailable = help_available();

    return unavailable ? unavailable : cmocka_run_group_tests(tests, NULL, NULL);
}
