/* The pure parts of the http room, by tables: gate, target, router, ranges, names, forms. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "gate.h"
#include "multipart.h"
#include "range.h"
#include "router.h"
#include "target.h"
#include "text.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define H(n, v)                                                                                \
    {                                                                                          \
        n, v, sizeof(n) - 1, sizeof(v) - 1                                                     \
    }

static int gate_status(const char *target, const struct gate_header *headers, size_t count)
{
    struct gate_request r = {"POST", "HTTP/1.1", target, headers, count, 100};
    struct gate_verdict v;
    gate_check(&r, &v);
    assert_true((v.status == 0) == (v.sentence == NULL));
    return v.status;
}

static void gate_judges_targets(void **state)
{
    (void)state;
    static const struct gate_header host[] = {H("Host", "h")};
    static const struct {
        const char *target;
        int status;
    } cases[] = {
        {"/", 0},
        {"/v1/tasks/", 0},
        {"/v1/tasks?page=1&x=%2F%5c", 0},
        {"/v1/a%20b", 0},
        {"/v1/%c3%a9", 0},
        {"/v1/tasks?", 0},
        {"/...", 0},
        {"/a?b=//..", 0},
        {"", 400},
        {"v1/tasks", 400},
        {"*", 400},
        {"http://h/v1/tasks", 400},
        {"//v1/tasks", 400},
        {"/v1//tasks", 400},
        {"/v1/tasks//", 400},
        {"/v1/../x", 400},
        {"/v1/.", 400},
        {"/..", 400},
        {"/v1/%2e%2e/x", 400},
        {"/v1/%2E", 400},
        {"/v1/.%2e", 400},
        {"/v1/a%2fb", 400},
        {"/v1/a%2Fb", 400},
        {"/v1/a%5cb", 400},
        {"/v1/a%5Cb", 400},
        {"/v1/a\\b", 400},
        {"/v1/a%00b", 400},
        {"/v1/a?b=%00", 400},
        {"/v1/a?b=%0a", 400},
        {"/v1/%7f", 400},
        {"/v1/%", 400},
        {"/v1/%4", 400},
        {"/v1/%zz", 400},
        {"/v1/a?b=%f", 400},
        {"/v1/a\x01", 400},
        {"/v1/a b", 400},
        {"/v1/\xc3\xa9", 400},
        {"/v1/%ff", 400},
        {"/v1/a?b=%c3%28", 400},
        {"/v1/a?b=%ed%a0%80", 400},
        {"/v1/a#f", 400},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = gate_status(cases[i].target, host, 1);
        if (status != cases[i].status)
            fail_msg("\"%s\": %d instead of %d", cases[i].target, status, cases[i].status);
    }
}

static void gate_limits_the_length_of_the_target_and_its_parameters(void **state)
{
    (void)state;
    static const struct gate_header host[] = {H("Host", "h")};
    char target[GATE_TARGET_MAX + 2];

    memset(target, 'a', sizeof target);
    target[0] = '/';
    target[GATE_TARGET_MAX] = '\0';
    assert_int_equal(gate_status(target, host, 1), 0);
    target[GATE_TARGET_MAX] = 'a';
    target[GATE_TARGET_MAX + 1] = '\0';
    assert_int_equal(gate_status(target, host, 1), 414);
    assert_int_equal(gate_status(NULL, host, 1), 400);

    struct buf many = BUF_INIT;
    buf_append_str(&many, "/a?a");
    for (int i = 1; i < GATE_QUERY_MAX; i++)
        buf_append_str(&many, "&a");
    assert_int_equal(gate_status(many.data, host, 1), 0);
    buf_append_str(&many, "&a");
    assert_int_equal(gate_status(many.data, host, 1), 400);
    buf_release(&many);
}

static void gate_judges_headers(void **state)
{
    (void)state;
    static const struct {
        int status;
        struct gate_header headers[3];
    } cases[] = {
        {0, {H("Host", "h")}},
        {0, {H("Host", "h"), H("Content-Length", "0")}},
        {0, {H("Host", "h"), H("Content-Length", "12 ")}},
        {0, {H("Host", "h"), H("Transfer-Encoding", "chunked")}},
        {0, {H("Host", "h"), H("Transfer-Encoding", "CHUNKED")}},
        {0, {H("Host", "h"), H("X", "a\tb\xff")}},
        {0, {H("Host", "h"), H("X", "1"), H("X", "2")}},
        {0, {H("Host", "h"), H("Expect", "100-Continue")}},
        {0, {H("Host", "h"), H("Content-Length", "9223372036854775799")}},
        {400, {H("X", "1")}},
        {400, {H("Host", "h"), H("Host", "h")}},
        {400, {H("Host", "h"), H("Content-Length", "5"), H("Content-Length", "5")}},
        {400, {H("Host", "h"), H("content-length", "5"), H("Transfer-Encoding", "chunked")}},
        {400, {H("Host", "h"), H("Transfer-Encoding", "gzip, chunked")}},
        {400, {H("Host", "h"), H("Transfer-Encoding", "chunked ")}},
        {400, {H("Host", "h"), H("Transfer-Encoding", "identity")}},
        {400,
         {H("Host", "h"), H("Transfer-Encoding", "chunked"),
          H("Transfer-Encoding", "chunked")}},
        {400, {H("Host", "h"), H("Transfer-Encoding ", "chunked")}},
        {400, {H("Host", "h"), H("A B", "x")}},
        {400, {H("Host", "h"), H("A\x01", "x")}},
        {400, {H("Host", "h"), H("A\xc3", "x")}},
        {400, {H("Host", "h"), H("", "x")}},
        {400, {H("Host", "h"), H("A", "x\x01y")}},
        {400, {H("Host", "h"), H("A", "x\0y")}},
        {400, {H("Host", "h"), H("A", "x\ry")}},
        {400, {H("Host", "h"), H("Content-Length", "-1")}},
        {400, {H("Host", "h"), H("Content-Length", "+1")}},
        {400, {H("Host", "h"), H("Content-Length", "0x10")}},
        {400, {H("Host", "h"), H("Content-Length", "")}},
        {400, {H("Host", "h"), H("Content-Length", "5, 5")}},
        {413, {H("Host", "h"), H("Content-Length", "99999999999999999999")}},
        {400, {H("Host", "h"), H("Authorization", "a"), H("authorization", "b")}},
        {400, {H("Host", "h"), H("Idempotency-Key", "a"), H("Idempotency-Key", "a")}},
        {400, {H("Host", "h"), H("Content-Type", "a/b"), H("Content-Type", "c/d")}},
        {415, {H("Host", "h"), H("Content-Encoding", "gzip")}},
        {417, {H("Host", "h"), H("Expect", "a-miracle")}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t count = 0;
        while (count < 3 && cases[i].headers[count].name)
            count++;
        int status = gate_status("/v1", cases[i].headers, count);
        if (status != cases[i].status)
            fail_msg("case %zu: %d instead of %d", i, status, cases[i].status);
    }
}

static void gate_wants_a_host_in_every_version_but_the_first(void **state)
{
    (void)state;
    static const struct {
        const char *version;
        int status;
    } cases[] = {{"HTTP/1.0", 0}, {"HTTP/1.1", 400}, {"HTTP/1.2", 400}, {"HTTP/1.9", 400}};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct gate_request r = {"GET", cases[i].version, "/", NULL, 0, 100};
        struct gate_verdict v;
        gate_check(&r, &v);
        if (v.status != cases[i].status)
            fail_msg("%s: %d", cases[i].version, v.status);
    }
}

static void gate_limits_the_header(void **state)
{
    (void)state;
    struct gate_header host = H("Host", "h");
    struct gate_request r = {"GET", "HTTP/1.1", "/", &host, 1, GATE_HEADER_BYTES_MAX};
    struct gate_verdict v;

    gate_check(&r, &v);
    assert_int_equal(v.status, 0);
    r.header_bytes++;
    gate_check(&r, &v);
    assert_int_equal(v.status, 431);
    r.header_bytes = 1;
    r.header_count = GATE_HEADERS_MAX + 1;
    gate_check(&r, &v);
    assert_int_equal(v.status, 431);
}

static void gate_tells_http_1_0_from_1_1(void **state)
{
    (void)state;
    struct gate_header chunked = H("Transfer-Encoding", "chunked");
    struct gate_request r = {"POST", "HTTP/1.0", "/", &chunked, 1, 50};
    struct gate_verdict v;

    gate_check(&r, &v);
    assert_int_equal(v.status, 400);
    r.header_count = 0;
    gate_check(&r, &v);
    assert_int_equal(v.status, 0);
}

static void bare_line_feeds_and_folded_lines_are_seen_in_the_header_block(void **state)
{
    (void)state;
    static const struct {
        bool clean;
        size_t len;
        const char *block;
    } cases[] = {
#define B(clean, text) {clean, sizeof(text) - 1, text}
        B(true, "\0\0\0\0"),
        B(true, "\0\0A\0 x\0\0\0\0"),
        B(true, "\0\0A\0\0\0B\0y\0\0\0\0"),
        B(false, ""),
        B(false, "\0"),
        B(false, "\0\0"),
        B(false, "\0A\0 x\0\0\0\0"),         /* request line ended with LF */
        B(false, "\0\0A\0 x\0B\0y\0\0\0\0"), /* header line ended with LF */
        B(false, "\0\0A\0 x\0\0\0"),         /* the empty line was a bare LF */
        B(false, "\0\0A\0 x\0\0 y\0\0\0\0"), /* folded */
        B(false, "\0\0A\0x\0y\0\0\0\0"),     /* a NUL in the value */
        B(false, "\0\0A\0x\0\0\0\0z"),
