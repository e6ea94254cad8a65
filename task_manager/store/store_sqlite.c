/* store_sqlite.c - the SQLite backend: opening, the pool of readers, health, migrations. */
#include "sqlite_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "failpoint.h"
#include "fs.h"

/* -- opening -- */

static int make_parent(const char *path, struct err *err)
{
    char dir[PATH_MAX];

    if (path[0] == '\0' || strlen(path) + sizeof ".lock" > sizeof dir)
        return err_set(err, -E_BAD_VALUE,
                       "the path of the sqlite database is empty or too long");
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash || slash == dir)
        return 0;
    *slash = '\0';
    return fs_make_dirs(dir, err);
}

/* One process per file: two would checkpoint behind each other's back. */
static int lock_file(const char *path, int *ret_fd, struct err *err)
{
    char name[PATH_MAX];

    snprintf(name, sizeof name, "%s.lock", path);
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open '%s'", name);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int why = errno;
        close(fd);
        if (why == EWOULDBLOCK)
            return err_set(err, -E_UNAVAILABLE,
                           "the database '%s' is in use by another task manager", path);
        return err_set_errno(err, -E_IO, why, "lock '%s'", name);
    }
    *ret_fd = fd;
    return 0;
}

static int open_readers(struct store_sqlite *s, const char *path, int count, struct err *err)
{
    s->readers = calloc((size_t)count, sizeof *s->readers);
    if (!s->readers)
        return err_set(err, -E_NO_MEMORY, "no memory for %d readers", count);
    for (int i = 0; i < count; i++) {
        int rc = lite_open(path, false, &s->readers[i], err);
        if (rc)
            return rc;
        s->reader_count = i + 1;
        s->readers[i].next = s->idle;
        s->idle = &s->readers[i];
    }
    return 0;
}

static void lite_store_close(struct store *base)
{
    struct store_sqlite *s = (struct store_sqlite *)base;

    lite_writer_stop(&s->writer);
    for (int i = 0; i < s->reader_count; i++)
        lite_close(&s->readers[i]);
    free(s->readers);
    lite_close(&s->writer.conn); /* the last to go, so it is the one that checkpoints */
    pthread_cond_destroy(&s->free_reader);
    pthread_mutex_destroy(&s->lock);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    free(s);
}

static int lite_check_url(const char *url, struct err *err)
{
    if (url[strlen(store_sqlite_ops.scheme)] == '\0')
        return err_set(err, -E_BAD_VALUE, "sqlite: needs the path of a file behind it");
    return 0;
}

static int lite_store_open(const char *url, int connections, struct store **ret,
                           struct err *err)
{
    const char *path = url + strlen(store_sqlite_ops.scheme);
    struct store_sqlite *s = calloc(1, sizeof *s);

    if (!s || pthread_mutex_init(&s->lock, NULL) || cond_init_mono(&s->free_reader)) {
        free(s);
        return err_set(err, -E_NO_MEMORY, "no memory for the store");
    }
    s->base.ops = &store_sqlite_ops;
    s->lock_fd = -1;
    int rc = make_parent(path, err);
    if (!rc)
        rc = lock_file(path, &s->lock_fd, err);
    if (!rc)
        rc = lite_open(path, true, &s->writer.conn, err);
    if (!rc)
        rc = open_readers(s, path, connections, err);
    if (!rc)
        rc = lite_writer_start(&s->writer, err);
    if (rc) {
        lite_store_close(&s->base);
        return err_wrap(err, "open the database '%s'", path);
    }
    *ret = &s->base;
    return 0;
}

/* -- readers -- */

static struct lite_conn *borrow_reader(struct store_sqlite *s)
{
    struct timespec deadline = mono_after(STORE_WAIT_MS);
    int waited = 0;

    pthread_mutex_lock(&s->lock);
    while (!s->idle && waited == 0)
        waited = pthread_cond_timedwait(&s->free_reader, &s->lock, &deadline);
    struct lite_conn *c = s->idle;
    if (c)
        s->idle = c->next;
    pthread_mutex_unlock(&s->lock);
    return c;
}

