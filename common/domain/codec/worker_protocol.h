/* worker_protocol.h - the JSON that workers and the task manager exchange.
 *
 * docs/worker-protocol.md is the same for people. Each message has a struct, an encoder
 * (malloc'ed text, NULL when memory is short) and a strict decoder (E_BAD_VALUE with the
 * path of the mistake). The data_processor uses the single-message forms between itself and
 * its slots too. Any thread; nothing blocks. */
#ifndef CODEC_WORKER_PROTOCOL_H
#define CODEC_WORKER_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"
#include "task.h"

enum {
    WORKER_QUEUES_MAX = 16,
    WORKER_BATCH_MAX = 256,
    WORKER_WAIT_MAX_MS = 60000,
    RESULT_TEXT_MAX = 64 * 1024,
    WORKER_LEASE_MAX_MS = 24 * 60 * 60 * 1000 /* a longer one in an answer counts as this */
};

/* -- claim -- */

struct claim_request {
    char worker[TASK_WORKER_MAX];
    char queues[WORKER_QUEUES_MAX][TASK_QUEUE_MAX];
    size_t queue_count;
    char task_id[ID_TEXT_MAX]; /* "" or: this task only */
    int limit;                 /* 1 to WORKER_BATCH_MAX */
    int64_t wait_ms;           /* long poll; 0: answer at once */
};

char *claim_request_encode(const struct claim_request *r);
int claim_request_decode(const char *text, size_t len, struct claim_request *ret,
                         struct err *err);

/* One attempt to run. */
struct work {
    char task_id[ID_TEXT_MAX];
    char type[TASK_TYPE_MAX];
    char queue[TASK_QUEUE_MAX];
    int attempt, max_attempts;
    char token[TOKEN_TEXT_MAX];
    int64_t lease_ms, timeout_ms;         /* timeout_ms 0: none */
    char output_prefix[ARTIFACT_KEY_MAX]; /* "processed_data/<task>/<attempt>/" */
    /* What the keys of an attempt may begin with instead, when its few files need no folder
     * of their own: "processed_data/<xx>/<task>.<attempt>.". "": the manager is an old one. */
    char output_stem[ARTIFACT_KEY_MAX];
    char input_name[TASK_NAME_MAX];
    struct artifact input; /* key "": none */
    char *params;          /* heap; JSON object text */
};

void work_release(struct work *w);
/* One line, no line end. w is as a decoder gave it: its params are not looked at again. */
char *work_encode(const struct work *w);
int work_decode(const char *text, size_t len, struct work *ret, struct err *err);
char *work_list_encode(const struct work *items, size_t count);

/* One element of a claim's answer. An attempt that cannot be decoded must not take the others
 * with it, and somebody has to say so to the manager: */
struct claim_item {
    struct work work; /* with a fault: task_id and token alone, each "" when not readable */
    struct err fault; /* code 0: none; else E_BAD_VALUE and the path of the mistake */
};

/* Fails only for a text that is no such list at all. free each by work_release(&x.work), then
 * free(*ret). */
int work_list_decode(const char *text, size_t len, struct claim_item **ret, size_t *ret_count,
                     struct err *err);

/* -- heartbeat -- */

struct heartbeat {
    char task_id[ID_TEXT_MAX];
    char token[TOKEN_TEXT_MAX];
    double progress; /* 0 to 1, negative: not known */
};

struct heartbeat_verdict {
    char task_id[ID_TEXT_MAX];
    bool held;        /* still the worker's, lease renewed; else stop working on it */
    int64_t lease_ms; /* when held */
    char state[16];   /* what the task is now: "PROCESSING" (another attempt), … or "" */
};

char *heartbeat_list_encode(const char *worker, const struct heartbeat *items, size_t count);
/* *ret: free(). ret_worker: TASK_WORKER_MAX bytes. */
int heartbeat_list_decode(const char *text, size_t len, char *ret_worker,
                          struct heartbeat **ret, size_t *ret_count, struct err *err);
char *heartbeat_verdicts_encode(const struct heartbeat_verdict *items, size_t count);
int heartbeat_verdicts_decode(const char *text, size_t len, struct heartbeat_verdict **ret,
                              size_t *ret_count, struct err *err);

/* -- report -- */

struct report {
    char task_id[ID_TEXT_MAX];
    char token[TOKEN_TEXT_MAX];
    enum attempt_outcome outcome; /* ATTEMPT_DONE, _FAILED or _RELEASED */
    struct artifact output;       /* of DONE; key "": none */
    struct task_error error;      /* of FAILED */
    struct attempt_usage usage;
    char *result;         /* heap; JSON object text or NULL */
    bool result_is_sound; /* made with json_write.h, which writes nothing that is no JSON */
};

enum report_word {
    REPORT_RECORDED,
    REPORT_REPEATED, /* it had been recorded before: as good as recorded */
    REPORT_STALE,    /* the attempt no longer owns the task; its files will be swept */
    REPORT_UNKNOWN,  /* there is no such task */
    REPORT_REFUSED,  /* the report itself is wrong; see detail */
    REPORT_WORD__COUNT
};

struct report_verdict {
    char task_id[ID_TEXT_MAX];
    enum report_word word;
    char state[16]; /* of the task now, or "" */
    char detail[ERR_TEXT_MAX];
};

const char *report_word_name(enum report_word word); /* "recorded" */

void report_release(struct report *r);
char *report_encode(const struct report *r); /* one line */
int report_decode(const char *text, size_t len, struct report *ret, struct err *err);
/* The items are as report_decode gave them, or have no result: it is not looked at again. */
char *report_list_encode(const char *worker, const struct report *items, size_t count);
/* Release each, then free(*ret). */
int report_list_decode(const char *text, size_t len, char *ret_worker, struct report **ret,
                       size_t *ret_count, struct err *err);
char *report_verdicts_encode(const struct report_verdict *items, size_t count);
int report_verdicts_decode(const char *text, size_t len, struct report_verdict **ret,
                           size_t *ret_count, struct err *err);

#endif
