/* store_help.c - see store_help.h. */
#include "store_help.h"

#include <ftw.h>
#include <mysql.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

static bool is_mysql(void)
{
    return strcmp(STORE_BACKEND, "mysql") == 0;
}

int help_available(void)
{
    const char *all = getenv("SEGUE_TEST_REQUIRE_ALL");

    if (!is_mysql() || getenv("TEST_DATABASE_URL"))
        return 0;
    printf("skipped: TEST_DATABASE_URL is not set\n");
    return all && strcmp(all, "1") == 0 ? 1 : HELP_SKIP;
}

/* -- databases -- */

/* Runs "verb name", such as CREATE DATABASE, on the server under test. */
static int on_server(const char *verb, const char *name, const char *database)
{
    char user[64], password[64], host[64], sql[320];
    unsigned port = 0;
    MYSQL *my = mysql_init(NULL);

    if (!my || sscanf(getenv("TEST_DATABASE_URL"), "mysql://%63[^:]:%63[^@]@%63[^:]:%u/", user,
                      password, host, &port) != 4)
        return -1;
    snprintf(sql, sizeof sql, "%s %s", verb, name);
    int rc = mysql_real_connect(my, host, user, password, database, port, NULL, 0) &&
                     mysql_query(my, sql) == 0
                 ? 0
                 : -1;
    if (rc)
        fprintf(stderr, "%s: %s\n", sql, mysql_error(my));
    mysql_close(my);
    return rc;
}

static int make_mysql(struct fixture *f)
{
    static int number;
    const char *base = getenv("TEST_DATABASE_URL");
    size_t keep = (size_t)(strrchr(base, '/') - base);

    snprintf(f->place, sizeof f->place, "segue_store_%d_%d", (int)getpid(), ++number);
    snprintf(f->url, sizeof f->url, "%.*s/%s", (int)keep, base, f->place);
    return on_server("CREATE DATABASE", f->place, NULL);
}

static int make_sqlite(struct fixture *f)
{
    const char *temp = getenv("TMPDIR");

    snprintf(f->place, sizeof f->place, "%s/segue-store.XXXXXX", temp ? temp : "/tmp");
    if (!mkdtemp(f->place))
        return -1;
    snprintf(f->url, sizeof f->url, "sqlite:%s/deep/down/segue.db", f->place);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int fixture_empty(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    *state = f;
    if (!f)
        return -1;
    return is_mysql() ? make_mysql(f) : make_sqlite(f);
}

int fixture_ready(void **state)
{
    struct err err = ERR_INIT;

    if (fixture_empty(state))
        return -1;
    struct fixture *f = *state;
    if (store_open(f->url, 16, &f->s, &err) || store_upgrade(f->s, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return -1;
    }
    return 0;
}

int fixture_end(void **state)
{
    struct fixture *f = *state;
    int rc;

    store_close(f->s);
    if (is_mysql())
        rc = on_server("DROP DATABASE IF EXISTS", f->place, NULL);
    else
        rc = nftw(f->place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return rc;
}

void help_sql(const struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;

    if (is_mysql()) {
        assert_int_equal(on_server("", sql, f->place), 0);
        return;
    }
    assert_int_equal(sqlite3_open(f->url + strlen("sqlite:"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* -- short ways -- */

struct submission a_submission(void)
{
    struct submission item = {.task = {.type = "noop", .queue = "q", .max_attempts = 3},
                              .client = ""};

    id_new(item.task.id);
    return item;
}

void submit(struct store *s, const struct submission *item, struct submit_result *ret)
{
    assert_ok(store_submit(s, item, 1, true, ret, err));
}

void submit_to(struct store *s, const char *queue, int priority, char ret_id[ID_TEXT_MAX])
{
    struct submission item = a_submission();
    struct submit_result result;

    snprintf(item.task.queue, sizeof item.task.queue, "%s", queue);
    item.task.priority = priority;
    submit(s, &item, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

static bool claim_with(struct store *s, const struct claim *claim, struct claimed *ret)
{
    size_t count = 0;

    assert_ok(store_claim(s, claim, ret, &count, err));
    return count == 1;
}

bool claim_from(struct store *s, const char *queue, int64_t lease_ms, struct claimed *ret)
{
    const char *const queues[] = {queue};
    struct claim claim = {"w1", queues, 1, NULL, 1, lease_ms};

    return claim_with(s, &claim, ret);
}

bool claim_id(struct store *s, const char *id, int64_t lease_ms, struct claimed *ret)
{
    struct claim claim = {"w1", NULL, 0, id, 1, lease_ms};

    return claim_with(s, &claim, ret);
}

void start_one(struct store *s, char ret_id[ID_TEXT_MAX], char ret_token[TOKEN_TEXT_MAX])
{
    struct claimed got;

    submit_to(s, "q", 0, ret_id);
    assert_true(claim_id(s, ret_id, 60000, &got));
    memcpy(ret_token, got.token, TOKEN_TEXT_MAX);
    task_release(&got.task);
}

struct task_move report(const char *id, const char *token, enum task_state to,
                        enum attempt_outcome outcome)
{
    struct task_move m = {.from = TASK_PROCESSING, .to = to, .outcome = outcome, .actor = "w1"};

    snprintf(m.id, sizeof m.id, "%s", id);
    snprintf(m.token, sizeof m.token, "%s", token);
    return m;
}

struct task_move by_hand(const char *id, enum task_state from, enum task_state to)
{
    struct task_move m = {
        .from = from, .to = to, .outcome = ATTEMPT_CANCELLED, .actor = "client"};

    snprintf(m.id, sizeof m.id, "%s", id);
    return m;
}

struct move_result move(struct store *s, const struct task_move *m)
{
    struct move_result result = {0};

    assert_ok(store_move(s, m, 1, true, &result, err));
    return result;
}

enum task_state state_of(struct store *s, const char *id)
{
    struct task t;

    assert_ok(store_get(s, id, &t, err));
    enum task_state state = t.state;
    task_release(&t);
    return state;
}

void wait_until(bool (*check)(void *arg), void *arg)
{
    const struct timespec pause = {0, 2000000};
    int64_t deadline = clock_mono_ms() + 20000;

    while (!check(arg)) {
        if (clock_mono_ms() > deadline)
            fail_msg("waited 20 s in vain");
        nanosleep(&pause, NULL);
    }
}
