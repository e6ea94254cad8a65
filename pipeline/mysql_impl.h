/* mysql_impl.h - what the files of the MySQL and MariaDB repository share. */
#ifndef PIPELINE_MYSQL_IMPL_H
#define PIPELINE_MYSQL_IMPL_H

#include <mysql.h>
#include <pthread.h>

#include "segue/pipeline_mysql.h"

enum { MY_IN_MAX = 12, MY_OUT_MAX = 12 };

enum my_statement {
    MY_GET,
    MY_SAVE,
    MY_UPDATE,
    MY_BY_NAME,
    MY_BY_STATUS,
    MY_BY_PIPELINE,
    MY__COUNT
};

struct my {
    struct pipeline_repository base;
    pthread_mutex_t lock;
    struct pipeline_mysql_options options;                  /* with texts of our own */
    MYSQL *link;                                            /* NULL: not connected */
    MYSQL_STMT *prepared[PIPELINE_MODEL__COUNT][MY__COUNT]; /* gone with the link */
    unsigned error;                                         /* number of the last failure */
};

/* -- the link: mysql_conn.c -- */

int my_connect(struct my *m, struct pipeline_err *err);
void my_disconnect(struct my *m);
/* Puts the complaint of the statement, or of the link when st is NULL, into err and m->error. A
 * link that is gone is dropped. Returns its code. */
int my_fail(struct my *m, MYSQL_STMT *st, const char *what, struct pipeline_err *err);
int my_execute(struct my *m, const char *sql, const char *what, struct pipeline_err *err);
/* Was the last failure that of the link, or one after which the same may be tried again? */
bool my_is_link_lost(const struct my *m);
bool my_is_collision(const struct my *m);

/* -- one run of a statement: begin, parameters, then run, or ask and rows, then end -- */

struct my_run {
    struct my *m;
    MYSQL_STMT *st;
    unsigned ins;
    MYSQL_BIND in[MY_IN_MAX];
    int64_t numbers[MY_IN_MAX];
    MYSQL_BIND out[MY_OUT_MAX]; /* of one row, as in COLUMNS */
    unsigned long lengths[MY_OUT_MAX];
    int64_t seq, version, start_ended, claim_left;
    char status[16];
};

/* 0, or an error after which nothing needs to be ended. */
int my_begin(struct my *m, struct my_run *r, enum pipeline_model model, enum my_statement which,
             struct pipeline_err *err);
void my_put_text(struct my_run *r, const char *text); /* which outlives the run */
void my_put_int(struct my_run *r, int64_t value);
/* The columns that may change, in the order in which SAVE and UPDATE have them. */
void my_put_state(struct my_run *r, const struct pipeline_record *record);
int my_run(struct my_run *r, struct pipeline_err *err);
/* 1 for a row, 0 when there is no more; the record is the caller's after 1 only. */
int my_take_row(struct my_run *r, enum pipeline_model model, struct pipeline_record *ret,
                struct pipeline_err *err);
void my_end(struct my_run *r);

#endif
