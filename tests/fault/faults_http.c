/* faults_http.c - the whole task manager in this process, asked over HTTP by a client whose own
 * calls never fail, while any one call of the manager, or all from one on, fail. A request is
 * answered rightly, or with 5xx, or its connection ends; it never hangs and is never blamed on
 * the client; and once the fault is over the same server works. */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"
#include "faults.h"
#include "log.h"
#include "routes.h"

enum { GRACE_MS = 5000 };

static char dir[64], storage[96], database[128];
static struct config config;

struct house {
    struct objstore *objects;
    struct store *store;
    struct broker *broker;
    struct service *service;
    struct http_server *server;
    struct api api;
};

static int serve(struct house *h, struct err *err)
{
    const struct config *c = &config;
    const struct http_options options = {
        .listen = "127.0.0.1:0",
        .threads = 1,
        .handler_threads = 2,
        .max_connections = 100,
        .max_connections_per_ip = 100,
        .idle_timeout_ms = c->idle_timeout_ms,
        .header_timeout_ms = c->header_timeout_ms,
        .request_timeout_ms = c->request_timeout_ms,
        .min_body_rate = c->min_body_rate,
        .max_upload_bytes = c->max_upload_bytes,
        .max_json_bytes = c->max_json_bytes,
        .routes = api_routes(),
        .sink = api_sink(),
        .context = &h->api,
    };

    h->api = (struct api){.service = h->service, .config = c};
    return http_server_start(&options, &h->server, err);
}

static int house_open(struct house *h, struct err *err)
{
    *h = (struct house){.store = NULL};
    int rc = objstore_open(storage, &h->objects, err);

    if (!rc)
        rc = store_open(database, 4, &h->store, err);
    if (!rc)
        rc = store_upgrade(h->store, err);
    if (!rc)
        rc = broker_open("", BROKER_PUBLISH, "test", &h->broker, err);
    if (!rc) {
        const struct service_parts parts = {&config, h->store, h->objects, h->broker};
        rc = service_start(&parts, &h->service, err);
    }
    return rc ? rc : serve(h, err);
}

static void house_close(struct house *h)
{
    if (h->service)
        service_drain(h->service);
    http_server_stop_free(h->server, GRACE_MS);
    service_stop_free(h->service);
    broker_close(h->broker);
    store_close(h->store);
    objstore_close(h->objects);
}

/* -- the client -- */

struct visit {
    const char *address;
    struct buf body; /* of the last answer */
    struct err *err;
};

/* 0 when the answer is `wanted`. */
static int ask(struct visit *v, int wanted, const char *request)
{
    int line = (int)strcspn(request, "\r");
    int status = client_ask(v->address, request, &v->body);

    if (status == wanted)
        return 0;
    if (status != 0 && status < 500)
        fail_msg("%.*s: %d %s", line, request, status, v->body.data);
    return err_set(v->err, -E_UNAVAILABLE, "%.*s: %d", line, request, status);
}

static int post(struct visit *v, int wanted, const char *path, const char *type,
                const char *body)
{
    struct buf text = BUF_INIT;

    buf_printf(&text,
               "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
               "\r\n%s",
               path, type, strlen(body), body);
    int rc = ask(v, wanted, text.data);
    buf_release(&text);
    return rc;
}

static int on_task(struct visit *v, int wanted, const char *method, const char *path,
                   const char *id)
{
    char text[256];

    snprintf(text, sizeof text, "%s %s%s HTTP/1.1\r\nHost: x\r\n\r\n", method, path, id);
    return ask(v, wanted, text);
}

static int submit(struct visit *v, char ret_id[ID_TEXT_MAX])
{
    static const char form[] =
        "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.csv\"\r\n\r\n"
        "Song,Date,Number of Plays\r\n--b--\r\n";
    int rc = post(v, 202, "/v1/data_processor/upload?on_bad_row=skip", "text/csv",
                  "Song,Date,Number of Plays\n");

    if (!rc)
        rc = post(v, 202, "/v1/data_processor/upload", "multipart/form-data; boundary=b", form);
    if (!rc)
        rc = post(v, 202, "/v1/tasks", "application/json",
                  "{\"type\":\"noop\",\"params\":{\"sleep_ms\":1},\"queue\":\"default\"}");
    if (rc)
        return rc;
    const char *at = strstr(v->body.data, "\"task_id\":");
    assert_non_null(at);
    snprintf(ret_id, ID_TEXT_MAX, "%s", strchr(at + 10, '"') + 1);
    assert_true(id_is_valid(ret_id));
    return 0;
}

