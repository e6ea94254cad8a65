/* handle.c - pipelines in hand: making, loading, looking, ending them from outside. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "id.h"
#include "pipeline_internal.h"
#include "text.h"

int handle_new(struct orchestrator *o, struct pipeline_record *record, struct pipeline **ret,
               struct pipeline_err *err)
{
    struct pipeline *p = calloc(1, sizeof *p);

    if (!p) {
        pipeline_record_release(record);
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a pipeline");
    }
    p->o = o;
    p->record = *record;
    *ret = p;
    return 0;
}

void pipeline_free(struct pipeline *p)
{
    if (!p)
        return;
    assert(!p->called); /* not inside a call of its steps */
    for (size_t i = 0; i < p->step_count; i++)
        pipeline_record_release(&p->steps[i].record);
    free(p->steps);
    pipeline_record_release(&p->record);
    free(p);
}

/* -- steps of a handle: their number and order never change, so neither do their addresses --
 */

static int adopt_steps(struct pipeline *p, struct pipeline_records *found,
                       struct pipeline_err *err)
{
    if (found->count == 0 || (p->steps && found->count != p->step_count))
        return pipeline_err_set(err, -PIPELINE_E_CORRUPT, "the pipeline %s has lost its steps",
                                p->record.uuid);
    if (!p->steps) {
        p->steps = calloc(found->count, sizeof *p->steps);
        if (!p->steps)
            return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for %zu steps",
                                    found->count);
        p->step_count = found->count;
    }
    for (size_t i = 0; i < found->count; i++) {
        p->steps[i].p = p;
        pipeline_record_release(&p->steps[i].record);
        p->steps[i].record = found->items[i];
        found->items[i].metadata = NULL;
    }
    return 0;
}

int handle_load_steps(struct pipeline *p, struct pipeline_err *err)
{
    struct pipeline_records found;
    const struct pipeline_query query = {.model = PIPELINE_MODEL_STEP,
                                         .field = PIPELINE_FIELD_PIPELINE_UUID,
                                         .value = p->record.uuid,
                                         .limit = PIPELINE_STEPS_MAX};
    int rc = repository_search(p->o->repository, &query, &found, err);

    if (!rc)
        rc = adopt_steps(p, &found, err);
    pipeline_records_release(&found);
    return rc;
}

/* -- making -- */

static int fill_record(struct pipeline_record *r, enum pipeline_model model, const char *name,
                       const char *metadata, struct pipeline_err *err)
{
    r->model = model;
    r->status = PIPELINE_CREATED;
    id_new(r->uuid);
    memcpy(r->name, name, strlen(name) + 1);
    if (model == PIPELINE_MODEL_PIPELINE)
        return metadata_with_step(metadata, "", &r->metadata, err);
    r->metadata = strdup(metadata);
    return r->metadata ? 0 : pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory");
}

static int make_records(const struct pipeline_entry *e, const char *metadata,
                        struct pipeline_records *ret, struct pipeline_err *err)
{
    size_t count = e->step_count + 1;
    struct pipeline_record *items = calloc(count, sizeof *items);

    if (!items)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a pipeline");
    *ret = (struct pipeline_records){items, count};
    int rc = fill_record(&items[0], PIPELINE_MODEL_PIPELINE, e->name, metadata, err);
    for (size_t i = 1; i < count && !rc; i++) {
        rc = fill_record(&items[i], PIPELINE_MODEL_STEP, e->steps[i - 1]->name, "{}", err);
        memcpy(items[i].pipeline_uuid, items[0].uuid, PIPELINE_UUID_MAX);
    }
    return rc;
}

int pipeline_new(struct orchestrator *o, const char *name, const char *metadata,
                 struct pipeline **ret, struct pipeline_err *err)
{
    const struct pipeline_entry *e = name ? orchestrator_pipeline(o, name) : NULL;
    struct pipeline_records records = {0};
    struct pipeline_record first;
    struct pipeline *p = NULL;

