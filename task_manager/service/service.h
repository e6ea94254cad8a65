/* service.h - what the task manager can do, one use case per function.
 *
 * The door between HTTP and everything durable. No HTTP, no SQL, no JSON text here except
 * the opaque `params` and `result` of tasks. A service may be used from any thread; calls
 * block on the database and the disk. Its own threads are the claim hub (answers long
 * polls), the watch of tasks that are waited for, the reaper (expired leases), the outbox relay
 * (publishes), housekeeping, and a probe each for store and disk. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "broker.h"
#include "config.h"
#include "objstore.h"
#include "run_definition.h"
#include "store.h"
#include "worker_protocol.h"

struct service;

/* Everything is borrowed and outlives the service. publisher: of implementation "none" when
 * no broker is configured; the relay thread is then not started. */
struct service_parts {
    const struct config *config;
    struct store *store;
    struct objstore *objects;
    struct broker *publisher;
};

/* E_BAD_VALUE when TASK_TYPES holds a word that is no name. */
int service_check_types(const struct config *config, struct err *err);
/* All settings of this room that can be wrong: TASK_TYPES, SECRET_KEY, and what tasks may call
 * (REPO_HOSTS, CALL_HOSTS, ALLOW_NETWORKS). */
int service_check_settings(const struct config *config, struct err *err);

int service_start(const struct service_parts *parts, struct service **ret, struct err *err);

/* From now on readiness says no: the program is about to end. */
void service_end_readiness(struct service *s);

/* Answers all parked claims with nothing, and all who wait for tasks that they have to ask
 * again; further ones are answered at once. */
void service_drain(struct service *s);

/* Submits that nobody has begun to record are refused from now on (E_UNAVAILABLE). */
void service_shed(struct service *s);

/* Ends the threads and frees. No call may be under way. */
void service_stop_free(struct service *s);

struct store *service_store(struct service *s);      /* for reading */
struct objstore *service_objects(struct service *s); /* for reading */

/* May an attempt of the task have written an object of this key? Pure. */
bool service_wrote_key(const char *task_id, const char *key);

/* -- submit -- */

struct submit_request {
    char type[TASK_TYPE_MAX];
    char queue[TASK_QUEUE_MAX]; /* "": the type's */
    int priority;
    int64_t run_at_ms;  /* 0: now */
    int max_attempts;   /* 0: the configured default */
    int64_t timeout_ms; /* 0: none */
    const char *params; /* JSON object text with sorted members, or NULL */
    struct artifact input;
    char input_name[TASK_NAME_MAX];
    const char *idempotency_key; /* NULL: none */
};

/* 0: *ret is durable (accepted or replayed). E_BAD_VALUE: unknown type, bad queue, params or
 * key; E_MISMATCH: the key was used for something else; E_OVERLOAD: the backlog is full, and
 * this is no repeat; store errors. After E_UNKNOWN_OUTCOME the task may exist. */
int service_submit(struct service *s, const struct submit_request *request,
                   struct submit_result *ret, struct err *err);

struct submit_reply {
    /* Called exactly once, from the calling thread or later from another. result is borrowed
     * and means something when rc is 0. */
    void (*answer)(void *arg, int rc, const struct submit_result *result,
                   const struct err *err);
    void *arg;
};

/* The same without waiting for the database. params_take is what request->params points at:
 * free()d in every case; the key must stay until the answer. */
void service_submit_later(struct service *s, const struct submit_request *request,
                          char *params_take, const struct submit_reply *reply);

struct submit_one {
    struct submit_request request;
    int rc; /* in: not 0 when it is not to be submitted; out: as of service_submit */
    struct err err;
    struct submit_result result;
};

/* Submits many at once, a few hundred in one transaction; each has an outcome of its own.
 * Only -E_NO_MEMORY; then nothing was submitted. */
int service_submit_many(struct service *s, struct submit_one *items, size_t count,
                        struct err *err);

/* E_OVERLOAD when MAX_QUEUED tasks wait (counted every second, and what this manager took in
 * and handed out since). */
int service_check_backlog(struct service *s, struct err *err);

/* -- uploads: a file on its way into the object store -- */

struct service_upload;

/* expected_size -1: not known. E_TOO_BIG, E_NO_SPACE, E_OVERLOAD before a byte is read. With
 * has_key a full backlog is no reason yet: it may be a repeat, which its content decides. */
int service_upload_begin(struct service *s, int64_t expected_size, bool has_key,
                         struct service_upload **ret, struct err *err);
int service_upload_write(struct service_upload *u, const void *bytes, size_t len,
                         struct err *err);
void service_upload_abort_free(struct service_upload *u);

/* Ends the upload: makes the file durable, together with those of other uploads, and submits a
 * task with it; the file is gone unless a task was made (or may have been). As
 * service_submit_later; fills request->input. */
void service_upload_submit_later(struct service *s, struct service_upload *u,
                                 struct submit_request *request, char *params_take,
                                 const struct submit_reply *reply);

/* -- changes by clients; each answers with the task as it is afterwards -- */

/* Cancelling a CANCELLED task is success; other terminal ones are E_BAD_STATE. */
int service_cancel(struct service *s, const char *id, struct task *ret, struct err *err);
/* FAILED -> RECEIVED with a fresh attempt budget; E_BAD_STATE otherwise. */
int service_retry(struct service *s, const char *id, struct task *ret, struct err *err);
/* Any legal move by name of the state, for clients of the old API. */
int service_put_state(struct service *s, const char *id, enum task_state to, struct task *ret,
                      struct err *err);