static int work(struct visit *v)
{
    struct claim_item *items = NULL;
    struct heartbeat beats[3];
    struct report reports[3];
    size_t count = 0;
    struct err why = ERR_INIT;
    int rc = post(v, 200, "/v1/worker/claim", "application/json",
                  "{\"worker\":\"w\",\"queues\":[\"default\"],\"limit\":3,\"wait_ms\":0}");

    if (rc)
        return rc;
    if (work_list_decode(v->body.data, v->body.len, &items, &count, &why))
        fail_msg("%s", why.text);
    memset(beats, 0, sizeof beats);
    memset(reports, 0, sizeof reports);
    for (size_t i = 0; i < count; i++) {
        memcpy(beats[i].task_id, items[i].work.task_id, sizeof beats[i].task_id);
        memcpy(beats[i].token, items[i].work.token, sizeof beats[i].token);
        memcpy(reports[i].task_id, items[i].work.task_id, sizeof reports[i].task_id);
        memcpy(reports[i].token, items[i].work.token, sizeof reports[i].token);
        reports[i].outcome = ATTEMPT_RELEASED;
        work_release(&items[i].work);
    }
    free(items);
    assert_int_equal(count, 3);
    char *text = heartbeat_list_encode("w", beats, count);
    rc = post(v, 200, "/v1/worker/heartbeat", "application/json", text);
    free(text);
    if (rc)
        return rc;
    text = report_list_encode("w", reports, count);
    rc = post(v, 200, "/v1/worker/report", "application/json", text);
    free(text);
    return rc;
}

static int look(struct visit *v, const char *id)
{
    int rc = on_task(v, 200, "GET", "/v1/tasks/", id);

    if (!rc)
        rc = on_task(v, 200, "GET", "/v1/tasks/status/", id);
    if (!rc)
        rc = on_task(v, 400, "GET", "/v1/data_processor/download/", id);
    if (!rc)
        rc = on_task(v, 200, "GET", "/v1/tasks?page_size=2&status=RECEIVED", "");
    if (!rc)
        rc = on_task(v, 200, "DELETE", "/v1/tasks/", id);
    if (!rc)
        rc = on_task(v, 200, "GET", "/metrics", "");
    return rc ? rc : on_task(v, 200, "GET", "/readyz", "");
}

/* Faults are over: this very server does all of it, at the first try. */
static void works_again(struct house *h)
{
    struct err err = ERR_INIT;
    struct visit v = {http_server_address(h->server, 0), BUF_INIT, &err};
    char id[ID_TEXT_MAX];

    if (submit(&v, id) || look(&v, id))
        fail_msg("after the fault: %s", err.text);
    buf_release(&v.body);
}

static int run(void *arg, struct err *err)
{
    struct house h;
    char id[ID_TEXT_MAX];
    int rc = house_open(&h, err);

    (void)arg;
    if (!rc) {
        struct visit v = {http_server_address(h.server, 0), BUF_INIT, err};
        faults_spare_thread(true);
        rc = submit(&v, id);
        if (!rc)
            rc = work(&v);
        if (!rc)
            rc = look(&v, id);
        buf_release(&v.body);
        faults_disarm();
        works_again(&h);
        faults_spare_thread(false);
    }
    house_close(&h);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    return ftw->level > 0 ? remove(path) : 0;
}

static void begin_with_nothing(void *arg, int rc)
{
    (void)arg;
    (void)rc;
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void requests_are_answered_whatever_fails(void **state)
{
    struct faults_scenario s = {
        .name = "http", .run = run, .check = begin_with_nothing, .settles = true, .limit = 20};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY | 1U << FAULT_RECV |
                           1U << FAULT_SEND | 1U << FAULT_THREAD);
    s.once_only = true;
    faults_torture(&s, 1U << FAULT_ACCEPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_whatever_fails),
    };
    char *const argv[] = {(char[]){"test"}, NULL};
    struct err err = ERR_INIT;

    if (config_load(&config, CONFIG_MANAGER, 1, argv, NULL, &err))
        return 1;
    config.min_free_bytes = 0;
    /* Thousands of faults would be told. */
    log_setup(getenv("SEGUE_FAULTS_LOG") ? LOG_DEBUG : LOG__COUNT, LOG_TEXT);
    snprintf(dir, sizeof dir, "%s/segue-faults-http-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    snprintf(storage, sizeof storage, "file:%s/objects", dir);
    snprintf(database, sizeof database, "sqlite:%s/segue.db", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    begin_with_nothing(NULL, 0);
    rmdir(dir);
    config_release(&config);
    return failed;
}
