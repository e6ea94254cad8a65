#include "app.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "alive.h"
#include "clock.h"
#include "container.h"
#include "failpoint.h"
#include "http_client.h"
#include "log.h"
#include "notify.h"
#include "routes.h"
#include "startup.h"
#include "supervisor.h"

enum {
    OWN_STORE_THREADS = 5, /* hub, watch, reaper, relay, housekeeping */
    HTTP_GRACE_MS = 5000,
    STOP_LEAST_MS = 10000,
    CUT_SPARE_MS = 5000, /* until a process that is cut is gone */
    EXIT_CUT = 111,
    OWN_FILES = 64 /* descriptors of log, store, broker, listeners and probes */
};

struct app {
    const struct config *config;
    struct objstore *objects;
    struct container_store *containers;
    struct store *store;
    struct broker *publisher;
    struct service *service;
    struct http_server *server;
    struct api api;
    struct supervisor supervisor;
    sem_t is_stopped;
};

/* A failure that a setting leads to names it. */
static int of_setting(int rc, const char *name, struct err *err)
{
    return rc ? err_wrap(err, "%s", name) : 0;
}

/* Connections, uploads and the database all need descriptors: take all that we may have. */
static int64_t raise_file_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return INT64_MAX;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur == RLIM_INFINITY ? INT64_MAX : (int64_t)limit.rlim_cur;
}

/* As many connections as there are descriptors for, since one that finds none left takes them
 * from the database and the files: an upload needs four (socket, file, hold and directory). */
static int max_connections(const struct config *c, int64_t files)
{
    int64_t fitting = (files - OWN_FILES - 2 * c->handler_threads) / 4;

    if (fitting >= c->max_connections)
        return (int)c->max_connections;
    fitting = fitting < 8 ? 8 : fitting;
    log_warn("http.fewer_connections", LOG_I("max_connections", fitting),
             LOG_I("file_descriptors", files));
    return (int)fitting;
}

static int start_server(struct app *a, int64_t files, struct err *err)
{
    const struct config *c = a->config;
    const struct http_options options = {
        .listen = c->listen,
        .threads = (int)c->http_threads,
        .handler_threads = (int)c->handler_threads,
        .max_connections = max_connections(c, files),
        .max_connections_per_ip = (int)c->max_connections_per_ip,
        .idle_timeout_ms = c->idle_timeout_ms,
        .header_timeout_ms = c->header_timeout_ms,
        .request_timeout_ms = c->request_timeout_ms,
        .min_body_rate = c->min_body_rate,
        .max_upload_bytes = c->max_upload_bytes,
        .max_json_bytes = c->max_json_bytes,
        .routes = api_routes(),
        .sink = api_sink(),
        .shed = api_shed,
        .context = &a->api,
    };

    return of_setting(http_server_start(&options, &a->server, err), "LISTEN", err);
}

static int app_start(struct app *a, struct err *err)
{
    int64_t files = raise_file_limit();
    const struct config *c = a->config;
    int connections = (int)c->handler_threads + OWN_STORE_THREADS;
    int rc = c->azure_connection[0] ? http_client_global_init(err) : 0;

    if (!rc)
        rc = of_setting(objstore_open_on(c->storage_url, c->azure_connection, &a->objects, err),
                        "STORAGE_URL", err);
    if (!rc)
        rc = of_setting(
            container_store_open(a->objects, c->azure_connection, &a->containers, err),
            "AZURE_STORAGE_CONNECTION_STRING", err);
    if (!rc)
        rc =
            of_setting(startup_open_store(c, connections, &a->store, err), "DATABASE_URL", err);
    FAILPOINT(manager_opened);
    if (!rc)
        rc = of_setting(
            broker_open(c->amqp_url, BROKER_PUBLISH, "segue task_manager", &a->publisher, err),
            "AMQP_URL", err);
    if (!rc) {
        const struct service_parts parts = {c, a->store, a->objects, a->publisher};
        rc = service_start(&parts, &a->service, err);
    }
    if (!rc) {
        a->api = (struct api){a->service, c, a->containers};
        rc = start_server(a, files, err);
    }
    return rc;
}

/* -- the end -- */

/* What is left of `limit_ms` since began_ms, but not more than `most_ms`. */
static int64_t time_left(int64_t began_ms, int64_t limit_ms, int64_t most_ms)
{
    int64_t left = began_ms + limit_ms - clock_mono_ms();

    return left < 0 ? 0 : left < most_ms ? left : most_ms;
}

/* How long an end may take in all. */
static int64_t stop_limit_ms(const struct config *c)
{
    return c->stop_grace_ms > STOP_LEAST_MS ? c->stop_grace_ms : STOP_LEAST_MS;
}

/* A handler in a database that hangs, or a disk that does, cannot be called back: then the
 * process ends around it. Nothing that was promised lives in this process alone. */
static void *cut_run(void *arg)
{
    struct app *a = arg;
    int64_t limit_ms = stop_limit_ms(a->config);
    struct timespec until;
    int rc;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)(limit_ms / 1000) + 1;
    do {
        rc = sem_clockwait(&a->is_stopped, CLOCK_MONOTONIC, &until);
    } while (rc != 0 && errno == EINTR);
    if (rc == 0)
        return NULL;
    log_error("manager.cut", LOG_I("after_ms", limit_ms));
    _exit(EXIT_CUT);
}

