/* slot.h - the parent's side of one slot: a long-lived child process that runs one attempt at
 * a time.
 *
 *   DOWN --slot_tick--> STARTING --ready line--> IDLE <--report line-- BUSY
 *     ^                    |                       `---slot_assign------^
 *     `---- slot_reap <----+------- the process died, from any state ----+
 *
 * A BUSY slot may be handed further attempts, which it begins one after the other, so that
 * short ones cost neither side a wait for the other. The one under way is the slot's `work`;
 * those behind it have not begun, cannot crash, and can be taken back (tickets.h).
 *
 * The child speaks lines on a socketpair and sits in a process group of its own, which is
 * killed as a whole whenever the child dies. What left the group the child's own keeper ends
 * (keeper.c), or, when that was killed, whoever adopts strays (strays.h). A process that dies
 * without having had work, or is not ready in time, is started again after a back-off.
 *
 * Everything here belongs to the main thread and never blocks. */
#ifndef RUNTIME_SLOT_H
#define RUNTIME_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "death.h"
#include "lines.h"
#include "runtime.h"
#include "tickets.h"

enum slot_state { SLOT_DOWN, SLOT_STARTING, SLOT_IDLE, SLOT_BUSY };

struct slot;
struct job_progress;

struct slot_events {
    void (*progress)(void *arg, struct slot *s, const struct job_progress *p);
    /* The attempt is over; the report is the callee's to take (zero it) or is released after
     * the call. NULL: it was lost, nobody wants a report. s->attempt is still set. */
    void (*ended)(void *arg, struct slot *s, struct report *report);
    /* The process died; `how` as from death_describe. Called before `ended`. */
    void (*died)(void *arg, struct slot *s, const struct death *d);
    /* The attempt was behind the one under way and will not be begun. The last comes first. */
    void (*returned)(void *arg, struct slot *s, void *attempt);
    void *arg;
};

enum { SLOT_AHEAD_MAX = 16 };

struct slot_item {
    const struct work *work;
    void *attempt; /* the caller's */
    uint64_t number;
};

struct slot {
    const struct runtime_options *options;
    const struct slot_events *events;
    int64_t stop_asked_ms; /* when the worker was asked to stop; 0: not */
    unsigned index;
    enum slot_state state;
    pid_t pid; /* 0: none */
    int fd;    /* -1: none */
    struct lines in;
    struct buf out; /* work lines on their way */
    size_t out_sent;
    enum death_cause cause;    /* why the process is being ended */
    int64_t kill_at_ms;        /* when SIGTERM will be followed by SIGKILL; 0: not */
    int64_t spawn_at_ms;       /* while DOWN */
    int64_t ready_by_ms;       /* while STARTING */
    int64_t carried_rss_bytes; /* what the process's peak memory began with, at most */
    unsigned failures;         /* deaths in a row without work */
    bool was_ready;            /* this process got as far as its ready line */
    int64_t cpu_before_ms;     /* of the attempts that this process has ended */
    struct tickets *tickets;   /* of this process; NULL: it is handed nothing ahead */
    uint64_t lines;            /* that this process was sent */
    unsigned skips;            /* lines taken back that it has yet to come by */
    struct slot_item ahead[SLOT_AHEAD_MAX]; /* while BUSY: those behind, the next one first */
    unsigned ahead_count;
    uint64_t number; /* of the one under way if it was handed ahead, else 0 */

    /* While BUSY. */
    const struct work *work;
    void *attempt; /* the caller's */
    int64_t started_ms, deadline_ms;
    int64_t judge_at_ms; /* it died of a signal that may have been meant for the worker */
};

void slot_init(struct slot *s, unsigned index, const struct runtime_options *options,
               const struct slot_events *events);
/* Kills what runs, waits for it, and closes. */
void slot_release(struct slot *s);

/* How many attempts the slot can be handed now: those it begins at once, and those behind. */
unsigned slot_room(const struct slot *s);

/* Hands the attempt over to a slot with room. work stays the caller's and must outlive the
 * attempt. On failure nothing has changed: -E_TOO_BIG, -E_NO_MEMORY. It may be on its way only
 * with slot_flush, which is due after one or several of these. */
int slot_assign(struct slot *s, const struct work *work, void *attempt, int64_t now_ms,
                struct err *err);

void slot_flush(struct slot *s);

/* Returns all that has not begun. */
void slot_take_back(struct slot *s);

/* What to poll the fd for; 0 when there is none to poll. */
short slot_poll_events(const struct slot *s);
void slot_handle(struct slot *s, short revents, int64_t now_ms);

/* Deadlines, second kills, respawns. */
void slot_tick(struct slot *s, int64_t now_ms);
int64_t slot_next_tick_ms(const struct slot *s); /* INT64_MAX: none */

/* A signal to stop often goes to every process at once (a terminal, systemd): a job that dies
 * of SIGTERM or SIGINT within this time before or after the worker was asked to stop is handed
 * back; it did not crash. */
enum { SLOT_STOP_WINDOW_MS = 1000, SLOT_READY_MS = 30000 };

/* After SIGCHLD: if the process died, takes what it had still said, ends its group, tells. */
void slot_reap(struct slot *s, int64_t now_ms);

/* Ends the process: SIGTERM to its group, SIGKILL after the grace (at once when it is 0). The
 * first cause stands, but for DEATH_LOST, which nothing outweighs. */
void slot_end(struct slot *s, enum death_cause cause, int64_t grace_ms, int64_t now_ms);

#endif
