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

enum {
    SETTING_MAX_BYTES = 4150, /* of one that slots get */
    TEXT_FLAGS = 5,
    NUMBER_FLAGS = 8,
    SLOT_FLAGS = TEXT_FLAGS + NUMBER_FLAGS,
    HEALTH_PATIENCE_MS = 3000,
    WARM_BYTES = 2 << 20
};

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

/* What a slot is started with. The resolved settings that it needs are flags, since one that is
 * started again later must not see a .env that has changed; the secret is in its environment,
 * since everybody may read a process's flags. */
struct plan {
    struct runtime_options options;
    struct buf words; /* the flags and then the secret, each with its NUL */
    const char *flags[SLOT_FLAGS + 1];
    char worker[TASK_WORKER_MAX];
};

static int add_text(struct plan *p, const char *before, const char *value, const char *name,
                    struct err *err)
{
    if (strlen(value) > SETTING_MAX_BYTES)
        return err_set(err, -E_BAD_VALUE, "%s: too long", name);
    buf_printf(&p->words, "%s=%s", before, value);
    buf_append_char(&p->words, '\0');
    return 0;
}

static int add_texts(struct plan *p, const struct config *c, struct err *err)
{
    const struct {
        const char *flag, *value, *name;
    } texts[] = {
        {"--storage-url", c->storage_url, "STORAGE_URL"},
        {"--repo-hosts", c->repo_hosts, "REPO_HOSTS"},
        {"--call-hosts", c->call_hosts, "CALL_HOSTS"},
        {"--allow-networks", c->allow_networks, "ALLOW_NETWORKS"},
        {"--log-format", c->log_format, "LOG_FORMAT"},
    };
    int rc = 0;

    _Static_assert(sizeof texts / sizeof texts[0] == TEXT_FLAGS, "each has its place");
    for (size_t i = 0; i < TEXT_FLAGS && !rc; i++)
        rc = add_text(p, texts[i].flag, texts[i].value, texts[i].name, err);
    return rc;
}

static void add_numbers(struct plan *p, const struct config *c)
{
    const struct {
        const char *flag;
        int64_t value;
        const char *unit;
    } numbers[] = {
        {"slots", p->options.slots, ""},
        {"job-memory", c->memory_bytes, ""},
        {"max-inflated-bytes", c->max_inflated_bytes, ""},
        {"kill-grace", c->kill_grace_ms, "ms"},
        {"repo-max-bytes", c->repo_max_bytes, ""},
        {"repo-max-files", c->repo_max_files, ""},
        {"repo-timeout", c->repo_timeout_ms, "ms"},
        {"repo-stall", c->repo_stall_ms, "ms"},
    };

    _Static_assert(sizeof numbers / sizeof numbers[0] == NUMBER_FLAGS, "each has its place");
    for (size_t i = 0; i < NUMBER_FLAGS; i++) {
        buf_printf(&p->words, "--%s=%" PRId64 "%s", numbers[i].flag, numbers[i].value,
                   numbers[i].unit);
        buf_append_char(&p->words, '\0');
    }
}

static int add_words(struct plan *p, const struct config *c, struct err *err)
{
    int rc = add_texts(p, c, err);

    if (rc)
        return rc;
    add_numbers(p, c);
    rc = add_text(p, "AZURE_STORAGE_CONNECTION_STRING", c->azure_connection,
                  "AZURE_STORAGE_CONNECTION_STRING", err);
    if (rc)
        return rc;
    if (!buf_ok(&p->words))
        return err_set(err, -E_NO_MEMORY, "no memory for the settings of a slot");
    const char *at = p->words.data;
    for (size_t i = 0; i < SLOT_FLAGS; i++, at += strlen(at) + 1)
        p->flags[i] = at;
    p->options.slot_args = p->flags;
    p->options.slot_secret = at;
    return 0;
}

/* Leaves *ret to plan_release, also when it fails. */
static int make_plan(const struct config *c, struct plan *ret, struct err *err)
{
    *ret = (struct plan){.words = BUF_INIT};
    ret->options = (struct runtime_options){
        .manager_url = c->task_manager_url,
        .amqp_url = c->amqp_url,
        .worker = ret->worker,
        .slots = c->slots > 0 ? (unsigned)c->slots : core_count(),
        .program = "/proc/self/exe",
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
    return rc ? rc : add_words(ret, c, err);
}

static void plan_release(struct plan *p)
{
    buf_release(&p->words);
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
    struct plan plan = {.words = BUF_INIT};
    struct http_client *http = NULL;
    int rc = log_setup_words(c->log_level, c->log_format, err);

    if (!rc)
        rc = make_plan(c, &plan, err);
    plan_release(&plan);
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

static bool speaks_tls(const struct config *c)
{
    return strncmp(c->task_manager_url, "http:", 5) != 0 || c->azure_connection[0] ||
           (c->amqp_url[0] && strncmp(c->amqp_url, "amqp:", 5) != 0);
}

int app_work(const struct config *c)
{
    struct plan plan = {.words = BUF_INIT};
    struct err err = ERR_INIT;
    FAILPOINT(worker_starting);
    if (!speaks_tls(c))
        http_client_spare_tls();
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
    plan_release(&plan);
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
