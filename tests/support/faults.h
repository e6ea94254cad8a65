/* faults.h - makes the nth call of a kind fail, in our code and in the libraries alike.
 *
 * A test program that links `faults` takes the place of malloc, write, fsync, open, connect and
 * so on for the whole process (the dynamic linker looks into the program first), so there is
 * one mechanism for everything. Nothing fails until a fault is armed. Any thread.
 *
 * faults_torture is how it is used: a scenario is run with the first call failing, then with
 * the second, ..., until it gets through without meeting the fault. */
#ifndef TESTS_FAULTS_H
#define TESTS_FAULTS_H

#include <stdbool.h>

#include "err.h"

enum fault {
    FAULT_MEMORY,  /* malloc and its kin: ENOMEM */
    FAULT_WRITE,   /* write, pwrite to a file, new folders: ENOSPC */
    FAULT_SYNC,    /* fsync, fdatasync: EIO */
    FAULT_RENAME,  /* rename, link and their kin: EIO */
    FAULT_CLOSE,   /* close, which closes all the same: EIO */
    FAULT_OPEN,    /* whatever makes a file descriptor but accept: EMFILE */
    FAULT_ACCEPT,  /* accept: EMFILE */
    FAULT_READ,    /* read, pread of a file, directories: EIO */
    FAULT_CONNECT, /* connect: ECONNREFUSED */
    FAULT_RECV,    /* recv and its kin: ECONNRESET */
    FAULT_SEND,    /* send and its kin: ECONNRESET */
    FAULT_THREAD,  /* pthread_create: EAGAIN */
    FAULT_SPAWN,   /* fork, posix_spawn: EAGAIN */
    FAULT__COUNT
};

#define FAULTS_OF_FILES                                                                        \
    (1U << FAULT_WRITE | 1U << FAULT_SYNC | 1U << FAULT_RENAME | 1U << FAULT_CLOSE |           \
     1U << FAULT_OPEN | 1U << FAULT_READ)
#define FAULTS_OF_LINKS                                                                        \
    (1U << FAULT_OPEN | 1U << FAULT_CONNECT | 1U << FAULT_RECV | 1U << FAULT_SEND)

enum fault_mode { FAULT_ONCE, FAULT_FROM_HERE };

const char *faults_name(enum fault fault); /* "memory" */

/* From now on the nth call of that kind fails (0: none, they are only counted). */
void faults_arm(enum fault fault, enum fault_mode mode, long nth);
/* No call fails any more. How many did. */
long faults_disarm(void);
/* A whole program linked with this is armed by SEGUE_FAULTS_ARM=kind:nth, for one call;
 * SEGUE_FAULTS_MARK names a file that is left when it fails, and while it is there none does.
 */

/* Calls of the armed kind since faults_arm. */
long faults_calls(void);

/* The calling thread's calls neither fail nor count: the test's own side of a socket. */
void faults_spare_thread(bool spare);
/* Nor do calls of that kind that come straight from a library whose file name begins so
 * ("libfoo."): for one that cannot survive the fault by itself. A few at most. */
void faults_spare_library(const char *prefix, enum fault fault);

/* What must be the same before and after. */
long faults_live_allocations(void);
int faults_open_files(void);

/* Where a test that writes files some thousand times does so: memory, when there is some. */
const char *faults_temp_dir(void);

struct faults_scenario {
    const char *name;
    /* Does everything from opening to closing; 0, or a negative code with a sentence. */
    int (*run)(void *arg, struct err *err);
    /* After each run, without faults: is what is left whole, and does it work again? May be
     * NULL. */
    void (*check)(void *arg, int rc);
    void *arg;
    bool once_only; /* it would wait for ever for what fails from some call on */
    bool settles;   /* threads or links may free a little later: live counts are waited for */
    unsigned limit; /* of runs per kind and mode; 0: 60 */
};

/* Runs the scenario for each kind in `faults` (bits 1 << FAULT_...) and both modes, and fails
 * the cmocka test at the first broken promise: a crash or a run of more than two minutes, a
 * failure without a sentence or with a code that blames the caller, a leak (blocks or
 * descriptors in use that grow each time the same call fails: libraries keep some for good), or
 * what check finds. Where there are more calls than the limit, some are chosen with a fixed
 * seed; SEGUE_FAULTS_ALL=1 tries them all, SEGUE_FAULTS_AT=kind:once|on:number just that one.
 */
void faults_torture(const struct faults_scenario *scenario, unsigned faults);

#endif
