/* memory.c - the repository of one process: arrays in the order of insertion, a table of uuids,
 * and for each pipeline the list of its steps. */
#include <stdlib.h>
#include <string.h>

#include "boot_clock.h"
#include "pipeline_internal.h"

struct entry {
    struct pipeline_record record; /* claim_ms is when it ends, on boot_ms() */
    struct entry *same_bucket;
    struct entry *first_step, *last_step, *next_step;
};

struct table {
    struct entry **items; /* by seq - 1 */
    size_t count, room;
    struct entry **buckets; /* as many as there is room, a power of two */
};

struct memory {
    struct pipeline_repository base;
    pthread_mutex_t lock;
    struct table tables[PIPELINE_MODEL__COUNT];
};

static int no_memory(struct pipeline_err *err)
{
    return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a record");
}

/* -- tables -- */

static size_t bucket_of(const struct table *t, const char *uuid)
{
    uint64_t hash = 1469598103934665603U; /* FNV-1a */

    for (; *uuid; uuid++)
        hash = (hash ^ (uint8_t)*uuid) * 1099511628211U;
    return (size_t)(hash ^ hash >> 32) & (t->room - 1);
}

static struct entry *find(const struct table *t, const char *uuid)
{
    struct entry *e = t->room ? t->buckets[bucket_of(t, uuid)] : NULL;

    while (e && strcmp(e->record.uuid, uuid) != 0)
        e = e->same_bucket;
    return e;
}

static void hang_in(struct table *t, struct entry *e)
{
    struct entry **bucket = &t->buckets[bucket_of(t, e->record.uuid)];

    e->same_bucket = *bucket;
    *bucket = e;
}

static int make_room(struct table *t, size_t extra, struct pipeline_err *err)
{
    size_t room = t->room ? t->room : 64;

    if (t->count + extra <= t->room)
        return 0;
    while (room < t->count + extra)
        room *= 2;
    struct entry **buckets = calloc(room, sizeof(struct entry *));
    struct entry **items = buckets ? realloc(t->items, room * sizeof *items) : NULL;
    if (!items) {
        free(buckets);
        return no_memory(err);
    }
    free(t->buckets);
    t->items = items;
    t->buckets = buckets;
    t->room = room;
    for (size_t i = 0; i < t->count; i++)
        hang_in(t, t->items[i]);
    return 0;
}

static void add(struct memory *m, struct entry *e)
{
    struct table *t = &m->tables[e->record.model];

    t->items[t->count++] = e;
    e->record.seq = (int64_t)t->count;
    hang_in(t, e);
    if (e->record.model == PIPELINE_MODEL_STEP) {
        struct entry *p = find(&m->tables[PIPELINE_MODEL_PIPELINE], e->record.pipeline_uuid);
        if (p->last_step)
            p->last_step->next_step = e;
        else
            p->first_step = e;
        p->last_step = e;
    }
}

/* -- the functions of the table -- */

static int copy_out(const struct pipeline_record *from, struct pipeline_record *ret,
                    struct pipeline_err *err)
{
    char *metadata = strdup(from->metadata);
    int64_t now = boot_ms();

    if (!metadata)
        return no_memory(err);
    *ret = *from;
    ret->metadata = metadata;
    ret->claim_ms = from->claim_ms > now ? from->claim_ms - now : 0;
    return 0;
}

