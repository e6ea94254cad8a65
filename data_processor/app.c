#include "app.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "broker.h"
#include "call_rules.h"
#include "failpoint.h"
#include "http_client.h"
#include "log.h"
#include "runtime.h"
#include "utf8.h"

enum { ARG_MAX_BYTES = 4200, CHILD_ARGS = 13, HEALTH_PATIENCE_MS = 3000, WARM_BYTES = 2 << 20 };

/* Cores this process may use. */
static unsigned core_count(void)
{
    cpu_set_t set;

    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (unsigned)CPU_COUNT(&set);
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (unsigned)online : 1;
}

/* --- settings of the runtime --- */

static int read_queues(const char *list, struct runtime_options *ret, struct err *err)
{
    char word[TASK_QUEUE_MAX + 1]; /* one more, so that a word too long is seen as such */

    for (const char *at = list; (at = config_list_next(at, word, sizeof word));) {
        if (!task_word_is_valid(word))
            return err_set(err, -E_BAD_VALUE, "QUEUES: '%s' is no queue name", word);
        if (ret->queue_count == WORKER_QUEUES_MAX)
            return err_set(err, -E_BAD_VALUE, "QUEUES: more than %d", WORKER_QUEUES_MAX);
        memcpy(ret->queues[ret->queue_count++], word, TASK_QUEUE_MAX);
    }
    return ret->queue_count ? 0 : err_set(err, -E_BAD_VALUE, "QUEUES: at least one is needed");
}

/* What every request of the worker can carry as JSON, and every log as one line. */
static bool is_plain_text(const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            return false;
    }
    return utf8_is_valid(text, strlen(text));
}

static int read_name(const struct config *c, char ret_name[TASK_WORKER_MAX], struct err *err)
{
    char host[65] = "worker"; /* HOST_NAME_MAX and a NUL */

    if (strlen(c->worker_name) >= TASK_WORKER_MAX)
        return err_set(err, -E_BAD_VALUE, "WORKER_NAME: longer than %d bytes",
                       TASK_WORKER_MAX - 1);
    if (!is_plain_text(c->worker_name))
        return err_set(err, -E_BAD_VALUE,
                       "WORKER_NAME: must be valid UTF-8 without control characters");
    if (c->worker_name[0]) {
        snprintf(ret_name, TASK_WORKER_MAX, "%s", c->worker_name);
        return 0;
    }
    if (gethostname(host, sizeof host - 1) != 0)
        snprintf(host, sizeof host, "worker");
    snprintf(ret_name, TASK_WORKER_MAX, "%s-%ld", host, (long)getpid());
    return 0;
}

/* The resolved settings that a slot needs, as flags: a slot that is started again later must
 * not see a .env that has changed since. */
struct child_args {
    char text[CHILD_ARGS][ARG_MAX_BYTES];
    const char *list[CHILD_ARGS + 1];
};

static int build_child_args(const struct config *c, unsigned slots, struct child_args *ret,
                            struct err *err)
{
    const struct {
        const char *flag, *value, *name;
    } texts[] = {
        {"storage-url", c->storage_url, "STORAGE_URL"},
        {"repo-hosts", c->repo_hosts, "REPO_HOSTS"},
        {"call-hosts", c->call_hosts, "CALL_HOSTS"},
        {"allow-networks", c->allow_networks, "ALLOW_NETWORKS"},
    };
    enum { TEXTS = sizeof texts / sizeof texts[0] };

    for (int i = 0; i < TEXTS; i++) {
        if (snprintf(ret->text[i], ARG_MAX_BYTES, "--%s=%s", texts[i].flag, texts[i].value) >=
            ARG_MAX_BYTES)
            return err_set(err, -E_BAD_VALUE, "%s: too long", texts[i].name);
    }
    snprintf(ret->text[TEXTS], ARG_MAX_BYTES, "--slots=%u", slots);
    snprintf(ret->text[TEXTS + 1], ARG_MAX_BYTES, "--log-format=%s", c->log_format);

