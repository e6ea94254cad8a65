/* What a caller of http_client may rely on, against a real socket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "http_client.h"
#include "http_head.h"
#include "scripted_server.h"

#define OK_EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct scripted_server server;
static struct http_client *client;
static struct http_answer answer;
static struct err err;

static void start(void (*script)(struct scripted_server *s, int fd, int connection))
{
    scripted_server_start(&server, script);
    assert_int_equal(http_client_new(server.base, &client, &err), 0);
}

static int call(const struct http_call *c)
{
    buf_release(&answer.body);
    err = (struct err)ERR_INIT;
    return http_client_call(client, c, &answer, &err);
}

/* The client goes first: a script may be waiting for it to hang up. */
static int stop(void **state)
{
    (void)state;
    http_client_free(client);
    client = NULL;
    buf_release(&answer.body);
    scripted_server_stop(&server);
    return 0;
}

static int temp_file(const void *bytes, size_t len)
{
    char path[] = "/tmp/segue-net-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd > 0);
    unlink(path);
    assert_int_equal(write(fd, bytes, len), len);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

/* --- answers --- */

static void answer_problem(struct scripted_server *s, int fd, int n)
{
    (void)n;
    if (scripted_take_head(s, fd))
        scripted_say(fd, "HTTP/1.1 429 Slow down\r\nContent-Type: application/problem+json\r\n"
                         "Retry-After: 7\r\nLocation: /v1/tasks/1\r\nContent-Length: 2\r\n"
                         "Content-Disposition: attachment; filename=\"../a b.csv\"\r\n\r\n{}");
}

static void answer_head(struct scripted_server *s, int fd, int n)
{
    (void)n;
    if (scripted_take_head(s, fd))
        scripted_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 7777\r\nx-ms-meta-a:  b c \r\n"
                         "ETag: \"1\"\r\n\r\n");
    scripted_wait_hangup(fd);
}

static void test_a_head_request_gives_the_fields_and_waits_for_no_body(void **state)
{
    char value[16];

    (void)state;
    start(answer_head);
    assert_int_equal(
        call(&(struct http_call){.method = "HEAD", .path = "/x", .keep_head = true}), 0);
    assert_int_equal(answer.status, 200);
    assert_int_equal(answer.body.len, 0);
    assert_true(http_answer_field(&answer, "X-MS-Meta-A", value, sizeof value));
    assert_string_equal(value, "b c");
    assert_true(http_answer_field(&answer, "etag", value, sizeof value));
    assert_true(http_answer_field(&answer, "content-length", value, 5));
    assert_false(http_answer_field(&answer, "content-length", value, 4));
    assert_false(http_answer_field(&answer, "content", value, sizeof value));
    http_answer_release(&answer);
    assert_false(http_answer_field(&answer, "etag", value, sizeof value));
}

static void test_any_status_is_an_answer_with_its_fields(void **state)
{
    (void)state;
    start(answer_problem);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/x"}), 0);
    assert_int_equal(answer.status, 429);
    assert_string_equal(answer.body.data, "{}");
    assert_string_equal(answer.content_type, "application/problem+json");
    assert_string_equal(answer.location, "/v1/tasks/1");
    assert_string_equal(answer.filename, "a b.csv");
    assert_int_equal(answer.retry_after_s, 7);
}

static void answer_redirect(struct scripted_server *s, int fd, int n)
{
    char text[256];

    snprintf(text, sizeof text,
             "HTTP/1.1 302 Found\r\nLocation: %s/else\r\nContent-Length: 0\r\n\r\n", s->base);
    (void)n;
    while (scripted_take_head(s, fd))
        scripted_say(fd, text);
}

static void test_a_redirect_is_not_followed(void **state)
{
    (void)state;
    start(answer_redirect);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/here"}), 0);
    assert_int_equal(answer.status, 302);
    assert_non_null(strstr(server.request, "GET /here HTTP/1.1"));
}

static void answer_ten_bytes(struct scripted_server *s, int fd, int n)
{
    (void)n;
    while (scripted_take_head(s, fd))
        scripted_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789");
}

