/* mysql.c - the repository in MySQL or MariaDB: one connection, one lock.
 *
 * It stands on the public headers alone, as a repository of anybody else would. A read whose
 * link breaks is asked again over a new one. A write is not: it may have been done, and the
 * library looks at the record before it tries again. */
#include <stdlib.h>
#include <string.h>

#include "mysql_impl.h"

enum { READ_TRIES = 2, SAVE_TRIES = 4 };

#define TABLE(name, reference)                                                                 \
    "CREATE TABLE IF NOT EXISTS " name " (seq BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,"     \
    " uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin NOT NULL UNIQUE,"                    \
    " pipeline_uuid CHAR(36) CHARACTER SET ascii COLLATE ascii_bin,"                           \
    " name VARCHAR(128) NOT NULL, status VARCHAR(12) NOT NULL, reason VARCHAR(512) NOT NULL,"  \
    " metadata MEDIUMTEXT NOT NULL, start_ended TINYINT NOT NULL, claim VARCHAR(40) NOT NULL," \
    " claim_until BIGINT NOT NULL, version BIGINT NOT NULL, KEY (status, seq)," reference      \
    ") ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"

static const char *const schema[] = {
    TABLE("pipelines", " KEY (name, seq)"),
    TABLE("pipeline_steps", " KEY (pipeline_uuid, seq),"
                            " FOREIGN KEY (pipeline_uuid) REFERENCES pipelines (uuid)"),
};

/* A thread takes the link, and makes it when there is none. */
static int enter(struct my *m, struct pipeline_err *err)
{
    pthread_mutex_lock(&m->lock);
    m->error = 0;
    mysql_thread_init();
    int rc = my_connect(m, err);
    if (rc)
        pthread_mutex_unlock(&m->lock);
    return rc;
}

static void leave(struct my *m)
{
    if (my_is_link_lost(m))
        my_disconnect(m);
    pthread_mutex_unlock(&m->lock);
}

/* -- reading -- */

static int get(struct my *m, enum pipeline_model model, const char *uuid,
               struct pipeline_record *ret, struct pipeline_err *err)
{
    struct my_run r;
    int rc = my_begin(m, &r, model, MY_GET, err);

    if (rc)
        return rc;
    my_put_text(&r, uuid);
    rc = my_run(&r, err);
    if (!rc)
        rc = my_take_row(&r, model, ret, err);
    my_end(&r);
    if (rc == 0)
        return pipeline_err_set(err, -PIPELINE_E_NOT_FOUND, "there is no record '%s'", uuid);
    return rc < 0 ? rc : 0;
}

static int my_get(struct pipeline_repository *self, enum pipeline_model model, const char *uuid,
                  struct pipeline_record *ret, struct pipeline_err *err)
{
    struct my *m = (struct my *)self;
    int rc = 0;

    for (int tries = 0; tries < READ_TRIES; tries++) {
        rc = enter(m, err);
        if (rc)
            return rc;
        rc = get(m, model, uuid, ret, err);
        bool again = rc && my_is_link_lost(m);
        leave(m);
        if (!again)
            break;
    }
    return rc;
}

static int take_rows(struct my_run *r, const struct pipeline_query *query,
                     struct pipeline_records *ret, struct pipeline_err *err)
{
    size_t room = 0;

    for (;;) {
        struct pipeline_record record;
        int rc = my_take_row(r, query->model, &record, err);
        if (rc <= 0)
            return rc;
        if (ret->count == room) {
            room = room ? room * 2 : 8;
            struct pipeline_record *items = realloc(ret->items, room * sizeof *items);
            if (!items) {
                pipeline_record_release(&record);
                return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for records");
            }
            ret->items = items;
        }
        ret->items[ret->count++] = record;
    }
}

static int search(struct my *m, const struct pipeline_query *query,
                  struct pipeline_records *ret, struct pipeline_err *err)
{
    static const enum my_statement searches[PIPELINE_FIELD__COUNT] = {
        [PIPELINE_FIELD_NAME] = MY_BY_NAME,
        [PIPELINE_FIELD_STATUS] = MY_BY_STATUS,
        [PIPELINE_FIELD_PIPELINE_UUID] = MY_BY_PIPELINE};
    struct my_run r;
    int rc = my_begin(m, &r, query->model, searches[query->field], err);

    if (rc)
        return rc;
    my_put_text(&r, query->value);
    my_put_text(&r, query->value);
    my_put_int(&r, query->after);
    my_put_int(&r, (int64_t)query->limit);
    rc = my_run(&r, err);
    if (!rc && mysql_stmt_store_result(r.st) != 0)
        rc = my_fail(m, r.st, "send its rows", err);
    if (!rc)
        rc = take_rows(&r, query, ret, err);
    my_end(&r);
    return rc;
}

static int my_search(struct pipeline_repository *self, const struct pipeline_query *query,
                     struct pipeline_records *ret, struct pipeline_err *err)
{
    struct my *m = (struct my *)self;
    int rc = 0;

