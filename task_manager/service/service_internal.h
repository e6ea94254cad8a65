/* service_internal.h - shared by the files of this room only. */
#ifndef SERVICE_INTERNAL_H
#define SERVICE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "retry.h"
#include "seal.h"
#include "service.h"

struct claim_hub;
struct task_watch;

/* A thread that works in rounds: sleeps until poked or until the round is due. */
struct rounds {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool is_started, is_stopping, is_poked;
};

/* A submit on its way; the caller's, until it is answered. */
struct submit_job {
    struct submit_job *next;
    struct submission item;                 /* what it points at stays until the answer */
    char *sealed_params;                    /* what it points at, when there are secrets */
    void (*answer)(struct submit_job *job); /* NULL: somebody waits for is_done */
    bool is_done;
    int rc; /* the outcome: rc and err, or result */
    struct err err;
    struct submit_result result;
};

struct submit_group {
    pthread_mutex_t lock;
    pthread_cond_t done;
    struct submit_job *first, **last;
    size_t waiting;                              /* in the list */
    size_t take_max;                             /* of them together, 256 at most */
    size_t leaders, leaders_always, leaders_max; /* those between lead when many wait */
    bool is_closed;                              /* who waits or comes is refused */
};

enum { HANDED_MAX = 64 };

/* How many tasks of a queue were announced lately. */
struct wake_limit {
    char queue[TASK_QUEUE_MAX];
    int64_t since_ms; /* begin of its window */
    unsigned wakes;   /* in it */
    unsigned items;   /* of the call under way */
    int64_t asked_ms; /* when a worker last asked this manager for it; 0: never */
    bool is_owed;     /* others were left out */
};

enum { WAKE_LIMITS = 16 };

/* What the relay is told without the database: queues that want another message (full means
 * that enough is on its way), and outbox rows that this manager has just committed. */
struct wakes {
    pthread_mutex_t lock;
    char queues[16][TASK_QUEUE_MAX];
    size_t count;
    struct outbox_row rows[HANDED_MAX];
    size_t row_count;
    struct wake_limit limits[WAKE_LIMITS];
};

/* One part of readiness: a thread that tries it when asked. */
struct probe {
    struct rounds rounds;
    struct service *service;
    int (*attempt)(struct service *s, struct err *err);
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t found;
    uint64_t begun, ended; /* numbers of tries */
    int64_t began_ms;      /* monotonic, of the latest */
    int rc;                /* of the last that ended, and */
    char finding[ERR_TEXT_MAX];
};

struct pipelines {
    struct run_def **items; /* by name */
    size_t count;
};

enum { PROBE_STORE, PROBE_DISK, PROBE__COUNT };

struct service {
    struct service_parts parts;
    struct retry_policy retry;
    bool announce; /* does a broker have to be told of tasks? */
    struct claim_hub *hub;
    struct task_watch *watch;
    struct pipelines pipelines; /* never changed after the start */
    struct submit_group submits, uploads;
    struct wakes wakes;
    atomic_bool outbox_waits; /* rows that the relay was not handed */
    struct rounds reaper, relay, house;
    struct probe probes[PROBE__COUNT];
    atomic_bool stopping; /* not ready any more */
    /* From the last count; waiting moves along with what this manager does meanwhile. */
    atomic_llong waiting, outbox, outbox_oldest_ms;
    struct seal_key secret_key; /* of secrets.c, and once it is there: */
    bool has_secret_key;
};

void rounds_init(struct rounds *r);
int rounds_start(struct rounds *r, void *(*run)(void *), void *arg, struct err *err);
void rounds_poke(struct rounds *r);
/* Waits for a poke or for ms; false when it is time to end. */
bool rounds_wait(struct rounds *r, int64_t ms);
/* Asked between the batches of a long round. */
bool rounds_is_stopping(struct rounds *r);
void rounds_stop(struct rounds *r);
void rounds_release(struct rounds *r);

/* A service without threads, which service_start adds: whoever has one (the simulation) calls
 * the rounds below. End it with service_stop_free. */
int service_new(const struct service_parts *parts, struct service **ret, struct err *err);

/* New work may be there: wakes parked claims, and the relay, which looks into the outbox. */
void service_announce(struct service *s);
/* The same after submit_record, which has told the relay what it has to know. */
void service_announce_submits(struct service *s);

