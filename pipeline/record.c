#include <stdlib.h>
#include <string.h>

#include "pipeline_internal.h"

enum { CHANGE_TRIES = 16 };

void pipeline_record_release(struct pipeline_record *record)
{
    if (!record)
        return;
    free(record->metadata);
    record->metadata = NULL;
}

void pipeline_records_release(struct pipeline_records *records)
{
    if (!records)
        return;
    for (size_t i = 0; i < records->count; i++)
        pipeline_record_release(&records->items[i]);
    free(records->items);
    *records = (struct pipeline_records){0};
}

void pipeline_repository_free(struct pipeline_repository *r)
{
    if (r)
        r->ops->free(r);
}

int repository_get(struct pipeline_repository *r, enum pipeline_model model, const char *uuid,
                   struct pipeline_record *ret, struct pipeline_err *err)
{
    return r->ops->get(r, model, uuid, ret, err);
}

static bool same(const struct pipeline_record *a, const struct pipeline_record *b)
{
    return a->status == b->status && a->start_ended == b->start_ended &&
           strcmp(a->reason, b->reason) == 0 && strcmp(a->claim, b->claim) == 0 &&
           strcmp(a->metadata, b->metadata) == 0;
}

int repository_save(struct pipeline_repository *r, struct pipeline_record *records,
                    size_t count, struct pipeline_err *err)
{
    struct pipeline_record stored;
    int rc = r->ops->save(r, records, count, err);

    if (!rc || rc == -PIPELINE_E_EXISTS || rc == -PIPELINE_E_NOT_FOUND)
        return rc;
    /* All or none: the first tells of all. Its uuid is ours alone. */
    if (repository_get(r, records[0].model, records[0].uuid, &stored, NULL))
        return rc;
    records[0].seq = stored.seq;
    for (size_t i = 0; i < count; i++)
        records[i].version = 1;
    pipeline_record_release(&stored);
    return 0;
}

int repository_search(struct pipeline_repository *r, const struct pipeline_query *query,
                      struct pipeline_records *ret, struct pipeline_err *err)
{
    *ret = (struct pipeline_records){0};
    return r->ops->search(r, query, ret, err);
}

/* After an error that leaves it open: 0 stored, 1 not stored, or an error. */
static int look(struct pipeline_repository *r, const struct pipeline_record *record, int failed,
                struct pipeline_err *err)
{
    struct pipeline_record stored;
    int rc = repository_get(r, record->model, record->uuid, &stored, NULL);

    if (rc)
        return failed; /* with its own sentence */
    if (stored.version == record->version)
        rc = 1;
    else if (stored.version != record->version + 1 || !same(&stored, record))
        rc = pipeline_err_set(err, -PIPELINE_E_STALE, "'%s' was changed meanwhile",
                              record->name);
    pipeline_record_release(&stored);
    return rc;
}

int repository_store(struct pipeline_repository *r, const struct pipeline_record *record,
                     struct pipeline_err *err)
{
    int rc = 0;

    for (int tries = 0; tries < 2; tries++) {
        int failed = r->ops->update(r, record, err);
        if (!failed || failed == -PIPELINE_E_STALE || failed == -PIPELINE_E_NOT_FOUND)
            return failed;
        rc = look(r, record, failed, err);
        if (rc != 1)
            return rc;
        rc = failed;
    }
    return rc;
}

int record_reload(struct pipeline_repository *r, struct pipeline_record *record,
                  struct pipeline_err *err)
{
    struct pipeline_record stored;
    int rc = repository_get(r, record->model, record->uuid, &stored, err);

    if (rc)
        return rc;
    pipeline_record_release(record);
    *record = stored;
    return 0;
}

int record_change(struct pipeline_repository *r, struct pipeline_record *record,
                  int (*change)(struct pipeline_record *record, const void *arg,
                                struct pipeline_err *err),
                  const void *arg, struct pipeline_err *err)
{
    int rc = -PIPELINE_E_STALE;

    for (int tries = 0; tries < CHANGE_TRIES && rc == -PIPELINE_E_STALE; tries++) {
        if (tries > 0) {
            rc = record_reload(r, record, err);
            if (rc)
                return rc;
        }
        struct pipeline_record wanted = *record;
        wanted.metadata = strdup(record->metadata);
        if (!wanted.metadata)
            return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a record");
        rc = change(&wanted, arg, err);
        if (!rc)
            rc = repository_store(r, &wanted, err);
        if (rc) {
            pipeline_record_release(&wanted);
            continue;
        }
        pipeline_record_release(record);
        *record = wanted;
        record->version++;
    }
    return rc == RECORD_KEEP ? 0 : rc;
}
