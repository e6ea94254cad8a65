/* segue/pipeline.h - pipelines of steps over any store: a library, without a server.
 *
 * A program registers steps (functions) and pipelines (lists of steps) with an orchestrator,
 * makes pipelines, starts them, and calls orchestrator_execute_pipelines() now and then: from
 * its loop, from cron, from as many threads, processes and machines as it likes. Where a
 * pipeline stands is kept in a repository (segue/pipeline_repository.h), so that it outlives
 * the process.
 *
 * LIFE CYCLE. pipeline_new() stores a pipeline and its steps, all `created`. pipeline_start()
 * is one tick, and orchestrator_execute_pipelines() gives one tick to every pipeline that is
 * `pending`. A tick looks at the steps in their order:
 *   1. any step failed: the pipeline is failed; else any cancelled: cancelled; else all
 *      finished: finished. That was the tick.
 *   2. else the first step that is created or pending is the current one. A created one becomes
 *      pending, the pipeline too (with metadata.current_step), both stored; then its on_start
 *      is called. If the step is still pending after that, on_continue is called.
 *   3. a step that was pending already gets on_continue.
 * The actions finish, fail and cancel store the state of the step; the pipeline notices at the
 * next tick. So at most one step advances per tick, and a pipeline of N steps that finish at
 * once needs N ticks and one more to be finished. A step that is not ended stays pending and
 * is asked again at every tick. The states are in segue/pipeline_status.h.
 *
 * WHAT GOES WRONG. A call that returns an error is tried again at the next tick: after an error
 * of on_start the step is `created` again, after one of on_continue it stays pending; the
 * sentence is kept as its reason. An error of one pipeline never keeps a sweep from the others.
 * While a step is called, the pipeline is claimed: no other tick, in no process, runs a step of
 * it (it answers -PIPELINE_E_BUSY; a sweep passes on). A thread of the orchestrator renews the
 * claim for as long as the call takes. When the process dies, the claim ends with its lease,
 * and the next tick goes on: on_continue of the step is called, which may find out what
 * on_start got done; a step without on_continue gets on_start again.
 *
 * ERRORS. A function that can fail returns 0 or a negative PIPELINE_E_* code and leaves one
 * sentence in `err`, which may be NULL; on success `err` is left alone.
 *
 * THREADS. An orchestrator may be used by any number of threads at once. A struct pipeline, and
 * the steps in it, belong to one thread at a time; two threads that want the same pipeline
 * open it twice. Steps are called in the thread that made the tick, without any lock held, and
 * may use the library themselves. After fork() the child makes an orchestrator and a repository
 * of its own, and leaves those of its parent alone.
 *
 * BLOCKING. Everything that is said to store or load waits for the repository. */
#ifndef SEGUE_PIPELINE_H
#define SEGUE_PIPELINE_H

#include <stddef.h>
#include <stdint.h>

#include "pipeline_status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* -- errors -- */

enum pipeline_code {
    PIPELINE_E_NO_MEMORY = 1,
    PIPELINE_E_BAD_VALUE,       /* an argument breaks a rule of this header */
    PIPELINE_E_BAD_STATE,       /* the step or the pipeline has ended already */
    PIPELINE_E_NOT_FOUND,       /* the repository has no such pipeline */
    PIPELINE_E_EXISTS,          /* that name, or uuid, is taken */
    PIPELINE_E_STALE,           /* it was changed meanwhile; somebody else has the claim */
    PIPELINE_E_BUSY,            /* another tick is running a step of it */
    PIPELINE_E_UNKNOWN,         /* a stored name that nobody registered here */
    PIPELINE_E_CALLBACK,        /* on_start or on_continue returned an error */
    PIPELINE_E_UNAVAILABLE,     /* the repository cannot be reached; later perhaps */
    PIPELINE_E_UNKNOWN_OUTCOME, /* it may have stored it or not */
    PIPELINE_E_NO_SPACE,
    PIPELINE_E_CORRUPT, /* it holds something that this library never wrote */
    PIPELINE_E__COUNT
};

enum { PIPELINE_ERR_TEXT_MAX = 640 };

struct pipeline_err {
    int code; /* 0 or a negative PIPELINE_E_* code */
    char text[PIPELINE_ERR_TEXT_MAX];
};

