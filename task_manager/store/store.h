/* store.h - the truth: tasks, attempts, events, runs, outbox and idempotency keys.
 *
 * Cut at domain verbs; each backend ("sqlite", "mysql") speaks its own SQL and nobody else
 * sees any. Every change of a task's state is a compare-and-set (on the state, and on the token
 * where an attempt speaks) of a row that nobody else can change meanwhile, with its event,
 * attempt and outbox rows in the same transaction. Times and leases are the database's clock.
 *
 * A store may be used from any thread. Calls block on the database. Errors:
 * -E_UNAVAILABLE (database away; nothing was done), -E_UNKNOWN_OUTCOME (the link broke during
 * COMMIT and a look-up could not tell, or COMMIT could not be synced to disk), -E_NO_SPACE,
 * -E_NO_MEMORY, -E_CORRUPT, -E_TOO_BIG (a text beyond what the database takes), -E_BUG.
 * Deadlocks, lock waits and lost links are retried inside, as whole transactions, up to five
 * times within some ten seconds; a network that is silent, not broken, is noticed after 20 s. A
 * database without its tables is -E_UNAVAILABLE. No call logs. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "run.h"
#include "task.h"

struct store;

/* Is `url` one that store_open could try? E_BAD_VALUE says what is wrong; nothing is opened. */
int store_check_url(const char *url, struct err *err);
/* Does `url` name a server, which may come up later than this program does? */
bool store_is_remote(const char *url);

/* Opens "sqlite:PATH" (directories are made; PATH.lock keeps other processes out: they get
 * -E_UNAVAILABLE) or "mysql://user:password@host:port/database" (parts percent-encoded;
 * MariaDB from 10.6, MySQL from 8.0). `connections` bounds the database connections used at
 * once; who waits 10 s for one gets -E_UNAVAILABLE. Does not migrate. */
int store_open(const char *url, int connections, struct store **ret, struct err *err);
void store_close(struct store *s);
const char *store_name(const struct store *s); /* "sqlite" */

/* Can it read and write right now? Writes one row; answers within about 2 s. */
int store_ping(struct store *s, struct err *err);

/* -- migrations (numbered, embedded; see migrations/) -- */

/* Applies what is missing, under a lock that makes several managers take turns. Refuses a
 * database that is newer than the program (-E_UNSUPPORTED). */
int store_upgrade(struct store *s, struct err *err);
/* Undoes the latest migration; -E_BAD_STATE when there is none. */
int store_downgrade(struct store *s, struct err *err);
/* Version number; 0 for an empty database. */
int store_version(struct store *s, int *ret_version, int *ret_newest, struct err *err);
/* "NNNN name  applied|pending" lines. */
int store_history(struct store *s, struct buf *out, struct err *err);

/* -- submit -- */

struct submission {
    struct task task;   /* id, type, queue, priority, max_attempts, timeout_ms, input*, params,
                         * run_id; run_at_ms 0: now. Other members are ignored. Stays the
                         * caller's. */
    const char *client; /* owner of the idempotency key; "" for now */
    const char *key;    /* Idempotency-Key or NULL */
    char request_sha256[SHA256_TEXT_MAX]; /* with a key: digest of what was asked */
    bool is_quiet; /* no outbox row: enough others of this call wake its queue */
};

enum submit_outcome {
    SUBMIT_ACCEPTED,
    SUBMIT_REPLAYED, /* the key was used for the same request: ret_id is the first task's */
    SUBMIT_MISMATCH, /* the key was used for another request */
};

struct submit_result {
    enum submit_outcome outcome;
    char id[ID_TEXT_MAX];
    int64_t outbox_seq; /* of its outbox row, when that is known without asking; else 0 */
};

/* One transaction for all: task, first event, and an outbox row when `announce` and unless the
 * submission is quiet. After 0 the rows are durable. */
int store_submit(struct store *s, const struct submission *items, size_t count, bool announce,
                 struct submit_result *ret, struct err *err);

/* Was the key of `item` used before? SUBMIT_REPLAYED or SUBMIT_MISMATCH as store_submit would
 * say, SUBMIT_ACCEPTED when it was not. Writes nothing. */
int store_look_up(struct store *s, const struct submission *item, struct submit_result *ret,
                  struct err *err);

/* -- read -- */

