/* sim.h - the world of the simulation: real service rules and hints, driven one step at a
 * time by a seeded scheduler, on a store, a broker and an object store in memory.
 *
 * Single-threaded. Concurrency is nesting: at every call of the store or the broker other
 * actors may take whole steps before it goes on, as if they ran in between on threads of
 * their own. Time is virtual, and all chance comes from the seed (clock and random numbers
 * of the real code are replaced by the linker), so a seed is a schedule.
 *
 * A manager that is killed in the middle of a call goes on with that call, but nothing it
 * does has an effect any more, and nobody hears its answer. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include "broker_impl.h"
#include "hints.h"
#include "model_store.h"
#include "objstore_ops.h"
#include "service_internal.h"

enum {
    MANAGERS = 2,
    WORKERS = 3,
    SLOTS = 2,
    HELD = 6, /* attempts a worker may hold */
    CLIENTS = 6,
    KEYS = 2,  /* Idempotency-Keys in use */
    LATE = 6,  /* requests still on their way */
    DEPTH = 3, /* nested steps */
    FRAMES = 32,
    TASKS = 32,
    ATTEMPTS = 40,
    MESSAGES = 128,
    ROWS = 2048, /* outbox rows of a schedule */
    OBJECTS = 128,
    LEASE_MS = 1000,
};

struct sim;

/* -- the broker -- */

struct message {
    int64_t seq;
    int queue, holder; /* holder -1: ready */
    uint64_t tag;
};

struct consumer {
    bool is_consuming;
    int prefetch;
};

struct model_broker {
    bool is_up;
    bool known[2]; /* queues somebody has consumed from */
    struct message messages[MESSAGES];
    size_t count;
    uint64_t tag; /* of the last delivery */
    struct consumer consumers[WORKERS];
    bool confirmed[ROWS];
};

extern const char *const queue_names[2];

/* -- managers -- */

/* A manager process from its start to its end. */
struct life {
    struct life *next;
    struct sim *sim;
    int number;
    bool is_dead;
    int calls; /* under way, nested ones too */
    struct model_conn conn;
    struct broker publisher;
    bool is_connected; /* the publisher */
    struct service *service;
    struct reaper reaper;
    struct relay *relay;
    bool reaper_busy, relay_busy, hub_busy, house_busy;
    int64_t reaper_at;
};

struct manager {
    struct life *life; /* NULL: down */
};

/* -- workers -- */

struct held {
    struct work work; /* params released */
    bool ended, lost, refused;
    int64_t renewed_ms;
    struct report report; /* when ended */
};

/* A claim on its way; the worker's and the manager's, freed when both are done. */
struct poll {
    int refs;
    struct life *life;
    struct sim *sim;
    int worker, asked;
    unsigned birth;  /* of the worker */
    bool is_waiting; /* the worker still listens */
    bool is_answered;
    int64_t until_ms;
    int rc;
    struct work items[SLOTS];
    size_t count;
};

struct worker {
    char name[8];
    bool is_alive, is_stopping;
    unsigned birth; /* which process of that name */
    int64_t paused_until;
    struct held held[HELD];
    int held_count;
    struct hints hints;
    uint64_t tags[MESSAGES];
    struct poll *poll, *aside; /* the second while the first waits, */
    int spare;                 /* for so many at most */
    bool heartbeat_busy, reporter_busy, source_busy;
};

/* -- clients -- */

struct client {
    int key, variant; /* key -1: none */
    int queue, max_attempts;
    int64_t run_at_ms;
    enum { CLIENT_SUBMITS, CLIENT_HAS_ID, CLIENT_ENDED } state;
    int tries;
    bool busy;
    char id[ID_TEXT_MAX];
};

/* A report that travels on although its sender has given up on it, or has doubled it. */
struct late {
    bool used;
    char worker[8];
    struct report report;
};

/* -- the checker (check.c) -- */

struct truth_attempt {
    char token[TOKEN_TEXT_MAX];
    enum attempt_outcome outcome;
    bool was_recorded; /* a report was told so */
};

struct truth {
    char id[ID_TEXT_MAX];
    int state, attempt, max_attempts, budget;
    int ends, retries;
    bool accepted;
    int64_t row; /* its latest outbox row */
    struct truth_attempt attempts[ATTEMPTS];
};

