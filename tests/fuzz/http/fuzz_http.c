/* Everything of the http room that reads a client's bytes without the library: gate, target,
 * router, ranges, file names and forms. What comes out must keep its promises.
 *
 * Input: "METHOD target version\nName: value\n…\n\nform"; the boundary is XX. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "gate.h"
#include "multipart.h"
#include "range.h"
#include "router.h"
#include "target.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct http_route routes[] = {
    {HTTP_GET, "/", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
    {HTTP_GET, "/v1/tasks", HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
    {HTTP_POST, "/v1/tasks/{id}/steps/{step}", HTTP_BODY_JSON, HTTP_LANE_COMMON, NULL},
    {HTTP_PUT, "/v1/{a}/{b}", HTTP_BODY_JSON, HTTP_LANE_COMMON, NULL},
    {HTTP_GET, NULL, HTTP_BODY_NONE, HTTP_LANE_COMMON, NULL},
};

static void check_path(const char *path)
{
    assert(path[0] == '/');
    assert(text_is_plain(path, strlen(path)));
    assert(!strchr(path, '\\') && !strstr(path, "//") && !strstr(path, "/../") &&
           !strstr(path, "/./"));
    const char *last = strrchr(path, '/');
    assert(strcmp(last, "/..") != 0 && strcmp(last, "/.") != 0);
    assert(strcmp(path, "/") == 0 || last[1] != '\0');
}

static void check_routing(const char *raw)
{
    struct target t;
    struct router_match match;
    char allow[ROUTER_ALLOW_MAX];

    if (!target_init(&t, raw) || !target_parse(&t))
        abort();
    check_path(t.path);
    for (size_t i = 0; i < t.query_count; i++) {
        assert(text_is_plain(t.query[i].name, strlen(t.query[i].name)));
        assert(text_is_plain(t.query[i].value, strlen(t.query[i].value)));
    }
    for (int m = 0; m <= HTTP_METHOD__COUNT; m++) {
        memcpy(t.path_parts, t.path, strlen(t.path) + 1);
        int status = router_find(routes, (enum http_method)m, t.path, t.path_parts, &match);
        assert(status == 200 || status == 404 || status == 405);
        assert((status == 200) == (match.route != NULL));
        for (size_t i = 0; i < HTTP_PARAM_MAX; i++)
            assert(!match.params[i] || (*match.params[i] && !strchr(match.params[i], '/')));
        router_allow_text(match.allow, allow);
    }
    target_release(&t);
}

static void check_values(const char *value)
{
    char clean[TEXT_NAME_MAX], boundary[MULTIPART_BOUNDARY_MAX + 1];
    uint64_t first = 0, last = 0;

    text_clean_filename(value, clean);
    assert(strlen(clean) < TEXT_NAME_MAX && text_is_plain(clean, strlen(clean)));
    if (range_parse(value, NULL, "tag", 1000, &first, &last) == RANGE_PART)
        assert(first <= last && last < 1000);
    range_parse("bytes=0-1", value, "tag", 1000, &first, &last);
    range_etag_matches(value, "tag");
    if (multipart_boundary(value, boundary))
        assert(*boundary);
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
    assert(len > 0);
    buf_append(context, bytes, len);
    return 0;
}

/* 0 or a failure; what the callbacks got goes to out. */
static int read_form(const char *form, size_t len, size_t step, struct buf *out)
{
    static const struct multipart_events events = {note_part, note_data};
    struct multipart m;
    int result = 0;

    multipart_init(&m, "XX", &events, out);
    for (size_t at = 0; result == 0 && at < len; at += step)
        result = multipart_feed(&m, form + at, len - at < step ? len - at : step, NULL);
    return result < 0 ? result : multipart_end(&m, NULL);
}

static void check_form(const char *form, size_t len)
{
    struct buf whole = BUF_INIT, pieces = BUF_INIT;

    int a = read_form(form, len, len + 1, &whole);
    int b = read_form(form, len, 1 + len % 7, &pieces);
    assert(a == b);
    if (a == 0)
        assert(whole.len == pieces.len && memcmp(whole.data, pieces.data, whole.len) == 0);
    buf_release(&whole);
    buf_release(&pieces);
}

/* Cuts the text at the first `c`; what follows, or the empty end. */
static char *cut(char *text, char c)
{
    char *end = text + strcspn(text, (char[]){c, '\0'});
    if (*end)
        *end++ = '\0';
    return end;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gate_header headers[GATE_HEADERS_MAX];
    struct gate_request r = {.headers = headers, .header_bytes = size};
    struct gate_verdict v;
    const uint8_t *blank = size ? memmem(data, size, "\n\n", 2) : NULL;
    size_t head = blank ? (size_t)(blank - data) : size;
    char *text = malloc(head + 1);

    if (!text)
        return 0;
    if (size)
        memcpy(text, data, head);
    text[head] = '\0';
    if (blank)
        check_form((const char *)blank + 2, size - head - 2);
    gate_block_is_clean((const char *)data, size);

    char *line = text, *next = cut(line, '\n');
    r.method = line;
    r.target = cut(line, ' ');
    r.version = cut((char *)(uintptr_t)r.target, ' ');
    for (line = next; *line && r.header_count < GATE_HEADERS_MAX; line = next) {
        next = cut(line, '\n');
        char *value = cut(line, ':');
        check_values(value);
        headers[r.header_count++] =
            (struct gate_header){line, value, strlen(line), strlen(value)};
    }
    gate_check(&r, &v);
    assert((v.status == 0) == (v.sentence == NULL));
    assert(v.content_length >= -1 && !(v.is_chunked && v.content_length >= 0));
    if (v.status == 0)
        check_routing(r.target);
    free(text);
    return 0;
}
