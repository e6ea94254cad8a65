/* task.h - what a task, an attempt and an event are.
 *
 * Plain data shared by every room; no I/O, no clock. Text fields are NUL-terminated UTF-8.
 * Times are milliseconds since the Unix epoch on the database's clock, 0 for "not yet". */
#ifndef DOMAIN_TASK_H
#define DOMAIN_TASK_H

#include <stdbool.h>
#include <stdint.h>

#include "artifact.h"
#include "err.h"
#include "id.h"
#include "task_state.h"

enum {
    TASK_TYPE_MAX = 64,
    TASK_QUEUE_MAX = 64,
    TASK_WORKER_MAX = 128,
    TASK_CODE_MAX = 48,
    TASK_NAME_MAX = 256,
    TASK_PRIORITY_LIMIT = 1000,
    TASK_ATTEMPTS_LIMIT = 100,
    TASK_TIMEOUT_LIMIT_S = 30 * 86400,
    TASK_KEY_MAX = 256 /* Idempotency-Key */
};

/* Why an attempt or a task failed; decides whether it is tried again (retry.h). */
enum error_class {
    ERROR_NONE,
    ERROR_INPUT,     /* the input or the parameters are wrong: trying again cannot help */
    ERROR_TRANSIENT, /* may work later: disk full, server away, worker lost */
    ERROR_CRASH,     /* the child process died */
    ERROR_TIMEOUT,   /* the attempt passed its deadline */
    ERROR_CANCELLED,
    ERROR__COUNT
};

const char *error_class_name(enum error_class class); /* "input"; "" for ERROR_NONE */
bool error_class_parse(const char *name, enum error_class *ret_class);

struct task_error {
    enum error_class class;
    char code[TASK_CODE_MAX];   /* for programs: "bad_date", "signal" */
    char message[ERR_TEXT_MAX]; /* for people: one sentence */
};

struct task {
    char id[ID_TEXT_MAX];
    char run_id[ID_TEXT_MAX]; /* of the run that it is a step of; "" for none */
    char type[TASK_TYPE_MAX];
    char queue[TASK_QUEUE_MAX];
    enum task_state state;
    int priority; /* -1000 to 1000, higher first */
    int attempt;  /* attempts begun */
    int max_attempts;
    int crashes;        /* attempts that ended by a crash, since the last retry by hand */
    int64_t timeout_ms; /* of one attempt; 0: none */
    int64_t created_ms, run_at_ms, started_ms, finished_ms;
    int64_t lease_until_ms; /* while PROCESSING */
    double progress;        /* 0 to 1, of the running attempt */
    char worker[TASK_WORKER_MAX];
    char input_name[TASK_NAME_MAX]; /* the name the file had at the client, for showing */
    struct artifact input, output;
    struct task_error error;
    char *params; /* JSON object text; heap; NULL means {} */
    char *result; /* JSON object text; heap; NULL until DONE */
};

void task_release(struct task *t); /* frees params and result, zeroes *t; NULL is fine */

/* How an attempt ended. */
enum attempt_outcome {
    ATTEMPT_RUNNING,
    ATTEMPT_DONE,
    ATTEMPT_FAILED,
    ATTEMPT_RELEASED,  /* handed back by its worker */
    ATTEMPT_LOST,      /* lease ran out */
    ATTEMPT_CANCELLED, /* the task was taken away from it */
    ATTEMPT__COUNT
};

const char *attempt_outcome_name(enum attempt_outcome outcome); /* "done" */
bool attempt_outcome_parse(const char *name, enum attempt_outcome *ret_outcome);

/* What one attempt cost and how its process ended. */
struct attempt_usage {
    int64_t wall_ms, cpu_ms, peak_rss_bytes;
    int exit_code, signal; /* of a child that died; else 0 */
};

struct attempt {
    int number;
    char worker[TASK_WORKER_MAX];
    int64_t started_ms, ended_ms;
    enum attempt_outcome outcome;
    struct task_error error;
    struct attempt_usage usage;
};

/* One row per state change, written in the transaction that makes it. */
struct task_event {
    int64_t seq; /* rises; gaps are normal */
    char task_id[ID_TEXT_MAX];
    int64_t at_ms;
    bool is_first; /* the submit: there is no `from` */
    enum task_state from, to;
    int attempt;
    char actor[TASK_WORKER_MAX]; /* who caused it: "client", a worker's name, "reaper" */
    char detail[ERR_TEXT_MAX];
};

/* [A-Za-z0-9_.-]{1,63}, starting with a letter or digit: types, queues. */
bool task_word_is_valid(const char *word);

#endif
