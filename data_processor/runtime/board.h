/* board.h - every attempt this worker holds, shared by its five threads.
 *
 *   source: board_add ---> WAITING --board_take--> RUNNING --board_end--> ENDED --> reporter:
 *                             |                     |   `- board_abandon -^  ^    board_forget
 *                             |                     `-board_end-> WRITTEN ---'
 *                             `--> dropped by board_take when lost     board_durable: syncer
 *
 * An attempt with an output goes by way of WRITTEN: the disk has it before anybody is told, and
 * a disk that is slow or hangs holds up no report without one.
 *
 * An attempt is held from the claim's answer until its report has been answered; all that
 * time it is in the heartbeats. WAITING and RUNNING attempts are lost when a heartbeat says
 * so or when none has got through for six leases (by our monotonic clock): then the main
 * thread ends the process and abandons the attempt. A WRITTEN or ENDED one is reported anyway;
 * its token decides.
 *
 * Functions are grouped by the thread that calls them; each locks. A `struct held` belongs to
 * the main thread while RUNNING, to the syncer while WRITTEN and to the reporter once ENDED;
 * `work` never changes. */
#ifndef RUNTIME_BOARD_H
#define RUNTIME_BOARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "worker_protocol.h"

enum held_phase { HELD_WAITING, HELD_RUNNING, HELD_WRITTEN, HELD_ENDED, HELD__COUNT };

struct held {
    struct held *next, *before; /* of its phase's list */
    struct work work;
    enum held_phase phase;
    double progress;    /* negative: not known */
    int64_t renewed_ms; /* monotonic, as all times here */
    int64_t lease_ms;
    bool lost;
    bool abandoned;       /* ENDED without a report */
    struct report report; /* of WRITTEN and ENDED */
    bool refused;         /* the reporter's: the report before this one was refused */
};

struct held_list {
    struct held *first, *last;
    unsigned count;
};

struct board {
    pthread_mutex_t lock;
    pthread_cond_t due;                  /* for the heartbeat, and for sleepers */
    pthread_cond_t written, ended;       /* for the syncer and the reporter */
    struct held_list lists[HELD__COUNT]; /* one a phase, each in the order of arrival there */
    int64_t beat_at_ms; /* until when the heartbeat waits; INT64_MIN: it does not */
    int64_t heartbeat_ms, batch_wait_ms;
    unsigned idle_slots, behind, ahead; /* as board_offer said */
    int main_fd, source_fd;             /* eventfds: readable when there is something new */
    bool source_ended;
    atomic_bool has_lost; /* since the main thread last asked */
    atomic_bool claims_stopped, quit;
};

enum { BOARD_REPORTS_MAX = 2 * WORKER_BATCH_MAX };

/* heartbeat_ms: between renewals, but at least three in a lease. */
int board_open(struct board *b, int64_t heartbeat_ms, struct err *err);
void board_close(struct board *b); /* after the other threads have ended */

/* -- main thread -- */

/* Tells how many slots wait for work, how many attempts wait in slots behind others, and how
 * many may wait there and here. How many wait here. */
unsigned board_offer(struct board *b, unsigned idle_slots, unsigned behind, unsigned ahead);
/* The oldest WAITING attempt, now RUNNING; NULL without one. Drops those that were lost. */
struct held *board_take(struct board *b, int64_t now_ms);
/* The attempt has not begun after all: WAITING again, before all others. */
void board_put_back(struct board *b, struct held *h);
void board_progress(struct board *b, struct held *h, double fraction);
/* Once true, it stays so. */
bool board_is_lost(struct board *b, struct held *h, int64_t now_ms);
/* Has a heartbeat told since the last call that an attempt is lost? */
bool board_lost_some(struct board *b);
/* When the first RUNNING attempt will be lost unless renewed; INT64_MAX: none. */
int64_t board_next_loss_ms(struct board *b);
/* Hands the attempt and its report (moved) to the reporter, or first to the syncer. */
void board_end(struct board *b, struct held *h, struct report *report_take);
/* The attempt was lost: what it has written is the reporter's to remove. */
void board_abandon(struct board *b, struct held *h);
/* Nothing is held, and nothing will be: the source has ended. */
bool board_is_settled(struct board *b);
/* No more claims; a long poll in flight ends. */
void board_stop_claims(struct board *b);
/* The other threads end as soon as they can. */
void board_quit(struct board *b);

/* -- source -- */

/* Attempts that can be claimed now: a slot is free for each, or they may wait for one. While no
 * slot is free that is 0 until half of those that may wait have gone, so that claims stay few.
 */
int board_room(struct board *b);
/* Takes over work's contents, also on failure. The lease counts from now_ms. */
int board_add(struct board *b, struct work *work_take, int64_t now_ms, struct err *err);
/* The same for an attempt that cannot be run: it is ENDED from the start. */
int board_add_ended(struct board *b, struct work *work_take, struct report *report_take,
                    int64_t now_ms, struct err *err);

/* The last thing the source does. */
void board_end_source(struct board *b);

/* -- heartbeat -- */

/* Waits until a renewal is due (see board_open), but not before not_before_ms, and lists all
 * attempts that are not lost. *ret: free(). -E_CANCELLED when quitting. */
int board_wait_due(struct board *b, int64_t not_before_ms, struct heartbeat **ret,
                   size_t *ret_count, struct err *err);
/* No pause between heartbeats should be longer. */
int64_t board_pause_max_ms(struct board *b);
/* What the manager said to the heartbeat `asked`, sent at sent_ms. */
void board_renewed(struct board *b, const struct heartbeat *asked,
                   const struct heartbeat_verdict *verdict, int64_t sent_ms);

/* -- syncer -- */

/* Waits for WRITTEN attempts and lists up to max, oldest first; 0 when quitting. */
size_t board_wait_written(struct board *b, struct held **ret, size_t max);
/* The output is there to stay, or the report says that it is lost: ENDED. */
void board_durable(struct board *b, struct held *h);

/* -- reporter -- */

/* Waits for ENDED attempts and lists up to max, oldest first; 0 when quitting. While more short
 * work waits for slots, it waits a little (pace.h) for a full batch. */
size_t board_wait_ended(struct board *b, struct held **ret, size_t max);
void board_forget(struct board *b, struct held *h);

/* -- any -- */

/* Sleeps; wakes early when quitting. */
void board_sleep(struct board *b, int64_t ms);

#endif
