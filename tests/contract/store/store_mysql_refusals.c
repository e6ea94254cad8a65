/* store_mysql_refusals.c - what servers of a cluster say when they are not, or no longer, fit
 * to be written to, and when managers on two of them get in each other's way. A trigger says it
 * in their place, so that one plain server is enough; tests/cluster/run meets the real ones. */
#include "store_help.h"

#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALWAYS = 1000000 };

/* Every new event is refused with the error, so many times on each connection; the one that
 * tried is noted in a table that no ROLLBACK touches. */
static void refuse_events(const struct fixture *f, int error, int times)
{
    char sql[512];

    help_sql(f, "CREATE TABLE tries (connection BIGINT NOT NULL) ENGINE = MyISAM");
    snprintf(sql, sizeof sql,
             "CREATE TRIGGER refusal BEFORE INSERT ON event FOR EACH ROW BEGIN"
             " IF IFNULL(@refused, 0) < %d THEN SET @refused = IFNULL(@refused, 0) + 1;"
             " INSERT INTO tries VALUES (CONNECTION_ID());"
             " SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = 'refused'; END IF;"
             " END",
             times, error);
    help_sql(f, sql);
}

static int ask_number(const struct fixture *f, const char *sql)
{
    char user[64], password[64], host[64];
    unsigned port = 0;
    MYSQL *my = mysql_init(NULL);

    if (sscanf(f->url, "mysql://%63[^:]:%63[^@]@%63[^:]:%u/", user, password, host, &port) !=
            4 ||
        !mysql_real_connect(my, host, user, password, f->place, port, NULL, 0) ||
        mysql_query(my, sql) != 0)
        fail_msg("%s: %s", sql, mysql_error(my));
    MYSQL_RES *rows = mysql_store_result(my);
    assert_non_null(rows);
    MYSQL_ROW row = mysql_fetch_row(rows);
    int number = row && row[0] ? (int)strtol(row[0], NULL, 10) : -1;
    mysql_free_result(rows);
    mysql_close(my);
    return number;
}

static int tries(const struct fixture *f)
{
    return ask_number(f, "SELECT COUNT(*) FROM tries");
}

static int connections_that_tried(const struct fixture *f)
{
    return ask_number(f, "SELECT COUNT(DISTINCT connection) FROM tries");
}

/* Nothing was accepted, which is no bug of ours; each try took a connection of its own, which
 * may lead elsewhere; and all is well once the server is. */
static void check_unfit(struct fixture *f, int error)
{
    struct submission item = a_submission();
    struct submit_result result;

    refuse_events(f, error, ALWAYS);
    assert_code(E_UNAVAILABLE, store_submit(f->s, &item, 1, true, &result, err));
    assert_true(tries(f) > 1);
    assert_int_equal(connections_that_tried(f), tries(f));
    help_sql(f, "DROP TRIGGER refusal");
    submit(f->s, &item, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    assert_int_equal(ask_number(f, "SELECT COUNT(*) FROM task"), 1);
}

static void a_node_without_its_cluster_is_unavailable(void **state)
{
    check_unfit(*state, 1047); /* WSREP has not yet prepared node for application use */
}

static void a_primary_that_became_a_replica_is_unavailable(void **state)
{
    check_unfit(*state, 1290); /* running with the --read-only option */
}

static void a_server_in_read_only_mode_is_unavailable(void **state)
{
    check_unfit(*state, 1836);
}

static void what_lost_to_another_node_is_done_again(void **state)
{
    struct fixture *f = *state;
    struct submission item = a_submission();
    struct submit_result result;

    refuse_events(f, 1213, 7); /* more than a server that is away is asked */
    submit(f->s, &item, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    assert_int_equal(tries(f), 7);
    assert_int_equal(ask_number(f, "SELECT COUNT(*) FROM task"), 1);
    assert_int_equal(ask_number(f, "SELECT COUNT(*) FROM event"), 1);
}

static void check_claimed_once(struct fixture *f, int tasks)
{
    char sql[160];

    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) = %d AND MIN(attempt) = 1 AND MAX(attempt) = 1 AND"
             " COUNT(DISTINCT token) = %d FROM task WHERE state = 1",
             tasks, tasks);
    assert_int_equal(ask_number(f, sql), 1);
    assert_int_equal(ask_number(f, "SELECT COUNT(*) FROM event WHERE to_state = 1"), tasks);
}

/* Each claim loses once. It takes other tasks then, of those that wait, and at last it has had
 * every one, once. */
static void a_claim_that_lost_takes_others_and_none_twice(void **state)
{
    enum { TASKS = 150, LIMIT = 70 };
    struct fixture *f = *state;
    const char *queues[] = {"q"};
    const struct claim claim = {
        .queues = queues, .queue_count = 1, .limit = LIMIT, .worker = "w", .lease_ms = 60000};
    static struct claimed got[LIMIT];
    char id[ID_TEXT_MAX];
    size_t count = 1;
    int rounds = 0;

    for (int i = 0; i < TASKS; i++)
        submit_to(f->s, "q", 0, id);
    refuse_events(f, 1213, 1);
    for (; count; rounds++) {
        help_sql(f, "DROP TRIGGER refusal");
        help_sql(f, "DROP TABLE tries");
        store_close(f->s); /* connections that were not refused yet */
        assert_ok(store_open(f->url, 4, &f->s, err));
        refuse_events(f, 1213, 1);
        assert_ok(store_claim(f->s, &claim, got, &count, err));
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(got[i].task.state, TASK_PROCESSING);
            task_release(&got[i].task);
        }
    }
    assert_int_equal(rounds, 4); /* 70, 70, 10 and none */
    check_claimed_once(f, TASKS);
}

/* The other one has recorded the migration just before, on a node whose lock is not ours. */
static void an_upgrade_goes_on_when_another_node_was_faster(void **state)
{
    struct fixture *f = *state;
    int version = 0, newest = -1;

    assert_ok(store_open(f->url, 4, &f->s, err));
    help_sql(f,
             "CREATE TABLE schema_migration (version INT NOT NULL, name VARCHAR(100) NOT NULL,"
             " applied_ms BIGINT NOT NULL, PRIMARY KEY (version)) ENGINE = InnoDB");
    help_sql(f, "CREATE TRIGGER faster BEFORE INSERT ON schema_migration FOR EACH ROW BEGIN"
                " IF @faster IS NULL THEN SET @faster = 1; SIGNAL SQLSTATE '23000'"
                " SET MYSQL_ERRNO = 1062, MESSAGE_TEXT = 'duplicate'; END IF; END");
    assert_ok(store_upgrade(f->s, err));
    assert_ok(store_version(f->s, &version, &newest, err));
    assert_int_equal(version, newest);
}

#define on_ready(test) cmocka_unit_test_setup_teardown(test, fixture_ready, fixture_end)
#define on_empty(test) cmocka_unit_test_setup_teardown(test, fixture_empty, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        on_ready(a_node_without_its_cluster_is_unavailable),
        on_ready(a_primary_that_became_a_replica_is_unavailable),
        on_ready(a_server_in_read_only_mode_is_unavailable),
        on_ready(what_lost_to_another_node_is_done_again),
        on_ready(a_claim_that_lost_takes_others_and_none_twice),
        on_empty(an_upgrade_goes_on_when_another_node_was_faster),
    };
    int unavailable = help_available();

    return unavailable ? unavailable : cmocka_run_group_tests(tests, NULL, NULL);
}
