/* tick.c - one tick of a pipeline, and the sweep that gives one to each.
 *
 * Order, so that a crash at any point loses nothing and nothing runs twice:
 *   the pipeline is claimed and pending  (compare and set: one tick wins)
 *   the step is pending                  (compare and set: started by one tick only)
 *   on_start, on_continue                (the keeper renews the claim)
 *   the claim is given back              (when we die before: it ends with its lease) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot_clock.h"
#include "id.h"
#include "pipeline_internal.h"
#include "pipeline_rules.h"
#include "text.h"

enum { TICK_TRIES = 8, PAGE = 64 };
enum { AGAIN = 1 }; /* it was changed between looking and claiming */

/* -- the end of a pipeline -- */

struct verdict {
    enum pipeline_status status;
    const struct pipeline_record *step;
};

static int settle(struct pipeline_record *record, const void *arg, struct pipeline_err *err)
{
    const struct verdict *v = arg;
    const char *reason = v->step->reason;
    char sentence[PIPELINE_NAME_MAX + PIPELINE_REASON_MAX + 32] = "";

    (void)err;
    if (pipeline_status_is_final(record->status))
        return RECORD_KEEP;
    record->status = v->status;
    if (v->status != PIPELINE_FINISHED)
        snprintf(sentence, sizeof sentence, "the step '%s' %s%s%s", v->step->name,
                 v->status == PIPELINE_FAILED ? "failed" : "was cancelled", *reason ? ": " : "",
                 reason);
    text_reason(sentence, record->reason);
    return 0;
}

/* -- the claim -- */

static bool is_claimed(const struct pipeline_record *record)
{
    return record->claim[0] && record->claim_ms > 0;
}

/* Only what was judged may be claimed: no second try here when it has changed. */
static int take_claim(struct pipeline *p, const struct pipeline_record *step,
                      struct pipeline_err *err)
{
    struct claim *c = &p->claim;
    struct pipeline_record wanted = p->record;
    int64_t began = boot_ms();

    memcpy(c->uuid, p->record.uuid, sizeof c->uuid);
    token_new(c->token);
    int rc = keeper_start(&p->o->keeper, err);
    if (!rc)
        rc = metadata_with_step(p->record.metadata, step->uuid, &wanted.metadata, err);
    if (rc)
        return rc;
    wanted.status = PIPELINE_PENDING;
    memcpy(wanted.claim, c->token, sizeof wanted.claim);
    wanted.claim_ms = p->o->options.lease_ms;
    rc = repository_store(p->o->repository, &wanted, err);
    if (rc) {
        free(wanted.metadata);
        return rc;
    }
    wanted.version++;
    pipeline_record_release(&p->record);
    p->record = wanted;
    atomic_store(&c->is_lost, false);
    atomic_store(&c->until_ms, began + p->o->options.lease_ms);
    keeper_add(&p->o->keeper, c);
    return 0;
}

static int clear_claim(struct pipeline_record *record, const void *token,
                       struct pipeline_err *err)
{
    if (strcmp(record->claim, token) != 0)
        return pipeline_err_set(err, -PIPELINE_E_BUSY,
                                "the claim on the pipeline %s was lost to another tick",
                                record->uuid);
    record->claim[0] = '\0';
    record->claim_ms = 0;
    return 0;
}

static int give_back(struct pipeline *p, struct pipeline_err *err)
{
    keeper_drop(&p->o->keeper, &p->claim);
    int rc = record_change(p->o->repository, &p->record, clear_claim, p->claim.token, err);
    return rc == -PIPELINE_E_BUSY ? pipeline_err_set(err, -PIPELINE_E_STALE, "%s",
                                                     "the claim was lost while the step ran")
                                  : rc;
}

/* -- the calls -- */

static int to_pending(struct pipeline_record *record, const void *unused,
                      struct pipeline_err *err)
{
    (void)unused;
    (void)err;
    if (record->status != PIPELINE_CREATED)
        return RECORD_KEEP; /* somebody ended it by hand just now */
    record->status = PIPELINE_PENDING;
    record->start_ended = false;
    record->reason[0] = '\0';
    return 0;
}