int lite_read(struct store_sqlite *s, lite_body *body, void *arg, struct err *err)
{
    struct lite_conn *c = borrow_reader(s);

    if (!c)
        return err_set(err, -E_UNAVAILABLE, "all %d database connections are busy",
                       s->reader_count);
    int rc = body(c, arg, err);
    pthread_mutex_lock(&s->lock);
    c->next = s->idle;
    s->idle = c;
    pthread_cond_signal(&s->free_reader);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

/* -- health -- */

static int ping_body(struct lite_conn *c, void *arg, struct err *err)
{
    struct lite_query q;

    (void)arg;
    lite_begin(&q, c, LITE_PING);
    return lite_run(&q, NULL, err);
}

static int lite_ping(struct store *base, struct err *err)
{
    return lite_write_within((struct store_sqlite *)base, ping_body, STORE_PING_MS, err);
}

/* -- migrations: the version is written in the transaction of the script -- */

static int version_body(struct lite_conn *c, void *arg, struct err *err)
{
    int *ret_version = arg;
    struct lite_query q;

    *ret_version = 0;
    lite_begin(&q, c, LITE_HAS_MIGRATIONS);
    int rc = lite_next(&q, err);
    bool there = rc > 0 && lite_get_int(&q) > 0;
    lite_end(&q);
    if (rc < 0 || !there)
        return rc < 0 ? rc : 0;

    lite_begin_sql(&q, c, "SELECT ifnull(max(version), 0) FROM schema_migration");
    rc = lite_next(&q, err);
    if (rc > 0)
        *ret_version = (int)lite_get_int(&q);
    lite_drop(&q);
    return rc < 0 ? rc : 0;
}

static int version_in(void *ctx, int *ret_version, struct err *err)
{
    return version_body(ctx, ret_version, err);
}

static int apply(void *ctx, const struct migration *m, bool up, struct err *err)
{
    struct lite_conn *c = ctx;
    struct lite_query q;

    int rc =
        lite_exec(c,
                  "CREATE TABLE IF NOT EXISTS schema_migration (version INTEGER PRIMARY KEY,"
                  " name TEXT NOT NULL, applied_ms INTEGER NOT NULL) STRICT",
                  err);
    if (!rc)
        rc = lite_exec(c, up ? m->up : m->down, err);
    if (!rc)
        rc = FAILPOINT_ERR(migration_scripted, -E_UNAVAILABLE, err);
    if (rc)
        return rc;
    lite_begin_sql(&q, c,
                   up ? "INSERT INTO schema_migration VALUES (?, ?, now_ms())"
                      : "DELETE FROM schema_migration WHERE version = ?");
    lite_int(&q, m->version);
    if (up)
        lite_text(&q, m->name);
    rc = lite_next(&q, err);
    lite_drop(&q);
    return rc;
}

static const struct migration_driver driver = {version_in, apply};

static int upgrade_body(struct lite_conn *c, void *arg, struct err *err)
{
    (void)arg;
    return migrate_up(&migrations_sqlite, &driver, c, err);
}

static int downgrade_body(struct lite_conn *c, void *arg, struct err *err)
{
    (void)arg;
    return migrate_down(&migrations_sqlite, &driver, c, err);
}

static int lite_upgrade(struct store *base, struct err *err)
{
    return lite_write((struct store_sqlite *)base, upgrade_body, NULL, err);
}

static int lite_downgrade(struct store *base, struct err *err)
{
    return lite_write((struct store_sqlite *)base, downgrade_body, NULL, err);
}

static int lite_version(struct store *base, int *ret_version, struct err *err)
{
    return lite_read((struct store_sqlite *)base, version_body, ret_version, err);
}

const struct store_ops store_sqlite_ops = {
    .name = "sqlite",
    .scheme = "sqlite:",
    .migrations = &migrations_sqlite,
    .check_url = lite_check_url,
    .open = lite_store_open,
    .close = lite_store_close,
    .ping = lite_ping,
    .age = lite_age,
    .upgrade = lite_upgrade,
    .downgrade = lite_downgrade,
    .version = lite_version,
    .submit = lite_submit,
    .look_up = lite_look_up,
    .get = lite_get,
    .list = lite_list,
    .attempts = lite_attempts,
    .events = lite_events,
    .counts = lite_counts,
    .claim = lite_claim,
    .renew = lite_renew,
    .move = lite_move,
    .expired = lite_expired,
    .run_add = lite_run_add,
    .run_look_up = lite_run_look_up,
    .run_get = lite_run_get,
    .run_list = lite_run_list,
    .run_events = lite_run_events,
    .run_change = lite_run_change,
    .run_marks = lite_run_marks,
    .run_unmark = lite_run_unmark,
    .run_purge = lite_run_purge,
    .outbox_take = lite_outbox_take,
    .outbox_done = lite_outbox_done,
    .outbox_give_up = lite_outbox_give_up,
    .forget_keys = lite_forget_keys,
    .purge = lite_purge,
    .key_uses = lite_key_uses,
};
