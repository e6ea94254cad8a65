/* keeper.c - the process between a worker and a job's: it runs no job, and nothing that one
 * started outlives it.
 *
 *   worker ----> keeper ----> job's process ----> what the job starts
 *                (subreaper)  (subreaper)
 *
 * It ends as the job's process ends, so that the worker sees one process die of one cause. A
 * SIGTERM it passes on, and leaves what is left of the job most of the grace to end by itself.
 * When the worker dies, it ends all below it at once. Should it be killed itself, the worker
 * finds the orphans among its own children. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "keeper.h"
#include "strays.h"

enum { PARENT_DIED = SIGHUP, PATIENCE_MS = 1000, LAST_PATIENCE_MS = 10000 };

struct keeper {
    long worker;
    pid_t job;
    sigset_t signals;
    int64_t grace_ms;
    int64_t asked_ms; /* when a SIGTERM came; 0: none did */
    bool is_dead;     /* the job's process, with this: */
    int status;
};

static bool is_orphan(const struct keeper *k)
{
    return (long)getppid() != k->worker;
}

/* Waits for a signal; 0 when none came in time. Negative: as long as it takes. */
static int next_signal(const struct keeper *k, int64_t ms)
{
    const struct timespec limit = {ms / 1000, ms % 1000 * 1000000};
    int signum;

    do {
        signum =
            ms < 0 ? sigwaitinfo(&k->signals, NULL) : sigtimedwait(&k->signals, NULL, &limit);
    } while (signum < 0 && errno == EINTR);
    return signum > 0 ? signum : 0;
}

/* Collects whoever is dead. False once there are no children any more. */
static bool collect(struct keeper *k)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != k->job)
            continue;
        k->is_dead = true;
        k->status = status;
    }
    return pid == 0;
}

/* The worker was killed: whatever the job was doing, nobody waits for it. */
static _Noreturn void end_at_once(const struct keeper *k)
{
    kill(k->job, SIGKILL);
    strays_end(NULL, NULL, LAST_PATIENCE_MS);
    _exit(0);
}

static void watch(struct keeper *k)
{
    while (!k->is_dead) {
        int signum = next_signal(k, -1);
        if (is_orphan(k))
            end_at_once(k);
        if (signum == SIGTERM || signum == SIGINT) {
            kill(k->job, signum);
            if (!k->asked_ms)
                k->asked_ms = clock_mono_ms();
        }
        collect(k);
    }
}

/* Those that are no longer in the job's group have not been asked yet. The worker's own
 * patience ends with the whole grace: this ends before, and can tell how the job died. */
static void let_strays_end(struct keeper *k)
{
    int64_t until = k->asked_ms + k->grace_ms - k->grace_ms / 4, rest;

    if (!collect(k))
        return;
    strays_signal(SIGTERM, NULL, NULL);
    while (collect(k) && (rest = until - clock_mono_ms()) > 0 && !is_orphan(k))
        next_signal(k, rest);
}

static _Noreturn void die_likewise(int status)
{
    sigset_t none;

    if (WIFEXITED(status))
        _exit(WEXITSTATUS(status));
    signal(WTERMSIG(status), SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    raise(WTERMSIG(status));
    _exit(128 + WTERMSIG(status));
}

static _Noreturn void keep(struct keeper *k)
{
    watch(k);
    if (k->asked_ms)
        let_strays_end(k);
    strays_end(NULL, NULL, is_orphan(k) ? LAST_PATIENCE_MS : PATIENCE_MS);
    die_likewise(k->status);
}

static int follow(long parent, int signum, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, signum) != 0)
        return err_set_errno(err, -E_IO, errno, "die with the parent");
    if ((long)getppid() != parent) /* it died before prctl: no signal will come */
        return err_set(err, -E_STALE, "the parent process %ld is gone", parent);
    return strays_adopt(err);
}

int keeper_split(long worker_pid, int64_t grace_ms, struct err *err)
{
    struct keeper k = {.worker = worker_pid, .grace_ms = grace_ms};
    sigset_t before;
    const long self = (long)getpid();

    sigemptyset(&k.signals);
    sigaddset(&k.signals, SIGCHLD);
    sigaddset(&k.signals, SIGTERM);
    sigaddset(&k.signals, SIGINT);
    sigaddset(&k.signals, PARENT_DIED);
    sigprocmask(SIG_BLOCK, &k.signals, &before);
    int rc = follow(worker_pid, PARENT_DIED, err);
    if (rc)
        return rc;
    k.job = fork();
    if (k.job < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "start a job's process");
    if (k.job > 0)
        keep(&k);
    rc = follow(self, SIGKILL, err);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}
