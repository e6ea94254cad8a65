#include "supervisor.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backoff.h"
#include "buf.h"
#include "clock.h"
#include "log.h"

enum {
    BACKOFF_BASE_MS = 200,
    BACKOFF_CAP_MS = 30000,
    HEALTHY_MS = 60000,
    EXTRA_GRACE_MS = 3000
};

extern char **environ;

/* The data_processor that was built and installed together with this program. */
static bool worker_path(char *ret, size_t size)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);

    if (len <= 0)
        return false;
    self[len] = '\0';
    char *slash = strrchr(self, '/');
    if (!slash)
        return false;
    *slash = '\0';
    return snprintf(ret, size, "%s/data_processor", self) < (int)size;
}

/* Where a worker on this machine reaches the listener: a wildcard is no destination. */
static void url_of(const char *address, char *ret, size_t size)
{
    const char *port = strrchr(address, ':');

    if (strncmp(address, "0.0.0.0:", 8) == 0 || strncmp(address, "[::]:", 5) == 0)
        snprintf(ret, size, "http://127.0.0.1%s", port);
    else
        snprintf(ret, size, "http://%s", address);
}

/* Is this "NAME=value" replaced by one of ours, or a secret that is none of a worker's
 * business? */
static bool is_withheld(const char *entry, char *const *own, size_t own_count)
{
    /* AMQP_URL itself is among `own`. */
    static const char *const secrets[] = {
        "DATABASE_URL=", "DATABASE_URL_FILE=", "AMQP_URL_FILE=",
        "SECRET_KEY=",   "SECRET_KEY_FILE=",   "AZURE_STORAGE_CONNECTION_STRING_FILE="};

    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (strncmp(entry, secrets[i], strlen(secrets[i])) == 0)
            return true;
    }
    for (size_t i = 0; i < own_count; i++) {
        if (strncmp(entry, own[i], strcspn(own[i], "=") + 1) == 0)
            return true;
    }
    return false;
}

/* The environment of this process with what the worker has to know. free() the array; NULL
 * when memory is short. */
static char **worker_environment(char *const *own, size_t own_count)
{
    size_t count = 0, n = own_count;

    while (environ[count])
        count++;
    char **env = calloc(own_count + count + 1, sizeof *env);
    if (!env)
        return NULL;
    memcpy(env, own, own_count * sizeof *env);
    for (size_t i = 0; i < count; i++) {
        if (!is_withheld(environ[i], own, own_count))
            env[n++] = environ[i];
    }
    return env;
}

/* A group of its own: Ctrl-C reaches this process alone, which then asks the worker once. */
static int spawn_with(struct supervisor *s, const char *path, char *const *env)
{
    char name[] = "data_processor";
    char *const argv[] = {name, NULL};
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    int rc = posix_spawnattr_init(&attr);

    if (rc)
        return rc;
    sigemptyset(&none);
    sigfillset(&defaults);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    posix_spawnattr_setpgroup(&attr, 0);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                        POSIX_SPAWN_SETPGROUP);
    rc = posix_spawn(&s->pid, path, NULL, &attr, argv, env);
    posix_spawnattr_destroy(&attr);
    return rc;
}

enum { OWN_MAX = 12 };

/* The worker ends first, and within the grace there must be time for the rest. */
static int64_t worker_grace_ms(const struct config *c)
{
    return c->stop_grace_ms * 3 / 4;
}

/* What the worker has to know, as NAME=value lines of any length. */
static void fill_own(const struct supervisor *s, struct buf own[OWN_MAX])
{
    const struct config *c = s->config;

    buf_printf(&own[0], "TASK_MANAGER_URL=%s", s->url);
    buf_printf(&own[1], "SLOTS=%d", s->slots);
    buf_printf(&own[2], "STORAGE_URL=%s", c->storage_url);
    buf_printf(&own[3], "AMQP_URL=%s", c->amqp_url);
    buf_printf(&own[4], "LOG_LEVEL=%s", c->log_level);
    buf_printf(&own[5], "LOG_FORMAT=%s", c->log_format);
    buf_printf(&own[6], "STOP_GRACE=%" PRId64 "ms", worker_grace_ms(c));
    buf_printf(&own[7], "SEGUE_SUPERVISED=%ld", (long)getpid());
    buf_printf(&own[8], "REPO_HOSTS=%s", c->repo_hosts);
    buf_printf(&own[9], "CALL_HOSTS=%s", c->call_hosts);
    buf_printf(&own[10], "ALLOW_NETWORKS=%s", c->allow_networks);
    buf_printf(&own[11], "AZURE_STORAGE_CONNECTION_STRING=%s", c->azure_connection);
}

