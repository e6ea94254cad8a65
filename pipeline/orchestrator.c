/* orchestrator.c - what can be run here: steps and pipelines by name. */
#include <stdlib.h>
#include <string.h>

#include "pipeline_internal.h"
#include "text.h"

enum { LEASE_MS = 60000, LEASE_MS_MIN = 30 };

int orchestrator_new(struct pipeline_repository *repository,
                     const struct orchestrator_options *options, struct orchestrator **ret,
                     struct pipeline_err *err)
{
    if (!repository)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE, "there is no repository");
    if (options && options->lease_ms != 0 && options->lease_ms < LEASE_MS_MIN)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "a lease of %d ms is too short, %d is the least",
                                options->lease_ms, LEASE_MS_MIN);
    struct orchestrator *o = calloc(1, sizeof *o);
    if (!o)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for an orchestrator");
    o->repository = repository;
    if (options)
        o->options = *options;
    if (o->options.lease_ms == 0)
        o->options.lease_ms = LEASE_MS;
    int rc = keeper_init(&o->keeper, repository, o->options.lease_ms, err);
    if (!rc && pthread_mutex_init(&o->lock, NULL))
        rc = pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for a lock");
    if (rc) {
        free(o);
        return rc;
    }
    *ret = o;
    return 0;
}

void orchestrator_free(struct orchestrator *o)
{
    if (!o)
        return;
    keeper_release(&o->keeper);
    pthread_mutex_destroy(&o->lock);
    while (o->steps) {
        struct step_entry *next = o->steps->next;
        free(o->steps);
        o->steps = next;
    }
    while (o->pipelines) {
        struct pipeline_entry *next = o->pipelines->next;
        free(o->pipelines);
        o->pipelines = next;
    }
    free(o);
}

/* -- steps -- */

static const struct step_entry *find_step(const struct orchestrator *o, const char *name)
{
    const struct step_entry *e = o->steps;

    while (e && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

const struct step_entry *orchestrator_step(struct orchestrator *o, const char *name)
{
    pthread_mutex_lock(&o->lock);
    const struct step_entry *e = find_step(o, name);
    pthread_mutex_unlock(&o->lock);
    return e;
}

int orchestrator_register_step(struct orchestrator *o,
                               const struct pipeline_step_definition *definition,
                               struct pipeline_err *err)
{
    int rc = text_check_name(definition->name, "a step", err);

    if (rc)
        return rc;
    struct step_entry *e = calloc(1, sizeof *e);
    if (!e)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for the step '%s'",
                                definition->name);
    memcpy(e->name, definition->name, strlen(definition->name) + 1);
    e->definition = *definition;
    e->definition.name = e->name;

    pthread_mutex_lock(&o->lock);
    bool taken = find_step(o, e->name) != NULL;
    if (!taken) {
        e->next = o->steps;
        o->steps = e;
    }
    pthread_mutex_unlock(&o->lock);
    if (taken) {
        free(e);
        return pipeline_err_set(err, -PIPELINE_E_EXISTS, "the step '%s' is registered already",
                                definition->name);
    }
    return 0;
}

/* -- pipelines -- */

static const struct pipeline_entry *find_pipeline(const struct orchestrator *o,
                                                  const char *name)
{
    const struct pipeline_entry *e = o->pipelines;

    while (e && strcmp(e->name, name) != 0)
        e = e->next;
    return e;
}

const struct pipeline_entry *orchestrator_pipeline(struct orchestrator *o, const char *name)
{
    pthread_mutex_lock(&o->lock);
    const struct pipeline_entry *e = find_pipeline(o, name);
    pthread_mutex_unlock(&o->lock);
    return e;
}

static int add_pipeline(struct orchestrator *o, const struct pipeline_definition *definition,
                        struct pipeline_entry *e, struct pipeline_err *err)
{
    for (size_t i = 0; i < e->step_count; i++) {
        const char *name = definition->steps[i];
        e->steps[i] = name ? find_step(o, name) : NULL;
        if (!e->steps[i])
            return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                    "step %zu of the pipeline '%s', '%s', is not registered",
                                    i + 1, e->name, name ? name : "");
    }
    if (find_pipeline(o, e->name))
        return pipeline_err_set(err, -PIPELINE_E_EXISTS,
                                "the pipeline '%s' is registered already", e->name);
    e->next = o->pipelines;
    o->pipelines = e;
    return 0;
}

int orchestrator_register_pipeline(struct orchestrator *o,
                                   const struct pipeline_definition *definition,
                                   struct pipeline_err *err)
{
    size_t count = definition->steps ? definition->step_count : 0;
    int rc = text_check_name(definition->name, "a pipeline", err);

    if (rc)
        return rc;
    if (count == 0 || count > PIPELINE_STEPS_MAX)
        return pipeline_err_set(err, -PIPELINE_E_BAD_VALUE,
                                "the pipeline '%s' needs 1 to %d steps and has %zu",
                                definition->name, PIPELINE_STEPS_MAX, count);
    struct pipeline_entry *e = calloc(1, sizeof *e + count * sizeof e->steps[0]);
    if (!e)
        return pipeline_err_set(err, -PIPELINE_E_NO_MEMORY, "no memory for the pipeline '%s'",
                                definition->name);
    memcpy(e->name, definition->name, strlen(definition->name) + 1);
    e->step_count = count;
    pthread_mutex_lock(&o->lock);
    rc = add_pipeline(o, definition, e, err);
    pthread_mutex_unlock(&o->lock);
    if (rc)
        free(e);
    return rc;
}
