/* fixture.c - the test server's routes and sink. */
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "fixture.h"

struct sink {
    struct fixture *f;
    uint64_t size, hash;
};

uint64_t hash_more(uint64_t hash, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)bytes[i]) * UINT64_C(1099511628211);
    return hash;
}

static int sink_begin(void *context, const struct exchange *x, int64_t expected,
                      void **ret_sink, struct err *err)
{
    (void)x;
    struct fixture *f = context;
    struct sink *s;

    (void)expected;
    if (atomic_load(&f->fail_begin))
        return err_set(err, -atomic_load(&f->fail_begin), "no room today");
    s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory");
    s->f = f;
    s->hash = HASH_START;
    atomic_fetch_add(&f->begun, 1);
    *ret_sink = s;
    return 0;
}

static int sink_write(void *sink, const void *bytes, size_t len, struct err *err)
{
    struct sink *s = sink;

    if (atomic_load(&s->f->fail_write) &&
        (long long)(s->size + len) > atomic_load(&s->f->fail_write_after))
        return err_set(err, -atomic_load(&s->f->fail_write), "the disk is full");
    s->hash = hash_more(s->hash, bytes, len);
    s->size += len;
    atomic_fetch_add(&s->f->written, (long long)len);
    return 0;
}

static void sink_abort(void *sink)
{
    struct sink *s = sink;
    atomic_fetch_add(&s->f->aborted, 1);
    free(s);
}

static void get_ping(struct exchange *x, void *context)
{
    (void)context;
    reply_text(x, 200, "text/plain", "pong");
}

static void any_item(struct exchange *x, void *context)
{
    (void)context;
    reply_text(x, 200, "text/plain", exchange_param(x, 0));
}

static void get_query(struct exchange *x, void *context)
{
    const char *q = exchange_query(x, "q");

    (void)context;
    if (q)
        reply_text(x, 200, "text/plain", q);
    else
        reply_problem(x, 404, "no q", "the parameter \"%s\" is missing", "q");
}

static void get_base(struct exchange *x, void *context)
{
    (void)context;
    exchange_set_header(x, "Location", exchange_base_url(x));
    exchange_set_header(x, "X-Torn", "a\r\nX-Injected: yes");
    reply_text(x, 200, "text/plain", exchange_base_url(x));
}

static void get_err(struct exchange *x, void *context)
{
    struct err err = ERR_INIT;

    (void)context;
    err_set(&err, -(int)strtol(exchange_param(x, 0), NULL, 10), "secret sentence %c", 0xff);
    reply_err(x, &err);
}

static void post_echo(struct exchange *x, void *context)
{
    size_t len;
    const char *body = exchange_body(x, &len);

    (void)context;
    reply_json_take(x, 200, strndup(body, len));
}

static void post_upload(struct exchange *x, void *context)
{
    struct fixture *f = context;
    struct upload *u = exchange_take_upload(x);
    const char *note = exchange_form(x, "note");
    char *text = NULL;

    assert_non_null(u);
    assert_null(exchange_take_upload(x));
    struct sink *s = u->sink;
    if (s->size != u->size || asprintf(&text,
                                       "{\"size\":%" PRIu64 ",\"hash\":\"%016" PRIx64
                                       "\",\"filename\":\"%s\",\"note\":\"%s\"}",
                                       s->size, s->hash, u->filename, note ? note : "") < 0)
        text = NULL;
    free(s);
    atomic_fetch_add(&f->taken, 1);
    reply_json_take(x, 202, text);
}

static void get_slow(struct exchange *x, void *context)
{
    struct fixture *f = context;

    pthread_mutex_lock(&f->lock);
    f->slow++;
    pthread_cond_broadcast(&f->changed);
    while (!f->released)
        pthread_cond_wait(&f->changed, &f->lock);
    f->slow--;
    pthread_mutex_unlock(&f->lock);
    reply_text(x, 200, "text/plain", "at last");
}

