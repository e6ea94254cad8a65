#include "git_env.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ENV_MAX = 128, SPEED_LEAST = 1000 };

struct env {
    char **list;
    size_t count;
    unsigned settings;
    bool failed;
};

static void add(struct env *e, char *take)
{
    if (!take || e->count >= ENV_MAX - 1) {
        free(take);
        e->failed = true;
        return;
    }
    e->list[e->count++] = take;
}

static void add_variable(struct env *e, const char *name, const char *value)
{
    char *text = NULL;

    if (asprintf(&text, "%s=%s", name, value) < 0)
        text = NULL;
    add(e, text);
}

/* Settings by environment (git 2.31) win over every file and are in no argument list. */
static void add_setting(struct env *e, const char *key, const char *value)
{
    char name[32];

    snprintf(name, sizeof name, "GIT_CONFIG_KEY_%u", e->settings);
    add_variable(e, name, key);
    snprintf(name, sizeof name, "GIT_CONFIG_VALUE_%u", e->settings);
    add_variable(e, name, value);
    e->settings++;
}

static const struct {
    const char *name, *value;
} variables[] = {
    {"PATH", "/usr/local/bin:/usr/bin:/bin"},
    {"LC_ALL", "C"},
    {"GIT_CONFIG_NOSYSTEM", "1"},
    {"GIT_CONFIG_GLOBAL", "/dev/null"},
    {"GIT_ATTR_NOSYSTEM", "1"},
    {"GIT_TERMINAL_PROMPT", "0"},
    {"GIT_PROTOCOL_FROM_USER", "0"},
    {"GIT_NO_REPLACE_OBJECTS", "1"},
    {"GIT_ADVICE", "0"},
    {"GIT_FLUSH", "1"},
};

static const struct {
    const char *key, *value;
} settings[] = {
    {"credential.helper", ""}, /* forgets helpers, wherever they come from */
    {"core.askPass", ""},
    {"core.hooksPath", "/dev/null"},
    {"core.symlinks", "false"},
    {"core.fsmonitor", "false"},
    {"core.bigFileThreshold", "8m"}, /* larger ones are streamed, not held in memory */
    {"core.packedGitWindowSize", "16m"},
    {"core.packedGitLimit", "256m"},
    {"core.deltaBaseCacheLimit", "64m"},
    {"pack.threads", "1"},
    {"fetch.unpackLimit", "1"}, /* one pack, so one file that the limit is for */
    {"fetch.recurseSubmodules", "false"},
    {"submodule.recurse", "false"},
    {"transfer.bundleURI", "false"},
    {"protocol.version", "2"},
    {"http.followRedirects", "false"},
    {"http.emptyAuth", "false"},
    {"http.delegation", "none"},
    {"http.proxy", ""},
    {"http.sslVerify", "true"},
    {"gc.auto", "0"},
    {"maintenance.auto", "false"},
    {"advice.detachedHead", "false"},
    {"init.defaultBranch", "main"},
};

static void add_network(struct env *e, const struct git_job *job)
{
    char number[32], key[320];

    add_variable(e, "GIT_ALLOW_PROTOCOL", job->protocol ? job->protocol : "none");
    if (!job->protocol)
        return;
    snprintf(number, sizeof number, "%d", SPEED_LEAST);
    add_setting(e, "http.lowSpeedLimit", number);
    snprintf(number, sizeof number, "%" PRId64, (job->stall_ms + 999) / 1000);
    add_setting(e, "http.lowSpeedTime", number);
    if (job->resolve)
        add_setting(e, "http.curloptResolve", job->resolve);
    if (job->header) {
        snprintf(key, sizeof key, "http.%s.extraHeader", job->header_scope);
        add_setting(e, key, job->header);
    }
}

char **git_env_new(const struct git_job *job)
{
    struct env e = {.list = calloc(ENV_MAX, sizeof(char *))};
    char count[16];

    if (!e.list)
        return NULL;
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        add_variable(&e, variables[i].name, variables[i].value);
    add_variable(&e, "HOME", job->home);
    add_variable(&e, "XDG_CONFIG_HOME", job->home);
    add_variable(&e, "TMPDIR", job->home);
    if (!job->protocol) /* a clone names it itself */
        add_variable(&e, "GIT_DIR", job->dir);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        add_setting(&e, settings[i].key, settings[i].value);
    add_network(&e, job);
    snprintf(count, sizeof count, "%u", e.settings);
    add_variable(&e, "GIT_CONFIG_COUNT", count);
    if (!e.failed)
        return e.list;
    git_env_free(e.list);
    return NULL;
}

void git_env_free(char **env)
{
    for (size_t i = 0; env && env[i]; i++) {
        explicit_bzero(env[i], strlen(env[i]));
        free(env[i]);
    }
    free(env);
}