/* E_NOT_FOUND when there is none. task_release(ret) afterwards. started_ms and worker are those
 * of the latest attempt (worker is "" while the task waits). */
int store_get(struct store *s, const char *id, struct task *ret, struct err *err);

struct store_filter {
    unsigned states;   /* bit per enum task_state; 0: all */
    const char *type;  /* NULL: all */
    const char *queue; /* NULL: all */
    int64_t offset;
    int limit;
};

struct task_list {
    struct task *items;
    size_t count;
};

/* Newest first. The entries are without params and result (NULL): these may be large, and are
 * not even read. ret_total counts all that match, or is NULL; it comes from
 * what transactions keep (tally.h) and costs the same with a million tasks. */
int store_list(struct store *s, const struct store_filter *filter, struct task_list *ret,
               int64_t *ret_total, struct err *err);
void task_list_release(struct task_list *list);

/* Attempts of a task in order (at most limit, the latest); free() *ret. */
int store_attempts(struct store *s, const char *id, int limit, struct attempt **ret,
                   size_t *ret_count, struct err *err);

/* Events with seq > after, oldest first, at most limit; of one task, or of all when id is
 * NULL; free() *ret. With after = STORE_LATEST (then not of all) the last `limit`, oldest
 * first too. On MySQL transactions that commit at the same time may show their events
 * out of order: who follows all events should look again a little before the last seq. */
enum { STORE_LATEST = -1 };
int store_events(struct store *s, const char *id, int64_t after, int limit,
                 struct task_event **ret, size_t *ret_count, struct err *err);

struct store_counts {
    int64_t waiting, running; /* RECEIVED, PROCESSING; each at most `limit` */
    int64_t outbox;           /* rows due to be published; at most `limit` */
    int64_t outbox_oldest_ms; /* age of the oldest due outbox row, 0 without one */
};
/* No kind of row is counted beyond `limit`, so a larger backlog costs no more. */
int store_counts(struct store *s, int64_t limit, struct store_counts *ret, struct err *err);

/* -- attempts -- */

struct claim {
    const char *worker;
    const char *const *queues; /* with task_id NULL: take from these, each named once */
    size_t queue_count;
    const char *task_id; /* or claim just this task, whatever its queue */
    int limit;
    int64_t lease_ms;
    bool is_patient; /* that nothing waited a moment ago will do: it is asked again */
};

struct claimed {
    struct task task; /* PROCESSING, attempt raised; task_release it */
    char token[TOKEN_TEXT_MAX];
};

/* Takes up to limit due RECEIVED tasks, highest priority first, then oldest; each becomes
 * PROCESSING with a new attempt, token and lease. *ret_count may be 0. ret has room for
 * limit entries. Two claimers never get the same task and do not wait for each other. */
int store_claim(struct store *s, const struct claim *claim, struct claimed *ret,
                size_t *ret_count, struct err *err);

struct renewal {
    char task_id[ID_TEXT_MAX];
    char token[TOKEN_TEXT_MAX];
    double progress;       /* negative: leave as it is */
    bool ok;               /* out: lease renewed */
    enum task_state state; /* out, when not ok: what the task is now */
    bool exists;           /* out, when not ok: is there such a task */
};

/* Extends leases still held; a lease that ran out but was not yet reaped is renewed too. */
int store_renew(struct store *s, struct renewal *items, size_t count, int64_t lease_ms,
                struct err *err);

/* -- the one way a task changes state -- */

struct task_move {
    char id[ID_TEXT_MAX];
    char token[TOKEN_TEXT_MAX];   /* "" or: only while this attempt owns the task */
    int attempt;                  /* 0 or: only of the attempt of this number, which the token
                                   * is thought to be of */
    bool lease_expired;           /* only when the lease has run out (the reaper's guard) */
    enum task_state from, to;     /* must be legal by task_state_can_move */
    int64_t delay_ms;             /* to RECEIVED: run_at = now + delay */
    bool reset_attempts;          /* to RECEIVED by hand: the attempt budget starts anew, i.e.
                                   * max_attempts becomes the attempts already used plus the
                                   * max_attempts of the submit, and crashes are forgotten */
    enum attempt_outcome outcome; /* for the running attempt, when from is PROCESSING. A move
                                   * to RECEIVED with ATTEMPT_RELEASED adds 1 to max_attempts:
                                   * handing a task back costs none of its attempts */
    struct attempt_usage usage;
    struct task_error error; /* class ERROR_NONE: none. Kept on the task for FAILED and
                              * CANCELLED, and on the attempt. The crash of a FAILED attempt
                              * is counted on the task */
    struct artifact output;  /* for DONE; key "" for none */
    const char *result;      /* for DONE: JSON text or NULL */
    const char *actor;       /* for the event; cut to fit */
    const char *detail;      /* for the event; cut to fit; NULL for none */
};

