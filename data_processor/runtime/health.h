/* health.h - is this worker consuming? The judgement (pure), and how it is told: whoever
 * connects to a socket of the worker's gets one line, "ok: ..." or "no: ...", from its main
 * thread, so that a worker whose main thread hangs tells nothing. Private to this room. */
#ifndef RUNTIME_HEALTH_H
#define RUNTIME_HEALTH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"
#include "hints.h"

/* Times are monotonic. What lasts no longer than limit_ms is no reason for a "no". */
struct health {
    int64_t limit_ms;
    bool is_stopping;
    unsigned slots, busy;
    int64_t slot_ms;    /* when a slot's process was last ready for work or at it */
    int64_t claimed_ms; /* when a claim was last answered; 0: never */
    int64_t refused_ms; /* since when claims fail; 0: they do not */
    int64_t heard_ms;   /* when any call was last answered; 0: never */
    int64_t failing_ms; /* since when calls of some kind fail; 0: none does */
    int64_t back_by_ms; /* when the thread that claims meant to be through with its last step */
    enum hints_link link;
};

enum { HEALTH_TEXT_MAX = 256 };

/* Is it consuming? ret_text says how, or why not. */
bool health_judge(const struct health *h, int64_t now_ms, char ret_text[HEALTH_TEXT_MAX]);

/* Would a new process help? Only when this one gets nothing done for reasons of its own: no
 * slot has a process, or the thread that claims hangs. */
bool health_is_stuck(const struct health *h, int64_t now_ms);

/* -- the socket -- */

struct health_door {
    const char *path; /* the caller's */
    int fd;           /* to poll for POLLIN; -1: none */
    dev_t device;
    ino_t inode;
};

/* Listens at `path`; "": nowhere, and fd is -1. A socket that is there already gives way. */
int health_door_open(struct health_door *d, const char *path, struct err *err);
void health_door_close(struct health_door *d);

/* Tells everybody who waits. Never blocks. */
void health_door_answer(struct health_door *d, bool is_ok, const char *text);

#endif
