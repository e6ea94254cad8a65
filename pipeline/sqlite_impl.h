/* sqlite_impl.h - what the files of the SQLite repository share. */
#ifndef PIPELINE_SQLITE_IMPL_H
#define PIPELINE_SQLITE_IMPL_H

#include <pthread.h>
#include <sqlite3.h>

#include "segue/pipeline_sqlite.h"

enum { LITE_BOOT_MAX = 40 };

enum lite_statement {
    LITE_GET,
    LITE_SAVE,
    LITE_UPDATE,
    LITE_BY_NAME,
    LITE_BY_STATUS,
    LITE_BY_PIPELINE,
    LITE__COUNT
};

struct lite {
    struct pipeline_repository base;
    pthread_mutex_t lock;
    sqlite3 *db;
    sqlite3_stmt *prepared[PIPELINE_MODEL__COUNT][LITE__COUNT];
    char boot[LITE_BOOT_MAX]; /* which start of the machine its clock counts from */
};

/* Puts the complaint of SQLite into err; returns its code. */
int lite_fail(struct lite *s, int rc, const char *what, struct pipeline_err *err);
int lite_execute(struct lite *s, const char *sql, const char *what, struct pipeline_err *err);

/* A run of a statement: begin, parameters, step..., end. The first thing that goes wrong is
 * kept in rc, and step returns it. */
struct lite_run {
    sqlite3_stmt *st;
    int at, rc;
};

void lite_begin(struct lite *s, struct lite_run *r, enum pipeline_model model,
                enum lite_statement which);
void lite_put_text(struct lite_run *r, const char *text);
void lite_put_int(struct lite_run *r, int64_t value);
/* The columns that may change, in the order in which SAVE and UPDATE have them. */
void lite_put_state(struct lite *s, struct lite_run *r, const struct pipeline_record *record);
/* SQLITE_ROW, SQLITE_DONE or an error. */
int lite_step(struct lite_run *r);
void lite_end(struct lite_run *r);
/* The row to a record, whose metadata are the caller's even when r->rc tells of an error. */
void lite_take_row(struct lite *s, struct lite_run *r, enum pipeline_model model,
                   struct pipeline_record *ret);

#endif