enum move_outcome {
    MOVE_MADE,
    MOVE_REPEATED,      /* the token's attempt has already ended with this outcome: the
                         * answer for who reports again because the first answer was lost */
    MOVE_STALE,         /* the task is no longer as the guard says */
    MOVE_OTHER_ATTEMPT, /* the token is right, and of another attempt than `attempt` */
    MOVE_NOT_FOUND,
};

struct move_result {
    enum move_outcome outcome;
    enum task_state state;    /* now; undefined for MOVE_NOT_FOUND */
    char run_id[ID_TEXT_MAX]; /* of MOVE_MADE: the run that has to be told that its step's task
                               * ended; it is marked, see below. "" for all others */
};

/* All items in one transaction, each on its own guard. A move to RECEIVED writes an outbox
 * row, due when the task is, when `announce`. Leaving PROCESSING ends the attempt and clears
 * token and lease. A move that task_state_can_move forbids, or to PROCESSING (that is
 * store_claim's), is -E_BUG and nothing is done. */
int store_move(struct store *s, const struct task_move *items, size_t count, bool announce,
               struct move_result *ret, struct err *err);

struct expired {
    char id[ID_TEXT_MAX];
    char token[TOKEN_TEXT_MAX];
    char worker[TASK_WORKER_MAX];
    int attempt, max_attempts;
};

/* Tasks whose lease has run out, oldest first, at most limit; ret has room for them. */
int store_expired(struct store *s, struct expired *ret, size_t limit, size_t *ret_count,
                  struct err *err);

/* -- runs of pipelines --
 *
 * Every change of a run is a compare-and-set on its version, with its steps, events, the task
 * of the step that begins and the outbox row in the same transaction. A task that is a step and
 * comes to its end leaves a mark in the transaction of that move, and so does a run that is
 * told to end; whoever draws the conclusion (store_run_change) removes it. So a crash in
 * between leaves a mark, and no run is forgotten. */

struct run_step_change {
    int index;
    enum task_state state; /* RECEIVED: as if it had not begun; started_ms and finished_ms
                            * follow from it */
    const char *task_id;   /* PROCESSING: of the task; else NULL, and it stays */
    int tries;
    int attempts;                   /* of its task, once that has ended */
    const struct task_error *error; /* NULL: none */
    const char *params; /* PROCESSING: as shown; else NULL, and they stay (RECEIVED: go) */
    const char *output; /* of DONE; NULL: none */
};

struct run_change {
    char id[ID_TEXT_MAX];
    int64_t version; /* the guard */
    enum task_state from, to;
    bool is_cancelling;
    int at;
    const char *step;               /* the name of the step at `at`, "" for none */
    const struct task_error *error; /* NULL: none */
    const struct run_step_change *steps;
    size_t step_count;
    const struct submission
        *task;                  /* the task of the step that begins; key is not used; or NULL */
    bool leaves_mark;           /* told to end */
    const char *ended_task_id;  /* NULL, or the task whose mark goes */
    const char *actor, *detail; /* for the event; cut to fit; detail NULL for none */
    bool is_made;               /* out: false when the run is no longer at that version */
};

struct run_submission {
    const struct run *run;          /* id, name, definition, input, steps' names */
    const struct run_change *begin; /* its first step: steps, task, at, step */
    const char *client, *key;       /* as of a task; both kinds share the keys */
    char request_sha256[SHA256_TEXT_MAX];
};

/* One transaction: the run, its steps, its first event and the task of its first step. With a
 * key as store_submit; ret_id is the run's then. */
int store_run_add(struct store *s, const struct run_submission *item, bool announce,
                  struct submit_result *ret, struct err *err);

/* Was the key used before? As store_look_up. */
int store_run_look_up(struct store *s, const struct run_submission *item,
                      struct submit_result *ret, struct err *err);