    const struct {
        const char *flag;
        int64_t value;
        const char *unit;
    } numbers[] = {
        {"job-memory", c->memory_bytes, ""},
        {"max-inflated-bytes", c->max_inflated_bytes, ""},
        {"kill-grace", c->kill_grace_ms, "ms"},
        {"repo-max-bytes", c->repo_max_bytes, ""},
        {"repo-max-files", c->repo_max_files, ""},
        {"repo-timeout", c->repo_timeout_ms, "ms"},
        {"repo-stall", c->repo_stall_ms, "ms"},
    };
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    _Static_assert(TEXTS + 2 + NUMBERS == CHILD_ARGS, "every argument has its place");

    for (int i = 0; i < NUMBERS; i++)
        snprintf(ret->text[TEXTS + 2 + i], ARG_MAX_BYTES, "--%s=%" PRId64 "%s", numbers[i].flag,
                 numbers[i].value, numbers[i].unit);
    for (int i = 0; i < CHILD_ARGS; i++)
        ret->list[i] = ret->text[i];
    ret->list[CHILD_ARGS] = NULL;
    return 0;
}

enum { SECRET_MAX_BYTES = 4200 };

/* In the environment, since everybody may read a process's flags. */
static int build_secret(const struct config *c, char ret_text[SECRET_MAX_BYTES],
                        struct err *err)
{
    if (snprintf(ret_text, SECRET_MAX_BYTES, "AZURE_STORAGE_CONNECTION_STRING=%s",
                 c->azure_connection) >= SECRET_MAX_BYTES)
        return err_set(err, -E_BAD_VALUE, "AZURE_STORAGE_CONNECTION_STRING: too long");
    return 0;
}

struct plan {
    struct runtime_options options;
    struct child_args args;
    char secret[SECRET_MAX_BYTES];
    char worker[TASK_WORKER_MAX];
};

static int make_plan(const struct config *c, struct plan *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    ret->options = (struct runtime_options){
        .manager_url = c->task_manager_url,
        .amqp_url = c->amqp_url,
        .worker = ret->worker,
        .slots = c->slots > 0 ? (unsigned)c->slots : core_count(),
        .program = "/proc/self/exe",
        .slot_args = ret->args.list,
        .slot_secret = ret->secret,
        .kill_grace_ms = c->kill_grace_ms,
        .health_socket = c->health_socket,
        .health_after_ms = c->health_after_ms,
        .heartbeat_ms = c->heartbeat_ms,
        .poll_ms = c->poll_ms,
        .stop_grace_ms = c->stop_grace_ms,
    };
    int rc = read_queues(c->queues, &ret->options, err);
    if (!rc)
        rc = read_name(c, ret->worker, err);
    if (!rc)
        rc = build_child_args(c, ret->options.slots, &ret->args, err);
    if (!rc)
        rc = build_secret(c, ret->secret, err);
    return rc;
}

/* --- the program's three faces --- */

/* Opening only checks the URL. */
static int check_broker(const char *url, struct err *err)
{
    struct broker *broker = NULL;
    int rc = broker_open(url, BROKER_CONSUME, "segue data_processor", &broker, err);

    broker_close(broker);
    return rc ? err_wrap(err, "AMQP_URL") : 0;
}

int app_check(const struct config *c, struct err *err)
{
    struct plan plan;
    struct http_client *http = NULL;
    int rc = log_setup_words(c->log_level, c->log_format, err);

    if (!rc)
        rc = make_plan(c, &plan, err);
    if (!rc) {
        rc = http_client_new(c->task_manager_url, &http, err);
        if (rc)
            err_wrap(err, "TASK_MANAGER_URL");
        http_client_free(http);
    }
    if (!rc && container_check_settings(c->azure_connection, err) != 0)
        rc = err_wrap(err, "AZURE_STORAGE_CONNECTION_STRING");
    if (!rc && objstore_check_url(c->storage_url, err) != 0)
        rc = err_wrap(err, "STORAGE_URL");
    if (!rc)
        rc = call_rules_check_settings(c, err);
    return rc ? rc : check_broker(c->amqp_url, err);
}