static int mark_started(struct pipeline_record *record, const void *unused,
                        struct pipeline_err *err)
{
    (void)unused;
    (void)err;
    if (record->status != PIPELINE_PENDING || record->start_ended)
        return RECORD_KEEP;
    record->start_ended = true;
    return 0;
}

struct mishap {
    enum pipeline_call call;
    const char *sentence;
};

/* Nothing is lost by an error: the same call comes again at the next tick. */
static int note_mishap(struct pipeline_record *record, const void *arg,
                       struct pipeline_err *err)
{
    const struct mishap *m = arg;
    char reason[PIPELINE_REASON_MAX];

    (void)err;
    text_reason(m->sentence, reason);
    if (record->status != PIPELINE_PENDING ||
        (m->call == PIPELINE_CALL_CONTINUE && strcmp(reason, record->reason) == 0))
        return RECORD_KEEP;
    memcpy(record->reason, reason, sizeof reason);
    if (m->call == PIPELINE_CALL_START)
        record->status = PIPELINE_CREATED;
    return 0;
}

static int call(struct pipeline_step *s, const struct step_entry *e, enum pipeline_call which,
                struct pipeline_err *err)
{
    static const char *const names[] = {"on_start", "on_continue"};
    const struct pipeline_step_definition *d = &e->definition;
    int (*function)(struct pipeline_step *, void *, struct pipeline_err *) =
        which == PIPELINE_CALL_START ? d->on_start : d->on_continue;
    struct pipeline_err why = {0};

    int rc = function ? function(s, d->user_data, &why) : 0;
    if (rc == 0)
        return 0;
    if (!why.text[0])
        pipeline_err_set(&why, rc, "it gave no reason (code %d)", rc);
    const struct mishap m = {which, why.text};
    record_change(s->p->o->repository, &s->record, note_mishap, &m, NULL);
    return pipeline_err_set(err, -PIPELINE_E_CALLBACK, "%s of the step '%s': %s", names[which],
                            s->record.name, why.text);
}

/* It may be stored as pending although the repository refused: nobody started it. */
static void undo_pending(struct pipeline_step *s)
{
    const struct mishap m = {PIPELINE_CALL_START,
                             "the repository failed before it was started"};

    if (record_reload(s->p->o->repository, &s->record, NULL) == 0)
        record_change(s->p->o->repository, &s->record, note_mishap, &m, NULL);
}

static bool may_go_on(const struct pipeline_step *s)
{
    return s->record.status == PIPELINE_PENDING && claim_is_held(&s->p->claim) &&
           s->p->record.status == PIPELINE_PENDING;
}

static int call_step(struct pipeline_step *s, const struct step_entry *e,
                     struct pipeline_err *err)
{
    struct pipeline_repository *r = s->p->o->repository;
    bool has_continue = e->definition.on_continue != NULL;
    enum pipeline_call first =
        pipeline_first_call(s->record.status, s->record.start_ended, has_continue);

    bool is_fresh = s->record.status == PIPELINE_CREATED;
    int rc = record_change(r, &s->record, to_pending, NULL, err);
    if (rc && is_fresh)
        undo_pending(s);
    if (rc || !may_go_on(s))
        return rc;
    if (first == PIPELINE_CALL_START) {
        rc = call(s, e, PIPELINE_CALL_START, err);
        if (rc || !may_go_on(s))
            return rc;
        /* Without on_continue this alone tells a start that came back from one that died. */
        if (!has_continue)
            return record_change(r, &s->record, mark_started, NULL, err);
    }
    return call(s, e, PIPELINE_CALL_CONTINUE, err);
}

/* -- a tick -- */

static struct pipeline_verdict judge(const struct pipeline *p)
{
    enum pipeline_status states[PIPELINE_STEPS_MAX];

    for (size_t i = 0; i < p->step_count; i++)
        states[i] = p->steps[i].record.status;
    return pipeline_judge(states, p->step_count);
}

static int run(struct pipeline *p, struct pipeline_step *s, const struct step_entry *e,
               struct pipeline_err *err)
{
    struct pipeline_err later;

