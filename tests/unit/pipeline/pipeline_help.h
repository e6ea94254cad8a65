/* pipeline_help.h - steps that do what a script says, and pipelines of them. */
#ifndef TESTS_PIPELINE_HELP_H
#define TESTS_PIPELINE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <segue/pipeline.h>
#include <segue/pipeline_repository.h>

/* Registered as steps: what their calls do is in their names. Each logs its calls. */
#define HELP_DO         "do"         /* on_start finishes */
#define HELP_POLL       "poll"       /* on_start nothing, the third on_continue finishes */
#define HELP_FAIL       "fail"       /* on_start fails: "no tape" */
#define HELP_CANCEL     "cancel"     /* on_start cancels: "not today" */
#define HELP_BY_HAND    "by hand"    /* no calls at all */
#define HELP_STUMBLE    "stumble"    /* the first on_start is an error, the second finishes */
#define HELP_CLUMSY     "clumsy"     /* on_continue is an error twice, then finishes */
#define HELP_HOPELESS   "hopeless"   /* every call is an error */
#define HELP_START_ONLY "start only" /* on_start only, which ends nothing */

struct help {
    struct pipeline_repository *r;
    struct orchestrator *o;
    char log[2000]; /* "do:start do:start poll:start poll:continue " */
    int stumbles, clumsinesses, polls;
    int errors; /* that on_error was told of */
    struct pipeline_err last;
};

int help_start(void **state);
int help_end(void **state);

/* Registers a pipeline of these steps (NULL ends the list) and makes one. */
struct pipeline *help_pipeline(struct help *h, const char *name, const char *const *steps);

/* One tick by a sweep; what it answered is in *ret. */
struct pipeline_sweep help_sweep(struct help *h);

void help_assert_log(struct help *h, const char *expected); /* and empties it */

/* The states of pipeline and steps in short: "pending: finished pending created". */
void help_assert_states(struct pipeline *p, const char *expected);

#endif
