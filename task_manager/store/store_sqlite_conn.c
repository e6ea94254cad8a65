/* store_sqlite_conn.c - connections with the settings that durability rests on, and typed
 * steps to run a statement. */
#include "sqlite_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static const char *const statements[LITE__COUNT] = {
#define S(name, sql) [LITE_##name] = sql,
#include "sqlite.def"
#undef S
};

/* -- errors -- */

static int code_of(int rc)
{
    /* The frames of a COMMIT that could not be synced are in the log all the same: if this
     * process ends before it writes over them, the next one finds them there. */
    if (rc == SQLITE_IOERR_FSYNC || rc == SQLITE_IOERR_DIR_FSYNC)
        return -E_UNKNOWN_OUTCOME;
    switch (rc & 0xFF) {
    case SQLITE_FULL:
        return -E_NO_SPACE;
    case SQLITE_NOMEM:
        return -E_NO_MEMORY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -E_CORRUPT;
    case SQLITE_TOOBIG:
        return -E_TOO_BIG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_ERROR: /* such as a missing table: not migrated yet */
        return -E_UNAVAILABLE;
    default:
        return -E_BUG;
    }
}

int lite_fail(sqlite3 *db, int rc, const char *what, struct err *err)
{
    const char *text =
        db && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

    int code = code_of(rc);

    if (db && (rc & 0xFF) == SQLITE_IOERR && sqlite3_system_errno(db) == ENOSPC)
        code = -E_NO_SPACE;
    return err_set(err, code, "sqlite could not %s: %s (code %d)", what, text, rc);
}

