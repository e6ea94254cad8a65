/* faults_torture.c - the loop: fail the first call, the second, ..., until the run succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

enum { RUNS = 60, RUN_S = 120, SETTLE_TRIES = 400, REPEATS = 40, WARM = 2 };

static const char *const names[FAULT__COUNT] = {
    [FAULT_MEMORY] = "memory", [FAULT_WRITE] = "write",     [FAULT_SYNC] = "sync",
    [FAULT_RENAME] = "rename", [FAULT_CLOSE] = "close",     [FAULT_OPEN] = "open",
    [FAULT_READ] = "read",     [FAULT_CONNECT] = "connect", [FAULT_RECV] = "recv",
    [FAULT_SEND] = "send",     [FAULT_THREAD] = "thread",   [FAULT_SPAWN] = "spawn",
};

struct round {
    const struct faults_scenario *s;
    enum fault fault;
    enum fault_mode mode;
    long nth;
    long live;
    int files;
};

static void short_nap(void)
{
    const struct timespec t = {0, 5000000};

    nanosleep(&t, NULL);
}

static _Noreturn void broken(const struct round *r, const char *what, long a, long b)
{
    fail_msg("%s: %s call %ld %s: %s (%ld, %ld)", r->s->name, names[r->fault], r->nth,
             r->mode == FAULT_ONCE ? "fails once" : "and all after it fail", what, a, b);
    abort();
}

static int run_once(const struct round *r, long *ret_struck)
{
    struct err err = ERR_INIT;

    alarm(RUN_S); /* a hang ends the program */
    faults_arm(r->fault, r->mode, r->nth);
    int rc = r->s->run(r->s->arg, &err);
    *ret_struck = faults_disarm();
    if (rc > 0 || (rc < 0 && (err.text[0] == '\0' || err.code != rc)))
        broken(r, "a failure without a sentence", rc, err.code);
    if (rc < 0 && *ret_struck == 0)
        fail_msg("%s: fails without a fault: %s", r->s->name, err.text);
    if (r->s->check)
        r->s->check(r->s->arg, rc);
    alarm(0);
    return rc;
}

const char *faults_temp_dir(void)
{
    return access("/dev/shm", W_OK | X_OK) == 0 ? "/dev/shm" : "/tmp";
}

static bool is_back(const struct round *r)
{
    return faults_live_allocations() <= r->live && faults_open_files() == r->files;
}

/* Waits until as many blocks and files are in use as before; false when that does not come. */
static bool settle(const struct round *r)
{
    for (int i = 0; r->s->settles && i < SETTLE_TRIES && !is_back(r); i++)
        short_nap();
    return is_back(r);
}

/* Does memory in use grow each time that this call fails? */
static void look_for_leaks(struct round *r)
{
    long before = r->live, struck;

    for (int i = 0; i < REPEATS && !settle(r); i++) {
        int files = faults_open_files();
        if (files != r->files)
            broken(r, "descriptors before and after", r->files, files);
        r->live = faults_live_allocations();
        run_once(r, &struck);
    }
    if (!is_back(r))
        broken(r, "a leak, blocks before and after", before, faults_live_allocations());
}

/* The calls to fail: all, or `limit` of them, the first ones among them. */
static long step(unsigned *seed, long nth, long calls, long limit)
{
    if (calls <= limit || getenv("SEGUE_FAULTS_ALL"))
        return nth + 1;
    long stride = calls / limit + 1;

    *seed = *seed * 1103515245U + 12345U;
    return nth < limit / 4 ? nth + 1 : nth + 1 + (long)(*seed >> 16) % (2 * stride);
}

static void torture_one(struct round *r)
{
    long struck = 0, calls, limit = r->s->limit ? (long)r->s->limit : RUNS;
    unsigned seed = 4711, runs = 0, failures = 0;

    r->nth = 0;
    for (int i = 0; i < WARM; i++) { /* what libraries keep for good, they have after this */
        run_once(r, &struck);
        r->live = faults_live_allocations();
        r->files = faults_open_files();
    }
    calls = faults_calls();
    for (r->nth = 1;; r->nth = step(&seed, r->nth, calls, limit)) {
        int rc = run_once(r, &struck);
        if (struck == 0)
            break;
        runs++;
        failures += rc != 0;
        look_for_leaks(r);
    }
    printf("%s: %s %s: %u of about %ld calls failed, %u times the run did\n", r->s->name,
           names[r->fault], r->mode == FAULT_ONCE ? "once" : "from there on", runs, calls,
           failures);
    fflush(stdout);
}

void faults_torture(const struct faults_scenario *scenario, unsigned faults)
{
    struct round r = {.s = scenario};

    for (int fault = 0; fault < FAULT__COUNT; fault++) {
        for (int mode = FAULT_ONCE; mode <= FAULT_FROM_HERE; mode++) {
            r.fault = (enum fault)fault;
            r.mode = (enum fault_mode)mode;
            if (faults & (1U << fault))
                torture_one(&r);
        }
    }
}
