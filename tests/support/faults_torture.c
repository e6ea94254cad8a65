/* faults_torture.c - the loop: fail the first call, the second, ..., until the run succeeds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "faults.h"

enum { RUNS = 60, RUN_S = 120, SETTLE_TRIES = 60, REPEATS = 40, WARM = 2 };

struct round {
    const struct faults_scenario *s;
    enum fault fault;
    enum fault_mode mode;
    long nth;
    long live;
    int files;
};

/* --- where it was, should the program die of it --- */

static const int deadly[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGALRM};
static struct sigaction before[sizeof deadly / sizeof deadly[0]];
static char where[160];

static void last_words(int number)
{
    if (write(STDERR_FILENO, where, strlen(where)) < 0)
        where[0] = '\0';
    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++) {
        if (deadly[i] == number)
            sigaction(number, &before[i], NULL);
    }
    raise(number);
}

static void listen_for_signals(bool on)
{
    struct sigaction act = {.sa_handler = last_words, .sa_flags = SA_NODEFER};

    for (size_t i = 0; i < sizeof deadly / sizeof deadly[0]; i++)
        sigaction(deadly[i], on ? &act : &before[i], on ? &before[i] : NULL);
}

/* --- one run --- */

static void short_nap(void)
{
    const struct timespec t = {0, 5000000};

    nanosleep(&t, NULL);
}

static _Noreturn void broken(const struct round *r, const char *what, long a, long b)
{
    fail_msg("%s: %s call %ld %s: %s (%ld, %ld)", r->s->name, faults_name(r->fault), r->nth,
             r->mode == FAULT_ONCE ? "fails once" : "and all after it fail", what, a, b);
    abort();
}

static int run_once(const struct round *r, long *ret_struck)
{
    struct err err = ERR_INIT;

    snprintf(where, sizeof where, "%s: died or hung at %s:%s:%ld\n", r->s->name,
             faults_name(r->fault), r->mode == FAULT_ONCE ? "once" : "on", r->nth);
    alarm(RUN_S); /* a hang ends the program */
    faults_arm(r->fault, r->mode, r->nth);
    int rc = r->s->run(r->s->arg, &err);
    *ret_struck = faults_disarm();
    if (rc > 0 || (rc < 0 && (err.text[0] == '\0' || err.code != rc)))
        broken(r, "a failure without a sentence", rc, err.code);
    if (rc < 0 && (err_class_of(rc) == ERR_CALLER || err_class_of(rc) == ERR_BUG))
        fail_msg("%s: %s:%s:%ld is blamed on the caller: %s: %s", r->s->name,
                 faults_name(r->fault), r->mode == FAULT_ONCE ? "once" : "on", r->nth,
                 err_name(rc), err.text);
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
    return faults_live_allocations() <= r->live && faults_open_files() <= r->files;
}

/* Waits until as many blocks and files are in use as before; false when that does not come. */
static bool settle(const struct round *r)
{
    for (int i = 0; r->s->settles && i < SETTLE_TRIES && !is_back(r); i++)
        short_nap();
    return is_back(r);
}

/* What is in use when all is quiet. */
static void take_stock(struct round *r)
{
    r->live = faults_live_allocations();
    r->files = faults_open_files();
    for (int i = 0; r->s->settles && i < SETTLE_TRIES / 4; i++) {
        short_nap();
        long live = faults_live_allocations();
        int files = faults_open_files();
        r->live = live < r->live ? live : r->live;
        r->files = files < r->files ? files : r->files;
    }
}

/* Does what is in use grow each time that this call fails? */
static void look_for_leaks(struct round *r)
{
    long live = r->live, struck;
    int files = r->files;

    for (int i = 0; i < REPEATS && !settle(r); i++) {
        r->live = faults_live_allocations();
        r->files = faults_open_files();
        run_once(r, &struck);
    }
    if (is_back(r))
        return;
    if (faults_open_files() > r->files)
        broken(r, "a leak, descriptors before and after", files, faults_open_files());
    broken(r, "a leak, blocks before and after", live, faults_live_allocations());
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

static void torture_one(struct round *r, long only)
{
    long struck = 0, calls, limit = r->s->limit ? (long)r->s->limit : RUNS;
    unsigned seed = 4711, runs = 0, failures = 0;

    r->nth = 0;
    for (int i = 0; i < WARM; i++) { /* what libraries keep for good, they have after this */
        run_once(r, &struck);
        take_stock(r);
    }
    calls = faults_calls();
    if (only > 0)
        limit = calls = 1;
    for (r->nth = only > 0 ? only : 1;; r->nth = step(&seed, r->nth, calls, limit)) {
        int rc = run_once(r, &struck);
        if (struck == 0)
            break;
        runs++;
        failures += rc != 0;
        look_for_leaks(r);
        if (only > 0)
            break;
    }
    printf("%s: %s %s: %u of about %ld calls failed, %u times the run did\n", r->s->name,
           faults_name(r->fault), r->mode == FAULT_ONCE ? "once" : "from there on", runs, calls,
           failures);
    fflush(stdout);
}

void faults_torture(const struct faults_scenario *scenario, unsigned faults)
{
    const char *at = getenv("SEGUE_FAULTS_AT");
    struct round r = {.s = scenario};
    char kind[16] = "", mode_name[16] = "";
    long only = 0;

    if (at && sscanf(at, "%15[^:]:%15[^:]:%ld", kind, mode_name, &only) != 3)
        fail_msg("SEGUE_FAULTS_AT is not kind:once|on:number");
    listen_for_signals(true);
    for (int fault = 0; fault < FAULT__COUNT; fault++) {
        for (int mode = FAULT_ONCE; mode <= FAULT_FROM_HERE; mode++) {
            bool asked = strcmp(kind, faults_name((enum fault)fault)) == 0 &&
                         strcmp(mode_name, mode == FAULT_ONCE ? "once" : "on") == 0;
            r.fault = (enum fault)fault;
            r.mode = (enum fault_mode)mode;
            if (mode == FAULT_FROM_HERE && scenario->once_only)
                continue;
            if ((faults & (1U << fault)) && (!at || asked))
                torture_one(&r, only);
        }
    }
    listen_for_signals(false);
}