int lite_exec(struct lite_conn *c, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(c->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : lite_fail(c->db, rc, "run a script", err);
}

/* -- opening -- */

static void now_ms(sqlite3_context *context, int argc, sqlite3_value **argv)
{
    (void)argc;
    (void)argv;
    sqlite3_result_int64(context, clock_wall_ms());
}

/* Sets a pragma and checks that it took: `PRAGMA name=...` may be ignored silently. */
static int pragma_is(struct lite_conn *c, const char *set, const char *get,
                     const char *expected, struct err *err)
{
    struct lite_query q;
    char text[16] = "";

    int rc = lite_exec(c, set, err);
    if (rc)
        return rc;
    lite_begin_sql(&q, c, get);
    rc = lite_next(&q, err);
    if (rc > 0)
        lite_get_text(&q, text, sizeof text);
    lite_drop(&q);
    if (rc < 0)
        return rc;
    if (strcmp(text, expected) != 0)
        return err_set(err, -E_UNAVAILABLE, "sqlite answers '%s' to '%s', not '%s'", text, get,
                       expected);
    return 0;
}

static void configure(struct lite_conn *c, bool writer)
{
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(c->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    if (!writer)
        sqlite3_db_config(c->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_busy_timeout(c->db, 5000);
    sqlite3_limit(c->db, SQLITE_LIMIT_ATTACHED, 0);
    sqlite3_limit(c->db, SQLITE_LIMIT_LENGTH, 64 * 1024 * 1024);
    sqlite3_limit(c->db, SQLITE_LIMIT_TRIGGER_DEPTH, 0);
    sqlite3_limit(c->db, SQLITE_LIMIT_WORKER_THREADS, 0);
}

static int open_settings(struct lite_conn *c, bool writer, struct err *err)
{
    int rc = sqlite3_create_function_v2(c->db, "now_ms", 0, SQLITE_UTF8 | SQLITE_DIRECTONLY,
                                        NULL, now_ms, NULL, NULL, NULL);

    if (rc != SQLITE_OK)
        return lite_fail(c->db, rc, "add the function now_ms", err);
    /* SQLite takes what it can get: a file that it could open for reading only, if only for
     * want of a descriptor at that moment, would refuse every write until the next start. */
    if (writer && sqlite3_db_readonly(c->db, "main") != 0)
        return err_set(err, -E_UNAVAILABLE, "sqlite could open the file for reading only");
    /* Many readers, and the file is in the system's cache anyway: each needs little of its own.
     */
    if (!writer)
        return lite_exec(c,
                         "PRAGMA query_only = ON; PRAGMA wal_autocheckpoint = 0;"
                         " PRAGMA cache_size = -256",
                         err);
    rc = pragma_is(c, "PRAGMA journal_mode = WAL", "PRAGMA journal_mode", "wal", err);
    if (!rc)
        rc = pragma_is(c, "PRAGMA synchronous = FULL", "PRAGMA synchronous", "2", err);
    if (!rc)
        rc = pragma_is(c, "PRAGMA foreign_keys = ON", "PRAGMA foreign_keys", "1", err);
    /* The journals of savepoints stay in memory: on disk, each request of a group would make a
     * file, and nothing ever reads it after a crash. A longer log writes a page that changes
     * all the time to the database once, not with every other commit. */
    if (!rc)
        rc = lite_exec(c,
                       "PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000;"
                       " PRAGMA journal_size_limit = 67108864",
                       err);
    return rc;
}

int lite_open(const char *path, bool writer, struct lite_conn *ret, struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                (writer ? SQLITE_OPEN_CREATE : 0);

    memset(ret, 0, sizeof *ret);
    int rc = sqlite3_open_v2(path, &ret->db, flags, NULL);
    if (rc != SQLITE_OK) {
        rc = lite_fail(ret->db, rc, "open the database", err);
    } else {
        configure(ret, writer);
        rc = open_settings(ret, writer, err);
    }
    if (rc)
        lite_close(ret);
    return rc;
}

void lite_close(struct lite_conn *c)
{
    for (int i = 0; i < LITE__COUNT; i++)
        sqlite3_finalize(c->stmts[i]);
    sqlite3_close_v2(c->db);
    tally_release(&c->tally);
    memset(c, 0, sizeof *c);
}

/* -- statements -- */

static void note(struct lite_query *q, int rc)
{
    if (q->rc == SQLITE_OK)
        q->rc = rc;
}

void lite_begin(struct lite_query *q, struct lite_conn *c, enum lite_stmt which)
{
    *q = (struct lite_query){.c = c};
    if (!c->stmts[which])
        q->rc = sqlite3_prepare_v3(c->db, statements[which], -1, SQLITE_PREPARE_PERSISTENT,
                                   &c->stmts[which], NULL);
    q->st = c->stmts[which];
}

void lite_begin_sql(struct lite_query *q, struct lite_conn *c, const char *sql)
{
    *q = (struct lite_query){.c = c};
    q->rc = sqlite3_prepare_v3(c->db, sql, -1, 0, &q->st, NULL);
}

void lite_int(struct lite_query *q, int64_t value)
{
    if (q->rc == SQLITE_OK)
        note(q, sqlite3_bind_int64(q->st, ++q->at, value));
}

void lite_real(struct lite_query *q, double value)
{
    if (q->rc == SQLITE_OK)
        note(q, sqlite3_bind_double(q->st, ++q->at, value));
}

void lite_text(struct lite_query *q, const char *text)
{
    if (q->rc == SQLITE_OK)
        note(q, text ? sqlite3_bind_text(q->st, ++q->at, text, -1, SQLITE_STATIC)
                     : sqlite3_bind_null(q->st, ++q->at));
}

void lite_text_in(struct lite_query *q, const char *text, size_t size)
{
    if (!text)
        text = "";
    if (q->rc == SQLITE_OK)
        note(q, sqlite3_bind_text(q->st, ++q->at, text, (int)store_fit(text, size),
                                  SQLITE_STATIC));
}

void lite_id(struct lite_query *q, const char *id)
{
    uint8_t bytes[ID_BYTES];

    id_to_bytes(id, bytes);
    if (q->rc == SQLITE_OK)
        note(q, sqlite3_bind_blob(q->st, ++q->at, bytes, ID_BYTES, SQLITE_TRANSIENT));
}

void lite_id_or_null(struct lite_query *q, const char *id)
{
    if (id && id[0])
        lite_id(q, id);
    else
        lite_text(q, NULL);
}

int lite_next(struct lite_query *q, struct err *err)
{
    if (q->rc == SQLITE_OK) {
        int rc = sqlite3_step(q->st);
        q->at = 0;
        if (rc == SQLITE_ROW)
            return 1;
        if (rc == SQLITE_DONE)
            return 0;
        q->rc = rc;
    }
    return lite_fail(q->c->db, q->rc, "run a statement", err);
}

int lite_run(struct lite_query *q, int *ret_changes, struct err *err)
{
    int rc = lite_next(q, err);

    if (rc == 0 && ret_changes)
        *ret_changes = sqlite3_changes(q->c->db);
    lite_end(q);
    return rc < 0 ? rc : 0;
}

void lite_end(struct lite_query *q)
{
    if (!q->st)
        return;
    sqlite3_reset(q->st);
    sqlite3_clear_bindings(q->st);
}

void lite_drop(struct lite_query *q)
{
    sqlite3_finalize(q->st);
    q->st = NULL;
}

/* -- columns -- */

int64_t lite_get_int(struct lite_query *q)
{
    return sqlite3_column_int64(q->st, q->at++);
}

int lite_get_int_in(struct lite_query *q, int below)
{
    int64_t value = lite_get_int(q);

    if (value >= 0 && value < below)
        return (int)value;
    note(q, SQLITE_CORRUPT);
    return 0;
}

double lite_get_real(struct lite_query *q)
{
    return sqlite3_column_double(q->st, q->at++);
}

void lite_get_text(struct lite_query *q, char *ret, size_t size)
{
    const unsigned char *text = sqlite3_column_text(q->st, q->at);
    size_t len = (size_t)sqlite3_column_bytes(q->st, q->at++);

    ret[0] = '\0';
    if (!text || len >= size) {
        note(q, text ? SQLITE_CORRUPT : SQLITE_NOMEM);
        return;
    }
    memcpy(ret, text, len);
    ret[len] = '\0';
}

char *lite_get_heap(struct lite_query *q)
{
    int column = q->at++;

    if (sqlite3_column_type(q->st, column) == SQLITE_NULL)
        return NULL;
    const unsigned char *text = sqlite3_column_text(q->st, column);
    char *copy = text ? strdup((const char *)text) : NULL;
    if (!copy)
        note(q, SQLITE_NOMEM);
    return copy;
}

void lite_get_id(struct lite_query *q, char ret_id[ID_TEXT_MAX])
{
    const void *bytes = sqlite3_column_blob(q->st, q->at);
    int len = sqlite3_column_bytes(q->st, q->at++);

    ret_id[0] = '\0';
    if (bytes && len == ID_BYTES)
        id_from_bytes(bytes, ret_id);
    else
        note(q, SQLITE_CORRUPT);
}

void lite_get_id_or_none(struct lite_query *q, char ret_id[ID_TEXT_MAX])
{
    lite_get_id(q, ret_id);
    id_or_none(ret_id);
}

int lite_row_ok(struct lite_query *q, struct err *err)
{
    if (q->rc == SQLITE_OK)
        return 0;
    if (q->rc == SQLITE_CORRUPT)
        return err_set(err, -E_CORRUPT,
                       "the database holds a row that no program of ours wrote");
    return lite_fail(NULL, q->rc, "read a row", err);
}