static void test_an_answer_past_the_cap_is_too_big(void **state)
{
    (void)state;
    start(answer_ten_bytes);
    struct http_call c = {.method = "GET", .path = "/", .max_answer_bytes = 10};
    assert_int_equal(call(&c), 0);
    assert_int_equal(answer.body.len, 10);
    c.max_answer_bytes = 9;
    assert_int_equal(call(&c), -E_TOO_BIG);
}

static void answer_endless_head(struct scripted_server *s, int fd, int n)
{
    char line[4096] = "X-Long: ";

    (void)n;
    memset(line + 8, 'x', sizeof line - 11);
    memcpy(line + sizeof line - 3, "\r\n", 3);
    if (scripted_take_head(s, fd))
        scripted_say(fd, "HTTP/1.1 200 OK\r\n");
    for (int i = 0; i < 1000; i++)
        scripted_say(fd, line);
}

static void test_an_endless_head_is_too_big(void **state)
{
    (void)state;
    start(answer_endless_head);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/"}), -E_TOO_BIG);
}

static void answer_good_then_bad(struct scripted_server *s, int fd, int n)
{
    (void)n;
    scripted_take_head(s, fd);
    scripted_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood");
    scripted_take_head(s, fd);
    scripted_say(fd, "HTTP/1.1 404 Not Found\r\nContent-Length: 3\r\n\r\nbad");
}

static void test_only_a_good_answer_goes_into_the_sink(void **state)
{
    char got[16] = "";

    (void)state;
    start(answer_good_then_bad);
    int sink = temp_file("", 0);
    struct http_call c = {.method = "GET", .path = "/", .sink_fd = sink, .max_answer_bytes = 3};
    assert_int_equal(call(&c), 0);
    assert_int_equal(answer.body.len, 0);
    assert_int_equal(call(&c), 0);
    assert_string_equal(answer.body.data, "bad");
    assert_int_equal(pread(sink, got, sizeof got, 0), 4);
    assert_string_equal(got, "good");
    close(sink);
}

static void test_a_sink_that_takes_no_bytes_is_named(void **state)
{
    (void)state;
    start(answer_ten_bytes);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full > 0);
    struct http_call c = {.method = "GET", .path = "/", .sink_fd = full};
    assert_int_equal(call(&c), -E_NO_SPACE);
    close(full);
}

static void answer_half(struct scripted_server *s, int fd, int n)
{
    (void)n;
    scripted_take_head(s, fd);
    scripted_say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234");
}

static void test_a_cut_answer_is_a_broken_link(void **state)
{
    (void)state;
    start(answer_half);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/"}), -E_UNAVAILABLE);
}

/* --- requests --- */

static void take_hello(struct scripted_server *s, int fd, int n)
{
    (void)n;
    if (!scripted_take_head(s, fd))
        return;
    scripted_take_body(s, fd, 5);
    scripted_say(fd, OK_EMPTY);
}

static void test_bytes_and_headers_arrive_as_given(void **state)
{
    (void)state;
    start(take_hello);
    const char *headers[] = {"Idempotency-Key: k1", NULL};
    struct http_call c = {.method = "PUT",
                          .path = "/p?q=1",
                          .content_type = "text/csv",
                          .headers = headers,
                          .body = "hello",
                          .body_len = 5};
    assert_int_equal(call(&c), 0);
    assert_memory_equal(server.request, "PUT /p?q=1 HTTP/1.1\r\n", 21);
    assert_non_null(strstr(server.request, "\r\nContent-Type: text/csv\r\n"));
    assert_non_null(strstr(server.request, "\r\nIdempotency-Key: k1\r\n"));
    assert_non_null(strstr(server.request, "\r\nContent-Length: 5\r\n"));
    assert_null(strstr(server.request, "Expect"));
    assert_non_null(strstr(server.request, "\r\n\r\nhello"));
}

