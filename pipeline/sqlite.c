/* sqlite.c - the repository in a file: one connection, one lock, statements prepared once.
 *
 * It stands on the public headers alone, as a repository of anybody else would. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sqlite_impl.h"

enum { BUSY_MS = 10000, OPEN_TRIES = 200 };

#define TABLE(name, reference)                                                                 \
    "CREATE TABLE IF NOT EXISTS " name " (seq INTEGER PRIMARY KEY AUTOINCREMENT,"              \
    " uuid TEXT NOT NULL UNIQUE, pipeline_uuid TEXT" reference ", name TEXT NOT NULL,"         \
    " status TEXT NOT NULL, reason TEXT NOT NULL, metadata TEXT NOT NULL,"                     \
    " start_ended INTEGER NOT NULL, claim TEXT NOT NULL, claim_boot TEXT NOT NULL,"            \
    " claim_until INTEGER NOT NULL, version INTEGER NOT NULL);"

static const char schema[] = "BEGIN IMMEDIATE;" TABLE("pipelines", "") TABLE(
    "pipeline_steps",
    " NOT NULL REFERENCES pipelines (uuid)") "CREATE INDEX IF NOT EXISTS pipelines_status ON "
                                             "pipelines (status, seq);"
                                             "CREATE INDEX IF NOT EXISTS "
                                             "pipeline_steps_pipeline ON pipeline_steps "
                                             "(pipeline_uuid, seq);"
                                             "COMMIT;";

static int get(struct lite *s, enum pipeline_model model, const char *uuid,
               struct pipeline_record *ret, struct pipeline_err *err)
{
    struct lite_run r;

    lite_begin(s, &r, model, LITE_GET);
    lite_put_text(&r, uuid);
    int rc = lite_step(&r);
    if (rc == SQLITE_ROW) {
        lite_take_row(s, &r, model, ret);
        rc = r.rc ? lite_fail(s, r.rc, "read a row", err) : 0;
        if (rc)
            pipeline_record_release(ret);
    } else if (rc == SQLITE_DONE) {
        rc = pipeline_err_set(err, -PIPELINE_E_NOT_FOUND, "there is no record '%s'", uuid);
    } else {
        rc = lite_fail(s, rc, "read a row", err);
    }
    lite_end(&r);
    return rc;
}

/* -- the functions of the table -- */

