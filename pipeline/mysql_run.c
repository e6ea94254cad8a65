/* mysql_run.c - statements and rows. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mysql_impl.h"

/* Statements, and the tables that they are about; both tables have the same columns. NOW_MS is
 * the server's clock. */
#define NOW_MS "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
#define COLUMNS                                                                                \
    "seq, version, uuid, IFNULL(pipeline_uuid, ''), name, status, reason, metadata,"           \
    " start_ended, claim, GREATEST(claim_until - " NOW_MS ", 0)"
/* The second condition because 'a' = 'a ' in the collations of both servers. */
#define SEARCH(table, field)                                                                   \
    "SELECT " COLUMNS " FROM " table " WHERE " field " = ? AND CAST(" field " AS BINARY) ="    \
    " CAST(? AS BINARY) AND seq > ? ORDER BY seq LIMIT ?"
#define STATEMENTS(table)                                                                      \
    {                                                                                          \
        [MY_GET] = "SELECT " COLUMNS " FROM " table " WHERE uuid = ?",                         \
        [MY_SAVE] = "INSERT INTO " table " (uuid, pipeline_uuid, name, status, reason,"        \
                    " metadata, start_ended, claim, claim_until, version)"                     \
                    " VALUES (?, NULLIF(?, ''), ?, ?, ?, ?, ?, ?, " NOW_MS " + ?, 1)",         \
        [MY_UPDATE] = "UPDATE " table " SET status = ?, reason = ?, metadata = ?,"             \
                      " start_ended = ?, claim = ?, claim_until = " NOW_MS " + ?,"             \
                      " version = version + 1 WHERE uuid = ? AND version = ?",                 \
        [MY_BY_NAME] = SEARCH(table, "name"), [MY_BY_STATUS] = SEARCH(table, "status"),        \
        [MY_BY_PIPELINE] = SEARCH(table, "pipeline_uuid"),                                     \
    }

static const char *const statements[PIPELINE_MODEL__COUNT][MY__COUNT] = {
    [PIPELINE_MODEL_PIPELINE] = STATEMENTS("pipelines"),
    [PIPELINE_MODEL_STEP] = STATEMENTS("pipeline_steps"),
};

enum { METADATA_COLUMN = 7, COLUMN__COUNT = 11 };

int my_begin(struct my *m, struct my_run *r, enum pipeline_model model, enum my_statement which,
             struct pipeline_err *err)
{
    MYSQL_STMT **st = &m->prepared[model][which];
    const char *sql = statements[model][which];

    if (!*st) {
        MYSQL_STMT *made = mysql_stmt_init(m->link);
        if (!made)
            return my_fail(m, NULL, "prepare a statement", err);
        if (mysql_stmt_prepare(made, sql, (unsigned long)strlen(sql)) != 0) {
            int rc = my_fail(m, made, "prepare a statement", err);
            mysql_stmt_close(made);
            return rc;
        }
        *st = made;
    }
    memset(r, 0, sizeof *r);
    r->m = m;
    r->st = *st;
    return 0;
}

void my_put_text(struct my_run *r, const char *text)
{
    assert(r->ins < MY_IN_MAX);
    MYSQL_BIND *b = &r->in[r->ins++];

    b->buffer_type = MYSQL_TYPE_STRING;
    b->buffer = (void *)(uintptr_t)text; /* only read */
    b->buffer_length = (unsigned long)strlen(text);
}

void my_put_int(struct my_run *r, int64_t value)
{
    assert(r->ins < MY_IN_MAX);
    MYSQL_BIND *b = &r->in[r->ins];

    r->numbers[r->ins] = value;
    b->buffer_type = MYSQL_TYPE_LONGLONG;
    b->buffer = &r->numbers[r->ins++];
}

void my_put_state(struct my_run *r, const struct pipeline_record *record)
{
    my_put_text(r, pipeline_status_name(record->status));
    my_put_text(r, record->reason);
    my_put_text(r, record->metadata);
    my_put_int(r, record->start_ended);
    my_put_text(r, record->claim);
    my_put_int(r, record->claim_ms);
}