#undef B
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (gate_block_is_clean(cases[i].block, cases[i].len) != cases[i].clean)
            fail_msg("case %zu", i);
}

static void target_is_decoded_once(void **state)
{
    (void)state;
    struct target t;

    assert_true(target_init(&t, "/v1/a%2520b/?q=%2520&n=a+b%2B&flag&=x&&e="));
    assert_true(target_parse(&t));
    assert_string_equal(t.path, "/v1/a%20b");
    assert_string_equal(t.path_parts, "/v1/a%20b");
    assert_string_equal(target_query(&t, "q"), "%20");
    assert_string_equal(target_query(&t, "n"), "a b+");
    assert_string_equal(target_query(&t, "flag"), "");
    assert_string_equal(target_query(&t, "e"), "");
    assert_string_equal(target_query(&t, ""), "x");
    assert_null(target_query(&t, "x"));
    assert_int_equal(t.query_count, 5);
    target_release(&t);

    assert_true(target_init(&t, "/"));
    assert_true(target_parse(&t));
    assert_string_equal(t.path, "/");
    target_release(&t);
}

static void router_matches_exactly(void **state)
{
    (void)state;
    static const struct http_route routes[] = {
        {HTTP_GET, "/v1/tasks", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_POST, "/v1/tasks", HTTP_BODY_JSON, HTTP_LANE_COMMON, NULL},
        {HTTP_GET, "/v1/tasks/health", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_GET, "/v1/tasks/{id}", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_DELETE, "/v1/tasks/{id}", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_POST, "/v1/tasks/{id}/steps/{step}", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_GET, "/", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
        {HTTP_GET, NULL, HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
    };
    static const struct {
        enum http_method method;
        const char *path;
        int status, route;
        const char *first, *second;
    } cases[] = {
        {HTTP_GET, "/v1/tasks", 200, 0, NULL, NULL},
        {HTTP_POST, "/v1/tasks", 200, 1, NULL, NULL},
        {HTTP_PUT, "/v1/tasks", 405, 0, NULL, NULL},
        {HTTP_METHOD__COUNT, "/v1/tasks", 405, 0, NULL, NULL},
        {HTTP_GET, "/v1/tasks/health", 200, 2, NULL, NULL},
        {HTTP_DELETE, "/v1/tasks/health", 200, 4, "health", NULL},
        {HTTP_GET, "/v1/tasks/abc", 200, 3, "abc", NULL},
        {HTTP_GET, "/v1/tasks/abc/", 404, 0, NULL, NULL},
        {HTTP_POST, "/v1/tasks/abc/steps/x y", 200, 5, "abc", "x y"},
        {HTTP_POST, "/v1/tasks//steps/x", 404, 0, NULL, NULL},
        {HTTP_GET, "/v1/task", 404, 0, NULL, NULL},
        {HTTP_GET, "/v1/tasksx", 404, 0, NULL, NULL},
        {HTTP_GET, "/V1/tasks", 404, 0, NULL, NULL},
        {HTTP_GET, "/", 200, 6, NULL, NULL},
        {HTTP_METHOD__COUNT, "/nothing", 404, 0, NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct router_match m;
        char parts[64];
        snprintf(parts, sizeof parts, "%s", cases[i].path);
        int status = router_find(routes, cases[i].method, cases[i].path, parts, &m);
        if (status != cases[i].status)
            fail_msg("%s: %d", cases[i].path, status);
        if (status != 200)
            continue;
        assert_ptr_equal(m.route, &routes[cases[i].route]);
        if (cases[i].first)
            assert_string_equal(m.params[0], cases[i].first);
        if (cases[i].second)
            assert_string_equal(m.params[1], cases[i].second);
    }
    struct router_match m;
    char parts[] = "/v1/tasks/abc", allow[ROUTER_ALLOW_MAX];
    assert_int_equal(router_find(routes, HTTP_PUT, "/v1/tasks/abc", parts, &m), 405);
    router_allow_text(m.allow, allow);
    assert_string_equal(allow, "GET, HEAD, DELETE");
}

static void ranges_follow_rfc_9110(void **state)
{
    (void)state;
    static const struct {
        const char *header, *if_range;
        uint64_t size;
        enum range_result result;
        uint64_t first, last;
    } cases[] = {
        {NULL, NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=0-0", NULL, 10, RANGE_PART, 0, 0},
        {"bytes=2-5", NULL, 10, RANGE_PART, 2, 5},
        {"Bytes=2-", NULL, 10, RANGE_PART, 2, 9},
        {"bytes=-3", NULL, 10, RANGE_PART, 7, 9},
        {"bytes=-30", NULL, 10, RANGE_PART, 0, 9},
        {"bytes=5-99999999999999999999999", NULL, 10, RANGE_PART, 5, 9},
        {"bytes=9-20", NULL, 10, RANGE_PART, 9, 9},
        {"bytes=10-", NULL, 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=99999999999999999999999-", NULL, 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-0", NULL, 10, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=0-", NULL, 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=-1", NULL, 0, RANGE_UNSATISFIABLE, 0, 0},
        {"bytes=5-2", NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=1-2,4-5", NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=-", NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=a-b", NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=1", NULL, 10, RANGE_WHOLE, 0, 0},
        {"items=1-2", NULL, 10, RANGE_WHOLE, 0, 0},
        {"", NULL, 10, RANGE_WHOLE, 0, 0},
        {"bytes=2-5", "\"tag\"", 10, RANGE_PART, 2, 5},
        {"bytes=2-5", "\"other\"", 10, RANGE_WHOLE, 0, 0},
        {"bytes=2-5", "W/\"tag\"", 10, RANGE_WHOLE, 0, 0},
        {"bytes=2-5", "Sat, 29 Oct 1994 19:43:31 GMT", 10, RANGE_WHOLE, 0, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t first = 0, last = 0;
        enum range_result result = range_parse(cases[i].header, cases[i].if_range, "tag",
                                               cases[i].size, &first, &last);
        if (result != cases[i].result || first != cases[i].first || last != cases[i].last)
            fail_msg("case %zu: %d %llu-%llu", i, (int)result, (unsigned long long)first,
                     (unsigned long long)last);
    }
}

static void etags_are_found_in_lists(void **state)
{
    (void)state;
    assert_true(range_etag_matches("\"tag\"", "tag"));
    assert_true(range_etag_matches("W/\"tag\"", "tag"));
    assert_true(range_etag_matches("\"a\", W/\"b,c\" , \"tag\"", "tag"));
    assert_true(range_etag_matches("*", "tag"));
    assert_true(range_etag_matches(" * ", "tag"));
    assert_false(range_etag_matches(NULL, "tag"));
    assert_false(range_etag_matches("", "tag"));
    assert_false(range_etag_matches("tag", "tag"));
    assert_false(range_etag_matches("\"tag", "tag"));
    assert_false(range_etag_matches("\"tagx\", \"ta\"", "tag"));
    assert_false(range_etag_matches("*x", "tag"));
    assert_false(range_etag_matches("*", ""));
}

static void file_names_are_cleaned_for_showing(void **state)
{
    (void)state;
    static const struct {
        const char *name, *clean;
    } cases[] = {
        {"plays.csv", "plays.csv"},
        {"", ""},
        {"../../etc/passwd", "passwd"},
        {"C:\\Users\\me\\plays.csv", "plays.csv"},
        {"dir/", ""},
        {"a\x01"
         "b\r\nc\x7f.csv",
         "abc.csv"},
        {"caf\xc3\xa9.csv", "caf\xc3\xa9.csv"},
        {"a\xff\xc3"
         "b",
         "ab"},
        {"\xed\xa0\x80x\xc0\xaf", "x"},
        {"evil\xe2\x80\xae"
         "vsc.exe",
         "evilvsc.exe"}, /* right-to-left override */
        {"a\xe2\x81\xa6"
         "b\xd8\x9c"
         "c\xc2\x85",
         "abc"},
        {"\xf0\x9f\x8e\xb5.csv", "\xf0\x9f\x8e\xb5.csv"},
        {"quo\"te", "quo\"te"},
    };
    char clean[TEXT_NAME_MAX];
    for (size_t i = 0; i < COUNT(cases); i++) {
        text_clean_filename(cases[i].name, clean);
        assert_string_equal(clean, cases[i].clean);
    }
    char name[600];
    for (size_t i = 0; i < 299; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 3);
    text_clean_filename(name, clean);
    assert_int_equal(strlen(clean), 254);
    assert_true(text_is_plain(clean, 254));
}

static void boundaries_are_taken_only_from_sound_content_types(void **state)
{
    (void)state;
    static const struct {
        const char *type, *boundary;
    } cases[] = {
        {"multipart/form-data; boundary=XX", "XX"},
        {"Multipart/Form-Data;boundary=\"a b\"", "a b"},
        {"multipart/form-data; boundary=----WebKitFormBoundary7MA4YWxkTrZu0gW",
         "----WebKitFormBoundary7MA4YWxkTrZu0gW"},
        {"multipart/form-data; boundary=X", "X"},
        {"multipart/form-data", NULL},
        {"multipart/form-data; boundary=", NULL},
        {"multipart/form-data; boundary=\"\"", NULL},
        {"multipart/form-data; boundary=XX; charset=utf-8", "XX"},
        {"multipart/form-data; charset=utf-8; BOUNDARY=XX;", "XX"},
        {"multipart/form-data; boundary=XX ;charset=\"utf-8\"", "XX"},
        {"multipart/form-data; a=\"; boundary=YY\"; boundary=\"X X\"", "X X"},
        {"multipart/form-data; a=\"\\\\\"; b=\"\\\"\"; boundary=XX", "XX"},
        {"multipart/form-data; boundary=XX; boundary=XX", NULL},
        {"multipart/form-data; boundary=XX; Boundary=\"YY\"", NULL},
        {"multipart/form-data; charset=utf-8", NULL},
        {"multipart/form-data; boundary=XX; charset", NULL},
        {"multipart/form-data; boundary=XX, boundary=YY", NULL},
        {"multipart/form-data; boundary=a b", NULL},
        {"multipart/form-databoundary=XX", NULL},
        {"multipart/form-data; boundary=\"XX", NULL},
        {"multipart/form-data; boundary=\"XX\"x", NULL},
        {"multipart/form-data; boundary=XX ", "XX"},
        {"multipart/form-data; boundary=\"XX \"", NULL},
        {"multipart/form-data; boundary=X\xc3", NULL},
        {"multipart/mixed; boundary=XX", NULL},
        {"multipart/form-data; boundary="
         "0123456789012345678901234567890123456789012345678901234567890123456789",
         "0123456789012345678901234567890123456789012345678901234567890123456789"},
        {"multipart/form-data; boundary="
         "01234567890123456789012345678901234567890123456789012345678901234567890",
         NULL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char boundary[MULTIPART_BOUNDARY_MAX + 1];
        bool ok = multipart_boundary(cases[i].type, boundary);
        if (ok != (cases[i].boundary != NULL))
            fail_msg("%s", cases[i].type);
        if (ok)
            assert_string_equal(boundary, cases[i].boundary);
    }
}

static int note_part(void *context, const char *name, const char *file_name, struct err *err)
{
    (void)err;
    buf_printf(context, "|%s,%s:", name, file_name ? file_name : "-");
    return 0;
}

static int note_data(void *context, const char *bytes, size_t len, struct err *err)
{
    (void)err;
    assert_true(len > 0);
    buf_append(context, bytes, len);
    return 0;
}

/* The form read in pieces of `step` bytes: what the callbacks got, or "!" when refused. */
static void read_form(const char *form, size_t len, size_t step, struct buf *out)
{
    static const struct multipart_events events = {note_part, note_data};
    struct multipart m;
    struct err err = ERR_INIT;
    int result = 0;

    multipart_init(&m, "XX", &events, out);
    for (size_t at = 0; result == 0 && at < len; at += step)
        result = multipart_feed(&m, form + at, len - at < step ? len - at : step, &err);
    if (result == 0)
        result = multipart_end(&m, &err);
    if (result < 0) {
        assert_int_equal(result, -E_BAD_VALUE);
        buf_clear(out);
        buf_append_str(out, "!");
    }
}

static void forms_are_read_alike_in_pieces_of_any_size(void **state)
{
    (void)state;
#define PART(h) "--XX\r\nContent-Disposition: form-data; " h "\r\n\r\n"
    static const struct {
        const char *form, *expected;
    } cases[] = {
        {PART("name=\"file\"; filename=\"a.csv\"") "x,y\r\n--XX--\r\n", "|file,a.csv:x,y"},
        {PART("name=file; filename=a.csv") "x\r\n--XX--", "|file,a.csv:x"},
        {"pre\r\namble\r\n" PART("name=\"a\"") "1\r\n" PART(
             "name=\"b\"") "\r\n--XX--\r\nepilogue",
         "|a,-:1|b,-:"},
        {PART("name=\"a\"") "--XX--", "|a,-:"},
        {PART("name=\"f\"; filename=\"\"") "\r\n--XX--", "|f,:"},
        {PART("name=\"f\"; filename=\"a\\\"b;c.csv\"") "1\r\n--XX--", "|f,a\"b;c.csv:1"},
        {PART("name=\"f\"; filename=\"C:\\dir\\a.csv\"") "1\r\n--XX--", "|f,C:\\dir\\a.csv:1"},
        {PART("NAME=\"f\" ; x=y ;filename*=UTF-8''z") "1\r\n--XX--", "|f,-:1"},
        {PART("name=\"f\"") "\r\r\n-\r\n--X\r\n--XY\r\n\r\n--XX--",
         "|f,-:\r\r\n-\r\n--X\r\n--XY\r\n"},
        {"--XX \t\r\nContent-Type: "
         "text/csv\r\ncontent-disposition:form-data;name=f\r\n\r\n1\r\n--XX--",
         "|f,-:1"},
        {"--XX--\r\n", ""},
        {"", "!"},
        {"--XX", "!"},
        {PART("name=\"f\"") "1", "!"},
        {PART("name=\"f\"") "1\r\n--XX", "!"},
        {PART("name=\"f\"") "1\r\n--XX-", "!"},
        {PART("name=\"f\"") "1\r\n--XXY--", "!"},
        {PART("name=\"f\"") "1\n--XX--\n", "!"},
        {"--XX\nContent-Disposition: form-data; name=f\n\n1\r\n--XX--", "!"},
        {"--XX\r\nContent-Disposition: form-data; name=f\n\r\n\r\n1\r\n--XX--", "!"},
        {"--XX\r\n\r\n1\r\n--XX--", "!"},
        {"--XX\r\nContent-Type: text/csv\r\n\r\n1\r\n--XX--", "!"},
        {PART("filename=\"a\"") "1\r\n--XX--", "!"},
        {PART("name=\"a\"; name=\"b\"") "1\r\n--XX--", "!"},
        {PART("name=\"a") "1\r\n--XX--", "!"},
        {PART("name=\"a\"x") "1\r\n--XX--", "!"},
        {PART("name") "1\r\n--XX--", "!"},
        {"--XX\r\nContent-Disposition: attachment; name=f\r\n\r\n1\r\n--XX--", "!"},
        {"--XX\r\nContent-Disposition: form-data; name=f\r\nContent-Transfer-Encoding: "
         "base64\r\n\r\n"
         "MQ==\r\n--XX--",
         "!"},
        {"--XX\r\nContent-Disposition: form-data; name=f\r\nContent-Type: multipart/mixed; "
         "boundary=YY\r\n\r\n--YY--\r\n--XX--",
         "!"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len = strlen(cases[i].form);
        for (size_t step = 1; step <= len + 1; step++) {
            struct buf out = BUF_INIT;
            read_form(cases[i].form, len, step, &out);
            if (strcmp(out.data, cases[i].expected) != 0)
                fail_msg("case %zu in steps of %zu: \"%s\"", i, step, out.data);
            buf_release(&out);
        }
    }
}

static void a_part_with_a_huge_header_is_refused(void **state)
{
    (void)state;
    struct buf form = BUF_INIT, out = BUF_INIT;

    buf_append_str(&form, "--XX\r\nA: ");
    for (int i = 0; i < MULTIPART_HEADER_MAX; i++)
        buf_append_char(&form, 'a');
    read_form(form.data, form.len, form.len, &out);
    assert_string_equal(out.data, "!");
    buf_release(&form);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gate_judges_targets),
        cmocka_unit_test(gate_limits_the_length_of_the_target_and_its_parameters),
        cmocka_unit_test(gate_judges_headers),
        cmocka_unit_test(gate_wants_a_host_in_every_version_but_the_first),
        cmocka_unit_test(gate_limits_the_header),
        cmocka_unit_test(gate_tells_http_1_0_from_1_1),
        cmocka_unit_test(bare_line_feeds_and_folded_lines_are_seen_in_the_header_block),
        cmocka_unit_test(target_is_decoded_once),
        cmocka_unit_test(router_matches_exactly),
        cmocka_unit_test(ranges_follow_rfc_9110),
        cmocka_unit_test(etags_are_found_in_lists),
        cmocka_unit_test(file_names_are_cleaned_for_showing),
        cmocka_unit_test(boundaries_are_taken_only_from_sound_content_types),
        cmocka_unit_test(forms_are_read_alike_in_pieces_of_any_size),
        cmocka_unit_test(a_part_with_a_huge_header_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