/* A call under way that may change a task. */
struct frame {
    enum { FRAME_REPORT, FRAME_CHANGE } kind;
    const struct report *reports;
    size_t count;
    const char *id;
};

struct object {
    char key[ARTIFACT_KEY_MAX];
    uint64_t size;
    int64_t made_ms;
};

struct sim {
    uint64_t seed, chance, hash;
    int64_t now, began;
    bool tell;    /* print the trace */
    bool healed;  /* no faults, no other steps in between */
    int faults;   /* per 1000 calls */
    int meddling; /* per 1000 calls: another's step in between */
    int depth, steps;
    int64_t db_down_until, broker_down_until;
    struct config config;
    struct model_db db;
    struct model_broker broker;
    struct objstore objects;
    struct object object[OBJECTS];
    size_t object_count;
    struct manager managers[MANAGERS];
    struct life *lives; /* all, dead ones too */
    struct worker workers[WORKERS];
    struct client clients[CLIENTS];
    struct late late[LATE];
    struct truth truth[TASKS];
    size_t truth_count;
    char key_id[KEYS][ID_TEXT_MAX];
    int key_variant[KEYS];
    struct frame frames[FRAMES];
    int frame_count;
    uint64_t ids;
    char violation[256]; /* "": none */
};

extern struct sim the_sim; /* what clock and random numbers are taken from */

/* -- chance and trace (sim.c) -- */

uint64_t sim_random(struct sim *s);
int sim_below(struct sim *s, int n);            /* 0 to n - 1 */
bool sim_happens(struct sim *s, int per_mille); /* never when healed */
void sim_meddle(struct sim *s);                 /* perhaps somebody else's step */
void sim_step(struct sim *s);
/* One line of the trace. */
void sim_say(struct sim *s, const char *what, const char *who, int number, int detail);
void sim_break(struct sim *s, const char *rule, const char *what, int number);
int sim_task(struct sim *s, const char *id); /* its number; -1 */

/* -- parts -- */

void broker_reset(struct model_broker *b);
void publisher_open(struct life *l);
int consumer_start(struct sim *s, int worker, int prefetch);
void consumer_lose(struct sim *s, int worker); /* its deliveries are ready again */
bool consumer_next(struct sim *s, int worker, uint64_t *ret_tag);
void consumer_ack(struct sim *s, int worker, uint64_t tag);
void broker_lose_some(struct sim *s);

void objects_open(struct sim *s);
bool objects_have(const struct sim *s, const char *key);
void objects_put(struct sim *s, const char *key, uint64_t size);

extern const struct model_watch sim_watch;

void manager_start(struct sim *s, int number);
void manager_kill(struct sim *s, int number);
void manager_step(struct sim *s, int number);
/* Somebody who answers, or NULL: nobody does, or the request was lost. To be left again. */
struct life *manager_enter(struct sim *s);
/* Leaves; true when the answer arrives. */
bool manager_leave(struct life *l);
void managers_end(struct sim *s);

void worker_start(struct sim *s, int number);
void worker_kill(struct sim *s, int number);
void worker_step(struct sim *s, int number);
void late_step(struct sim *s);
void workers_end(struct sim *s);
bool worker_is_idle(const struct worker *w);

void clients_begin(struct sim *s);
void client_step(struct sim *s, int number);

void check_begin(struct sim *s);
void check_changed(struct sim *s, const struct model_change *change);
void check_published(struct sim *s, const char *id); /* more text may follow the id */
void check_unannounced(struct sim *s, int64_t seq);
void check_accepted(struct sim *s, const struct client *c, const struct submit_result *r);
void check_mismatch(struct sim *s, const struct client *c);
void check_verdicts(struct sim *s, const struct report *reports, size_t count,
                    const struct report_verdict *verdicts);
void check_renewed(struct sim *s, const char *id, const char *token);
void check_lost(struct sim *s, const struct heartbeat *asked); /* so it was told */
void check_removed(struct sim *s, const char *key);
void check_hints(struct sim *s, const struct hints *h, const struct hints_plan *plan);
void check_step(struct sim *s);
bool check_is_over(struct sim *s);
void check_end(struct sim *s);
void check_enter(struct sim *s, struct frame frame);
void check_leave(struct sim *s);

#endif