static void app_stop(struct app *a)
{
    int64_t began_ms = clock_mono_ms();
    pthread_t cut;

    FAILPOINT(manager_stopping);
    sem_init(&a->is_stopped, 0, 0);
    bool is_watched = pthread_create(&cut, NULL, cut_run, a) == 0;
    if (a->service)
        service_end_readiness(a->service);
    supervisor_stop(&a->supervisor);
    if (a->service)
        service_drain(a->service);
    http_server_stop_free(a->server,
                          time_left(began_ms, a->config->stop_grace_ms, HTTP_GRACE_MS));
    service_stop_free(a->service);
    FAILPOINT(manager_drained);
    broker_close(a->publisher);
    store_close(a->store);
    container_store_close(a->containers);
    objstore_close(a->objects);
    sem_post(&a->is_stopped);
    if (is_watched)
        pthread_join(cut, NULL);
    sem_destroy(&a->is_stopped);
}

static void log_ready(const struct app *a, int64_t began_ms)
{
    const char *address;

    for (size_t i = 0; (address = http_server_address(a->server, i)) != NULL; i++)
        log_info("manager.ready", LOG_S("address", address),
                 LOG_S("store", store_name(a->store)),
                 LOG_S("broker", broker_delivers(a->publisher) ? "rabbitmq" : "none"),
                 LOG_I("startup_ms", clock_mono_ms() - began_ms));
}

/* Of two times to wait; negative ones are without end. */
static int64_t sooner_ms(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 || a < b ? a : b;
}

/* Waits for the signals that concern the main thread until one asks to end. */
static void serve_signals(struct app *a, const sigset_t *signals)
{
    for (;;) {
        siginfo_t info;
        int64_t wait = sooner_ms(supervisor_wait_ms(&a->supervisor), alive_wait_ms());
        struct timespec limit = {wait / 1000, (wait % 1000) * 1000000};
        int got = wait < 0 ? sigwaitinfo(signals, &info) : sigtimedwait(signals, &info, &limit);

        if (got == SIGTERM || got == SIGINT) {
            log_info("manager.stopping", LOG_S("signal", strsignal(got)));
            notify_stopping(stop_limit_ms(a->config) + CUT_SPARE_MS);
            return;
        }
        supervisor_step(&a->supervisor);
        alive_tell(http_server_address(a->server, 0));
    }
}

static void stop_signals(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
}

void app_hold_signals(bool hold)
{
    sigset_t signals;

    stop_signals(&signals);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &signals, NULL);
}

static bool is_asked_to_stop(void)
{
    sigset_t pending;

    sigpending(&pending);
    return sigismember(&pending, SIGTERM) || sigismember(&pending, SIGINT);
}

int app_run(const struct config *config, struct err *err)
{
    struct app a = {.config = config};
    int64_t began_ms = clock_mono_ms();
    sigset_t signals;

    /* Blocked before any thread starts, so that only serve_signals sees them. */
    stop_signals(&signals);
    sigaddset(&signals, SIGCHLD);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_DFL); /* ignored, as some starters leave it, children would vanish */
    if (is_asked_to_stop())
        return 0;
    FAILPOINT(manager_starting);
    notify_open();

    int rc = app_start(&a, err);
    if (!rc) {
        FAILPOINT(manager_serving);
        log_ready(&a, began_ms);
        supervisor_start(&a.supervisor, config, http_server_address(a.server, 0));
        notify_tell("READY=1");
        serve_signals(&a, &signals);
    }
    app_stop(&a);
    if (rc == -E_CANCELLED)
        return 0; /* asked to end before it had begun */
    if (!rc)
        log_info("manager.stopped", LOG_I("pid", getpid()));
    return rc;
}

int app_check(const struct config *config, struct err *err)
{
    struct broker *b = NULL;
    int rc = of_setting(http_check_listen(config->listen, err), "LISTEN", err);

    if (!rc)
        rc = of_setting(store_check_url(config->database_url, err), "DATABASE_URL", err);
    if (!rc)
        rc = of_setting(objstore_check_url(config->storage_url, err), "STORAGE_URL", err);
    if (!rc)
        rc = of_setting(container_check_settings(config->azure_connection, err),
                        "AZURE_STORAGE_CONNECTION_STRING", err);
    if (!rc)
        rc = of_setting(broker_open(config->amqp_url, BROKER_PUBLISH, "check", &b, err),
                        "AMQP_URL", err);
    broker_close(b);
    if (!rc)
        rc = service_check_settings(config, err);
    return rc ? rc : service_check_pipelines(config, err);
}

/* -- task_manager db … -- */

static int db_current(struct store *s, struct err *err)
{
    int version = 0, newest = 0;
    int rc = store_version(s, &version, &newest, err);

    if (!rc)
        printf("%d%s\n", version, version == newest ? " (newest)" : "");
    return rc;
}

static int db_history(struct store *s, struct err *err)
{
    struct buf text = BUF_INIT;
    int rc = store_history(s, &text, err);

    if (!rc)
        fputs(text.data, stdout);
    buf_release(&text);
    return rc;
}

int app_db(const struct config *config, const char *command, struct err *err)
{
    static const struct {
        const char *name;
        int (*run)(struct store *, struct err *);
        bool shows_version;
    } commands[] = {
        {"upgrade", store_upgrade, true},
        {"downgrade", store_downgrade, true},
        {"current", db_current, false},
        {"history", db_history, false},
    };
    struct store *s = NULL;

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(command, commands[i].name) != 0)
            continue;
        int rc = of_setting(store_open(config->database_url, 1, &s, err), "DATABASE_URL", err);
        if (!rc)
            rc = commands[i].run(s, err);
        if (!rc && commands[i].shows_version)
            rc = db_current(s, err);
        store_close(s);
        return rc;
    }
    return err_set(err, -E_BAD_VALUE,
                   "db %s: unknown; there are upgrade, downgrade, current and history",
                   command);
}
