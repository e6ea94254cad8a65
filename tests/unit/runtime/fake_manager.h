/* fake_manager.h - the three worker calls of a task manager, on a real socket, with a memory
 * of what was said. It does what a test sets; it is no store.
 *
 * Everything is safe from any thread. Waits give up after 30 s with false. */
#ifndef TESTS_FAKE_MANAGER_H
#define TESTS_FAKE_MANAGER_H

#include <pthread.h>
#include <stdbool.h>

#include "worker_protocol.h"

enum { FAKE_MAX = 192, FAKE_CONNECTIONS = 256 };

struct fake_manager {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    pthread_t acceptor;
    pthread_t servers[FAKE_CONNECTIONS];
    int fds[FAKE_CONNECTIONS];
    int connections, listen_fd;
    bool stopping;
    unsigned short port;
    char url[64];

    /* What a test may set (under lock, or before the worker starts). */
    int64_t lease_ms;
    bool lose_all;        /* heartbeats: not held */
    bool fail_heartbeats; /* 503 */
    int fail_reports;     /* that many calls get 503 */
    int refused_reports;  /* that many calls get 413 */
    int stale_reports;    /* that many calls get 409 and verdicts that say so */
    int refuse_verdicts;  /* that many calls get verdicts that refuse the report */
    int lost_reports;     /* that many calls get lost_status and nothing that makes sense */
    int lost_status;
    bool generous;             /* gives away more than was asked for */
    bool deaf_polls;           /* claims that wait do not hear of new work */
    bool hang_claims;          /* no answer until the manager stops */
    bool garble_claims;        /* 200 and nothing that makes sense */
    const char *claim_element; /* put into the next claim's answer once, after the works */
    int refuse_status;         /* of every call; 0: none */

    /* What happened. */
    struct work works[FAKE_MAX];
    int offered, claimed;
    struct report reports[FAKE_MAX];
    int report_count, report_calls, heartbeats, claims;
    double progress;
};

void fake_manager_init(struct fake_manager *m);
void fake_manager_release(struct fake_manager *m);
/* Listens on its port (a free one the first time); stop hangs up on everybody. */
void fake_manager_start(struct fake_manager *m);
void fake_manager_stop(struct fake_manager *m);

/* A task to be claimed; its index. */
int fake_manager_offer(struct fake_manager *m, const char *params, int64_t timeout_ms);

bool fake_manager_wait_reports(struct fake_manager *m, int count);
bool fake_manager_wait_claims(struct fake_manager *m, int count); /* in all */
bool fake_manager_wait_heartbeats(struct fake_manager *m, int more);
/* The highest that a heartbeat told. */
double fake_manager_progress(struct fake_manager *m);
/* The report about the index-th task; NULL when there is none. */
const struct report *fake_manager_report(struct fake_manager *m, int index);

#endif