/* Puts code and sentence into err (NULL: nowhere) and returns code. For on_start, on_continue
 * and repositories of your own: `return pipeline_err_set(err, -PIPELINE_E_..., "...");` */
PIPELINE_API int pipeline_err_set(struct pipeline_err *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* "NO_MEMORY"; static, for codes of either sign; "?" for any other number. */
PIPELINE_API const char *pipeline_code_name(int code);

/* -- limits, in bytes with the NUL -- */

enum {
    PIPELINE_UUID_MAX = 37,
    PIPELINE_NAME_MAX = 129,
    PIPELINE_REASON_MAX = 512, /* longer sentences are cut */
    PIPELINE_METADATA_MAX = 1 << 20,
    PIPELINE_STEPS_MAX = 1000
};

/* -- what can be run -- */

struct pipeline;
struct pipeline_step;
struct orchestrator;
struct pipeline_repository; /* segue/pipeline_repository.h */

/* A call returns 0, or any negative number with a sentence in err, which is never NULL here.
 * Calls that are NULL do nothing: a step without any is ended by somebody else. */
struct pipeline_step_definition {
    const char *name;
    int (*on_start)(struct pipeline_step *step, void *user_data, struct pipeline_err *err);
    int (*on_continue)(struct pipeline_step *step, void *user_data, struct pipeline_err *err);
    void *user_data; /* yours; outlives the orchestrator */
};

struct pipeline_definition {
    const char *name;
    const char *const *steps; /* names of registered steps in their order, at least one */
    size_t step_count;
};

struct orchestrator_options {
    /* How long a claim outlives its process, in milliseconds; 0: 60,000. */
    int lease_ms;
    /* Told of each error of a sweep, in its thread. May be NULL. */
    void (*on_error)(const char *pipeline_uuid, const char *pipeline_name,
                     const struct pipeline_err *why, void *user_data);
    void *user_data;
};

/* The repository stays yours and must outlive the orchestrator. `options` may be NULL. */
PIPELINE_API int orchestrator_new(struct pipeline_repository *repository,
                                  const struct orchestrator_options *options,
                                  struct orchestrator **ret, struct pipeline_err *err);

/* No pipeline of it may be open and no tick running. NULL does nothing. */
PIPELINE_API void orchestrator_free(struct orchestrator *o);

/* Copies what it is given. -PIPELINE_E_BAD_VALUE: no name (or one that is empty, too long or no
 * UTF-8), no steps, a step that is not registered. -PIPELINE_E_EXISTS: registered already. */
PIPELINE_API int orchestrator_register_step(struct orchestrator *o,
                                            const struct pipeline_step_definition *definition,
                                            struct pipeline_err *err);
PIPELINE_API int orchestrator_register_pipeline(struct orchestrator *o,
                                                const struct pipeline_definition *definition,
                                                struct pipeline_err *err);

/* -- pipelines -- */

/* Stores a new pipeline with its steps, whole or not at all. `metadata` is a JSON object, or
 * NULL for an empty one. -PIPELINE_E_UNKNOWN: no pipeline of that name is registered. */
PIPELINE_API int pipeline_new(struct orchestrator *o, const char *name, const char *metadata,
                              struct pipeline **ret, struct pipeline_err *err);

/* Loads one. -PIPELINE_E_NOT_FOUND. It need not be registered to be looked at. */
PIPELINE_API int pipeline_open(struct orchestrator *o, const char *uuid, struct pipeline **ret,
                               struct pipeline_err *err);

/* Forgets the handle, not what is stored. Never inside a call of one of its steps. */
PIPELINE_API void pipeline_free(struct pipeline *p);

/* One tick, and the handle shows what it led to. A pipeline that has ended is left as it is: 0.
 * -PIPELINE_E_BUSY: another tick is at it. -PIPELINE_E_CALLBACK: the step's call returned an
 * error. -PIPELINE_E_STALE: the claim was lost while the step ran (the process was stopped, or
 * the repository out of reach, for longer than the lease). */
PIPELINE_API int pipeline_start(struct pipeline *p, struct pipeline_err *err);

/* End the pipeline alone; its steps stay as they are, and no tick calls them any more. The
 * reason may be NULL. -PIPELINE_E_BAD_STATE: it has ended already. */
PIPELINE_API int pipeline_cancel(struct pipeline *p, const char *reason,
                                 struct pipeline_err *err);
PIPELINE_API int pipeline_fail(struct pipeline *p, const char *reason,
                               struct pipeline_err *err);

/* Loads what is stored by now. Not inside a call of one of its steps. */
PIPELINE_API int pipeline_refresh(struct pipeline *p, struct pipeline_err *err);

/* Stores metadata of your own, a JSON object of less than PIPELINE_METADATA_MAX bytes, kept
 * byte for byte but for the member "current_step", which is the library's. Any time, by
 * anybody; the last one wins. */
PIPELINE_API int pipeline_set_metadata(struct pipeline *p, const char *json,
                                       struct pipeline_err *err);

/* What the handle saw last. Texts live until the next call that changes or frees the handle. */
PIPELINE_API const char *pipeline_uuid(const struct pipeline *p);
PIPELINE_API const char *pipeline_name(const struct pipeline *p);
PIPELINE_API enum pipeline_status pipeline_state(const struct pipeline *p);
PIPELINE_API const char *pipeline_reason(const struct pipeline *p); /* "" for none */
/* A JSON object with at least {"current_step": uuid of a step, or null}. */
PIPELINE_API const char *pipeline_metadata(const struct pipeline *p);
PIPELINE_API size_t pipeline_step_count(const struct pipeline *p);
/* In their order; lives as long as the handle. */
PIPELINE_API struct pipeline_step *pipeline_step_at(struct pipeline *p, size_t index);

/* -- steps: inside their calls, and by hand through a handle -- */

/* Store how the step ended. The reasons are sentences; that of cancel may be NULL.
 * -PIPELINE_E_BAD_STATE: it has ended already. */
PIPELINE_API int pipeline_step_finish(struct pipeline_step *s, struct pipeline_err *err);
PIPELINE_API int pipeline_step_fail(struct pipeline_step *s, const char *reason,
                                    struct pipeline_err *err);
PIPELINE_API int pipeline_step_cancel(struct pipeline_step *s, const char *reason,
                                      struct pipeline_err *err);

/* Says that it has not ended, which is what a call says that returns 0 without any action.
 * Stores what it waits for as the reason, unless that is NULL. */
PIPELINE_API int pipeline_step_wait(struct pipeline_step *s, const char *reason,
                                    struct pipeline_err *err);

/* As pipeline_set_metadata, and nothing in it is the library's. */
PIPELINE_API int pipeline_step_set_metadata(struct pipeline_step *s, const char *json,
                                            struct pipeline_err *err);

/* Is the claim still ours? A call that takes long asks now and then and gives up when not:
 * another process may have gone on in its place. False outside a call. Does not block. */
PIPELINE_API bool pipeline_step_is_ours(const struct pipeline_step *s);

PIPELINE_API const char *pipeline_step_uuid(const struct pipeline_step *s);
PIPELINE_API const char *pipeline_step_name(const struct pipeline_step *s);
PIPELINE_API enum pipeline_status pipeline_step_state(const struct pipeline_step *s);
PIPELINE_API const char *pipeline_step_reason(const struct pipeline_step *s);
PIPELINE_API const char *
pipeline_step_metadata(const struct pipeline_step *s); /* JSON object */
PIPELINE_API struct pipeline *pipeline_step_pipeline(struct pipeline_step *s);

/* -- sweeps -- */

struct pipeline_sweep {
    size_t found;  /* pipelines that were pending */
    size_t ticked; /* got their tick, with or without an error */
    size_t busy;   /* were left to another tick that was at them */
    size_t errors; /* of the callback, the repository, or of names nobody registered */
    struct pipeline_err first; /* the first of these */
};

/* One tick for each pipeline that is pending, in the order in which they were made. Errors of
 * pipelines are counted and told to on_error; it fails itself only when it could not find out
 * which pipelines there are (any more). `ret` may be NULL, and is filled in either way. */
PIPELINE_API int orchestrator_execute_pipelines(struct orchestrator *o,
                                                struct pipeline_sweep *ret,
                                                struct pipeline_err *err);

#ifdef __cplusplus
}
#endif

#endif
