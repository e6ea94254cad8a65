/* mysql_conn.c - the connection, with safe settings instead of the library's defaults, and what
 * its errors mean. */
#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <string.h>

#include "mysql_impl.h"

enum { TIMEOUT_S = 20, PORT = 3306, ERROR_ROW_CHANGED = 1020, ERROR_CONNECTION_KILLED = 1927 };

enum { LINK = 1, COLLISION = 2 };

static const struct {
    unsigned error;
    int code, kind;
} meanings[] = {
    {CR_SERVER_GONE_ERROR, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {CR_SERVER_LOST, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {CR_CONNECTION_ERROR, PIPELINE_E_UNAVAILABLE, LINK},
    {CR_CONN_HOST_ERROR, PIPELINE_E_UNAVAILABLE, LINK},
    {CR_UNKNOWN_HOST, PIPELINE_E_UNAVAILABLE, LINK},
    {CR_COMMANDS_OUT_OF_SYNC, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {CR_MALFORMED_PACKET, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {CR_OUT_OF_MEMORY, PIPELINE_E_NO_MEMORY, LINK},
    {ER_SERVER_SHUTDOWN, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {ERROR_CONNECTION_KILLED, PIPELINE_E_UNKNOWN_OUTCOME, LINK},
    {ER_LOCK_DEADLOCK, PIPELINE_E_UNAVAILABLE, COLLISION},
    {ER_LOCK_WAIT_TIMEOUT, PIPELINE_E_UNAVAILABLE, COLLISION},
    {ERROR_ROW_CHANGED, PIPELINE_E_UNAVAILABLE, COLLISION},
    {ER_DUP_ENTRY, PIPELINE_E_EXISTS, 0},
    {ER_NO_REFERENCED_ROW_2, PIPELINE_E_NOT_FOUND, 0},
    {ER_DISK_FULL, PIPELINE_E_NO_SPACE, 0},
    {ER_RECORD_FILE_FULL, PIPELINE_E_NO_SPACE, 0},
    {ER_OUTOFMEMORY, PIPELINE_E_NO_MEMORY, 0},
    {ER_NET_PACKET_TOO_LARGE, PIPELINE_E_BAD_VALUE, 0},
    {ER_NOT_KEYFILE, PIPELINE_E_CORRUPT, 0},
    {ER_CRASHED_ON_USAGE, PIPELINE_E_CORRUPT, 0},
};

static int kind_of(unsigned error)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].error == error)
            return meanings[i].kind;
    }
    return 0;
}

static int code_of(unsigned error)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].error == error)
            return -meanings[i].code;
    }
    return -PIPELINE_E_UNAVAILABLE;
}

bool my_is_link_lost(const struct my *m)
{
    return kind_of(m->error) == LINK;
}

bool my_is_collision(const struct my *m)
{
    return kind_of(m->error) == COLLISION;
}

int my_fail(struct my *m, MYSQL_STMT *st, const char *what, struct pipeline_err *err)
{
    unsigned error = st ? mysql_stmt_errno(st) : mysql_errno(m->link);
    const char *text = st ? mysql_stmt_error(st) : mysql_error(m->link);

    m->error = error ? error : CR_UNKNOWN_ERROR;
    pipeline_err_set(err, code_of(m->error), "the database could not %s: %s (error %u)", what,
                     text, m->error);
    return code_of(m->error);
}

int my_execute(struct my *m, const char *sql, const char *what, struct pipeline_err *err)
{
    if (mysql_real_query(m->link, sql, (unsigned long)strlen(sql)) != 0)
        return my_fail(m, NULL, what, err);
    return 0;
}

static void set_options(MYSQL *link, unsigned timeout_s)
{
    const unsigned off = 0, tcp = MYSQL_PROTOCOL_TCP;

    mysql_options(link, MYSQL_OPT_CONNECT_TIMEOUT, &timeout_s);
    mysql_options(link, MYSQL_OPT_READ_TIMEOUT, &timeout_s);
    mysql_options(link, MYSQL_OPT_WRITE_TIMEOUT, &timeout_s);
    mysql_options(link, MYSQL_OPT_LOCAL_INFILE,
                  &off); /* else the server may ask for any file */
    mysql_options(link, MYSQL_OPT_PROTOCOL, &tcp);
    mysql_options(link, MYSQL_SET_CHARSET_NAME, "utf8mb4");
}

static int set_session(struct my *m, struct pipeline_err *err)
{
    int rc = my_execute(m, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
                        "set up the connection", err);

    if (rc)
        return rc;
    /* UTC, so that no hour comes twice in the clock that claims are measured on. */
    return my_execute(m,
                      "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
                      " time_zone = '+00:00', autocommit = 1, innodb_lock_wait_timeout = 5",
                      "set up the connection", err);
}

int my_connect(struct my *m, struct pipeline_err *err)
{
    const struct pipeline_mysql_options *o = &m->options;
    int rc;

    if (m->link)
        return 0;
    m->link = mysql_init(NULL);
    if (!m->link) {
        m->error = CR_OUT_OF_MEMORY;
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a connection");
    }
    set_options(m->link, o->timeout_s ? o->timeout_s : TIMEOUT_S);
    if (!mysql_real_connect(m->link, o->host, o->user, o->password, o->database,
                            o->port ? o->port : PORT, NULL, CLIENT_FOUND_ROWS))
        rc = my_fail(m, NULL, "be reached", err);
    else
        rc = set_session(m, err);
    if (rc)
        my_disconnect(m);
    return rc;
}

void my_disconnect(struct my *m)
{
    for (int model = 0; model < PIPELINE_MODEL__COUNT; model++) {
        for (int i = 0; i < MY__COUNT; i++) {
            if (m->prepared[model][i])
                mysql_stmt_close(m->prepared[model][i]);
            m->prepared[model][i] = NULL;
        }
    }
    if (m->link)
        mysql_close(m->link);
    m->link = NULL;
}