/* E_NOT_FOUND when there is none. With its steps; run_release(ret) afterwards. */
int store_run_get(struct store *s, const char *id, struct run *ret, struct err *err);

struct run_filter {
    unsigned states;  /* bit per enum task_state; 0: all */
    const char *name; /* of the pipeline; NULL: all */
    int64_t offset;
    int limit;
};

struct run_list {
    struct run *items;
    size_t count;
};

/* Newest first, without definition, input and steps. ret_total counts all that match. */
int store_run_list(struct store *s, const struct run_filter *filter, struct run_list *ret,
                   int64_t *ret_total, struct err *err);
void run_list_release(struct run_list *list);

/* The last `limit` events of a run, oldest first; free() *ret. */
int store_run_events(struct store *s, const char *id, int limit, struct run_event **ret,
                     size_t *ret_count, struct err *err);

/* All items in one transaction, each on its own guard (is_made). */
int store_run_change(struct store *s, struct run_change *items, size_t count, bool announce,
                     struct err *err);

struct run_mark {
    char id[ID_TEXT_MAX]; /* of the task that ended, or of the run */
    char run_id[ID_TEXT_MAX];
};

/* Marks older than age_ms, at most limit; ret has room for them. */
int store_run_marks(struct store *s, int64_t age_ms, size_t limit, struct run_mark *ret,
                    size_t *ret_count, struct err *err);
/* Removes marks from which nothing followed. */
int store_run_unmark(struct store *s, const struct run_mark *items, size_t count,
                     struct err *err);

/* Removes up to `limit` runs that ended more than age_ms ago, with their steps and events. */
int store_run_purge(struct store *s, int64_t age_ms, size_t limit, int64_t *ret_removed,
                    struct err *err);

/* -- outbox -- */

struct outbox_row {
    int64_t seq;
    char task_id[ID_TEXT_MAX];
    char type[TASK_TYPE_MAX];
    char queue[TASK_QUEUE_MAX];
    int attempt; /* attempts begun when the row was written */
};

/* Takes due rows for hold_ms, so that several managers share the work; a row that is neither
 * done nor given up comes again after that. ret has room for limit. */
int store_outbox_take(struct store *s, size_t limit, int64_t hold_ms, struct outbox_row *ret,
                      size_t *ret_count, struct err *err);
/* Removes published rows. */
int store_outbox_done(struct store *s, const int64_t *seqs, size_t count, struct err *err);
/* Makes rows due again at once (their publish failed). */
int store_outbox_give_up(struct store *s, const int64_t *seqs, size_t count, struct err *err);

/* -- housekeeping -- */

/* How long ago the database was made, by its first migration: what is older than that is none
 * of its business. */
int store_age(struct store *s, int64_t *ret_ms, struct err *err);

/* Forgets idempotency keys older than ttl_ms, at most limit of them. */
int store_forget_keys(struct store *s, int64_t ttl_ms, int limit, int64_t *ret_removed,
                      struct err *err);

struct purged {
    char id[ID_TEXT_MAX];
    char input_key[ARTIFACT_KEY_MAX], output_key[ARTIFACT_KEY_MAX]; /* "" for none */
};

/* Removes up to `limit` tasks that ended more than age_ms ago, with their attempts and events,
 * and tells which; their files are the caller's business, afterwards. A task that somebody
 * retries at the same moment is either gone for him or stays. Idempotency keys are left to
 * their own age. Several managers may do this at once; claims do not wait for it longer than
 * for any other write. */
int store_purge(struct store *s, int64_t age_ms, size_t limit, struct purged *ret,
                size_t *ret_count, struct err *err);

struct key_use {
    char key[ARTIFACT_KEY_MAX]; /* valid */
    char task_id[ID_TEXT_MAX];  /* the task in whose folder the file lies; "" for none */
    /* out: */
    bool is_named;         /* the input or output of any task, or a string in the result of
                            * task_id: itself, or its folder with the '/' at the end */
    bool exists;           /* not asked, and false, when named: is there a task task_id, and */
    enum task_state state; /* what is it now */
    int attempt;
};

/* Who still needs these files? In few queries for many keys. */
int store_key_uses(struct store *s, struct key_use *items, size_t count, struct err *err);

#endif