void submit_group_init(struct submit_group *g, size_t take_max, size_t leaders_max);
void submit_group_release(struct submit_group *g);
/* From now on jobs that nobody has taken yet are refused (E_UNAVAILABLE). */
void submit_group_close(struct submit_group *g);
/* Records the job with others; it is answered here or later by another thread. */
void submit_group_add(struct service *s, struct submit_job *job);
/* The same for a job without `answer`: returns when it is done. */
void submit_group_wait(struct service *s, struct submit_job *job);
/* What follows from what the store said of a job. */
void submit_settle(struct service *s, struct submit_job *job);
/* Records jobs, at most 256, in one transaction, or one by one when one of them spoils it. */
void submit_record(struct service *s, struct submit_job *const *jobs, size_t count);

struct reaper {
    int64_t reap_at; /* monotonic: no reaping before */
    bool was_failing;
};

void reaper_begin(struct service *s, struct reaper *r);
void reaper_round(struct service *s, struct reaper *r);
void *reaper_run(void *service);

struct relay;

struct relay *relay_new(struct service *s); /* free() it; NULL: no memory */
void relay_round(struct relay *r);
/* Sends one more message for a queue. Only a hint, so it is not kept. */
void relay_wake(struct service *s, const char *queue);
/* A task that was committed a moment ago, with the number of its outbox row (0: not known): the
 * relay need not read the row before it publishes it. */
void relay_hand(struct service *s, const struct task *t, int64_t seq);
/* Marks those of the submits that need not be announced (is_quiet). */
void wakes_limit(struct service *s, struct submission *items, size_t count);
/* One that wakes_limit has seen was recorded; the relay is to be poked then. */
void wakes_recorded(struct service *s, const struct submission *item);
/* A worker has asked this manager for tasks of these queues. */
void wakes_asked(struct service *s, const struct claim_request *r);
/* A claim took all it could carry from the queue: the next worker is to help. At once, if tasks
 * wait as far as this manager knows; others may have taken some in, so a message is owed if
 * not.
 */
void wakes_more(struct service *s, const char *queue);
/* Has what is owed to queues sent, if it is time; how long until it is, INT64_MAX for nothing.
 */
int64_t wakes_settle(struct service *s);
void *relay_run(void *service);
void *housekeeping_run(void *service);

int probes_start(struct service *s, struct err *err);
void probes_stop(struct service *s);

/* What the keys of an attempt's files begin with: a folder of its own,
 * "processed_data/<task>/<attempt>/", or a stem in one of 256 shared folders, named by the last
 * two digits of the task's id, "processed_data/<xx>/<task>.<attempt>.". Attempt 0: of all
 * attempts, "processed_data/<task>/" and "processed_data/<xx>/<task>.". */
void attempt_folder(const char *task_id, int attempt, char ret_prefix[ARTIFACT_KEY_MAX]);
void attempt_stem(const char *task_id, int attempt, char ret_prefix[ARTIFACT_KEY_MAX]);
/* The attempt whose key it is, in either form, and its task; 0 for any other key. */
int attempt_of_key(const char *key, char ret_task_id[ID_TEXT_MAX]);

/* -- files that no task needs (sweep.c); each removes those that are there and are old enough
 * -- */

int sweep_orphans(struct service *s, int64_t older_than_ms, struct err *err);
/* What an attempt that owns nothing any more has left. */
int sweep_attempt(struct service *s, const char *task_id, int attempt, struct err *err);
/* The files of tasks whose rows are gone. */
int sweep_purged(struct service *s, const struct purged *items, size_t count, struct err *err);

/* -- secrets in params (secrets.c) -- */

int secrets_check_key(const struct config *config, struct err *err);
/* *ret_sealed: params with their secrets sealed, free() it; NULL when there are none. */
int secrets_seal(struct service *s, const char *type, const char *params, char **ret_sealed,
                 struct err *err);
/* The same for one text that is kept anywhere else; `context` is bound to it. malloc'ed, NULL
 * with err set. */
char *secrets_seal_text(struct service *s, const char *context, const char *plain,
                        struct err *err);
char *secrets_open_text(struct service *s, const char *context, const char *sealed,
                        struct err *err);
/* Opens them in *params (malloc'ed, may be NULL). Those that this server cannot open stay
 * sealed: the job will say so. */
