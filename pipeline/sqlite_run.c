/* sqlite_run.c - what errors of SQLite mean, statements, and rows. */
#include <stdlib.h>
#include <string.h>

#include "boot_clock.h"
#include "sqlite_impl.h"

/* Statements, and the tables that they are about; both tables have the same columns. */
#define COLUMNS                                                                                \
    "seq, version, uuid, pipeline_uuid, name, status, reason, metadata, start_ended, claim,"   \
    " claim_boot, claim_until"
#define SEARCH(table, field)                                                                   \
    "SELECT " COLUMNS " FROM " table " WHERE " field " = ? AND seq > ? ORDER BY seq LIMIT ?"
#define STATEMENTS(table)                                                                      \
    {                                                                                          \
        [LITE_GET] = "SELECT " COLUMNS " FROM " table " WHERE uuid = ?",                       \
        [LITE_SAVE] = "INSERT INTO " table " (uuid, pipeline_uuid, name, status, reason,"      \
                      " metadata, start_ended, claim, claim_boot, claim_until, version)"       \
                      " VALUES (?, NULLIF(?, ''), ?, ?, ?, ?, ?, ?, ?, ?, 1)",                 \
        [LITE_UPDATE] = "UPDATE " table " SET status = ?, reason = ?, metadata = ?,"           \
                        " start_ended = ?, claim = ?, claim_boot = ?, claim_until = ?,"        \
                        " version = version + 1 WHERE uuid = ? AND version = ?",               \
        [LITE_BY_NAME] = SEARCH(table, "name"), [LITE_BY_STATUS] = SEARCH(table, "status"),    \
        [LITE_BY_PIPELINE] = SEARCH(table, "pipeline_uuid"),                                   \
    }

static const char *const statements[PIPELINE_MODEL__COUNT][LITE__COUNT] = {
    [PIPELINE_MODEL_PIPELINE] = STATEMENTS("pipelines"),
    [PIPELINE_MODEL_STEP] = STATEMENTS("pipeline_steps"),
};

/* -- errors -- */

int lite_fail(struct lite *s, int rc, const char *what, struct pipeline_err *err)
{
    static const struct {
        int sqlite, code;
    } meanings[] = {
        {SQLITE_FULL, PIPELINE_E_NO_SPACE},         {SQLITE_NOMEM, PIPELINE_E_NO_MEMORY},
        {SQLITE_CORRUPT, PIPELINE_E_CORRUPT},       {SQLITE_NOTADB, PIPELINE_E_CORRUPT},
        {SQLITE_MISMATCH, PIPELINE_E_CORRUPT},      {SQLITE_CONSTRAINT, PIPELINE_E_EXISTS},
        {SQLITE_IOERR, PIPELINE_E_UNKNOWN_OUTCOME},
    };
    int code = PIPELINE_E_UNAVAILABLE;

    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].sqlite == (rc & 0xFF))
            code = meanings[i].code;
    }
    if (rc == SQLITE_CONSTRAINT_FOREIGNKEY)
        code = PIPELINE_E_NOT_FOUND;
    return pipeline_err_set(err, -code, "sqlite could not %s: %s (code %d)", what,
                            s->db && sqlite3_errcode(s->db) != SQLITE_OK ? sqlite3_errmsg(s->db)
                                                                         : sqlite3_errstr(rc),
                            rc);
}

int lite_execute(struct lite *s, const char *sql, const char *what, struct pipeline_err *err)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);

    return rc == SQLITE_OK ? 0 : lite_fail(s, rc, what, err);
}

/* -- a run of a statement -- */

void lite_begin(struct lite *s, struct lite_run *r, enum pipeline_model model,
                enum lite_statement which)
{
    sqlite3_stmt **st = &s->prepared[model][which];

    *r = (struct lite_run){.rc = SQLITE_OK};
    if (!*st)
        r->rc = sqlite3_prepare_v3(s->db, statements[model][which], -1,
                                   SQLITE_PREPARE_PERSISTENT, st, NULL);
    r->st = *st;
}

void lite_put_text(struct lite_run *r, const char *text)
{
    if (r->rc == SQLITE_OK)
        r->rc = sqlite3_bind_text(r->st, ++r->at, text, -1, SQLITE_STATIC);
}

void lite_put_int(struct lite_run *r, int64_t value)
{
    if (r->rc == SQLITE_OK)
        r->rc = sqlite3_bind_int64(r->st, ++r->at, value);
}

/* What update and save write alike. */
void lite_put_state(struct lite *s, struct lite_run *r, const struct pipeline_record *record)
{
    lite_put_text(r, pipeline_status_name(record->status));
    lite_put_text(r, record->reason);
    lite_put_text(r, record->metadata);
    lite_put_int(r, record->start_ended);
    lite_put_text(r, record->claim);
    lite_put_text(r, s->boot);
    lite_put_int(r, boot_ms() + record->claim_ms);
}

/* SQLITE_ROW, SQLITE_DONE or an error. */
int lite_step(struct lite_run *r)
{
    if (r->rc == SQLITE_OK)
        return sqlite3_step(r->st);
    return r->rc;
}

void lite_end(struct lite_run *r)
{
    if (r->st) {
        sqlite3_reset(r->st);
        sqlite3_clear_bindings(r->st);
    }
}

/* -- rows -- */

static void take_text(struct lite_run *r, char *ret, size_t size)
{
    const unsigned char *text = sqlite3_column_text(r->st, r->at);
    size_t len = (size_t)sqlite3_column_bytes(r->st, r->at);
    bool is_null = sqlite3_column_type(r->st, r->at++) == SQLITE_NULL;

    ret[0] = '\0';
    if (text && len < size)
        memcpy(ret, text, len + 1);
    else if (!is_null && r->rc == SQLITE_OK)
        r->rc = text ? SQLITE_CORRUPT : SQLITE_NOMEM;
}

void lite_take_row(struct lite *s, struct lite_run *r, enum pipeline_model model,
                   struct pipeline_record *ret)
{
    char status[16], boot[LITE_BOOT_MAX];

    *ret = (struct pipeline_record){.model = model};
    r->at = 0;
    ret->seq = sqlite3_column_int64(r->st, r->at++);
    ret->version = sqlite3_column_int64(r->st, r->at++);
    take_text(r, ret->uuid, sizeof ret->uuid);
    take_text(r, ret->pipeline_uuid, sizeof ret->pipeline_uuid);
    take_text(r, ret->name, sizeof ret->name);
    take_text(r, status, sizeof status);
    take_text(r, ret->reason, sizeof ret->reason);
    const unsigned char *metadata = sqlite3_column_text(r->st, r->at++);
    ret->metadata = metadata ? strdup((const char *)metadata) : NULL;
    ret->start_ended = sqlite3_column_int(r->st, r->at++) != 0;
    take_text(r, ret->claim, sizeof ret->claim);
    take_text(r, boot, sizeof boot);
    int64_t left = sqlite3_column_int64(r->st, r->at++) - boot_ms();
    ret->claim_ms = left > 0 && strcmp(boot, s->boot) == 0 ? left : 0;
    if (r->rc == SQLITE_OK && !ret->metadata)
        r->rc = SQLITE_NOMEM;
    if (r->rc == SQLITE_OK && !pipeline_status_parse(status, &ret->status))
        r->rc = SQLITE_CORRUPT;
}