    p->called = s;
    int rc = call_step(s, e, err);
    p->called = NULL;
    int given = give_back(p, &later);
    return rc || !given ? rc : pipeline_err_set(err, given, "%s", later.text);
}

static int try_tick(struct pipeline *p, struct pipeline_err *err)
{
    if (pipeline_status_is_final(p->record.status))
        return handle_load_steps(p, err);
    if (is_claimed(&p->record))
        return pipeline_err_set(err, -PIPELINE_E_BUSY, "a step of the pipeline %s is running",
                                p->record.uuid);
    int rc = handle_load_steps(p, err);
    if (rc)
        return rc;
    struct pipeline_verdict verdict = judge(p);
    struct pipeline_step *s = &p->steps[verdict.step];
    if (verdict.status != PIPELINE_PENDING) {
        const struct verdict v = {verdict.status, &s->record};
        return record_change(p->o->repository, &p->record, settle, &v, err);
    }
    if (!orchestrator_pipeline(p->o, p->record.name))
        return pipeline_err_set(err, -PIPELINE_E_UNKNOWN,
                                "the pipeline '%s' is not registered here", p->record.name);
    const struct step_entry *e = orchestrator_step(p->o, s->record.name);
    if (!e)
        return pipeline_err_set(err, -PIPELINE_E_UNKNOWN,
                                "the step '%s' of the pipeline '%s' is not registered here",
                                s->record.name, p->record.name);
    rc = take_claim(p, &s->record, err);
    if (rc)
        return rc == -PIPELINE_E_STALE ? AGAIN : rc;
    return run(p, s, e, err);
}

int handle_tick(struct pipeline *p, struct pipeline_err *err)
{
    for (int tries = 0; tries < TICK_TRIES; tries++) {
        int rc = try_tick(p, err);
        if (rc == AGAIN)
            rc = record_reload(p->o->repository, &p->record, err);
        else
            return rc;
        if (rc)
            return rc;
    }
    return pipeline_err_set(err, -PIPELINE_E_BUSY, "the pipeline %s is changed all the time",
                            p->record.uuid);
}

/* -- a sweep -- */

static void count(struct orchestrator *o, struct pipeline_sweep *sweep,
                  const struct pipeline *p, int rc, const struct pipeline_err *why)
{
    sweep->found++;
    if (rc == -PIPELINE_E_BUSY) {
        sweep->busy++;
        return;
    }
    sweep->ticked++;
    if (rc == 0)
        return;
    if (sweep->errors++ == 0)
        sweep->first = *why;
    if (o->options.on_error)
        o->options.on_error(p->record.uuid, p->record.name, why, o->options.user_data);
}

/* The record goes to the handle. */
static int tick_record(struct orchestrator *o, struct pipeline_record *record,
                       struct pipeline_sweep *sweep, struct pipeline_err *err)
{
    struct pipeline_err why = {0};
    struct pipeline *p;

    int rc = handle_new(o, record, &p, err);
    record->metadata = NULL;
    if (rc)
        return rc;
    rc = handle_tick(p, &why);
    count(o, sweep, p, rc, &why);
    pipeline_free(p);
    return 0;
}

int orchestrator_execute_pipelines(struct orchestrator *o, struct pipeline_sweep *ret,
                                   struct pipeline_err *err)
{
    struct pipeline_query query = {.model = PIPELINE_MODEL_PIPELINE,
                                   .field = PIPELINE_FIELD_STATUS,
                                   .value = pipeline_status_name(PIPELINE_PENDING),
                                   .limit = PAGE};
    struct pipeline_sweep sweep = {0};
    struct pipeline_records page = {0};
    int rc;

    do {
        rc = repository_search(o->repository, &query, &page, err);
        for (size_t i = 0; i < page.count && !rc; i++) {
            query.after = page.items[i].seq;
            rc = tick_record(o, &page.items[i], &sweep, err);
        }
        bool more = page.count == query.limit;
        pipeline_records_release(&page);
        if (!more)
            break;
    } while (!rc);
    if (ret)
        *ret = sweep;
    return rc;
}
