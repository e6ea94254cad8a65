/* faults_net.c - the HTTP client while memory, descriptors and its link fail in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "http_client.h"
#include "scripted_server.h"

static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                             "Content-Length: 13\r\n\r\n{\"ok\":\"yes!\"}";

/* Answers one request after the other; this side of the link never fails. */
static void script(struct scripted_server *s, int fd, int connection)
{
    (void)connection;
    faults_spare_thread(true);
    while (scripted_take_head(s, fd)) {
        const char *length = strstr(s->request, "Content-Length: ");
        if (length)
            scripted_take_body(s, fd, strtoul(length + 16, NULL, 10));
        scripted_say(fd, answer);
    }
}

static int call_once(struct http_client *c, const struct http_call *call, struct err *err)
{
    struct http_answer got;
    int rc = http_client_call(c, call, &got, err);

    if (!rc) {
        assert_int_equal(got.status, 200);
        if (call->sink_fd <= 0)
            assert_string_equal(got.body.data, "{\"ok\":\"yes!\"}");
    }
    buf_release(&got.body);
    return rc;
}

static int calls(struct http_client *c, int file, int sink, struct err *err)
{
    static const char *const headers[] = {"Idempotency-Key: k", NULL};
    const struct http_call all[] = {
        {.method = "GET", .path = "/v1/tasks?page=2", .headers = headers},
        {.method = "POST",
         .path = "/v1/tasks",
         .content_type = "application/json",
         .body = "{\"type\":\"noop\"}",
         .body_len = 15},
        {.method = "POST",
         .path = "/upload",
         .content_type = "text/csv",
         .body_fd = file,
         .body_size = 10},
        {.method = "GET", .path = "/download", .sink_fd = sink},
    };
    int rc = 0;

    for (size_t i = 0; i < sizeof all / sizeof all[0] && !rc; i++) {
        struct http_call call = all[i];
        call.timeout_ms = 20000;
        rc = call_once(c, &call, err);
    }
    return rc;
}

static int run(void *arg, struct err *err)
{
    const struct scripted_server *server = arg;
    struct http_client *c = NULL;
    struct buf escaped = BUF_INIT;
    int file = memfd_create("file", MFD_CLOEXEC), sink = memfd_create("sink", MFD_CLOEXEC);
    int rc = file < 0 || sink < 0 ? err_set(err, -E_IO, "the test's own files") : 0;

    if (!rc && (write(file, "ten bytes.", 10) != 10 || lseek(file, 0, SEEK_SET) != 0))
        rc = err_set(err, -E_IO, "the test's own file");
    if (!rc)
        rc = http_client_new(server->base, &c, err);
    if (!rc)
        rc = calls(c, file, sink, err);
    http_client_free(c);
    http_escape(&escaped, "a b");
    if (!rc && !buf_ok(&escaped))
        rc = err_set(err, -E_NO_MEMORY, "no memory to escape");
    buf_release(&escaped);
    if (file >= 0)
        close(file);
    if (sink >= 0)
        close(sink);
    return rc;
}

static void a_call_fails_with_a_sentence_and_leaves_nothing(void **state)
{
    struct scripted_server server;
    const struct faults_scenario s = {
        .name = "http client", .run = run, .arg = &server, .settles = true};

    (void)state;
    scripted_server_start(&server, script);
    faults_torture(&s, FAULTS_OF_LINKS | 1U << FAULT_MEMORY | 1U << FAULT_WRITE |
                           1U << FAULT_READ | 1U << FAULT_THREAD);
    scripted_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_fails_with_a_sentence_and_leaves_nothing),
    };
    struct err err = ERR_INIT;

    if (http_client_global_init(&err))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