int my_run(struct my_run *r, struct pipeline_err *err)
{
    assert(mysql_stmt_param_count(r->st) == r->ins);
    if (mysql_stmt_bind_param(r->st, r->in) != 0 || mysql_stmt_execute(r->st) != 0)
        return my_fail(r->m, r->st, "run a statement", err);
    return 0;
}

/* -- rows -- */

static void out_int(struct my_run *r, unsigned column, int64_t *ret)
{
    r->out[column].buffer_type = MYSQL_TYPE_LONGLONG;
    r->out[column].buffer = ret;
}

static void out_text(struct my_run *r, unsigned column, char *ret, size_t size)
{
    r->out[column].buffer_type = MYSQL_TYPE_STRING;
    r->out[column].buffer = ret;
    r->out[column].buffer_length = (unsigned long)size;
    r->out[column].length = &r->lengths[column];
}

static int damaged(struct pipeline_err *err)
{
    return pipeline_err_set(err, -PIPELINE_E_CORRUPT,
                            "the database holds a row that this library never wrote");
}

static int take_metadata(struct my_run *r, char **ret, struct pipeline_err *err)
{
    unsigned long len = r->lengths[METADATA_COLUMN], got = 0;
    MYSQL_BIND b = {0};
    char *text = malloc(len + 1);

    if (!text)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for metadata");
    b.buffer_type = MYSQL_TYPE_STRING;
    b.buffer = text;
    b.buffer_length = len;
    b.length = &got;
    if (len && mysql_stmt_fetch_column(r->st, &b, METADATA_COLUMN, 0) != 0) {
        free(text);
        return my_fail(r->m, r->st, "send metadata", err);
    }
    text[len] = '\0';
    *ret = text;
    return 0;
}

static void bind_row(struct my_run *r, struct pipeline_record *ret)
{
    out_int(r, 0, &r->seq);
    out_int(r, 1, &r->version);
    out_text(r, 2, ret->uuid, sizeof ret->uuid);
    out_text(r, 3, ret->pipeline_uuid, sizeof ret->pipeline_uuid);
    out_text(r, 4, ret->name, sizeof ret->name);
    out_text(r, 5, r->status, sizeof r->status);
    out_text(r, 6, ret->reason, sizeof ret->reason);
    out_text(r, METADATA_COLUMN, NULL, 0);
    out_int(r, 8, &r->start_ended);
    out_text(r, 9, ret->claim, sizeof ret->claim);
    out_int(r, 10, &r->claim_left);
}

/* Texts that came with their lengths get their ends; one that fills its place was cut. */
static bool end_texts(struct my_run *r)
{
    for (unsigned i = 0; i < COLUMN__COUNT; i++) {
        if (r->out[i].buffer_type != MYSQL_TYPE_STRING || i == METADATA_COLUMN)
            continue;
        if (r->lengths[i] >= r->out[i].buffer_length)
            return false;
        ((char *)r->out[i].buffer)[r->lengths[i]] = '\0';
    }
    return true;
}

int my_take_row(struct my_run *r, enum pipeline_model model, struct pipeline_record *ret,
                struct pipeline_err *err)
{
    *ret = (struct pipeline_record){.model = model};
    bind_row(r, ret);
    if (mysql_stmt_bind_result(r->st, r->out) != 0)
        return my_fail(r->m, r->st, "send a row", err);
    int got = mysql_stmt_fetch(r->st);
    if (got == MYSQL_NO_DATA)
        return 0;
    if (got != 0 && got != MYSQL_DATA_TRUNCATED)
        return my_fail(r->m, r->st, "send a row", err);
    if (!end_texts(r) || !pipeline_status_parse(r->status, &ret->status))
        return damaged(err);
    ret->seq = r->seq;
    ret->version = r->version;
    ret->start_ended = r->start_ended != 0;
    ret->claim_ms = r->claim_left;
    int rc = take_metadata(r, &ret->metadata, err);
    return rc ? rc : 1;
}

void my_end(struct my_run *r)
{
    mysql_stmt_free_result(r->st);
}
