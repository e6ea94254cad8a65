/* store_mysql_conn.c - connections with safe settings instead of the library's defaults, the
 * pool they live in, and what each error number means. */
#include "mysql_internal.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    ERROR_CONNECTION_KILLED = 1927,  /* MariaDB */
    ERROR_CLIENT_INTERACTION = 4031, /* MySQL 8: closed for being idle */
    ERROR_QUERY_INTERRUPTED = 1317,
    ERROR_ROW_CHANGED = 1020
};

/* -- errors -- */

static const struct {
    unsigned error;
    enum my_fault fault;
    int code;
} meanings[] = {
    {ER_LOCK_DEADLOCK, FAULT_RETRY, -E_UNAVAILABLE},
    {ER_LOCK_WAIT_TIMEOUT, FAULT_RETRY, -E_UNAVAILABLE},
    {ERROR_ROW_CHANGED, FAULT_RETRY, -E_UNAVAILABLE},
    {ERROR_QUERY_INTERRUPTED, FAULT_RETRY, -E_UNAVAILABLE},
    {CR_SERVER_GONE_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {CR_SERVER_LOST, FAULT_LINK, -E_UNAVAILABLE},
    {CR_CONNECTION_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {CR_CONN_HOST_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {CR_UNKNOWN_HOST, FAULT_LINK, -E_UNAVAILABLE},
    {CR_COMMANDS_OUT_OF_SYNC, FAULT_LINK, -E_UNAVAILABLE},
    {CR_MALFORMED_PACKET, FAULT_LINK, -E_UNAVAILABLE},
    {ER_CON_COUNT_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {ER_SERVER_SHUTDOWN, FAULT_LINK, -E_UNAVAILABLE},
    {ERROR_CONNECTION_KILLED, FAULT_LINK, -E_UNAVAILABLE},
    {ERROR_CLIENT_INTERACTION, FAULT_LINK, -E_UNAVAILABLE},
    {ER_NET_READ_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {ER_NET_READ_INTERRUPTED, FAULT_LINK, -E_UNAVAILABLE},
    {ER_NET_ERROR_ON_WRITE, FAULT_LINK, -E_UNAVAILABLE},
    {ER_NET_WRITE_INTERRUPTED, FAULT_LINK, -E_UNAVAILABLE},
    /* A server that is not, or no longer, the one to write to: a Galera node without its
     * cluster (it says "unknown command"), a replica. Behind the same address there may be
     * another by now, so its connections are of no more use. */
    {ER_UNKNOWN_COM_ERROR, FAULT_LINK, -E_UNAVAILABLE},
    {ER_OPTION_PREVENTS_STATEMENT, FAULT_LINK, -E_UNAVAILABLE},
    {ER_READ_ONLY_MODE, FAULT_LINK, -E_UNAVAILABLE},
    /* A Galera node that lost its cluster meanwhile; the others may have the transaction. */
    {ER_ERROR_DURING_COMMIT, FAULT_LINK, -E_UNAVAILABLE},
    {ER_DISK_FULL, FAULT_FINAL, -E_NO_SPACE},
    {ER_RECORD_FILE_FULL, FAULT_FINAL, -E_NO_SPACE},
    {ER_OUTOFMEMORY, FAULT_FINAL, -E_NO_MEMORY},
    {ER_OUT_OF_RESOURCES, FAULT_FINAL, -E_NO_MEMORY},
    {CR_OUT_OF_MEMORY, FAULT_FINAL, -E_NO_MEMORY},
    {ER_NOT_KEYFILE, FAULT_FINAL, -E_CORRUPT},
    {ER_CRASHED_ON_USAGE, FAULT_FINAL, -E_CORRUPT},
    {ER_NET_PACKET_TOO_LARGE, FAULT_FINAL, -E_TOO_BIG},
    {CR_NET_PACKET_TOO_LARGE, FAULT_FINAL, -E_TOO_BIG},
    {ER_TRUNCATED_WRONG_VALUE_FOR_FIELD, FAULT_FINAL, -E_BAD_VALUE},
    {ER_INVALID_CHARACTER_STRING, FAULT_FINAL, -E_BAD_VALUE},
    {ER_DBACCESS_DENIED_ERROR, FAULT_FINAL, -E_UNAVAILABLE},
    {ER_ACCESS_DENIED_ERROR, FAULT_FINAL, -E_UNAVAILABLE},
    {ER_BAD_DB_ERROR, FAULT_FINAL, -E_UNAVAILABLE},
    {ER_NO_SUCH_TABLE, FAULT_FINAL, -E_UNAVAILABLE}, /* not migrated yet */
};

enum my_fault my_fault_of(unsigned error)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].error == error)
            return meanings[i].fault;
    }
    return error ? FAULT_FINAL : FAULT_NONE;
}

static int code_of(unsigned error)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].error == error)
            return meanings[i].code;
    }
    return error < CR_MIN_ERROR || error > CR_MAX_ERROR ? -E_BUG : -E_UNAVAILABLE;
}

