/* store_mysql.c - the MySQL and MariaDB backend: opening, health, migrations. */
#include "mysql_internal.h"

#include <mysqld_error.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "failpoint.h"

/* -- opening -- */

static void my_store_close(struct store *base)
{
    struct store_mysql *s = (struct store_mysql *)base;

    my_pool_release(s);
    my_ahead_release(&s->ahead);
    my_address_release(&s->address);
    free(s);
}

static int my_check_url(const char *url, struct err *err)
{
    struct my_address address = {0};
    int rc = my_address_parse(url, &address, err);

    my_address_release(&address);
    return rc;
}

/* Connects once, so that a wrong address or password is told at start. */
static int my_store_open(const char *url, int connections, struct store **ret, struct err *err)
{
    struct store_mysql *s = calloc(1, sizeof *s);
    struct my_conn *c = NULL;
    unsigned error = 0;

    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the store");
    s->base.ops = &store_mysql_ops;
    int rc = my_address_parse(url, &s->address, err);
    if (!rc)
        rc = my_ahead_init(&s->ahead, err);
    if (!rc) {
        rc = my_pool_init(s, connections, err);
        if (rc)
            my_ahead_release(&s->ahead);
    }
    if (rc) {
        my_address_release(&s->address);
        free(s);
        return rc;
    }
    rc = my_borrow(s, &c, &error, err);
    if (rc) {
        err_wrap(err, "open the database '%s' at %s:%u", s->address.database, s->address.host,
                 s->address.port);
        my_store_close(&s->base);
        return rc;
    }
    my_give_back(s, c, false);
    *ret = &s->base;
    return 0;
}

/* -- health -- */

static int ping_with(struct store_mysql *s, struct err *err)
{
    static const struct my_limits limits = {.connect_s = 1, .io_s = 2, .lock_wait_s = 1};
    unsigned error = 0;

    if (!s->ping_conn) {
        int rc = my_connect(&s->address, &limits, &s->ping_conn, &error, err);
        if (rc)
            return rc;
    }
    return my_exec(s->ping_conn,
                   "UPDATE health SET at_ms = CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
                   " WHERE id = 1",
                   err);
}

static int my_ping(struct store *base, struct err *err)
{
    struct store_mysql *s = (struct store_mysql *)base;
    int64_t began_ms = clock_mono_ms();
    int rc = 0;

    pthread_mutex_lock(&s->ping_lock);
    for (int tries = 0; tries < 2; tries++) { /* the link may have died while it was idle */
        rc = ping_with(s, err);
        if (!rc)
            break;
        my_disconnect(s->ping_conn);
        s->ping_conn = NULL;
        if (clock_mono_ms() - began_ms > STORE_PING_MS / 2)
            break;
    }
    pthread_mutex_unlock(&s->ping_lock);
    return rc;
}

/* -- migrations: on a connection of their own, without the short timeouts -- */

static int version_in(void *ctx, int *ret_version, struct err *err)
{
    struct my_conn *c = ctx;
    struct my_query q;

    *ret_version = 0;
    my_begin_sql(&q, c, "SELECT IFNULL(MAX(version), 0) FROM schema_migration");
    my_out_small(&q, ret_version);
    int rc = my_one(&q, err);
    my_end(&q);
    if (rc < 0 && c->error == ER_NO_SUCH_TABLE)
        return 0; /* an empty database */
    return rc < 0 ? rc : 0;
}

/* The library runs one statement at a time: scripts are cut after each ";\n". */
static int run_script(struct my_conn *c, const char *script, struct err *err)
{
    char *copy = strdup(script);
    int rc = 0;

    if (!copy)
        return err_set(err, -E_NO_MEMORY, "no memory for a migration");
    for (char *at = copy, *end; !rc && (end = strstr(at, ";\n")) != NULL; at = end + 2) {
        *end = '\0';
        rc = my_exec(c, at, err);
    }
    free(copy);
    return rc;
}

static int record(struct my_conn *c, const struct migration *m, bool up, struct err *err)
{
    struct my_query q;

    my_begin_sql(&q, c,
                 up ? "INSERT INTO schema_migration (version, name, applied_ms)"
                      " VALUES (?, ?, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED))"
                    : "DELETE FROM schema_migration WHERE version = ?");
    my_int(&q, m->version);
    if (up)
        my_text(&q, m->name);
    int rc = my_run(&q, NULL, err);
    my_end(&q);
    return rc;
}

