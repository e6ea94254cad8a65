/* The HTTP server as a client on the wire sees it: exact statuses, bodies, parked exchanges,
 * stopping. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"
#include "clock.h"
#include "fixture.h"
#include "log.h"
#include "metrics.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define HOST         "Host: h\r\n"

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    fixture_init(f);
    fixture_start(f);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    fixture_release(f);
    free(f);
    return 0;
}

static void expect(struct client *c, int status, const char *body)
{
    struct answer a;
    client_answer(c, true, &a);
    if (a.status != status)
        fail_msg("%d instead of %d: %s%s", a.status, status, a.head.data, a.body.data);
    if (body)
        assert_string_equal(a.body.data, body);
    answer_release(&a);
}

/* -- the gate, on the wire -- */

static void each_bad_request_gets_its_status_and_its_connection_is_closed(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *request;
    } cases[] = {
        {400,
         "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}"},
        {400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\nContent-Length: 40\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\n" HOST
              "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400,
         "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.1\r\n" HOST
              "Content-Length: 5\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n"},
        {400, "POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "Bad Name: x\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "Bad\x01Name: x\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "X: a\x01"
              "b\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "X: a\r\n folded\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "no colon\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\n" HOST "\r\n"},
        {400, "GET /ping HTTP/1.1\r\nHost: h\nX: y\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "\n"},
        {400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\n{"},
        {400, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n"},
        {413, "POST /echo HTTP/1.1\r\n" HOST
              "Content-Type: application/json\r\nContent-Length: 4097\r\n\r\n"},
        {413, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 1073741825\r\n\r\n"},
        {413,
         "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST HOST "\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "Authorization: a\r\nAuthorization: b\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "Idempotency-Key: a\r\nIdempotency-Key: b\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n" HOST "Content-Type: a/b\r\nContent-Type: a/b\r\n\r\n"},
        {400, "GET /ping HTTP/1.1\r\n\r\n"},
        {415, "POST /upload HTTP/1.1\r\n" HOST
              "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"},
        {417, "GET /ping HTTP/1.1\r\n" HOST "Expect: x\r\n\r\n"},
        {400, "GET /items/a b HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET http://h/ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n"},
        {400, "CONNECT h:80 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /ping%00 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/a%2fb HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/a%5Cb HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/%zz HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/a%0ab HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/\x01 HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/../ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /items/%2e%2E/ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET //ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /ping?q=%00 HTTP/1.1\r\n" HOST "\r\n"},
        {501, "BREW /ping HTTP/1.1\r\n" HOST "\r\n"},
        {400, "GET /ping HTTP/1.2\r\n\r\n"},
        {505, "GET /ping HTTP/2.0\r\n" HOST "\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client c;
        struct answer a;
        client_open(&c, f->address);
        client_send(&c, cases[i].request, strlen(cases[i].request));
        client_answer(&c, true, &a);
        if (a.status != cases[i].status)
            fail_msg("%d instead of %d for %s", a.status, cases[i].status, cases[i].request);
        if (strcasecmp(answer_header(&a, "Connection"), "close") != 0)
            fail_msg("not closed after %s", cases[i].request);
        /* Where libmicrohttpd 0.9.75 refuses by itself it may send its head twice. */
        client_drain(&c);
        answer_release(&a);
        client_close(&c);
    }
    assert_int_equal(client_ask(f->address, "GET /ping HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
}

static void nul_bytes_in_a_header_are_refused(void **state)
{
    struct fixture *f = *state;
    static const char request[] =
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\0x\r\n\r\n0\r\n\r\n";
    struct client c;

    client_open(&c, f->address);
    client_send(&c, request, sizeof request - 1);
    expect(&c, 400, NULL);
    client_close(&c);
}

static void smuggled_requests_do_not_run(void **state)
{
    struct fixture *f = *state;
    struct client c;
    int64_t before = metric_get(METRIC_HTTP_GATE_REFUSED);

    client_open(&c, f->address);
    client_sendf(&c,
                 "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nContent-Length: 60\r\n"
                 "\r\n{}GET /park HTTP/1.1\r\n" HOST "\r\n");
    expect(&c, 400, NULL);
    assert_true(client_is_closed(&c));
    assert_int_equal(f->parked_count, 0);
    assert_int_equal(metric_get(METRIC_HTTP_GATE_REFUSED), before + 1);
    client_close(&c);
}

static void long_targets_and_large_headers_have_their_own_statuses(void **state)
{
    struct fixture *f = *state;
    struct buf request = BUF_INIT;
    static const struct {
        int status, target, headers, value;
    } cases[] = {{200, 2048, 1, 10},  {414, 2049, 1, 10},   {414, 30000, 1, 10},
                 {414, 40000, 1, 10}, {200, 10, 63, 10},    {431, 10, 64, 10},
                 {200, 10, 1, 16200}, {431, 10, 1, 16400},  {431, 10, 1, 40000},
                 {431, 10, 500, 10},  {431, 10, 10000, 100}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&request);
        buf_append_str(&request, "GET /ping?");
        while (request.len < 4 + (size_t)cases[i].target)
            buf_append_char(&request, 'a');
        buf_append_str(&request, " HTTP/1.1\r\n" HOST);
        for (int h = 0; h < cases[i].headers; h++) {
            buf_printf(&request, "X-%d: ", h);
            for (int v = 0; v < cases[i].value; v++)
                buf_append_char(&request, 'v');
            buf_append_str(&request, "\r\n");
        }
        buf_append_str(&request, "\r\n");
        int status = client_ask(f->address, request.data, NULL);
        if (status != cases[i].status)
            fail_msg("case %zu: %d", i, status);
    }
    buf_release(&request);
}

static void an_http2_preface_and_an_upgrade_do_no_harm(void **state)
{
    struct fixture *f = *state;

    assert_int_equal(client_ask(f->address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", NULL), 505);
    assert_int_equal(client_ask(f->address,
                                "GET /ping HTTP/1.1\r\n" HOST
                                "Connection: Upgrade, HTTP2-Settings"
                                "\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
                                NULL),
                     200);
    assert_int_equal(client_ask(f->address, "\x16\x03\x01\x02\r\n\r\n", NULL), 0);
}

/* -- routing and replies -- */

static void routes_are_found_and_everything_else_is_404_or_405(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;
    struct client c;
    struct answer a;

    assert_int_equal(
        client_ask(f->address, "GET /items/a%20b/?x HTTP/1.1\r\n" HOST "\r\n", &body), 200);
    assert_string_equal(body.data, "a b");
    assert_int_equal(client_ask(f->address, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", &body),
                     404);
    assert_non_null(strstr(body.data, "\"title\":\"Not Found\""));
    assert_int_equal(client_ask(f->address, "OPTIONS /nothing HTTP/1.1\r\n" HOST "\r\n", NULL),
                     404);

    client_open(&c, f->address);
    client_sendf(&c, "POST /items/1 HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 405);
    assert_string_equal(answer_header(&a, "Allow"), "GET, HEAD, PUT, DELETE");
    assert_string_equal(answer_header(&a, "Content-Type"), "application/problem+json");
    assert_string_equal(answer_header(&a, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(answer_header(&a, "Cache-Control"), "no-store");
    answer_release(&a);
    /* the connection is still good: a refusal without a body costs nobody anything */
    client_sendf(&c, "PATCH /ping HTTP/1.1\r\n" HOST "\r\n");
    expect(&c, 405, NULL);
    client_sendf(&c, "GET /ping/ HTTP/1.1\r\n" HOST "\r\n");
    expect(&c, 200, "pong");
    client_close(&c);
    buf_release(&body);
}

static void head_has_the_headers_of_get_and_no_body(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct answer a;

    client_open(&c, f->address);
    client_sendf(&c, "HEAD /ping HTTP/1.1\r\n" HOST "\r\n");
    client_answer(&c, false, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Content-Length"), "4");
    answer_release(&a);
    client_sendf(&c, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    expect(&c, 200, "pong");
    client_close(&c);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    struct client c;
    char text[16];

    client_open(&c, f->address);
    for (int i = 0; i < 50; i++)
        client_sendf(&c, "GET /items/%d HTTP/1.1\r\n" HOST "\r\n", i);
    client_sendf(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                     "Content-Length: 2\r\n\r\n{}GET /ping HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 50; i++) {
        snprintf(text, sizeof text, "%d", i);
        expect(&c, 200, text);
    }
    expect(&c, 200, "{}");
    expect(&c, 200, "pong");
    client_close(&c);
}

static void problems_have_type_title_status_detail_and_error(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;

    assert_int_equal(client_ask(f->address, "GET /query HTTP/1.1\r\n" HOST "\r\n", &body), 404);
    assert_string_equal(body.data,
                        "{\"type\":\"about:blank\",\"title\":\"Not Found\",\"status\":404,"
                        "\"detail\":\"the parameter \\\"q\\\" is missing\","
                        "\"error\":\"no q\"}");
    assert_int_equal(
        client_ask(f->address, "GET /query?q=a%2Bb+c%2fd HTTP/1.1\r\n" HOST "\r\n", &body),
        200);
    assert_string_equal(body.data, "a+b c/d");
    buf_release(&body);
}

static void a_repeated_query_parameter_is_refused_by_name(void **state)
{
    struct fixture *f = *state;
    static const char *const queries[] = {"q=1&q=2", "q=1&a=3&q=1", "a&q=1&%71=2"};
    struct buf body = BUF_INIT;
    char request[128];

    for (size_t i = 0; i < COUNT(queries); i++) {
        snprintf(request, sizeof request, "GET /query?%s HTTP/1.1\r\n" HOST "\r\n", queries[i]);
        assert_int_equal(client_ask(f->address, request, &body), 400);
        assert_non_null(strstr(body.data, "\"detail\":\"q: "));
    }
    assert_int_equal(
        client_ask(f->address, "GET /query?q=1&Q=2 HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
    buf_release(&body);
}

static void errors_become_problems_and_ours_keep_their_sentence(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int code, status;
        bool shown, retry;
    } cases[] = {{E_NOT_FOUND, 404, true, false}, {E_BAD_STATE, 409, true, false},
                 {E_OVERLOAD, 429, true, true},   {E_UNAVAILABLE, 503, false, true},
                 {E_NO_SPACE, 507, false, false}, {E_IO, 500, false, false},
                 {E_BUG, 500, false, false},      {12345, 500, false, false}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client c;
        struct answer a;
        client_open(&c, f->address);
        client_sendf(&c, "GET /err/%d HTTP/1.1\r\n" HOST "\r\n", cases[i].code);
        client_answer(&c, true, &a);
        assert_int_equal(a.status, cases[i].status);
        assert_int_equal(strstr(a.body.data, "secret sentence") != NULL, cases[i].shown);
        assert_string_equal(answer_header(&a, "Retry-After"), cases[i].retry ? "1" : "");
        answer_release(&a);
        client_close(&c);
    }
}

static void links_use_the_host_only_when_it_is_sound(void **state)
{
    struct fixture *f = *state;
    char own[64], request[256];
    struct buf body = BUF_INIT;

    snprintf(own, sizeof own, "http://%s", f->address);
    static const struct {
        const char *host, *url;
    } cases[] = {{"example.org", "http://example.org"},
                 {"example.org:8080", "http://example.org:8080"},
                 {"[::1]:80", "http://[::1]:80"},
                 {"a/b", NULL},
                 {"user@h", NULL},
                 {"h:", NULL},
                 {"h:x", NULL},
                 {"", NULL},
                 {"[::1", NULL},
                 {"<script>", NULL}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(request, sizeof request, "GET /base HTTP/1.1\r\nHost: %s\r\n\r\n",
                 cases[i].host);
        assert_int_equal(client_ask(f->address, request, &body), 200);
        assert_string_equal(body.data, cases[i].url ? cases[i].url : own);
    }
    buf_release(&body);
}

static void a_reply_header_cannot_bring_another_with_it(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct answer a;

    client_open(&c, f->address);
    client_sendf(&c, "GET /base HTTP/1.1\r\nHost: h\r\n\r\n");
    client_answer(&c, true, &a);
    assert_string_equal(answer_header(&a, "Location"), "http://h");
    assert_string_equal(answer_header(&a, "X-Injected"), "");
    answer_release(&a);
    client_close(&c);
}

/* -- bodies -- */

static void json_bodies_need_their_type_and_keep_to_the_limit(void **state)
{
    struct fixture *f = *state;
    struct buf request = BUF_INIT;
    static const struct {
        int status;
        const char *path, *type;
        size_t len;
        bool chunked;
    } cases[] = {
        {200, "/echo", "application/json", 4096, false},
        {200, "/echo", "application/json", 4096, true},
        {200, "/echo", "application/json; charset=utf-8", 2, false},
        {200, "/echo", "Application/JSON;charset=UTF-8", 2, false},
        {200, "/echo", "text/plain", 0, false},
        {415, "/echo", "text/plain", 2, false},
        {415, "/echo", "application/json; charset=latin1", 2, false},
        {415, "/echo", "application/x-www-form-urlencoded", 2, false},
        {415, "/echo", NULL, 2, false},
        {413, "/echo", "application/json", 4097, false},
        {413, "/echo", "application/json", 4097, true},
        {200, "/batch", "application/json", 65536, false},
        {413, "/batch", "application/json", 65537, false},
        {413, "/batch", "application/json", 65537, true},
        {400, "/ping", "application/json", 2, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_clear(&request);
        buf_printf(&request, "%s %s HTTP/1.1\r\n" HOST,
                   strcmp(cases[i].path, "/ping") == 0 ? "GET" : "POST", cases[i].path);
        if (cases[i].type)
            buf_printf(&request, "Content-Type: %s\r\n", cases[i].type);
        if (cases[i].chunked)
            buf_printf(&request, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", cases[i].len);
        else
            buf_printf(&request, "Content-Length: %zu\r\n\r\n", cases[i].len);
        size_t head = request.len;
        for (size_t b = 0; b < cases[i].len; b++)
            buf_append_char(&request, 'j');
        if (cases[i].chunked)
            buf_append_str(&request, "\r\n0\r\n\r\n");
        struct buf body = BUF_INIT;
        int status = client_ask(f->address, request.data, &body);
        if (status != cases[i].status)
            fail_msg("case %zu: %d %s", i, status, body.data);
        if (status == 200) {
            assert_int_equal(body.len, cases[i].len);
            assert_memory_equal(body.data, request.data + head, body.len);
        }
        buf_release(&body);
    }
    buf_release(&request);
}

static void expect_100_continue_is_answered_before_the_body(void **state)
{
    struct fixture *f = *state;
    struct client c;
    char text[64] = "";

    client_open(&c, f->address);
    client_sendf(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                     "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_true(recv(c.fd, text, 25, MSG_WAITALL) == 25);
    assert_string_equal(text, "HTTP/1.1 100 Continue\r\n\r\n");
    client_sendf(&c, "{}");
    expect(&c, 200, "{}");
    client_close(&c);

    client_open(&c, f->address);
    client_sendf(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: text/html\r\n"
                     "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    assert_true(recv(c.fd, text, 12, MSG_WAITALL) == 12);
    text[12] = '\0';
    assert_string_equal(text, "HTTP/1.1 415");
    client_close(&c);
}

static void raw_uploads_stream_into_the_sink(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *type;
    } cases[] = {{202, "text/csv"},
                 {202, "text/csv; charset=utf-8"},
                 {202, "application/csv"},
                 {202, "application/octet-stream"},
                 {202, "application/gzip"},
                 {202, "application/x-gzip"},
                 {202, "application/zstd"},
                 {202, "text/plain"},
                 {202, "application/vnd.ms-excel"},
                 {415, "application/json"},
                 {415, "application/x-www-form-urlencoded"},
                 {415, "multipart/mixed; boundary=XX"},
                 {400, "multipart/form-data"}};
    char request[512], expected[128];
    struct buf body = BUF_INIT;

    snprintf(expected, sizeof expected,
             "{\"size\":5,\"hash\":\"%016llx\",\"filename\":\"a b.csv\",\"note\":\"\"}",
             (unsigned long long)hash_more(HASH_START, "hello", 5));
    for (size_t i = 0; i < COUNT(cases); i++) {
        snprintf(request, sizeof request,
                 "POST /upload?filename=..%%2fa+b.csv HTTP/1.1\r\n" HOST
                 "Content-Type: %s\r\nContent-Length: 5\r\n\r\nhello",
                 cases[i].type);
        int status = client_ask(f->address, request, &body);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].type, status);
        if (status == 202)
            assert_string_equal(body.data, expected);
    }
    assert_int_equal(client_ask(f->address,
                                "POST /upload HTTP/1.1\r\n" HOST
                                "Transfer-Encoding: chunked\r\n\r\n"
                                "3\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: x\r\n\r\n",
                                &body),
                     202);
    assert_non_null(strstr(body.data, "\"size\":5"));
    assert_int_equal(client_ask(f->address, "POST /upload HTTP/1.1\r\n" HOST "\r\n", &body),
                     202);
    assert_non_null(strstr(body.data, "\"size\":0"));
    buf_release(&body);
}

static void send_form(struct client *c, const char *form, size_t piece)
{
    size_t len = strlen(form);

    client_sendf(c,
                 "POST /upload HTTP/1.1\r\n" HOST "Content-Type: multipart/form-data; "
                 "boundary=XX\r\nContent-Length: %zu\r\n\r\n",
                 len);
    for (size_t at = 0; at < len; at += piece)
        client_send(c, form + at, len - at < piece ? len - at : piece);
}

static void forms_are_checked_and_old_clients_get_their_words(void **state)
{
    struct fixture *f = *state;
#define PART(h) "--XX\r\nContent-Disposition: form-data; " h "\r\n\r\n"
    static const struct {
        int status;
        const char *form, *words;
    } cases[] = {
        {202,
         PART("name=\"file\"; filename=\"C:\\d\\a\x01.csv\"") "hello\r\n" PART(
             "name=\"note\"") "hi\r\n--XX--\r\n",
         "\"filename\":\"a.csv\",\"note\":\"hi\""},
        {202, PART("name=\"file\"; filename=\"a.csv\"") "\r\n--XX--\r\n", "\"size\":0"},
        {400, PART("name=\"note\"") "hi\r\n--XX--\r\n", "\"error\":\"No file provided\""},
        {400, PART("name=\"file\"") "hi\r\n--XX--\r\n", "\"error\":\"No file provided\""},
        {400, "--XX--\r\n", "\"error\":\"No file provided\""},
        {400, PART("name=\"file\"; filename=\"\"") "\r\n--XX--\r\n",
         "\"error\":\"No selected file\""},
        {400,
         PART("name=\"file\"; filename=\"a\"") "1\r\n" PART(
             "name=\"file\"; filename=\"a\"") "2\r\n--XX--\r\n",
         "more than one file"},
        {400,
         PART("name=\"file\"; filename=\"a\"") "\r\n" PART(
             "name=\"file\"; filename=\"a\"") "2\r\n--XX--\r\n",
         "more than one file"},
        {400, PART("name=\"other\"; filename=\"a\"") "1\r\n--XX--\r\n", "not named"},
        {400, PART("filename=\"a\"") "1\r\n--XX--\r\n", "no name"},
        {400, PART("name=\"file\"; filename=\"a\"") "1\r\n--XX\r\n", "its end is missing"},
        {400, PART("name=\"file\"; filename=\"a\"") "1\r\n", "its end is missing"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client c;
        struct answer a;
        client_open(&c, f->address);
        send_form(&c, cases[i].form, 1000);
        client_answer(&c, true, &a);
        if (a.status != cases[i].status || !strstr(a.body.data, cases[i].words))
            fail_msg("case %zu: %d %s", i, a.status, a.body.data);
        answer_release(&a);
        client_close(&c);
    }
    /* one byte at a time, twice on one connection */
    struct client c;
    client_open(&c, f->address);
    setsockopt(c.fd, 6, 1, &(int){1}, sizeof(int)); /* IPPROTO_TCP, TCP_NODELAY */
    for (int i = 0; i < 2; i++) {
        send_form(&c, cases[0].form, 1);
        expect(&c, 202, NULL);
    }
    client_close(&c);
}

static void too_many_or_too_long_form_fields_are_refused(void **state)
{
    struct fixture *f = *state;
    for (int fields = 16; fields <= 17; fields++) {
        struct buf form = BUF_INIT;
        struct client c;
        for (int i = 0; i < fields; i++)
            buf_printf(&form, PART("name=\"f%d\"") "v\r\n", i);
        buf_append_str(&form, PART("name=\"file\"; filename=\"a\"") "1\r\n--XX--\r\n");
        client_open(&c, f->address);
        send_form(&c, form.data, 1000);
        expect(&c, fields == 16 ? 202 : 400, NULL);
        client_close(&c);
        buf_release(&form);
    }
    for (int len = 256; len <= 257; len++) {
        struct buf form = BUF_INIT;
        struct client c;
        buf_append_str(&form, PART("name=\"note\""));
        for (int i = 0; i < len; i++)
            buf_append_char(&form, 'n');
        buf_append_str(&form, "\r\n" PART("name=\"file\"; filename=\"a\"") "1\r\n--XX--\r\n");
        client_open(&c, f->address);
        send_form(&c, form.data, 1000);
        expect(&c, len == 256 ? 202 : 400, NULL);
        client_close(&c);
        buf_release(&form);
    }
}

static void an_upload_in_chunks_of_one_byte_is_whole(void **state)
{
    struct fixture *f = *state;
    struct client c;

    client_open(&c, f->address);
    setsockopt(c.fd, 6, 1, &(int){1}, sizeof(int));
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 300; i++)
        for (const char *p = "1\r\nx\r\n"; *p; p++)
            client_send(&c, p, 1);
    client_sendf(&c, "0\r\n\r\n");
    struct answer a;
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 202);
    assert_non_null(strstr(a.body.data, "\"size\":300"));
    answer_release(&a);
    client_close(&c);
}

static void a_torn_upload_aborts_its_sink_once(void **state)
{
    struct fixture *f = *state;
    struct client c;

    client_open(&c, f->address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nhalf");
    wait_for(&f->begun, 1);
    client_close(&c);
    wait_for(&f->aborted, 1);

    client_open(&c, f->address);
    client_sendf(&c,
                 "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhel");
    wait_for(&f->begun, 2);
    shutdown(c.fd, SHUT_WR);
    assert_true(client_is_closed(&c));
    wait_for(&f->aborted, 2);
    client_close(&c);
    assert_int_equal(atomic_load(&f->taken), 0);
}

static void bad_chunks_end_the_upload(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {"zz\r\n", "5\r\nhelloX\r\n", "-1\r\n",
                                         "ffffffffffffffffff\r\n"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        char request[256];
        snprintf(request, sizeof request,
                 "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%s",
                 bodies[i]);
        int status = client_ask(f->address, request, NULL);
        assert_true(status == 400 || status == 413);
    }
    wait_for(&f->aborted, (int)COUNT(bodies));
}

static void an_upload_of_nothing_has_no_file(void **state)
{
    struct fixture *f = *state;
    static const char *const types[] = {"multipart/form-data; boundary=XX",
                                        "application/x-www-form-urlencoded"};
    struct buf body = BUF_INIT;
    char request[256];

    for (size_t i = 0; i < COUNT(types); i++) {
        snprintf(request, sizeof request,
                 "POST /upload HTTP/1.1\r\n" HOST
                 "Content-Type: %s\r\nContent-Length: 0\r\n\r\n",
                 types[i]);
        assert_int_equal(client_ask(f->address, request, &body), 400);
        assert_non_null(strstr(body.data, "\"error\":\"No file provided\""));
    }
    buf_release(&body);
}

static void a_refusal_reaches_a_client_that_sends_all_of_its_body_first(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *start;
    } cases[] = {
        {404, "POST /nothing HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n"},
        {405, "PUT /ping HTTP/1.1\r\n" HOST "Content-Length: 4194304\r\n\r\n"},
        {415, "POST /upload HTTP/1.1\r\n" HOST
              "Content-Type: image/png\r\nContent-Length: 4194304\r\n\r\n"},
        {413, "POST /echo HTTP/1.1\r\n" HOST
              "Content-Type: application/json\r\nContent-Length: 4194304\r\n\r\n"},
    };
    static char block[65536];

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct client c;
        client_open(&c, f->address);
        client_send(&c, cases[i].start, strlen(cases[i].start));
        for (int n = 0; n < 64; n++)
            client_send(&c, block, sizeof block);
        expect(&c, cases[i].status, NULL);
        assert_true(client_is_closed(&c));
        assert_false(c.is_broken);
        client_close(&c);
    }
}

static void a_client_that_closes_its_sending_side_still_gets_its_answer(void **state)
{
    struct fixture *f = *state;
    struct client c;

    client_open(&c, f->address);
    client_sendf(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Type: application/json\r\n"
                     "Content-Length: 2\r\n\r\n{}");
    shutdown(c.fd, SHUT_WR);
    expect(&c, 200, "{}");
    client_close(&c);
}

static void a_sink_that_fails_decides_the_answer(void **state)
{
    struct fixture *f = *state;
    struct client c;
    struct answer a;
    static const struct {
        int code, status;
    } cases[] = {{E_NO_SPACE, 507}, {E_OVERLOAD, 429}, {E_TOO_BIG, 413}, {E_IO, 500}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        atomic_store(&f->fail_begin, cases[i].code);
        client_open(&c, f->address);
        client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Expect: 100-continue\r\n"
                         "Content-Length: 1000000\r\n\r\n");
        expect(&c, cases[i].status, NULL);
        client_close(&c);
    }
    atomic_store(&f->fail_begin, 0);
    assert_int_equal(atomic_load(&f->begun), 0);

    /* in the middle of a large body: the client sends all of it before it looks */
    atomic_store(&f->fail_write_after, 100000);
    static char block[65536];
    for (size_t i = 0; i < COUNT(cases); i++) {
        atomic_store(&f->fail_write, cases[i].code);
        client_open(&c, f->address);
        client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                     64 * sizeof block);
        for (int n = 0; n < 64; n++)
            client_send(&c, block, sizeof block);
        client_answer(&c, true, &a);
        if (a.status != cases[i].status)
            fail_msg("%d instead of %d", a.status, cases[i].status);
        assert_string_equal(answer_header(&a, "Connection"), "close");
        assert_true(client_is_closed(&c));
        assert_false(c.is_broken);
        answer_release(&a);
        client_close(&c);
    }
    wait_for(&f->aborted, (int)COUNT(cases));
    assert_int_equal(atomic_load(&f->begun), COUNT(cases));
}

static void an_upload_past_the_limit_is_cut_with_413(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client c;
    static char block[65536];

    fixture_init(&f);
    f.options.max_upload_bytes = 1 << 20;
    fixture_start(&f);
    client_open(&c, f.address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        client_sendf(&c, "%zx\r\n", sizeof block);
        client_send(&c, block, sizeof block);
        client_sendf(&c, "\r\n");
    }
    struct answer a;
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 413);
    assert_non_null(strstr(a.body.data, "\"error\":\"File too large\""));
    answer_release(&a);
    client_close(&c);

    /* junk around the file counts as well */
    client_open(&c, f.address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Type: multipart/form-data; "
                     "boundary=XX\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 40; i++) {
        client_sendf(&c, "%zx\r\n", sizeof block);
        client_send(&c, block, sizeof block);
        client_sendf(&c, "\r\n");
    }
    expect(&c, 413, NULL);
    client_close(&c);
    wait_for(&f.aborted, 2);
    fixture_release(&f);
}

/* A number from /proc/self/status, in KiB. */
static long proc_status(const char *name)
{
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "re");

    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name) + 1, NULL, 10);
    fclose(file);
    return value;
}

static void a_large_upload_needs_little_memory(void **state)
{
    struct fixture *f = *state;
    static char block[65536];
    struct client c;
    struct answer a;
    static const char head[] = PART("name=\"file\"; filename=\"a\"");
    char hash[40];
    uint64_t expected = HASH_START;

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = (char)(i * 7);
    long before = proc_status("VmHWM:");
    client_open(&c, f->address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Type: multipart/form-data; "
                     "boundary=XX\r\nTransfer-Encoding: chunked\r\n\r\n");
    client_sendf(&c, "%zx\r\n%s\r\n", strlen(head), head);
    for (int i = 0; i < 1024; i++) {
        client_sendf(&c, "%zx\r\n", sizeof block);
        client_send(&c, block, sizeof block);
        client_sendf(&c, "\r\n");
        expected = hash_more(expected, block, sizeof block);
    }
    client_sendf(&c, "a\r\n\r\n--XX--\r\n\r\n0\r\n\r\n");
    client_answer(&c, true, &a);
    assert_int_equal(a.status, 202);
    snprintf(hash, sizeof hash, "\"hash\":\"%016llx\"", (unsigned long long)expected);
    assert_non_null(strstr(a.body.data, hash));
    assert_non_null(strstr(a.body.data, "\"size\":67108864"));
    answer_release(&a);
    client_close(&c);
    assert_true(proc_status("VmHWM:") - before < 8 * 1024);
}

/* -- files -- */

static void files_are_served_whole_in_parts_and_not_at_all(void **state)
{
    struct fixture *f = *state;
    struct client c;
    static const struct {
        int status;
        const char *method, *header, *length, *range;
    } cases[] = {
        {200, "GET", "", "10000", ""},
        {200, "HEAD", "", "10000", ""},
        {200, "HEAD", "Range: bytes=0-0\r\n", "10000", ""},
        {206, "GET", "Range: bytes=0-25\r\n", "26", "bytes 0-25/10000"},
        {206, "GET", "Range: bytes=9990-\r\n", "10", "bytes 9990-9999/10000"},
        {206, "GET", "Range: bytes=-1\r\n", "1", "bytes 9999-9999/10000"},
        {206, "GET", "Range: bytes=0-0\r\nIf-Range: \"tag1\"\r\n", "1", "bytes 0-0/10000"},
        {200, "GET", "Range: bytes=0-0\r\nIf-Range: \"tag2\"\r\n", "10000", ""},
        {200, "GET", "Range: bytes=0-0,5-5\r\n", "10000", ""},
        {416, "GET", "Range: bytes=10000-\r\n", NULL, "bytes */10000"},
        {304, "GET", "If-None-Match: \"x\", W/\"tag1\"\r\n", NULL, ""},
        {304, "HEAD", "If-None-Match: *\r\n", NULL, ""},
        {304, "GET", "If-None-Match: \"tag1\"\r\nRange: bytes=0-0\r\n", NULL, ""},
        {200, "GET", "If-None-Match: \"tag2\"\r\n", "10000", ""},
    };

    fixture_make_file(f, 10000);
    client_open(&c, f->address);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct answer a;
        bool has_body = strcmp(cases[i].method, "HEAD") != 0 && cases[i].status != 304;
        client_sendf(&c, "%s /file HTTP/1.1\r\n" HOST "%s\r\n", cases[i].method,
                     cases[i].header);
        client_answer(&c, has_body, &a);
        if (a.status != cases[i].status)
            fail_msg("case %zu: %d", i, a.status);
        if (cases[i].length)
            assert_string_equal(answer_header(&a, "Content-Length"), cases[i].length);
        assert_string_equal(answer_header(&a, "Content-Range"), cases[i].range);
        assert_string_equal(answer_header(&a, "ETag"), "\"tag1\"");
        assert_string_equal(answer_header(&a, "Accept-Ranges"), "bytes");
        assert_string_equal(answer_header(&a, "X-Content-Type-Options"), "nosniff");
        if (a.status == 200 || a.status == 206)
            assert_string_equal(answer_header(&a, "Content-Disposition"),
                                "attachment; filename=result.csv");
        if (a.status == 304)
            assert_string_not_equal(answer_header(&a, "Content-Length"), "0");
        if (i == 3)
            assert_string_equal(a.body.data, "abcdefghijklmnopqrstuvwxyz");
        answer_release(&a);
    }
    client_close(&c);
}

static void an_empty_file_is_a_file(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;

    fixture_make_file(f, 0);
    assert_int_equal(client_ask(f->address, "GET /file HTTP/1.1\r\n" HOST "\r\n", &body), 200);
    assert_int_equal(body.len, 0);
    assert_int_equal(
        client_ask(f->address, "GET /file HTTP/1.1\r\n" HOST "Range: bytes=0-\r\n\r\n", NULL),
        416);
    buf_release(&body);
}

static void a_file_shorter_than_promised_is_an_error_not_a_hang(void **state)
{
    struct fixture *f = *state;

    fixture_make_file(f, 100);
    f->file_size = 101;
    assert_int_equal(client_ask(f->address, "GET /file HTTP/1.1\r\n" HOST "\r\n", NULL), 500);
}

static void a_large_file_arrives_whole(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;

    fixture_make_file(f, 20 * 1000 * 1000);
    assert_int_equal(client_ask(f->address, "GET /file HTTP/1.1\r\n" HOST "\r\n", &body), 200);
    assert_int_equal(body.len, 20 * 1000 * 1000);
    for (size_t i = 0; i < body.len; i++)
        if (body.data[i] != (char)('a' + i % 4096 % 26))
            fail_msg("byte %zu differs", i);
    buf_release(&body);
}

/* -- many at once -- */

struct load {
    const char *address;
    int id, rounds;
    atomic_int *wrong;
};

static void *load_main(void *arg)
{
    struct load *l = arg;
    struct client c;
    char expected[32];

    client_open(&c, l->address);
    for (int i = 0; i < l->rounds; i++) {
        struct answer a;
        snprintf(expected, sizeof expected, "%d-%d", l->id, i);
        client_sendf(&c, "GET /items/%s HTTP/1.1\r\n" HOST "\r\n", expected);
        client_answer(&c, true, &a);
        if (a.status != 200 || strcmp(a.body.data, expected) != 0)
            atomic_fetch_add(l->wrong, 1);
        answer_release(&a);
    }
    client_close(&c);
    return NULL;
}

static void run_load(const char *address, int clients, int rounds)
{
    pthread_t threads[64];
    struct load loads[64];
    atomic_int wrong = 0;

    for (int i = 0; i < clients; i++) {
        loads[i] = (struct load){address, i, rounds, &wrong};
        assert_int_equal(pthread_create(&threads[i], NULL, load_main, &loads[i]), 0);
    }
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
}

static void sixty_four_connections_are_served_at_once(void **state)
{
    struct fixture *f = *state;
    run_load(f->address, 64, 100);
}

static void two_hundred_requests_from_64_connections_are_in_flight(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client clients[64];

    fixture_init(&f);
    fixture_start(&f);
    for (int i = 0; i < 64; i++)
        client_open(&clients[i], f.address);
    /* pipelined: a connection's next request is read when its last is answered */
    for (int i = 0; i < 200; i++)
        client_sendf(&clients[i % 64], "GET /park HTTP/1.1\r\n" HOST "\r\n");
    for (int i = 0; i < 200; i++) {
        fixture_wait_parked(&f, 1);
        reply_text(fixture_take_parked(&f), 200, "text/plain", "late");
    }
    for (int i = 0; i < 200; i++)
        expect(&clients[i % 64], 200, "late");
    for (int i = 0; i < 64; i++)
        client_close(&clients[i]);
    fixture_release(&f);
}

static void busy_connections_go_on_while_others_are_suspended_and_resumed(void **state)
{
    struct fixture *f = *state;
    enum { PARKERS = 300, ROUNDS = 10 };
    struct client *clients = calloc(PARKERS, sizeof *clients);

    for (int i = 0; i < PARKERS; i++)
        client_open(&clients[i], f->address);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PARKERS; i++)
            client_sendf(&clients[i], "GET /park HTTP/1.1\r\n" HOST "\r\n");
        run_load(f->address, 4, 50);
        fixture_wait_parked(f, PARKERS);
        for (int i = 0; i < PARKERS; i++)
            reply_text(fixture_take_parked(f), 200, "text/plain", "late");
        for (int i = 0; i < PARKERS; i++)
            expect(&clients[i], 200, "late");
    }
    for (int i = 0; i < PARKERS; i++)
        client_close(&clients[i]);
    free(clients);
}

static void a_client_that_leaves_a_parked_exchange_is_noticed(void **state)
{
    struct fixture *f = *state;
    struct client stays, leaves;

    client_open(&stays, f->address);
    client_sendf(&stays, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_parked(f, 1);
    client_open(&leaves, f->address);
    client_sendf(&leaves,
                 "GET /park HTTP/1.1\r\n" HOST "\r\nGET /ping HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_parked(f, 2);
    struct exchange *first = fixture_take_parked(f), *second = fixture_take_parked(f);
    assert_true(exchange_is_alive(first));
    assert_true(exchange_is_alive(second));
    client_close(&leaves);
    for (int i = 0; exchange_is_alive(second); i++) {
        assert_true(i < 20000);
        usleep(1000);
    }
    reply_text(second, 200, "text/plain", "to nobody");
    assert_true(exchange_is_alive(first));
    reply_text(first, 200, "text/plain", "hello");
    expect(&stays, 200, "hello");
    client_close(&stays);
}

static void a_full_executor_answers_503_with_retry_after(void **unused)
{
    (void)unused;
    struct fixture f;
    enum { CLIENTS = 1 + 128 + 1 };
    struct client clients[CLIENTS];
    struct answer a;

    fixture_init(&f);
    f.options.handler_threads = 1;
    fixture_start(&f);
    for (int i = 0; i < CLIENTS; i++)
        client_open(&clients[i], f.address);
    client_sendf(&clients[0], "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_slow(&f, 1);
    for (int i = 1; i < CLIENTS; i++)
        client_sendf(&clients[i], "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    /* Exactly one too many; which one is the threads' choice. */
    int refused = -1;
    for (int i = 0; refused < 0; i = (i + 1) % CLIENTS) {
        char c;
        if (recv(clients[i].fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 1)
            refused = i;
    }
    client_answer(&clients[refused], true, &a);
    assert_int_equal(a.status, 503);
    assert_string_equal(answer_header(&a, "Retry-After"), "1");
    answer_release(&a);
    fixture_let_go(&f);
    for (int i = 0; i < CLIENTS; i++) {
        if (i != refused)
            expect(&clients[i], 200, i == 0 ? "at last" : "pong");
        client_close(&clients[i]);
    }
    fixture_release(&f);
}

static void connections_past_the_limit_are_refused_and_others_live(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client clients[16], extra;

    fixture_init(&f);
    f.options.max_connections = 16;
    f.options.threads = 1;
    fixture_start(&f);
    for (int i = 0; i < 16; i++) {
        client_open(&clients[i], f.address);
        client_sendf(&clients[i], "GET /ping HTTP/1.1\r\n" HOST "\r\n");
        expect(&clients[i], 200, "pong");
    }
    client_open(&extra, f.address);
    client_sendf(&clients[3], "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    expect(&clients[3], 200, "pong");
    client_close(&clients[0]);
    client_sendf(&extra, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    struct answer a;
    client_answer(&extra, true, &a);
    assert_true(a.status == 200 || a.status == 0);
    answer_release(&a);
    client_close(&extra);
    for (int i = 1; i < 16; i++)
        client_close(&clients[i]);
    fixture_release(&f);

    fixture_init(&f);
    f.options.max_connections_per_ip = 2;
    fixture_start(&f);
    for (int i = 0; i < 2; i++) {
        client_open(&clients[i], f.address);
        client_sendf(&clients[i], "GET /ping HTTP/1.1\r\n" HOST "\r\n");
        expect(&clients[i], 200, "pong");
    }
    client_open(&extra, f.address);
    assert_true(client_is_closed(&extra));
    client_close(&extra);
    client_close(&clients[0]);
    client_close(&clients[1]);
    fixture_release(&f);
}

/* -- start and stop -- */

static void bad_and_taken_addresses_are_named(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"",           "5000",    ":5000",       "127.0.0.1",
                                      "127.0.0.1:", "h:99999", "127.0.0.1:x", "no such host:1",
                                      "[::1]"};
    struct http_server *s = NULL;
    struct http_options o = f->options;
    struct err err = ERR_INIT;

    for (size_t i = 0; i < COUNT(bad); i++) {
        o.listen = bad[i];
        assert_int_equal(http_server_start(&o, &s, &err), -E_BAD_VALUE);
    }
    o.listen = f->address;
    assert_int_equal(http_server_start(&o, &s, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, f->address));
    assert_null(s);
}

static void several_addresses_are_served_and_a_port_is_free_again_after_stop(void **unused)
{
    (void)unused;
    struct fixture f;
    char first[64], both[160];

    fixture_init(&f);
    f.options.listen = "127.0.0.1:0, 127.0.0.1:0";
    fixture_start(&f);
    assert_non_null(http_server_address(f.server, 1));
    assert_null(http_server_address(f.server, 2));
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(client_ask(http_server_address(f.server, i),
                                    "GET /ping HTTP/1.1\r\n" HOST "\r\n", NULL),
                         200);
    snprintf(first, sizeof first, "%s", http_server_address(f.server, 0));
    snprintf(both, sizeof both, "%s,%s", first, http_server_address(f.server, 1));
    fixture_release(&f);

    fixture_init(&f);
    f.options.listen = both;
    fixture_start(&f);
    assert_string_equal(f.address, first);
    fixture_release(&f);
}

struct stopper {
    struct fixture *f;
    int64_t grace_ms;
};

static void *stop_main(void *arg)
{
    struct stopper *s = arg;
    http_server_stop_free(s->f->server, s->grace_ms);
    s->f->server = NULL;
    return NULL;
}

static void stopping_lets_requests_under_way_end(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client slow, idle;
    struct answer a;
    pthread_t thread;
    struct stopper stopper = {&f, 20000};

    fixture_init(&f);
    fixture_start(&f);
    client_open(&slow, f.address);
    client_open(&idle, f.address);
    client_sendf(&idle, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
    expect(&idle, 200, "pong");
    client_sendf(&slow, "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_slow(&f, 1);
    assert_int_equal(pthread_create(&thread, NULL, stop_main, &stopper), 0);
    /* New connections are closed at once; seen so, the server is stopping. */
    for (bool closed = false; !closed;) {
        struct client c;
        client_open(&c, f.address);
        client_sendf(&c, "GET /ping HTTP/1.1\r\n" HOST "\r\n");
        client_answer(&c, true, &a);
        closed = a.status == 0;
        answer_release(&a);
        client_close(&c);
    }
    fixture_let_go(&f);
    client_answer(&slow, true, &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(answer_header(&a, "Connection"), "close");
    answer_release(&a);
    pthread_join(thread, NULL);
    assert_true(client_is_closed(&idle));
    client_close(&slow);
    client_close(&idle);
    fixture_release(&f);
}

static atomic_int sheds;

static void note_shed(void *context)
{
    (void)context;
    atomic_fetch_add(&sheds, 1);
}

static void stopping_waits_for_the_reply_of_a_parked_exchange(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client c;
    pthread_t thread;
    struct stopper stopper = {&f, 50};

    atomic_store(&sheds, 0);
    fixture_init(&f);
    f.options.shed = note_shed;
    fixture_start(&f);
    client_open(&c, f.address);
    client_sendf(&c, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_parked(&f, 1);
    assert_int_equal(pthread_create(&thread, NULL, stop_main, &stopper), 0);
    wait_for(&sheds, 1); /* the grace is over: the server must still be there */
    struct exchange *x = fixture_take_parked(&f);
    assert_true(exchange_is_alive(x));
    reply_text(x, 200, "text/plain", "bye");
    expect(&c, 200, "bye");
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&sheds), 1);
    client_close(&c);
    fixture_release(&f);
}

static void stopping_aborts_an_upload_once(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client c;

    fixture_init(&f);
    fixture_start(&f);
    client_open(&c, f.address);
    client_sendf(&c, "POST /upload HTTP/1.1\r\n" HOST "Content-Length: 100\r\n\r\nhalf");
    wait_for(&f.begun, 1);
    int64_t start = clock_mono_ms();
    http_server_stop_free(f.server, 100);
    f.server = NULL;
    assert_true(clock_mono_ms() - start < 10000);
    assert_int_equal(atomic_load(&f.aborted), 1);
    assert_true(client_is_closed(&c));
    client_close(&c);
    fixture_release(&f);
}

static void stopping_drops_what_waits_for_a_handler(void **unused)
{
    (void)unused;
    struct fixture f;
    struct client slow, waiting;
    pthread_t thread;
    struct stopper stopper = {&f, 50};

    fixture_init(&f);
    f.options.handler_threads = 1;
    fixture_start(&f);
    client_open(&slow, f.address);
    client_sendf(&slow, "GET /slow HTTP/1.1\r\n" HOST "\r\n");
    fixture_wait_slow(&f, 1);
    client_open(&waiting, f.address);
    client_sendf(&waiting, "POST /upload HTTP/1.1\r\n" HOST "\r\n");
    wait_for(&f.begun, 1); /* it is queued right after that */
    assert_int_equal(pthread_create(&thread, NULL, stop_main, &stopper), 0);
    expect(&waiting, 503, NULL);
    wait_for(&f.aborted, 1);
    fixture_let_go(&f);
    expect(&slow, 200, "at last");
    pthread_join(thread, NULL);
    client_close(&slow);
    client_close(&waiting);
    fixture_release(&f);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(each_bad_request_gets_its_status_and_its_connection_is_closed),
        T(nul_bytes_in_a_header_are_refused),
        T(smuggled_requests_do_not_run),
        T(long_targets_and_large_headers_have_their_own_statuses),
        T(an_http2_preface_and_an_upgrade_do_no_harm),
        T(routes_are_found_and_everything_else_is_404_or_405),
        T(head_has_the_headers_of_get_and_no_body),
        T(pipelined_requests_are_answered_in_order),
        T(problems_have_type_title_status_detail_and_error),
        T(a_repeated_query_parameter_is_refused_by_name),
        T(errors_become_problems_and_ours_keep_their_sentence),
        T(links_use_the_host_only_when_it_is_sound),
        T(a_reply_header_cannot_bring_another_with_it),
        T(json_bodies_need_their_type_and_keep_to_the_limit),
        T(expect_100_continue_is_answered_before_the_body),
        T(raw_uploads_stream_into_the_sink),
        T(forms_are_checked_and_old_clients_get_their_words),
        T(too_many_or_too_long_form_fields_are_refused),
        T(an_upload_in_chunks_of_one_byte_is_whole),
        T(a_torn_upload_aborts_its_sink_once),
        T(bad_chunks_end_the_upload),
        T(an_upload_of_nothing_has_no_file),
        T(a_refusal_reaches_a_client_that_sends_all_of_its_body_first),
        T(a_client_that_closes_its_sending_side_still_gets_its_answer),
        T(a_sink_that_fails_decides_the_answer),
        cmocka_unit_test(an_upload_past_the_limit_is_cut_with_413),
        T(a_large_upload_needs_little_memory),
        T(files_are_served_whole_in_parts_and_not_at_all),
        T(an_empty_file_is_a_file),
        T(a_file_shorter_than_promised_is_an_error_not_a_hang),
        T(a_large_file_arrives_whole),
        T(sixty_four_connections_are_served_at_once),
        cmocka_unit_test(two_hundred_requests_from_64_connections_are_in_flight),
        T(busy_connections_go_on_while_others_are_suspended_and_resumed),
        T(a_client_that_leaves_a_parked_exchange_is_noticed),
        cmocka_unit_test(a_full_executor_answers_503_with_retry_after),
        cmocka_unit_test(connections_past_the_limit_are_refused_and_others_live),
        T(bad_and_taken_addresses_are_named),
        cmocka_unit_test(several_addresses_are_served_and_a_port_is_free_again_after_stop),
        cmocka_unit_test(stopping_lets_requests_under_way_end),
        cmocka_unit_test(stopping_waits_for_the_reply_of_a_parked_exchange),
        cmocka_unit_test(stopping_aborts_an_upload_once),
        cmocka_unit_test(stopping_drops_what_waits_for_a_handler),
    };
    log_setup(LOG_ERROR, LOG_TEXT);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