/* Completion by a foreign worker: is_done, else failed. `path` names a file that is there: a
 * key below processed_data/, or its absolute path. Its digest stays unknown. E_BAD_STATE unless
 * PROCESSING. */
int service_notify(struct service *s, const char *id, bool is_done, const char *path,
                   struct err *err);

/* -- pipelines -- */

/* E_BAD_VALUE when PIPELINES_DIR holds a definition that is none: names the file and the path
 * of its first mistakes. Blocks on the disk. */
int service_check_pipelines(const struct config *config, struct err *err);

/* Those that are known by name, in the order of their names; NULL past the last. */
const struct run_def *service_pipeline_at(const struct service *s, size_t index);
const struct run_def *service_pipeline_find(const struct service *s, const char *name);

struct run_request {
    const char *name;       /* of the pipeline */
    const char *definition; /* JSON; NULL: the known one of that name */
    const char *input;      /* JSON object or NULL */
    const char *idempotency_key;
};

/* 0: the run is durable and its first step waits for a worker. E_NOT_FOUND: no such pipeline.
 * E_BAD_VALUE: the definition or the input is wrong, or the params of the first step cannot be
 * made of them; mistakes gets a line "path: sentence" for each mistake, if it is theirs.
 * E_MISMATCH, E_OVERLOAD and the rest as of service_submit. */
int service_run_start(struct service *s, const struct run_request *request,
                      struct submit_result *ret, struct buf *mistakes, struct err *err);

/* As store_run_get, with the input as it was given: not for showing. */
int service_run_get(struct service *s, const char *id, struct run *ret, struct err *err);

/* Ends a run and the task of its step. Cancelling a CANCELLED run is success, an end of another
 * kind E_BAD_STATE: also that of a step which had failed when the cancel came. When the
 * database goes away in between *ret is still PROCESSING, and ends soon. */
int service_run_cancel(struct service *s, const char *id, struct run *ret, struct err *err);

/* Lets an ended run go on from a step (run_resume_point); what earlier steps have put out is
 * kept. E_OVERLOAD as above. */
int service_run_resume(struct service *s, const char *id, const char *from, struct run *ret,
                       struct err *err);

/* -- the worker protocol -- */

struct claim_reply {
    /* Called exactly once, from the calling thread or later from the hub; rc and err tell of
     * failure; items stay the service's. */
    void (*answer)(void *arg, int rc, const struct work *items, size_t count,
                   const struct err *err);
    bool (*is_alive)(void *arg); /* is it still worth claiming for? */
    void *arg;
};

void service_claim(struct service *s, const struct claim_request *request,
                   const struct claim_reply *reply);

int service_heartbeat(struct service *s, const struct heartbeat *items, size_t count,
                      struct heartbeat_verdict *ret, struct err *err);

int service_report(struct service *s, const char *worker, const struct report *items,
                   size_t count, struct report_verdict *ret, struct err *err);

/* -- waiting for a task's end -- */

struct await_reply {
    /* Called exactly once, from the calling thread or later from the watch's, which must not be
     * held up. rc 0: the task is DONE, FAILED or CANCELLED; it stays the service's. Else t is
     * NULL and rc -E_TIMEOUT (it goes on), -E_UNAVAILABLE (the service is drained; it goes on),
     * -E_CANCELLED (is_alive said no; it goes on), -E_NOT_FOUND or -E_NO_MEMORY. */
    void (*answer)(void *arg, int rc, const struct task *t, const struct err *err);
    bool (*is_alive)(void *arg); /* does anybody still want to know? asked every second */
    void *arg;
};

/* Answers when the task has ended, at most after wait_ms. Does not block. */
void service_await(struct service *s, const char *task_id, int64_t wait_ms,
                   const struct await_reply *reply);

/* -- what the calls of the repository services need (repository.c) -- */

enum { REPOSITORY_URL_MAX = 2048, DOWNLOAD_PATH_MAX = 4096 };

/* The address to clone for one that a client has written, which must end in ".git" and be
 * allowed by REPO_HOSTS; where it is not, with https instead of http it may be. E_BAD_VALUE. */
int service_repository_url(struct service *s, const char *text,
                           char ret_url[REPOSITORY_URL_MAX], struct err *err);

struct download {
    char key[DOWNLOAD_PATH_MAX]; /* of the folder or archive in the object store */
    char commit[129];            /* "" when it is not known */
};

/* The finished repo_download whose result names `path` as its path or its key, which is how
 * nothing else can be reached by a path. E_NOT_FOUND. */
int service_find_download(struct service *s, const char *path, struct download *ret,
                          struct err *err);

/* -- health -- */

struct readiness {
    bool is_ready;         /* store and disk usable and not stopping: work can be accepted */
    int store_rc, disk_rc; /* 0, or an E_* code: E_NO_SPACE, ... */
    char store[ERR_TEXT_MAX], disk[ERR_TEXT_MAX]; /* "ok" or what is wrong */
    bool relay_ok;                                /* messages wait no longer than allowed */
    const char *broker;                           /* "none", "up" or "down" */
    int64_t outbox, outbox_oldest_ms;             /* rows waiting for the relay */
};

/* Tries store and disk and answers within 1.5 s, also when they hang. Whoever asks at once
 * shares a try. */
void service_readiness(struct service *s, struct readiness *ret);

#endif