static void test_a_file_is_streamed_from_where_it_stands(void **state)
{
    (void)state;
    start(take_hello);
    int fd = temp_file("..hello", 7);
    assert_int_equal(lseek(fd, 2, SEEK_SET), 2);
    struct http_call c = {.method = "POST", .path = "/", .body_fd = fd, .body_size = 5};
    assert_int_equal(call(&c), 0);
    assert_non_null(strstr(server.request, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(server.request, "\r\n\r\nhello"));
    close(fd);
}

static void take_chunked(struct scripted_server *s, int fd, int n)
{
    (void)n;
    scripted_take_head(s, fd);
    scripted_say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    scripted_take_body(s, fd, strlen("5\r\nhello\r\n0\r\n\r\n"));
    scripted_say(fd, OK_EMPTY);
}

static void test_a_pipe_of_unknown_size_is_sent_in_chunks(void **state)
{
    int ends[2];

    (void)state;
    start(take_chunked);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "hello", 5), 5);
    close(ends[1]);
    struct http_call c = {.method = "POST", .path = "/", .body_fd = ends[0], .body_size = -1};
    assert_int_equal(call(&c), 0);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(server.request, "\r\nTransfer-Encoding: chunked\r\n"));
    assert_non_null(strstr(server.request, "5\r\nhello\r\n0\r\n\r\n"));
    close(ends[0]);
}

static void test_a_file_shorter_or_longer_than_said_is_an_error(void **state)
{
    (void)state;
    start(take_hello);
    int fd = temp_file("hell", 4);
    struct http_call c = {.method = "POST", .path = "/", .body_fd = fd, .body_size = 5};
    assert_int_equal(call(&c), -E_IO);
    assert_non_null(strstr(err.text, "ended after 4 of 5 bytes"));
    close(fd);

    c.body_fd = temp_file("hello!", 6);
    assert_int_equal(call(&c), -E_IO);
    assert_non_null(strstr(err.text, "grew past 5 bytes"));
    close(c.body_fd);
}

static void refuse_early(struct scripted_server *s, int fd, int n)
{
    (void)n;
    if (!scripted_take_head(s, fd))
        return;
    if (strstr(s->request, "Expect: 100-continue") && strstr(s->request, "/part"))
        scripted_say(fd, "HTTP/1.1 100 Continue\r\n\r\n");
    if (strstr(s->request, "/part"))
        scripted_take_body(s, fd, 1000);
    scripted_say(fd, "HTTP/1.1 413 Too big\r\nContent-Length: 3\r\n\r\nno!");
    if (strstr(s->request, "/ask")) { /* what comes after the refusal? nothing */
        shutdown(fd, SHUT_WR);
        scripted_take_body(s, fd, 1);
    }
}

static int sparse_file(off_t size)
{
    int fd = temp_file("", 0);

    assert_int_equal(ftruncate(fd, size), 0);
    return fd;
}

static void test_a_refused_upload_is_never_sent(void **state)
{
    (void)state;
    start(refuse_early);
    int fd = sparse_file(8 << 20);
    struct http_call c = {
        .method = "POST", .path = "/ask", .body_fd = fd, .body_size = 8 << 20};
    assert_int_equal(call(&c), 0);
    assert_int_equal(answer.status, 413);
    assert_string_equal(answer.body.data, "no!");
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    close(fd);
}

/* The server answers in the middle of the body and closes; what it did not read makes the
 * kernel reset the connection. */
static void test_an_answer_before_the_end_of_the_body_is_delivered(void **state)
{
    (void)state;
    start(refuse_early);
    int fd = sparse_file(8 << 20);
    for (int i = 0; i < 200; i++) {
        struct http_call c = {
            .method = "POST", .path = "/part", .body_fd = fd, .body_size = 8 << 20};
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        int rc = call(&c);
        if (rc)
            fail_msg("round %d: %s", i, err.text);
        assert_int_equal(answer.status, 413);
        assert_string_equal(answer.body.data, "no!");
    }
    close(fd);
}

/* --- connections --- */

