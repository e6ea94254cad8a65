/* slot.h - the parent's side of one slot: a long-lived child process that runs one attempt at
 * a time.
 *
 *   DOWN --slot_tick--> STARTING --ready line--> IDLE <--report line-- BUSY
 *     ^                    |                       `---slot_assign------^
 *     `---- slot_reap <----+------- the process died, from any state ----+
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
    void *arg;
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
    struct buf out; /* a work line on its way */
    size_t out_sent;
    enum death_cause cause;    /* why the process is being ended */
    int64_t kill_at_ms;        /* when SIGTERM will be followed by SIGKILL; 0: not */
    int64_t spawn_at_ms;       /* while DOWN */
    int64_t ready_by_ms;       /* while STARTING */
    int64_t carried_rss_bytes; /* what the process's peak memory began with, at most */
    unsigned failures;         /* deaths in a row without work */
    bool was_ready;            /* this process got as far as its ready line */
    int64_t cpu_before_ms;     /* of the attempts that this process has ended */

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

/* Starts the attempt on an IDLE slot. work stays the caller's and must outlive the attempt.
 * On failure the slot is still IDLE: -E_TOO_BIG, -E_NO_MEMORY. */
int slot_assign(struct slot *s, const struct work *work, void *attempt, int64_t now_ms,
                struct err *err);

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
