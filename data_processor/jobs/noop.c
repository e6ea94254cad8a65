/* noop.c - does nothing, in as many ways as there are: the job for trying things out.
 *
 * params: sleep_ms (takes that long and reports progress), fail (input or transient), crash
 * (abort, segv, kill or exit: really dies that way), fail_attempts and crash_attempts (only
 * the first N attempts do; 0, the default: all), spawn (first starts a process that never ends
 * by itself: group, in the job's process group; session, forked twice and in a session of its
 * own; stubborn, like session and deaf to SIGTERM). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "job.h"
#include "params.h"

enum { STEP_MS = 20, EXIT_CODE = 3 };

static void sleep_with_progress(const struct job_context *context, int64_t total_ms)
{
    int64_t start = clock_mono_ms(), passed = 0;

    while (passed < total_ms) {
        int64_t rest = total_ms - passed;
        struct timespec step = {0, (rest < STEP_MS ? rest : STEP_MS) * 1000000};
        nanosleep(&step, NULL);
        passed = clock_mono_ms() - start;
        if (passed < total_ms)
            context->progress(
                context->progress_arg,
                &(struct job_progress){.fraction = (double)passed / (double)total_ms});
    }
}

static const struct {
    const char *word;
    int signal; /* 0: exit */
} deaths[] = {{"abort", SIGABRT}, {"segv", SIGSEGV}, {"kill", SIGKILL}, {"exit", 0}};

static void die(const char *word)
{
    for (size_t i = 0; i < sizeof deaths / sizeof deaths[0]; i++) {
        if (strcmp(deaths[i].word, word) != 0)
            continue;
        if (deaths[i].signal == 0)
            _exit(EXIT_CODE);
        signal(deaths[i].signal, SIG_DFL); /* a sanitizer may have its own idea */
        raise(deaths[i].signal);
    }
}

static const struct {
    const char *word;
    bool is_apart, is_deaf;
} processes[] = {{"group", false, false}, {"session", true, false}, {"stubborn", true, true}};

static _Noreturn void linger(bool is_apart, bool is_deaf)
{
    if (is_apart && (setsid() < 0 || fork() != 0))
        _exit(0);
    signal(SIGTERM, is_deaf ? SIG_IGN : SIG_DFL);
    for (;;)
        pause();
}

static int spawn(const char *word, struct err *err)
{
    for (size_t i = 0; i < sizeof processes / sizeof processes[0]; i++) {
        if (strcmp(processes[i].word, word) != 0)
            continue;
        pid_t pid = fork();
        if (pid < 0)
            return err_set_errno(err, err_from_errno(errno), errno, "start a process");
        if (pid == 0)
            linger(processes[i].is_apart, processes[i].is_deaf);
        if (processes[i].is_apart)
            waitpid(pid, NULL, 0); /* so that the one that stays has lost its parent */
    }
    return 0;
}

static bool applies(const struct params *params, const char *limit_name, int attempt)
{
    int64_t limit = params_int(params, limit_name, 0);

    return limit == 0 || attempt <= limit;
}

static int noop_run(const struct job_context *context, struct report *ret)
{
    struct params *params = NULL;
    struct err err = ERR_INIT;
    int rc = params_open(context->work->params, &params, &err);

    if (rc)
        return job_error_from(&err, &ret->error);
    const char *process = params_word(params, "spawn", NULL);
    if (process && spawn(process, &err) != 0) {
        params_close(params);
        return job_error_from(&err, &ret->error);
    }
    sleep_with_progress(context, params_int(params, "sleep_ms", 0));

    const char *crash = params_word(params, "crash", NULL);
    const char *fail = params_word(params, "fail", NULL);
    if (crash && applies(params, "crash_attempts", context->work->attempt))
        die(crash);
    if (fail && applies(params, "fail_attempts", context->work->attempt)) {
        int code = strcmp(fail, "input") == 0 ? -E_BAD_INPUT : -E_UNAVAILABLE;
        err_set(&err, code, "the task was asked to fail (%s)", fail);
        rc = job_error_from(&err, &ret->error);
    }
    params_close(params);
    return rc;
}

const struct job job_noop = {"noop", noop_run};