    if (!e)
        return pipeline_err_set(err, -PIPELINE_E_UNKNOWN, "the pipeline '%s' is not registered",
                                name ? name : "");
    if (!metadata)
        metadata = "{}";
    int rc = metadata_check(metadata, err);
    if (!rc)
        rc = make_records(e, metadata, &records, err);
    /* The handle first: what is stored is not taken back for want of memory. */
    if (!rc) {
        first = records.items[0];
        first.metadata = strdup(first.metadata);
        rc = first.metadata
                 ? handle_new(o, &first, &p, err)
                 : pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a pipeline");
    }
    if (p) { /* as is rc == 0, but the compiler sees it */
        p->steps = calloc(records.count - 1, sizeof *p->steps);
        p->step_count = p->steps ? records.count - 1 : 0;
        if (!p->steps)
            rc = pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a pipeline");
    }
    if (!rc) {
        struct pipeline_records steps = {records.items + 1, records.count - 1};
        rc = repository_save(o->repository, records.items, records.count, err);
        p->record.seq = records.items[0].seq;
        p->record.version = records.items[0].version;
        if (!rc)
            rc = adopt_steps(p, &steps, err);
    }
    pipeline_records_release(&records);
    if (rc) {
        pipeline_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

int pipeline_open(struct orchestrator *o, const char *uuid, struct pipeline **ret,
                  struct pipeline_err *err)
{
    struct pipeline_record record;
    struct pipeline *p = NULL;

    if (!id_is_valid(uuid))
        return pipeline_err_set(err, -PIPELINE_E_NOT_FOUND, "there is no pipeline '%.64s'",
                                uuid ? uuid : "");
    int rc = repository_get(o->repository, PIPELINE_MODEL_PIPELINE, uuid, &record, err);
    if (!rc)
        rc = handle_new(o, &record, &p, err);
    if (!rc)
        rc = handle_load_steps(p, err);
    if (rc) {
        pipeline_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

int pipeline_refresh(struct pipeline *p, struct pipeline_err *err)
{
    if (p->called)
        return pipeline_err_set(err, -PIPELINE_E_BAD_STATE,
                                "the pipeline %s is being called and cannot be loaded",
                                p->record.uuid);
    int rc = record_reload(p->o->repository, &p->record, err);
    return rc ? rc : handle_load_steps(p, err);
}

int pipeline_start(struct pipeline *p, struct pipeline_err *err)
{
    if (p->called)
        return pipeline_err_set(err, -PIPELINE_E_BUSY, "a step of the pipeline %s is running",
                                p->record.uuid);
    int rc = record_reload(p->o->repository, &p->record, err);
    return rc ? rc : handle_tick(p, err);
}

/* -- changes from outside -- */

struct ending {
    enum pipeline_status to;
    const char *reason;
};

static int end(struct pipeline_record *record, const void *arg, struct pipeline_err *err)
{
    const struct ending *e = arg;

    if (pipeline_status_is_final(record->status))
        return pipeline_err_set(err, -PIPELINE_E_BAD_STATE, "the pipeline %s is %s already",
                                record->uuid, pipeline_status_name(record->status));
    record->status = e->to;
    text_reason(e->reason, record->reason);
    return 0;
}

int pipeline_cancel(struct pipeline *p, const char *reason, struct pipeline_err *err)
{
    const struct ending e = {PIPELINE_CANCELLED, reason};

    return record_change(p->o->repository, &p->record, end, &e, err);
}

int pipeline_fail(struct pipeline *p, const char *reason, struct pipeline_err *err)
{
    const struct ending e = {PIPELINE_FAILED, reason};

    return record_change(p->o->repository, &p->record, end, &e, err);
}

static int replace_metadata(struct pipeline_record *record, const void *arg,
                            struct pipeline_err *err)
{
    char step[PIPELINE_UUID_MAX], *text;

    metadata_step(record->metadata, step);
    int rc = metadata_with_step(arg, step, &text, err);
    if (rc)
        return rc;
    free(record->metadata);
    record->metadata = text;
    return 0;
}

int pipeline_set_metadata(struct pipeline *p, const char *json, struct pipeline_err *err)
{
    int rc = metadata_check(json, err);

    return rc ? rc : record_change(p->o->repository, &p->record, replace_metadata, json, err);
}

/* -- looking -- */

const char *pipeline_uuid(const struct pipeline *p)
{
    return p->record.uuid;
}

const char *pipeline_name(const struct pipeline *p)
{
    return p->record.name;
}

enum pipeline_status pipeline_state(const struct pipeline *p)
{
    return p->record.status;
}

const char *pipeline_reason(const struct pipeline *p)
{
    return p->record.reason;
}

const char *pipeline_metadata(const struct pipeline *p)
{
    return p->record.metadata;
}

size_t pipeline_step_count(const struct pipeline *p)
{
    return p->step_count;
}

struct pipeline_step *pipeline_step_at(struct pipeline *p, size_t index)
{
    return index < p->step_count ? &p->steps[index] : NULL;
}