    for (int tries = 0; tries < READ_TRIES; tries++) {
        *ret = (struct pipeline_records){0};
        rc = enter(m, err);
        if (rc)
            return rc;
        rc = search(m, query, ret, err);
        bool again = rc && my_is_link_lost(m);
        leave(m);
        if (rc)
            pipeline_records_release(ret);
        if (!again)
            break;
    }
    return rc;
}

/* -- writing -- */

static int insert(struct my *m, struct pipeline_record *record, struct pipeline_err *err)
{
    struct my_run r;
    int rc = my_begin(m, &r, record->model, MY_SAVE, err);

    if (rc)
        return rc;
    my_put_text(&r, record->uuid);
    my_put_text(&r, record->pipeline_uuid);
    my_put_text(&r, record->name);
    my_put_state(&r, record);
    rc = my_run(&r, err);
    if (!rc) {
        record->seq = (int64_t)mysql_stmt_insert_id(r.st);
        record->version = 1;
    }
    my_end(&r);
    return rc;
}

static int save_all(struct my *m, struct pipeline_record *records, size_t count,
                    struct pipeline_err *err)
{
    int rc = my_execute(m, "START TRANSACTION", "begin", err);

    for (size_t i = 0; i < count && !rc; i++)
        rc = insert(m, &records[i], err);
    if (!rc)
        rc = my_execute(m, "COMMIT", "commit", err);
    if (rc && !my_is_link_lost(m)) {
        unsigned first = m->error;
        if (my_execute(m, "ROLLBACK", "roll back", NULL))
            my_disconnect(m); /* which rolls back */
        m->error = first;
    }
    return rc;
}

static int my_save(struct pipeline_repository *self, struct pipeline_record *records,
                   size_t count, struct pipeline_err *err)
{
    struct my *m = (struct my *)self;
    int rc = 0;
    bool again = true;

    for (int tries = 0; tries < SAVE_TRIES && again; tries++) {
        rc = enter(m, err);
        if (rc)
            return rc;
        rc = save_all(m, records, count, err);
        again = rc && my_is_collision(m);
        leave(m);
    }
    return rc;
}

static int update(struct my *m, const struct pipeline_record *record, struct pipeline_err *err)
{
    struct pipeline_record stored;
    struct my_run r;
    int rc = my_begin(m, &r, record->model, MY_UPDATE, err);

    if (rc)
        return rc;
    my_put_state(&r, record);
    my_put_text(&r, record->uuid);
    my_put_int(&r, record->version);
    rc = my_run(&r, err);
    bool changed = !rc && mysql_stmt_affected_rows(r.st) == 1;
    my_end(&r);
    if (rc || changed)
        return rc;
    rc = get(m, record->model, record->uuid, &stored, err);
    if (rc)
        return rc;
    pipeline_record_release(&stored);
    return pipeline_err_set(err, -PIPELINE_E_STALE, "'%s' was changed meanwhile", record->name);
}

static int my_update(struct pipeline_repository *self, const struct pipeline_record *record,
                     struct pipeline_err *err)
{
    struct my *m = (struct my *)self;
    int rc = enter(m, err);

    if (rc)
        return rc;
    rc = update(m, record, err);
    leave(m);
    return rc;
}

/* -- opening and closing -- */

static void my_free(struct pipeline_repository *self)
{
    struct my *m = (struct my *)self;
    const char *const texts[] = {m->options.host, m->options.user, m->options.password,
                                 m->options.database};

    my_disconnect(m);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free((void *)(uintptr_t)texts[i]); /* copies of ours, const only in the struct */
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static int copy_options(struct my *m, const struct pipeline_mysql_options *from,
                        struct pipeline_err *err)
{
    m->options = *from;
    m->options.host = strdup(from->host ? from->host : "127.0.0.1");
    m->options.user = strdup(from->user ? from->user : "");
    m->options.password = strdup(from->password ? from->password : "");
    m->options.database = strdup(from->database ? from->database : "");
    if (!m->options.host || !m->options.user || !m->options.password || !m->options.database)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a repository");
    return 0;
}

static int make_tables(struct my *m, struct pipeline_err *err)
{
    int rc = enter(m, err);

    if (rc)
        return rc;
    for (size_t i = 0; i < sizeof schema / sizeof schema[0] && !rc; i++)
        rc = my_execute(m, schema[i], "make the tables", err);
    leave(m);
    return rc;
}

int pipeline_mysql_open(const struct pipeline_mysql_options *options,
                        struct pipeline_repository **ret, struct pipeline_err *err)
{
    static const struct pipeline_repository_ops ops = {"mysql",   my_get,    my_save,
                                                       my_update, my_search, my_free};
    struct my *m;

    if (mysql_library_init(0, NULL, NULL) != 0)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "the MySQL library does not start");
    m = calloc(1, sizeof *m);
    if (!m || pthread_mutex_init(&m->lock, NULL)) {
        free(m);
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a repository");
    }
    m->base.ops = &ops;
    int rc = copy_options(m, options, err);
    if (!rc)
        rc = make_tables(m, err);
    if (rc) {
        my_free(&m->base);
        return rc;
    }
    *ret = &m->base;
    return 0;
}
