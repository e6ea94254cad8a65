/* step.c - what a step can do: end, wait, keep something, be looked at. */
#include <stdlib.h>
#include <string.h>

#include "pipeline_internal.h"
#include "pipeline_rules.h"
#include "text.h"

struct action {
    enum pipeline_status to;
    const char *reason;
};

static int end(struct pipeline_record *record, const void *arg, struct pipeline_err *err)
{
    const struct action *a = arg;

    if (!pipeline_can_move(record->status, a->to))
        return pipeline_err_set(err, -PIPELINE_E_BAD_STATE, "the step '%s' is %s already",
                                record->name, pipeline_status_name(record->status));
    record->status = a->to;
    record->start_ended = true;
    text_reason(a->reason, record->reason);
    return 0;
}

static int act(struct pipeline_step *s, enum pipeline_status to, const char *reason,
               struct pipeline_err *err)
{
    const struct action a = {to, reason};

    return record_change(s->p->o->repository, &s->record, end, &a, err);
}

int pipeline_step_finish(struct pipeline_step *s, struct pipeline_err *err)
{
    return act(s, PIPELINE_FINISHED, NULL, err);
}

int pipeline_step_fail(struct pipeline_step *s, const char *reason, struct pipeline_err *err)
{
    if (!reason || !*reason)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "the step '%s' fails without a reason", s->record.name);
    return act(s, PIPELINE_FAILED, reason, err);
}

int pipeline_step_cancel(struct pipeline_step *s, const char *reason, struct pipeline_err *err)
{
    return act(s, PIPELINE_CANCELLED, reason, err);
}

static int wait_for(struct pipeline_record *record, const void *reason,
                    struct pipeline_err *err)
{
    char text[PIPELINE_REASON_MAX];

    if (pipeline_status_is_final(record->status))
        return pipeline_err_set(err, -PIPELINE_E_BAD_STATE, "the step '%s' is %s already",
                                record->name, pipeline_status_name(record->status));
    text_reason(reason, text);
    if (!reason || strcmp(text, record->reason) == 0)
        return RECORD_KEEP;
    memcpy(record->reason, text, sizeof text);
    return 0;
}

int pipeline_step_wait(struct pipeline_step *s, const char *reason, struct pipeline_err *err)
{
    return record_change(s->p->o->repository, &s->record, wait_for, reason, err);
}

static int replace_metadata(struct pipeline_record *record, const void *json,
                            struct pipeline_err *err)
{
    char *text = strdup(json);

    if (!text)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for metadata");
    free(record->metadata);
    record->metadata = text;
    return 0;
}

int pipeline_step_set_metadata(struct pipeline_step *s, const char *json,
                               struct pipeline_err *err)
{
    int rc = metadata_check(json, err);

    return rc ? rc
              : record_change(s->p->o->repository, &s->record, replace_metadata, json, err);
}

bool pipeline_step_is_ours(const struct pipeline_step *s)
{
    return s->p->called == s && claim_is_held(&s->p->claim);
}

const char *pipeline_step_uuid(const struct pipeline_step *s)
{
    return s->record.uuid;
}

const char *pipeline_step_name(const struct pipeline_step *s)
{
    return s->record.name;
}

enum pipeline_status pipeline_step_state(const struct pipeline_step *s)
{
    return s->record.status;
}

const char *pipeline_step_reason(const struct pipeline_step *s)
{
    return s->record.reason;
}

const char *pipeline_step_metadata(const struct pipeline_step *s)
{
    return s->record.metadata;
}

struct pipeline *pipeline_step_pipeline(struct pipeline_step *s)
{
    return s->p;
}