int my_fail(struct my_conn *c, const char *what, struct err *err)
{
    c->error = mysql_errno(c->my);
    if (!c->error)
        c->error = CR_UNKNOWN_ERROR;
    return err_set(err, code_of(c->error), "the database could not %s: %s (error %u)", what,
                   mysql_error(c->my), c->error);
}

int my_exec(struct my_conn *c, const char *sql, struct err *err)
{
    if (mysql_real_query(c->my, sql, (unsigned long)strlen(sql)) != 0)
        return my_fail(c, "run a statement", err);
    return 0;
}

/* -- the library -- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_key;
static bool library_ok;

static void thread_end(void *unused)
{
    (void)unused;
    mysql_thread_end();
}

static void library_start(void)
{
    library_ok = mysql_library_init(0, NULL, NULL) == 0 &&
                 pthread_key_create(&thread_key, thread_end) == 0;
}

/* The library wants to know each thread that calls it, and when it ends. */
static int enter_library(struct err *err)
{
    static const char entered;

    pthread_once(&library_once, library_start);
    if (!library_ok)
        return err_set(err, -E_NO_MEMORY, "the MySQL library does not start");
    if (pthread_getspecific(thread_key))
        return 0;
    if (mysql_thread_init() != 0 || pthread_setspecific(thread_key, &entered) != 0)
        return err_set(err, -E_NO_MEMORY, "no memory for a thread of the MySQL library");
    return 0;
}

/* -- one connection -- */

static void set_options(MYSQL *my, const struct my_limits *limits)
{
    const unsigned off = 0, tcp = MYSQL_PROTOCOL_TCP;

    mysql_options(my, MYSQL_OPT_CONNECT_TIMEOUT, &limits->connect_s);
    mysql_options(my, MYSQL_OPT_READ_TIMEOUT, &limits->io_s);
    mysql_options(my, MYSQL_OPT_WRITE_TIMEOUT, &limits->io_s);
    mysql_options(my, MYSQL_OPT_LOCAL_INFILE, &off); /* else the server may ask for any file */
    mysql_options(my, MYSQL_OPT_PROTOCOL, &tcp);
    mysql_options(my, MYSQL_SET_CHARSET_NAME, "utf8mb4");
}

/* Servers of a cluster count their rows in steps of their number (auto_increment_increment):
 * each has shards of its own then, so that no two write the same counter at once. */
static unsigned shard_of(unsigned long session, unsigned long nodes, unsigned long node)
{
    if (nodes < 1 || nodes > MY_SHARDS)
        nodes = 1;
    return (unsigned)((node + nodes - 1) % nodes + nodes * (session % (MY_SHARDS / nodes)));
}

/* In a Galera cluster a node may be some transactions behind another. What one manager has told
 * a client or a worker, the next must know on its own node, else it would call a task unknown
 * or a report stale. So there each transaction, and each read outside one, waits until what was
 * committed anywhere before is here. (Writes need no such care: what was decided on old rows
 * fails at COMMIT, as a deadlock, and is redone.) */
static int join_cluster(struct my_conn *c, struct err *err)
{
    static const char ask[] =
        "SHOW SESSION VARIABLES WHERE Variable_name IN"
        " ('wsrep_on', 'auto_increment_increment', 'auto_increment_offset')";
    unsigned long nodes = 1, node = 1;
    bool is_node = false;

    int rc = my_exec(c, ask, err);
    if (rc)
        return rc;
    MYSQL_RES *rows = mysql_store_result(c->my);
    if (!rows)
        return my_fail(c, "say whether it is in a cluster", err);
    for (MYSQL_ROW row; (row = mysql_fetch_row(rows)) && row[0] && row[1];) {
        if (strcmp(row[0], "wsrep_on") == 0)
            is_node = strcmp(row[1], "ON") == 0;
        else
            *(strstr(row[0], "_offset") ? &node : &nodes) = strtoul(row[1], NULL, 10);
    }
    mysql_free_result(rows);
    c->shard = shard_of(mysql_thread_id(c->my), nodes, node);
    return is_node ? my_exec(c, "SET SESSION wsrep_sync_wait = 1", err) : 0;
}