static int sqlite_get(struct pipeline_repository *self, enum pipeline_model model,
                      const char *uuid, struct pipeline_record *ret, struct pipeline_err *err)
{
    struct lite *s = (struct lite *)self;

    pthread_mutex_lock(&s->lock);
    int rc = get(s, model, uuid, ret, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int insert(struct lite *s, const struct pipeline_record *record, int64_t *ret_seq,
                  struct pipeline_err *err)
{
    struct lite_run r;

    lite_begin(s, &r, record->model, LITE_SAVE);
    lite_put_text(&r, record->uuid);
    lite_put_text(&r, record->pipeline_uuid);
    lite_put_text(&r, record->name);
    lite_put_state(s, &r, record);
    int rc = lite_step(&r);
    rc = rc == SQLITE_DONE ? 0 : lite_fail(s, rc, "add a row", err);
    lite_end(&r);
    *ret_seq = sqlite3_last_insert_rowid(s->db);
    return rc;
}

static int sqlite_save(struct pipeline_repository *self, struct pipeline_record *records,
                       size_t count, struct pipeline_err *err)
{
    struct lite *s = (struct lite *)self;

    pthread_mutex_lock(&s->lock);
    int rc = lite_execute(s, "BEGIN IMMEDIATE", "begin", err);
    for (size_t i = 0; i < count && !rc; i++) {
        records[i].version = 1;
        rc = insert(s, &records[i], &records[i].seq, err);
    }
    if (!rc)
        rc = lite_execute(s, "COMMIT", "commit", err);
    if (rc && !sqlite3_get_autocommit(s->db))
        lite_execute(s, "ROLLBACK", "roll back", NULL);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int update(struct lite *s, const struct pipeline_record *record,
                  struct pipeline_err *err)
{
    struct pipeline_record stored;
    struct lite_run r;

    lite_begin(s, &r, record->model, LITE_UPDATE);
    lite_put_state(s, &r, record);
    lite_put_text(&r, record->uuid);
    lite_put_int(&r, record->version);
    int rc = lite_step(&r);
    int changes = rc == SQLITE_DONE ? sqlite3_changes(s->db) : 0;
    rc = rc == SQLITE_DONE ? 0 : lite_fail(s, rc, "change a row", err);
    lite_end(&r);
    if (rc || changes == 1)
        return rc;
    rc = get(s, record->model, record->uuid, &stored, err);
    if (rc)
        return rc;
    pipeline_record_release(&stored);
    return pipeline_err_set(err, -PIPELINE_E_STALE, "'%s' was changed meanwhile", record->name);
}

static int sqlite_update(struct pipeline_repository *self, const struct pipeline_record *record,
                         struct pipeline_err *err)
{
    struct lite *s = (struct lite *)self;

    pthread_mutex_lock(&s->lock);
    int rc = update(s, record, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

static int take_rows(struct lite *s, struct lite_run *r, const struct pipeline_query *query,
                     struct pipeline_records *ret, struct pipeline_err *err)
{
    size_t room = 0;
    int rc;

    while ((rc = lite_step(r)) == SQLITE_ROW) {
        if (ret->count == room) {
            room = room ? room * 2 : 8;
            struct pipeline_record *items = realloc(ret->items, room * sizeof *items);
            if (!items)
                return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for records");
            ret->items = items;
        }
        lite_take_row(s, r, query->model, &ret->items[ret->count++]);
    }
    return rc == SQLITE_DONE ? 0 : lite_fail(s, rc, "search", err);
}

static int sqlite_search(struct pipeline_repository *self, const struct pipeline_query *query,
                         struct pipeline_records *ret, struct pipeline_err *err)
{
    static const enum lite_statement searches[PIPELINE_FIELD__COUNT] = {
        [PIPELINE_FIELD_NAME] = LITE_BY_NAME,
        [PIPELINE_FIELD_STATUS] = LITE_BY_STATUS,
        [PIPELINE_FIELD_PIPELINE_UUID] = LITE_BY_PIPELINE};
    struct lite *s = (struct lite *)self;
    struct lite_run r;

    *ret = (struct pipeline_records){0};
    pthread_mutex_lock(&s->lock);
    lite_begin(s, &r, query->model, searches[query->field]);
    lite_put_text(&r, query->value);
    lite_put_int(&r, query->after);
    lite_put_int(&r, (int64_t)query->limit);
    int rc = take_rows(s, &r, query, ret, err);
    lite_end(&r);
    pthread_mutex_unlock(&s->lock);
    if (rc)
        pipeline_records_release(ret);
    return rc;
}

static void sqlite_free(struct pipeline_repository *self)
{
    struct lite *s = (struct lite *)self;

    for (int model = 0; model < PIPELINE_MODEL__COUNT; model++) {
        for (int i = 0; i < LITE__COUNT; i++)
            sqlite3_finalize(s->prepared[model][i]);
    }
    sqlite3_close(s->db);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* -- opening -- */

static void read_boot(char ret[LITE_BOOT_MAX])
{
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, ret, LITE_BOOT_MAX - 1);

    if (fd >= 0)
        close(fd);
    ret[got > 0 ? got : 0] = '\0';
}

static int connect_file(struct lite *s, const char *path, struct pipeline_err *err)
{
    static const char settings[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                                   "PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF";
    int rc = sqlite3_open_v2(path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                                 SQLITE_OPEN_EXRESCODE,
                             NULL);

    if (rc != SQLITE_OK)
        return lite_fail(s, rc, "open the database", err);
    sqlite3_busy_timeout(s->db, BUSY_MS);
    sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    if (sqlite3_db_readonly(s->db, "main") != 0)
        return pipeline_err_set(err, -PIPELINE_E_UNAVAILABLE,
                                "sqlite could open the file for reading only");
    /* Who makes the log of a new file wants it alone, and is not made to wait for it. */
    rc = lite_execute(s, settings, "set up the connection", err);
    for (int tries = 0;
         rc && tries < OPEN_TRIES && (sqlite3_errcode(s->db) & 0xFF) == SQLITE_BUSY; tries++) {
        sqlite3_sleep(BUSY_MS / OPEN_TRIES);
        rc = lite_execute(s, settings, "set up the connection", err);
    }
    if (!rc)
        rc = lite_execute(s, schema, "make the tables", err);
    if (rc && !sqlite3_get_autocommit(s->db))
        lite_execute(s, "ROLLBACK", "roll back", NULL);
    return rc;
}

int pipeline_sqlite_open(const char *path, struct pipeline_repository **ret,
                         struct pipeline_err *err)
{
    static const struct pipeline_repository_ops ops = {
        "sqlite", sqlite_get, sqlite_save, sqlite_update, sqlite_search, sqlite_free};
    struct lite *s = path ? calloc(1, sizeof *s) : NULL;

    if (!path)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE, "there is no path");
    if (!s || pthread_mutex_init(&s->lock, NULL)) {
        free(s);
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a repository");
    }
    s->base.ops = &ops;
    read_boot(s->boot);
    int rc = connect_file(s, path, err);
    if (rc) {
        sqlite_free(&s->base);
        return rc;
    }
    *ret = &s->base;
    return 0;
}