static int exit_code_of(int rc)
{
    return rc == 0 ? EXIT_OK : rc == -E_BAD_VALUE ? EXIT_USAGE : EXIT_TEMPORARY;
}

static int failed(const char *event, int rc, const struct err *err)
{
    log_error(event, LOG_S("error", err->text));
    return exit_code_of(rc);
}

/* A worker that the task manager started ends with it, in good order. */
static int follow_parent(int64_t parent, struct err *err)
{
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0)
        return err_set_errno(err, -E_IO, errno, "follow the task manager");
    if (getppid() != parent)
        return err_set(err, -E_UNAVAILABLE, "the task manager is gone already");
    return 0;
}

/* Fails early, and with one clear sentence, for what every slot would fail for. */
static int open_store(const struct config *c, struct objstore **ret, struct err *err)
{
    if (objstore_open_on(c->storage_url, c->azure_connection, ret, err) != 0)
        return err_wrap(err, "STORAGE_URL");
    log_info("worker.store", LOG_S("path", objstore_place(*ret)));
    return 0;
}

int app_work(const struct config *c)
{
    struct plan plan = {.options = {.store = NULL}};
    struct err err = ERR_INIT;
    FAILPOINT(worker_starting);
    int rc = app_check(c, &err);

    if (!rc && c->supervised)
        rc = follow_parent(c->supervised, &err);
    if (!rc)
        rc = make_plan(c, &plan, &err);
    if (!rc)
        rc = http_client_global_init(&err);
    if (!rc)
        rc = open_store(c, &plan.options.store, &err);
    if (!rc)
        rc = runtime_run(&plan.options, &err);
    objstore_close(plan.options.store);
    return rc ? failed("worker.failed", rc, &err) : EXIT_OK;
}

int app_health(const struct config *c)
{
    char line[512];
    struct err err = ERR_INIT;
    int rc = c->health_socket[0] ? runtime_ask_health(c->health_socket, HEALTH_PATIENCE_MS,
                                                      line, sizeof line, &err)
                                 : err_set(&err, -E_BAD_VALUE, "HEALTH_SOCKET is not set");

    if (rc == 0)
        printf("%s\n", line);
    else
        fprintf(stderr, "data_processor: %s\n", err.text);
    return rc == 0 ? EXIT_OK : rc == -E_BAD_VALUE ? EXIT_USAGE : EXIT_NO;
}

/* What a small job took stays for the next one; else each would get its pages anew, cleared,
 * and the new peak of memory would be asked for. A large buffer is a mapping of its own, and
 * goes. */
static void keep_memory_warm(void)
{
    mallopt(M_MMAP_THRESHOLD, WARM_BYTES / 2);
    mallopt(M_TRIM_THRESHOLD, WARM_BYTES);
}

int app_slot(const struct config *c, long parent_pid)
{
    struct objstore *store = NULL;
    struct container_store *containers = NULL;
    struct err err = ERR_INIT;
    unsigned slots = c->slots > 0 ? (unsigned)c->slots : 1;
    unsigned threads = core_count() / slots;
    int rc = log_setup_words(c->log_level, c->log_format, &err);

    keep_memory_warm();
    if (!rc)
        rc = child_setup(parent_pid, c->kill_grace_ms, &err);
    if (!rc && c->azure_connection[0])
        rc = http_client_global_init(&err);
    if (!rc)
        rc = objstore_open_on(c->storage_url, c->azure_connection, &store, &err);
    if (!rc)
        rc = container_store_open(store, c->azure_connection, &containers, &err);
    if (!rc) {
        const struct child_options options = {.store = store,
                                              .containers = containers,
                                              .config = c,
                                              .threads = threads > 0 ? threads : 1,
                                              .memory_bytes = c->memory_bytes,
                                              .max_inflated_bytes = c->max_inflated_bytes};
        rc = child_serve(&options, &err);
    }
    container_store_close(containers);
    objstore_close(store);
    return rc ? failed("slot.failed", rc, &err) : EXIT_OK;
}