static int memory_get(struct pipeline_repository *self, enum pipeline_model model,
                      const char *uuid, struct pipeline_record *ret, struct pipeline_err *err)
{
    struct memory *m = (struct memory *)self;

    pthread_mutex_lock(&m->lock);
    const struct entry *e = find(&m->tables[model], uuid);
    int rc = e ? copy_out(&e->record, ret, err)
               : pipeline_err_set(err, -PIPELINE_E_NOT_FOUND, "there is no record '%s'", uuid);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static bool has_pipeline(const struct memory *m, const struct pipeline_record *records,
                         size_t at)
{
    for (size_t i = 0; i < at; i++) {
        if (records[i].model == PIPELINE_MODEL_PIPELINE &&
            strcmp(records[i].uuid, records[at].pipeline_uuid) == 0)
            return true;
    }
    return find(&m->tables[PIPELINE_MODEL_PIPELINE], records[at].pipeline_uuid) != NULL;
}

static int check_new(const struct memory *m, const struct pipeline_record *records, size_t at,
                     struct pipeline_err *err)
{
    const struct pipeline_record *r = &records[at];
    bool taken = find(&m->tables[r->model], r->uuid) != NULL;

    for (size_t i = 0; i < at && !taken; i++)
        taken = records[i].model == r->model && strcmp(records[i].uuid, r->uuid) == 0;
    if (taken)
        return pipeline_err_set(err, -PIPELINE_E_EXISTS, "the record '%s' is there already",
                                r->uuid);
    if (r->model == PIPELINE_MODEL_STEP && !has_pipeline(m, records, at))
        return pipeline_err_set(err, -PIPELINE_E_NOT_FOUND,
                                "the step '%s' belongs to no stored pipeline", r->name);
    return 0;
}

static struct entry *copy_in(const struct pipeline_record *from)
{
    struct entry *e = calloc(1, sizeof *e);
    char *metadata = e ? strdup(from->metadata) : NULL;

    if (!metadata) {
        free(e);
        return NULL;
    }
    e->record = *from;
    e->record.metadata = metadata;
    e->record.version = 1;
    e->record.claim_ms += boot_ms();
    return e;
}

static void drop(struct entry *e)
{
    if (e)
        free(e->record.metadata);
    free(e);
}

static int save_all(struct memory *m, struct pipeline_record *records, size_t count,
                    struct entry **entries, struct pipeline_err *err)
{
    size_t of[PIPELINE_MODEL__COUNT] = {0};
    int rc = 0;

    for (size_t i = 0; i < count && !rc; i++) {
        rc = check_new(m, records, i, err);
        of[records[i].model]++;
    }
    for (int model = 0; model < PIPELINE_MODEL__COUNT && !rc; model++)
        rc = make_room(&m->tables[model], of[model], err);
    for (size_t i = 0; i < count && !rc; i++) {
        add(m, entries[i]);
        entries[i] = NULL;
    }
    for (size_t i = 0; i < count && !rc; i++) {
        records[i].seq = find(&m->tables[records[i].model], records[i].uuid)->record.seq;
        records[i].version = 1;
    }
    return rc;
}

static int memory_save(struct pipeline_repository *self, struct pipeline_record *records,
                       size_t count, struct pipeline_err *err)
{
    struct memory *m = (struct memory *)self;
    struct entry **entries = calloc(count, sizeof(struct entry *));
    int rc = entries ? 0 : no_memory(err);

    for (size_t i = 0; i < count && !rc; i++) {
        entries[i] = copy_in(&records[i]);
        rc = entries[i] ? 0 : no_memory(err);
    }
    if (!rc) {
        pthread_mutex_lock(&m->lock);
        rc = save_all(m, records, count, entries, err);
        pthread_mutex_unlock(&m->lock);
    }
    for (size_t i = 0; entries && i < count; i++)
        drop(entries[i]);
    free(entries);
    return rc;
}

static int replace(struct entry *e, const struct pipeline_record *record,
                   struct pipeline_err *err)
{
    if (e->record.version != record->version)
        return pipeline_err_set(err, -PIPELINE_E_STALE, "'%s' was changed meanwhile",
                                record->name);
    char *metadata = strdup(record->metadata);
    if (!metadata)
        return no_memory(err);
    free(e->record.metadata);
    e->record.metadata = metadata;
    e->record.status = record->status;
    e->record.start_ended = record->start_ended;
    memcpy(e->record.reason, record->reason, sizeof e->record.reason);
    memcpy(e->record.claim, record->claim, sizeof e->record.claim);
    e->record.claim_ms = boot_ms() + record->claim_ms;
    e->record.version++;
    return 0;
}

static int memory_update(struct pipeline_repository *self, const struct pipeline_record *record,
                         struct pipeline_err *err)
{
    struct memory *m = (struct memory *)self;

    pthread_mutex_lock(&m->lock);
    struct entry *e = find(&m->tables[record->model], record->uuid);
    int rc = e ? replace(e, record, err)
               : pipeline_err_set(err, -PIPELINE_E_NOT_FOUND, "there is no record '%s'",
                                  record->uuid);
    pthread_mutex_unlock(&m->lock);
    return rc;
}

static bool matches(const struct pipeline_record *r, const struct pipeline_query *q)
{
    const char *const fields[PIPELINE_FIELD__COUNT] = {
        [PIPELINE_FIELD_NAME] = r->name,
        [PIPELINE_FIELD_STATUS] = pipeline_status_name(r->status),
        [PIPELINE_FIELD_PIPELINE_UUID] = r->pipeline_uuid,
    };

    return r->seq > q->after && strcmp(fields[q->field], q->value) == 0;
}

/* Where the search begins, and what comes after an entry. */
static struct entry *first_entry(const struct memory *m, const struct pipeline_query *q)
{
    const struct table *t = &m->tables[q->model];

    if (q->field == PIPELINE_FIELD_PIPELINE_UUID && q->model == PIPELINE_MODEL_STEP) {
        const struct entry *p = find(&m->tables[PIPELINE_MODEL_PIPELINE], q->value);
        return p ? p->first_step : NULL;
    }
    size_t after = q->after > 0 ? (size_t)q->after : 0;
    return after < t->count ? t->items[after] : NULL;
}

static struct entry *next_entry(const struct memory *m, const struct pipeline_query *q,
                                const struct entry *e)
{
    const struct table *t = &m->tables[q->model];

    if (q->field == PIPELINE_FIELD_PIPELINE_UUID && q->model == PIPELINE_MODEL_STEP)
        return e->next_step;
    return (size_t)e->record.seq < t->count ? t->items[e->record.seq] : NULL;
}

static int memory_search(struct pipeline_repository *self, const struct pipeline_query *query,
                         struct pipeline_records *ret, struct pipeline_err *err)
{
    struct memory *m = (struct memory *)self;
    size_t room = 0;
    int rc = 0;

    *ret = (struct pipeline_records){0};
    pthread_mutex_lock(&m->lock);
    for (struct entry *e = first_entry(m, query); e && ret->count < query->limit && !rc;
         e = next_entry(m, query, e)) {
        if (!matches(&e->record, query))
            continue;
        if (ret->count == room) {
            room = room ? room * 2 : 8;
            struct pipeline_record *items = realloc(ret->items, room * sizeof *items);
            if (!items) {
                rc = no_memory(err);
                break;
            }
            ret->items = items;
        }
        rc = copy_out(&e->record, &ret->items[ret->count], err);
        ret->count += rc == 0;
    }
    pthread_mutex_unlock(&m->lock);
    if (rc)
        pipeline_records_release(ret);
    return rc;
}

static void memory_free(struct pipeline_repository *self)
{
    struct memory *m = (struct memory *)self;

    for (int model = 0; model < PIPELINE_MODEL__COUNT; model++) {
        struct table *t = &m->tables[model];
        for (size_t i = 0; i < t->count; i++)
            drop(t->items[i]);
        free(t->items);
        free(t->buckets);
    }
    pthread_mutex_destroy(&m->lock);
    free(m);
}

int pipeline_memory_new(struct pipeline_repository **ret, struct pipeline_err *err)
{
    static const struct pipeline_repository_ops ops = {
        "memory", memory_get, memory_save, memory_update, memory_search, memory_free};
    struct memory *m = calloc(1, sizeof *m);

    if (!m || pthread_mutex_init(&m->lock, NULL)) {
        free(m);
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a repository");
    }
    m->base.ops = &ops;
    *ret = &m->base;
    return 0;
}
