/* store_fixture.c - a fresh database on SQLite or MySQL for each test. */
#include <ftw.h>
#include <mysql.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_help.h"

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

/* Whatever a test did: the numbers of tasks that the store keeps are those of its tasks. */
static int check_counts(const struct fixture *f)
{
    int rc = 0;

    for (unsigned i = 0; f->s && i < TASK_STATE__COUNT && !rc; i++) {
        const struct store_filter filter = {.states = 1U << i, .limit = 100000};
        struct task_list list = {NULL, 0};
        int64_t total = -1;
        struct err err = ERR_INIT;
        if (store_list(f->s, &filter, &list, &total, &err) != 0)
            break; /* a test that leaves no tables, or no server, behind */
        if (total != (int64_t)list.count) {
            fprintf(stderr, "%zu tasks are %s, and the store counts %lld\n", list.count,
                    task_state_name((enum task_state)i), (long long)total);
            rc = -1;
        }
        task_list_release(&list);
    }
    return rc;
}

int fixture_end(void **state)
{
    struct fixture *f = *state;
    int miscounted = check_counts(f);
    int rc;

    store_close(f->s);
    if (is_mysql())
        rc = on_server("DROP DATABASE IF EXISTS", f->place, NULL);
    else
        rc = nftw(f->place, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(f);
    return rc ? rc : miscounted;
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
