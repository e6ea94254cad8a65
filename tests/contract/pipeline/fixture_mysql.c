#include "pipeline_fixture.h"

#include <mysql.h>
#include <segue/pipeline_mysql.h>
#include <stdlib.h>
#include <unistd.h>

const bool fixture_is_shared = true;

static char user[64], password[64], host[64];
static unsigned port;

int fixture_available(void)
{
    const char *all = getenv("SEGUE_TEST_REQUIRE_ALL"), *url = getenv("TEST_DATABASE_URL");

    if (!url) {
        printf("skipped: TEST_DATABASE_URL is not set\n");
        return all && strcmp(all, "1") == 0 ? 1 : FIXTURE_SKIP;
    }
    return sscanf(url, "mysql://%63[^:]:%63[^@]@%63[^:]:%u/", user, password, host, &port) == 4
               ? 0
               : 1;
}

static int on_server(const char *verb, const char *name)
{
    MYSQL *my = mysql_init(NULL);
    char sql[600];

    if (!my)
        return -1;
    snprintf(sql, sizeof sql, "%s %s", verb, name);
    int rc = mysql_real_connect(my, host, user, password, NULL, port, NULL, 0) &&
                     mysql_query(my, sql) == 0
                 ? 0
                 : -1;
    if (rc)
        fprintf(stderr, "%s: %s\n", sql, mysql_error(my));
    mysql_close(my);
    return rc;
}

int fixture_make_place(struct fixture *f)
{
    static int number;

    snprintf(f->place, sizeof f->place, "segue_pipeline_%d_%d", (int)getpid(), ++number);
    return on_server("CREATE DATABASE", f->place);
}

int fixture_remove_place(struct fixture *f)
{
    return on_server("DROP DATABASE IF EXISTS", f->place);
}

int fixture_open(struct fixture *f, struct pipeline_repository **ret, struct pipeline_err *err)
{
    const struct pipeline_mysql_options options = {
        .host = host, .port = port, .user = user, .password = password, .database = f->place};

    return pipeline_mysql_open(&options, ret, err);
}