static void hang_up_after_first(struct scripted_server *s, int fd, int n)
{
    scripted_take_head(s, fd);
    scripted_take_body(s, fd, 5);
    scripted_say(fd, OK_EMPTY);
    if (n > 0)
        return;
    scripted_take_head(s, fd); /* the second request dies with the connection */
}

static void test_a_kept_connection_is_used_again_and_replaced_when_dead(void **state)
{
    (void)state;
    start(hang_up_after_first);
    int fd = temp_file("hello", 5);
    struct http_call c = {.method = "POST", .path = "/", .body_fd = fd, .body_size = 5};
    assert_int_equal(call(&c), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(call(&c), 0);
    assert_non_null(strstr(server.request, "\r\n\r\nhello"));
    assert_int_equal(server.connections, 2);
    close(fd);
}

static void test_a_kept_connection_serves_many_calls(void **state)
{
    (void)state;
    start(answer_ten_bytes);
    for (int i = 0; i < 5; i++)
        assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/"}), 0);
    assert_int_equal(server.connections, 1);
}

static atomic_bool head_has_arrived;

static void stay_silent(struct scripted_server *s, int fd, int n)
{
    (void)n;
    scripted_take_head(s, fd);
    atomic_store(&head_has_arrived, true);
    scripted_wait_hangup(fd);
}

static void test_a_silent_server_ends_in_a_timeout(void **state)
{
    (void)state;
    start(stay_silent);
    struct http_call c = {.method = "GET", .path = "/", .timeout_ms = 100};
    assert_int_equal(call(&c), -E_TIMEOUT);
}

static void *turn_true(void *flag)
{
    while (!atomic_load(&head_has_arrived)) /* then the call waits for its answer */
        usleep(1000);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void test_the_stop_flag_ends_a_waiting_call_soon(void **state)
{
    static atomic_bool flag;
    pthread_t thread;

    (void)state;
    start(stay_silent);
    atomic_store(&head_has_arrived, false);
    atomic_store(&flag, false);
    assert_int_equal(pthread_create(&thread, NULL, turn_true, &flag), 0);
    struct http_call c = {.method = "GET", .path = "/", .stop = &flag};
    int64_t began = clock_mono_ms();
    assert_int_equal(call(&c), -E_CANCELLED);
    assert_true(clock_mono_ms() - began < 5000);
    pthread_join(thread, NULL);
}

static void test_nobody_listening_is_unavailable_and_says_where(void **state)
{
    (void)state;
    start(answer_ten_bytes);
    scripted_server_stop(&server);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/"}), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, server.base));
    assert_non_null(strstr(err.text, "Connection refused"));
    scripted_server_start(&server, answer_ten_bytes); /* for stop() */
}

static void test_the_environment_cannot_put_a_proxy_in_between(void **state)
{
    (void)state;
    assert_int_equal(setenv("http_proxy", "http://127.0.0.1:1", 1), 0);
    start(answer_ten_bytes);
    assert_int_equal(call(&(struct http_call){.method = "GET", .path = "/"}), 0);
    unsetenv("http_proxy");
}

/* --- what is refused before anything is sent --- */

static void test_control_bytes_in_paths_and_headers_are_refused(void **state)
{
    static const char *const paths[] = {"/a\r\nX: y", "/a b", "a", "/\x01", "/\x7f"};
    static const char *const lines[] = {"A: b\r\nX: y", "A: b\n", "no colon", ": none"};

    (void)state;
    start(answer_ten_bytes);
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        assert_int_equal(call(&(struct http_call){.method = "GET", .path = paths[i]}),
                         -E_BAD_VALUE);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        const char *headers[] = {lines[i], NULL};
        struct http_call c = {.method = "GET", .path = "/", .headers = headers};
        assert_int_equal(call(&c), -E_BAD_VALUE);
    }
    struct http_call c = {.method = "POST", .path = "/", .content_type = "a\r\nX: y"};
    assert_int_equal(call(&c), -E_BAD_VALUE);
    assert_int_equal(server.connections, 0);
}

static void test_only_plain_http_bases_make_a_client(void **state)
{
    static const char *const bad[] = {"",
                                      "127.0.0.1:5000",
                                      "ftp://x",
                                      "http://",
                                      "http:///x",
                                      "http://u:p@host",
                                      "file:///etc/passwd",
                                      "http://a b",
                                      "http://a\n"};
    struct http_client *c = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(http_client_new(bad[i], &c, NULL), -E_BAD_VALUE);
    assert_int_equal(http_client_new("https://host:1/prefix//", &c, NULL), 0);
    http_client_free(c);
    http_client_free(NULL);
}

static void test_file_names_from_a_server_stay_in_the_folder(void **state)
{
    static const struct {
        const char *field, *name;
    } cases[] = {
        {"attachment; filename=a.csv", "a.csv"},
        {"attachment; filename=a.csv; size=3", "a.csv"},
        {"attachment; filename=\"a \\\"b\\\".csv\"", "a \"b\".csv"},
        {"attachment; filename=\"../../etc/passwd\"", "passwd"},
        {"attachment; filename=\"c:\\\\x\\\\y.csv\"", "y.csv"},
        {"attachment; filename=\".bashrc\"", ""},
        {"attachment; filename=\"..\"", ""},
        {"attachment; filename=\"a\x1b[2J\"", ""},
        {"attachment; filename=", ""},
        {"attachment", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct http_answer a = {.status = 0};
        char line[256];
        int len = snprintf(line, sizeof line, "content-disposition: %s\r\n", cases[i].field);
        http_head_line(&a, line, (size_t)len);
        assert_string_equal(a.filename, cases[i].name);
    }
}

static void test_escaping_leaves_only_unreserved_characters(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    http_escape(&b, "a-Z_0.~ /&\xc3\xa4%");
    assert_string_equal(b.data, "a-Z_0.~%20%2F%26%C3%A4%25");
    buf_release(&b);
}

int main(void)
{
#define WITH_SERVER(f) cmocka_unit_test_teardown(f, stop)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(test_any_status_is_an_answer_with_its_fields),
        WITH_SERVER(test_a_redirect_is_not_followed),
        WITH_SERVER(test_an_answer_past_the_cap_is_too_big),
        WITH_SERVER(test_an_endless_head_is_too_big),
        WITH_SERVER(test_only_a_good_answer_goes_into_the_sink),
        WITH_SERVER(test_a_sink_that_takes_no_bytes_is_named),
        WITH_SERVER(test_a_cut_answer_is_a_broken_link),
        WITH_SERVER(test_bytes_and_headers_arrive_as_given),
        WITH_SERVER(test_a_file_is_streamed_from_where_it_stands),
        WITH_SERVER(test_a_pipe_of_unknown_size_is_sent_in_chunks),
        WITH_SERVER(test_a_file_shorter_or_longer_than_said_is_an_error),
        WITH_SERVER(test_a_refused_upload_is_never_sent),
        WITH_SERVER(test_an_answer_before_the_end_of_the_body_is_delivered),
        WITH_SERVER(test_a_kept_connection_is_used_again_and_replaced_when_dead),
        WITH_SERVER(test_a_kept_connection_serves_many_calls),
        WITH_SERVER(test_a_silent_server_ends_in_a_timeout),
        WITH_SERVER(test_the_stop_flag_ends_a_waiting_call_soon),
        WITH_SERVER(test_nobody_listening_is_unavailable_and_says_where),
        WITH_SERVER(test_the_environment_cannot_put_a_proxy_in_between),
        WITH_SERVER(test_control_bytes_in_paths_and_headers_are_refused),
        WITH_SERVER(test_a_head_request_gives_the_fields_and_waits_for_no_body),
        cmocka_unit_test(test_only_plain_http_bases_make_a_client),
        cmocka_unit_test(test_file_names_from_a_server_stay_in_the_folder),
        cmocka_unit_test(test_escaping_leaves_only_unreserved_characters),
    };

    if (http_client_global_init(NULL) != 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