static int apply(void *ctx, const struct migration *m, bool up, struct err *err)
{
    struct my_conn *c = ctx;
    int rc = my_exec(c,
                     "CREATE TABLE IF NOT EXISTS schema_migration (version INT NOT NULL,"
                     " name VARCHAR(100) NOT NULL, applied_ms BIGINT NOT NULL,"
                     " PRIMARY KEY (version)) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4",
                     err);

    if (!rc)
        rc = run_script(c, up ? m->up : m->down, err);
    if (!rc)
        rc = FAILPOINT_ERR(migration_scripted, -E_UNAVAILABLE, err);
    if (!rc)
        rc = record(c, m, up, err);
    return rc;
}

static const struct migration_driver driver = {version_in, apply};

/* Somebody else was at the same. */
static bool was_disturbed(unsigned error)
{
    static const unsigned signs[] = {ER_DUP_ENTRY, ER_DUP_FIELDNAME, ER_TABLE_EXISTS_ERROR};

    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (error == signs[i])
            return true;
    }
    return my_fault_of(error) == FAULT_RETRY;
}

/* One manager at a time; the server lets go of the lock when the connection ends. It is one
 * server's, though: on another node of a cluster a manager that starts at the same moment has
 * it, too. Whoever comes second then starts again, from what is recorded by then. */
static int take_lock(struct my_conn *c, struct err *err)
{
    struct my_query q;
    int got = 0;

    my_begin_sql(
        &q, c,
        "SELECT IFNULL(GET_LOCK(CONCAT('segue.', LEFT(SHA2(DATABASE(), 256), 32)), 60), 0)");
    my_out_small(&q, &got);
    int rc = my_one(&q, err);
    my_end(&q);
    if (rc < 0)
        return rc;
    if (got != 1)
        return err_set(err, -E_UNAVAILABLE,
                       "another task manager has been upgrading the "
                       "database for a minute");
    return 0;
}

static int migrate(struct store_mysql *s,
                   int (*run)(const struct migration_list *, const struct migration_driver *,
                              void *, struct err *),
                   struct err *err)
{
    static const struct my_limits limits = {.connect_s = 5, .io_s = 3600, .lock_wait_s = 30};
    struct my_conn *c = NULL;
    unsigned error = 0;

    int rc = my_connect(&s->address, &limits, &c, &error, err);
    if (rc)
        return rc;
    rc = take_lock(c, err);
    int64_t began_ms = clock_mono_ms();
    for (unsigned tries = 0; !rc; tries++) {
        c->error = 0;
        rc = run(&migrations_mysql, &driver, c, err);
        if (!rc || !was_disturbed(c->error) || !my_wait_for_try(FAULT_RETRY, tries, began_ms))
            break;
        rc = 0;
    }
    my_disconnect(c);
    return rc;
}

static int my_upgrade(struct store *base, struct err *err)
{
    return migrate((struct store_mysql *)base, migrate_up, err);
}

static int my_downgrade(struct store *base, struct err *err)
{
    return migrate((struct store_mysql *)base, migrate_down, err);
}

static int version_body(struct my_conn *c, void *arg, struct err *err)
{
    return version_in(c, arg, err);
}

static int my_version(struct store *base, int *ret_version, struct err *err)
{
    return my_read((struct store_mysql *)base, version_body, ret_version, err);
}

const struct store_ops store_mysql_ops = {
    .name = "mysql",
    .scheme = "mysql://",
    .is_remote = true,
    .migrations = &migrations_mysql,
    .check_url = my_check_url,
    .open = my_store_open,
    .close = my_store_close,
    .ping = my_ping,
    .age = my_age,
    .upgrade = my_upgrade,
    .downgrade = my_downgrade,
    .version = my_version,
    .submit = my_submit,
    .look_up = my_look_up,
    .get = my_get,
    .list = my_list,
    .attempts = my_attempts,
    .events = my_events,
    .counts = my_counts,
    .claim = my_claim,
    .renew = my_renew,
    .move = my_move,
    .expired = my_expired,
    .run_add = my_run_add,
    .run_look_up = my_run_look_up,
    .run_get = my_run_get,
    .run_list = my_run_list,
    .run_events = my_run_events,
    .run_change = my_run_change,
    .run_marks = my_run_marks,
    .run_unmark = my_run_unmark,
    .run_purge = my_run_purge,
    .outbox_take = my_outbox_take,
    .outbox_done = my_outbox_done,
    .outbox_give_up = my_outbox_give_up,
    .forget_keys = my_forget_keys,
    .purge = my_purge,
    .key_uses = my_key_uses,
};