static void get_park(struct exchange *x, void *context)
{
    struct fixture *f = context;

    pthread_mutex_lock(&f->lock);
    assert_true(f->parked_count < PARKED_MAX);
    f->parked[f->parked_count++] = x;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static void get_file(struct exchange *x, void *context)
{
    struct fixture *f = context;
    struct file_reply file = {open(f->file_path, O_RDONLY | O_CLOEXEC), f->file_size, "tag1",
                              "text/csv", "result.csv"};
    reply_file(x, &file);
}

static const struct http_route routes[] = {
    {HTTP_GET, "/ping", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_ping},
    {HTTP_GET, "/items/{id}", HTTP_BODY_NONE, HTTP_LANE_COMMON, any_item},
    {HTTP_PUT, "/items/{id}", HTTP_BODY_JSON, HTTP_LANE_COMMON, any_item},
    {HTTP_DELETE, "/items/{id}", HTTP_BODY_NONE, HTTP_LANE_COMMON, any_item},
    {HTTP_GET, "/query", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_query},
    {HTTP_GET, "/base", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_base},
    {HTTP_GET, "/err/{code}", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_err},
    {HTTP_POST, "/echo", HTTP_BODY_JSON, HTTP_LANE_COMMON, post_echo},
    {HTTP_POST, "/batch", HTTP_BODY_BATCH, HTTP_LANE_COMMON, post_echo},
    {HTTP_POST, "/upload", HTTP_BODY_UPLOAD, HTTP_LANE_COMMON, post_upload},
    {HTTP_GET, "/slow", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_slow},
    {HTTP_GET, "/worker/slow", HTTP_BODY_NONE, HTTP_LANE_WORKER, get_slow},
    {HTTP_GET, "/worker/ping", HTTP_BODY_NONE, HTTP_LANE_WORKER, get_ping},
    {HTTP_GET, "/now", HTTP_BODY_NONE, HTTP_LANE_INLINE, get_ping},
    {HTTP_GET, "/stall", HTTP_BODY_NONE, HTTP_LANE_INLINE, get_slow},
    {HTTP_GET, "/probe", HTTP_BODY_NONE, HTTP_LANE_PROBE, get_ping},
    {HTTP_GET, "/park", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_park},
    {HTTP_POST, "/hold", HTTP_BODY_BATCH, HTTP_LANE_COMMON, get_park},
    {HTTP_GET, "/file", HTTP_BODY_NONE, HTTP_LANE_COMMON, get_file},
    {HTTP_GET, NULL, HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
};

void fixture_init(struct fixture *f)
{
    *f = (struct fixture){.options = {.listen = "127.0.0.1:0",
                                      .threads = 2,
                                      .handler_threads = 4,
                                      .max_connections = 1000,
                                      .max_connections_per_ip = 1000,
                                      .idle_timeout_ms = 30000,
                                      .header_timeout_ms = 10000,
                                      .request_timeout_ms = 30000,
                                      .min_body_rate = 16384,
                                      .max_upload_bytes = 1 << 30,
                                      .max_json_bytes = 4096,
                                      .routes = routes,
                                      .sink = {sink_begin, sink_write, sink_abort}}};
    f->options.context = f;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
}

void fixture_start(struct fixture *f)
{
    struct err err = ERR_INIT;

    if (http_server_start(&f->options, &f->server, &err) < 0)
        fail_msg("%s", err.text);
    f->address = http_server_address(f->server, 0);
    assert_non_null(f->address);
}

void fixture_release(struct fixture *f)
{
    fixture_let_go(f);
    while (f->parked_count > 0) /* of a test that failed */
        reply_text(fixture_take_parked(f), 503, "text/plain", "the test is over");
    http_server_stop_free(f->server, 1000);
    f->server = NULL;
    assert_int_equal(atomic_load(&f->begun), atomic_load(&f->aborted) + atomic_load(&f->taken));
    if (*f->file_path)
        unlink(f->file_path);
    pthread_mutex_destroy(&f->lock);
    pthread_cond_destroy(&f->changed);
}

void fixture_make_file(struct fixture *f, uint64_t size)
{
    snprintf(f->file_path, sizeof f->file_path, "/tmp/segue-http-XXXXXX");
    int fd = mkostemp(f->file_path, O_CLOEXEC);
    assert_true(fd >= 0);
    char block[4096];
    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)('a' + i % 26);
    for (uint64_t at = 0; at < size; at += sizeof block) {
        size_t len = size - at < sizeof block ? (size_t)(size - at) : sizeof block;
        assert_int_equal(write(fd, block, len), len);
    }
    close(fd);
    f->file_size = size;
}

void fixture_let_go(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->released = true;
    pthread_cond_broadcast(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

void fixture_hold_again(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    f->released = false;
    pthread_mutex_unlock(&f->lock);
}

/* Waits until *count reaches value, at most 20 s. */
static void wait_count(struct fixture *f, const int *count, int value)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    pthread_mutex_lock(&f->lock);
    while (*count < value)
        if (pthread_cond_timedwait(&f->changed, &f->lock, &until) != 0)
            fail_msg("%d instead of %d", *count, value);
    pthread_mutex_unlock(&f->lock);
}

void fixture_wait_slow(struct fixture *f, int count)
{
    wait_count(f, &f->slow, count);
}

void fixture_wait_parked(struct fixture *f, int count)
{
    wait_count(f, &f->parked_count, count);
}

struct exchange *fixture_take_parked(struct fixture *f)
{
    pthread_mutex_lock(&f->lock);
    assert_true(f->parked_count > 0);
    struct exchange *x = f->parked[0];
    memmove(f->parked, f->parked + 1, (size_t)--f->parked_count * sizeof f->parked[0]);
    pthread_mutex_unlock(&f->lock);
    return x;
}

void wait_for(atomic_int *counter, int value)
{
    for (int i = 0; atomic_load(counter) < value; i++) {
        if (i == 20000)
            fail_msg("%d instead of %d", atomic_load(counter), value);
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
}
