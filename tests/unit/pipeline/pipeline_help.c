#include "pipeline_help.h"

#include <stdlib.h>

static void note(struct help *h, struct pipeline_step *s, const char *call)
{
    size_t len = strlen(h->log);

    snprintf(h->log + len, sizeof h->log - len, "%s:%s ", pipeline_step_name(s), call);
}

static int do_start(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    note(arg, s, "start");
    return pipeline_step_finish(s, err);
}

static int log_start(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    (void)err;
    note(arg, s, "start");
    return 0;
}

static int log_continue(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    (void)err;
    note(arg, s, "continue");
    return 0;
}

static int poll_continue(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct help *h = arg;

    note(h, s, "continue");
    return ++h->polls >= 3 ? pipeline_step_finish(s, err)
                           : pipeline_step_wait(s, "not yet", err);
}

static int fail_start(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    note(arg, s, "start");
    return pipeline_step_fail(s, "no tape", err);
}

static int cancel_start(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    note(arg, s, "start");
    return pipeline_step_cancel(s, "not today", err);
}

static int stumble_start(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct help *h = arg;

    note(h, s, "start");
    if (h->stumbles++ == 0)
        return pipeline_err_set(err, -1, "the disk is busy");
    return pipeline_step_finish(s, err);
}

static int clumsy_continue(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    struct help *h = arg;

    note(h, s, "continue");
    if (h->clumsinesses++ < 2)
        return pipeline_err_set(err, -77, "fell over");
    return pipeline_step_finish(s, err);
}

static int hopeless(struct pipeline_step *s, void *arg, struct pipeline_err *err)
{
    (void)s;
    (void)arg;
    (void)err;
    return -5; /* and says nothing */
}

static void told(const char *uuid, const char *name, const struct pipeline_err *why, void *arg)
{
    struct help *h = arg;

    assert_int_equal(strlen(uuid), PIPELINE_UUID_MAX - 1);
    assert_non_null(name);
    h->errors++;
    h->last = *why;
}

int help_start(void **state)
{
    struct help *h = calloc(1, sizeof *h);
    const struct pipeline_step_definition steps[] = {
        {HELP_DO, do_start, log_continue, h},
        {HELP_POLL, log_start, poll_continue, h},
        {HELP_FAIL, fail_start, log_continue, h},
        {HELP_CANCEL, cancel_start, log_continue, h},
        {HELP_BY_HAND, NULL, NULL, NULL},
        {HELP_STUMBLE, stumble_start, NULL, h},
        {HELP_CLUMSY, log_start, clumsy_continue, h},
        {HELP_HOPELESS, hopeless, hopeless, NULL},
        {HELP_START_ONLY, log_start, NULL, h},
    };
    const struct orchestrator_options options = {.on_error = told, .user_data = h};
    struct pipeline_err err;

    *state = h;
    if (!h || pipeline_memory_new(&h->r, &err) || orchestrator_new(h->r, &options, &h->o, &err))
        return -1;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (orchestrator_register_step(h->o, &steps[i], &err))
            return -1;
    }
    return 0;
}

int help_end(void **state)
{
    struct help *h = *state;

    orchestrator_free(h->o);
    pipeline_repository_free(h->r);
    free(h);
    return 0;
}

struct pipeline *help_pipeline(struct help *h, const char *name, const char *const *steps)
{
    struct pipeline_definition definition = {.name = name, .steps = steps};
    struct pipeline_err err = {0};
    struct pipeline *p = NULL;

    while (steps[definition.step_count])
        definition.step_count++;
    int rc = orchestrator_register_pipeline(h->o, &definition, &err);
    if (rc && rc != -PIPELINE_E_EXISTS)
        fail_msg("%s", err.text);
    if (pipeline_new(h->o, name, NULL, &p, &err))
        fail_msg("%s", err.text);
    return p;
}

struct pipeline_sweep help_sweep(struct help *h)
{
    struct pipeline_sweep sweep;
    struct pipeline_err err = {0};

    if (orchestrator_execute_pipelines(h->o, &sweep, &err))
        fail_msg("%s", err.text);
    return sweep;
}

void help_assert_log(struct help *h, const char *expected)
{
    assert_string_equal(h->log, expected);
    h->log[0] = '\0';
}

void help_assert_states(struct pipeline *p, const char *expected)
{
    char text[500];
    struct pipeline_err err = {0};

    if (pipeline_refresh(p, &err))
        fail_msg("%s", err.text);
    size_t len =
        (size_t)snprintf(text, sizeof text, "%s:", pipeline_status_name(pipeline_state(p)));
    for (size_t i = 0; i < pipeline_step_count(p); i++)
        len +=
            (size_t)snprintf(text + len, sizeof text - len, " %s",
                             pipeline_status_name(pipeline_step_state(pipeline_step_at(p, i))));
    assert_string_equal(text, expected);
}
