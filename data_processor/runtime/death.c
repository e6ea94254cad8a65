#include "death.h"

#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

void death_describe(int status, char ret_text[DEATH_TEXT_MAX])
{
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(ret_text, DEATH_TEXT_MAX, "killed by signal %d (%s%s)", WTERMSIG(status),
                 name ? "SIG" : "real-time", name ? name : "");
    } else {
        snprintf(ret_text, DEATH_TEXT_MAX, "ended with exit code %d", WEXITSTATUS(status));
    }
}

static double seconds(int64_t ms)
{
    return (double)ms / 1000.0;
}

enum { MEMORY_TEXT_MAX = 48 };

static void describe_memory(const struct death *d, char ret_text[MEMORY_TEXT_MAX])
{
    bool is_known = d->peak_rss_bytes > 0;
    int64_t bytes = is_known ? d->peak_rss_bytes : d->peak_below_bytes;

    ret_text[0] = '\0';
    if (bytes > 0)
        snprintf(ret_text, MEMORY_TEXT_MAX, "; peak memory %s%" PRId64 " MiB",
                 is_known ? "" : "below ", (bytes >> 20) + !is_known);
}

static void tell_timeout(const struct death *d, struct task_error *e)
{
    char memory[MEMORY_TEXT_MAX];

    describe_memory(d, memory);
    e->class = ERROR_TIMEOUT;
    snprintf(e->code, sizeof e->code, "deadline");
    snprintf(e->message, sizeof e->message,
             "the attempt was stopped at its time limit of %.1f s%s", seconds(d->timeout_ms),
             memory);
}

/* The kernel ends a process that way when memory runs out, or a container's limit is reached;
 * it does not say so to the parent. */
static bool is_like_oom(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void tell_crash(const struct death *d, struct task_error *e)
{
    char how[DEATH_TEXT_MAX], memory[MEMORY_TEXT_MAX];

    death_describe(d->status, how);
    describe_memory(d, memory);
    e->class = ERROR_CRASH;
    snprintf(e->code, sizeof e->code, "%s", WIFSIGNALED(d->status) ? "signal" : "exit");
    snprintf(e->message, sizeof e->message, "the job's process %s%s after %.1f s%s%s",
             WIFSIGNALED(d->status) ? "was " : "", how, seconds(d->wall_ms), memory,
             is_like_oom(d->status) ? "; the machine may have run out of memory" : "");
}

static void tell_garbled(struct task_error *e)
{
    e->class = ERROR_CRASH;
    snprintf(e->code, sizeof e->code, "garbled");
    snprintf(e->message, sizeof e->message,
             "the job's process was stopped because what it said was no report");
}

void death_report(const struct death *d, struct report *ret)
{
    ret->outcome = d->cause == DEATH_STOP ? ATTEMPT_RELEASED : ATTEMPT_FAILED;
    ret->usage = (struct attempt_usage){
        .wall_ms = d->wall_ms,
        .cpu_ms = d->cpu_ms,
        .peak_rss_bytes = d->peak_rss_bytes,
        .exit_code = WIFEXITED(d->status) ? WEXITSTATUS(d->status) : 0,
        .signal = WIFSIGNALED(d->status) ? WTERMSIG(d->status) : 0,
    };
    if (d->cause == DEATH_DEADLINE)
        tell_timeout(d, &ret->error);
    else if (d->cause == DEATH_GARBLED)
        tell_garbled(&ret->error);
    else if (d->cause != DEATH_STOP)
        tell_crash(d, &ret->error);
}