static int spawn_worker(struct supervisor *s, const char *path)
{
    struct buf own[OWN_MAX];
    char *lines[OWN_MAX];
    bool complete = true;

    for (size_t i = 0; i < OWN_MAX; i++)
        buf_init(&own[i]);
    fill_own(s, own);
    for (size_t i = 0; i < OWN_MAX; i++) {
        lines[i] = own[i].data;
        complete = complete && buf_ok(&own[i]);
    }
    char **env = complete ? worker_environment(lines, OWN_MAX) : NULL;
    int rc = env ? spawn_with(s, path, env) : ENOMEM;
    free(env);
    for (size_t i = 0; i < OWN_MAX; i++)
        buf_release(&own[i]);
    return rc;
}

static void plan_restart(struct supervisor *s)
{
    s->pid = 0;
    s->restart_at_ms =
        clock_mono_ms() + backoff_ceiling_ms(BACKOFF_BASE_MS, BACKOFF_CAP_MS, s->failures);
    s->failures++;
}

static void launch(struct supervisor *s)
{
    char path[PATH_MAX] = "data_processor";
    int rc = worker_path(path, sizeof path) ? spawn_worker(s, path) : ENOENT;

    if (rc) {
        log_error("worker.not_started", LOG_S("program", path), LOG_S("reason", strerror(rc)));
        plan_restart(s);
        return;
    }
    s->started_at_ms = clock_mono_ms();
    log_info("worker.launched", LOG_I("pid", s->pid), LOG_I("slots", s->slots));
}

void supervisor_start(struct supervisor *s, const struct config *config, const char *address)
{
    memset(s, 0, sizeof *s);
    s->config = config;
    s->slots = (int)config->workers;
    if (s->slots < 0) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        s->slots = config->amqp_url[0] ? 0 : cores > 0 ? (int)cores : 1;
    }
    url_of(address, s->url, sizeof s->url);
    if (s->slots > 0)
        launch(s);
}

/* True when the worker has been collected. */
static bool collect(struct supervisor *s)
{
    int status = 0;

    if (s->pid <= 0 || waitpid(s->pid, &status, WNOHANG) != s->pid)
        return false;
    log_warn("worker.ended", LOG_I("pid", s->pid),
             LOG_I("exit_code", WIFEXITED(status) ? WEXITSTATUS(status) : 0),
             LOG_I("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0));
    return true;
}

void supervisor_step(struct supervisor *s)
{
    if (s->slots == 0)
        return;
    if (collect(s)) {
        if (clock_mono_ms() - s->started_at_ms > HEALTHY_MS)
            s->failures = 0;
        plan_restart(s);
    }
    if (s->pid == 0 && clock_mono_ms() >= s->restart_at_ms)
        launch(s);
}

int64_t supervisor_wait_ms(const struct supervisor *s)
{
    if (s->slots == 0 || s->pid != 0)
        return -1;
    int64_t left = s->restart_at_ms - clock_mono_ms();
    return left > 0 ? left : 0;
}

void supervisor_stop(struct supervisor *s)
{
    int64_t left, until;
    sigset_t child;

    if (s->slots == 0 || s->pid <= 0)
        return;
    until = clock_mono_ms() + worker_grace_ms(s->config) + EXTRA_GRACE_MS;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    kill(s->pid, SIGTERM);
    while (waitpid(s->pid, NULL, WNOHANG) == 0) {
        left = until - clock_mono_ms();
        if (left <= 0) {
            log_warn("worker.killed", LOG_I("pid", s->pid));
            kill(s->pid, SIGKILL);
            waitpid(s->pid, NULL, 0);
            break;
        }
        const struct timespec limit = {left / 1000, (left % 1000) * 1000000};
        sigtimedwait(&child, NULL, &limit);
    }
    s->pid = 0;
}