static int set_session(struct my_conn *c, const struct my_limits *limits, struct err *err)
{
    char sql[256];

    int rc = my_exec(c, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", err);
    if (rc)
        return rc;
    /* UTC, so that no hour comes twice in the clock that leases are measured on. */
    snprintf(sql, sizeof sql,
             "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,"
             "ERROR_FOR_DIVISION_BY_ZERO', time_zone = '+00:00', autocommit = 1,"
             " innodb_lock_wait_timeout = %u",
             limits->lock_wait_s);
    rc = my_exec(c, sql, err);
    return rc ? rc : join_cluster(c, err);
}

int my_connect(const struct my_address *a, const struct my_limits *limits, struct my_conn **ret,
               unsigned *ret_error, struct err *err)
{
    *ret_error = 0;
    int rc = enter_library(err);
    if (rc)
        return rc;
    struct my_conn *c = calloc(1, sizeof *c);
    if (c)
        c->my = mysql_init(NULL);
    if (!c || !c->my) {
        free(c);
        return err_set(err, -E_NO_MEMORY, "no memory for a database connection");
    }

    buf_init(&c->script);
    set_options(c->my, limits);
    if (!mysql_real_connect(c->my, a->host, a->user, a->password, a->database, a->port, NULL,
                            CLIENT_FOUND_ROWS | CLIENT_MULTI_STATEMENTS))
        rc = my_fail(c, "be reached", err);
    else if (mysql_set_character_set(c->my, "utf8mb4") != 0) /* whatever the server prefers */
        rc = my_fail(c, "speak utf8mb4", err);
    else
        rc = set_session(c, limits, err);
    if (rc) {
        *ret_error = c->error;
        my_disconnect(c);
        return rc;
    }
    *ret = c;
    return 0;
}

void my_disconnect(struct my_conn *c)
{
    if (!c)
        return;
    mysql_close(c->my);
    tally_release(&c->tally);
    buf_release(&c->script);
    free(c);
}

/* -- the pool -- */

static const struct my_limits pool_limits = {.connect_s = 3, .io_s = 20, .lock_wait_s = 5};

int my_pool_init(struct store_mysql *s, int limit, struct err *err)
{
    pthread_condattr_t attr;

    s->limit = limit;
    if (pthread_condattr_init(&attr) || pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) ||
        pthread_cond_init(&s->returned, &attr) || pthread_condattr_destroy(&attr) ||
        pthread_mutex_init(&s->lock, NULL) || pthread_mutex_init(&s->ping_lock, NULL))
        return err_set(err, -E_NO_MEMORY, "no memory for the pool of connections");
    return 0;
}

static void disconnect_all(struct my_conn *list)
{
    while (list) {
        struct my_conn *next = list->next;
        my_disconnect(list);
        list = next;
    }
}

void my_pool_release(struct store_mysql *s)
{
    disconnect_all(s->idle);
    my_disconnect(s->ping_conn);
    pthread_cond_destroy(&s->returned);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->ping_lock);
}

/* Waits for its turn and returns an idle connection or NULL: then the caller may connect. */
static int take_place(struct store_mysql *s, struct my_conn **ret, struct err *err)
{
    struct timespec deadline;
    int waited = 0;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += STORE_WAIT_MS / 1000;
    pthread_mutex_lock(&s->lock);
    while (s->lent >= s->limit && waited == 0)
        waited = pthread_cond_timedwait(&s->returned, &s->lock, &deadline);
    bool free_place = s->lent < s->limit;
    if (free_place) {
        s->lent++;
        *ret = s->idle;
        if (s->idle)
            s->idle = s->idle->next;
    }
    pthread_mutex_unlock(&s->lock);
    if (!free_place)
        return err_set(err, -E_UNAVAILABLE, "all %d database connections are busy", s->limit);
    return 0;
}

int my_borrow(struct store_mysql *s, struct my_conn **ret, unsigned *ret_error, struct err *err)
{
    struct my_conn *c = NULL;

    *ret_error = 0;
    int rc = enter_library(err);
    if (!rc)
        rc = take_place(s, &c, err);
    if (rc)
        return rc;
    if (!c) {
        rc = my_connect(&s->address, &pool_limits, &c, ret_error, err);
        if (rc) {
            my_give_back(s, NULL, my_fault_of(*ret_error) == FAULT_LINK);
            return rc;
        }
    }
    c->error = 0;
    *ret = c;
    return 0;
}

/* A broken connection is dropped, and the idle ones with it: after a restart of the server
 * they are all dead, and each would cost some caller one of its tries. */
void my_give_back(struct store_mysql *s, struct my_conn *c, bool broken)
{
    struct my_conn *dead = NULL;

    pthread_mutex_lock(&s->lock);
    s->lent--;
    if (broken) {
        dead = s->idle;
        s->idle = NULL;
    } else if (c) {
        c->next = s->idle;
        s->idle = c;
    }
    pthread_cond_signal(&s->returned);
    pthread_mutex_unlock(&s->lock);
    if (broken)
        my_disconnect(c);
    disconnect_all(dead);
}