void secrets_open(struct service *s, const char *task_id, const char *type, char **params);
/* The params of one task as a whole, as JSON again; secrets_open opens them. free() it; NULL
 * with err set. */
char *secrets_seal_whole(struct service *s, const char *task_id, const char *params,
                         struct err *err);

int claim_hub_new(struct service *s, struct claim_hub **ret, struct err *err);
int claim_hub_start(struct claim_hub *hub, struct err *err);
/* Goes over the parked claims once. */
void claim_hub_pass(struct claim_hub *hub);
void claim_hub_poke(struct claim_hub *hub);
void claim_hub_drain(struct claim_hub *hub);
void claim_hub_stop_free(struct claim_hub *hub);
/* Parks a claim until work comes or its time is up; false (and nothing done) when draining or
 * there is no memory. */
bool claim_hub_park(struct claim_hub *hub, const struct claim_request *request,
                    const struct claim_reply *reply);

int task_watch_new(struct service *s, struct task_watch **ret, struct err *err);
int task_watch_start(struct task_watch *watch, struct err *err);
/* Looks at every task that is due once. */
void task_watch_pass(struct task_watch *watch);
/* The task may have ended: whoever waits for it is to know at once. Cheap when nobody does. */
void task_watch_note(struct task_watch *watch, const char *task_id);
void task_watch_drain(struct task_watch *watch);
void task_watch_stop_free(struct task_watch *watch);

/* One try at a claim. *ret: work_items_free; NULL when there was nothing or on failure. */
int claim_once(struct service *s, const struct claim_request *request, struct work **ret,
               size_t *ret_count, struct err *err);
void work_items_free(struct work *items, size_t count);

/* -- submit.c -- */

bool submit_is_type(const struct config *config, const char *type); /* of TASK_TYPES */
int submit_check_key(const char *key, struct err *err);
/* What the worker would refuse for being written wrongly, or for leading where it may not go.
 */
int submit_check_meaning(const struct config *config, const char *type, const char *params,
                         struct err *err);

/* -- pipelines -- */

/* A NULL-terminated list of JSON texts. */
extern const char *const pipelines_builtin[];

int pipelines_load(const struct config *config, struct pipelines *ret, struct err *err);
void pipelines_release(struct pipelines *p);
struct run_def_rules pipelines_rules(const struct config *config);

#define RUN_SEAL "run" /* the context of a run's input, which is sealed when it has secrets */

/* A change of a run with all that it points at. */
struct run_draft {
    struct run_change change;
    struct run_step_change steps[RUN_STEPS_LIMIT];
    struct submission task;
    struct task_error error;
    char *params, *shown;
    char *sealed; /* the params as they are stored; NULL: as they are */
};

/* The run's next change: nothing yet, at the version that was read. */
void run_draft_init(struct run_draft *d, const struct run *r, const char *actor);
void run_draft_release(struct run_draft *d);
struct run_step_change *run_draft_step(struct run_draft *d, const struct run *r, int index,
                                       enum task_state state);
/* Step `index` begins: its task is added, or the run fails when its params cannot be made. */
int run_draft_begin(struct service *s, struct run_draft *d, const struct run_def *def,
                    const struct run *r, int index, struct err *err);
/* What follows from a change that was made: counted and told to the log. */
void run_draft_note(struct service *s, const struct run_draft *d, const char *name);
/* A stored definition; fails only without memory or when the row is damaged. */
int run_definition_of(const struct run *r, struct run_def **ret, struct err *err);

/* Draws the conclusion for each run; *ret_idle[i] (may be NULL): nothing followed for it. */
int runs_advance(struct service *s, const char *const *ids, size_t count, bool *ret_idle,
                 struct err *err);
/* After moves: tells the runs of tasks that ended. What fails is left to the sweep, so the
 * caller goes on. New tasks are still to be announced. */
void runs_follow(struct service *s, const struct move_result *results, size_t count);
/* Runs that were left behind by a crash. */
int runs_sweep(struct service *s, struct err *err);
/* Takes the secrets of a run out of an error. */
int runs_hide_error(struct service *s, const char *run_id, struct task_error *error,
                    struct err *err);

/* Counts a move, logs it, and tells who waits for the task; `state` is what the task is
 * afterwards. */
void service_note_move(struct service *s, const struct task_move *move);

#endif
