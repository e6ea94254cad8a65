/* gate.c - the rules every request must pass, one small function per rule. */
#include "gate.h"

#include <string.h>
#include <strings.h>

#include "text.h"

struct refusal {
    int status;
    const char *sentence;
};

#define PASS ((struct refusal){0, NULL})

const char *gate_header_find(const struct gate_header *headers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(headers[i].name, name) == 0)
            return headers[i].value;
    return NULL;
}

static size_t header_count(const struct gate_request *r, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < r->header_count; i++)
        count += strcasecmp(r->headers[i].name, name) == 0;
    return count;
}

static const char *header_get(const struct gate_request *r, const char *name)
{
    return gate_header_find(r->headers, r->header_count, name);
}

static struct refusal check_size(const struct gate_request *r)
{
    if (r->target == NULL || strnlen(r->target, GATE_TARGET_MAX + 1) > GATE_TARGET_MAX)
        return r->target ? (struct refusal){414, "the request target is longer than 2048 bytes"}
                         : (struct refusal){400, "the request has no target"};
    if (r->header_count > GATE_HEADERS_MAX)
        return (struct refusal){431, "the request has more than 64 headers"};
    if (r->header_bytes > GATE_HEADER_BYTES_MAX)
        return (struct refusal){431, "the request header is larger than 16 KiB"};
    return PASS;
}

static struct refusal check_header_text(const struct gate_request *r)
{
    for (size_t i = 0; i < r->header_count; i++) {
        const struct gate_header *h = &r->headers[i];
        if (h->name_len == 0)
            return (struct refusal){400, "a header has no name"};
        for (size_t j = 0; j < h->name_len; j++)
            if (!text_is_token_char(h->name[j]))
                return (struct refusal){400, "a header name holds a character it may not hold"};
        for (size_t j = 0; j < h->value_len; j++) {
            unsigned char c = (unsigned char)h->value[j];
            if ((c < 0x20 && c != '\t') || c == 0x7f)
                return (struct refusal){400, "a header value holds a control character"};
        }
    }
    return PASS;
}

static struct refusal check_duplicates(const struct gate_request *r)
{
    static const char *const single[] = {"Content-Length", "Transfer-Encoding", "Host",
                                         "Authorization",  "Idempotency-Key",   "Content-Type"};
    for (size_t i = 0; i < sizeof single / sizeof *single; i++)
        if (header_count(r, single[i]) > 1)
            return (struct refusal){400, "a header that may come once came several times"};
    return PASS;
}

/* Digits only. 413 when it could not even be counted. */
static struct refusal check_length(const char *text, int64_t *ret_length)
{
    size_t digits = strspn(text, "0123456789");
    int64_t length = 0;

    if (digits == 0 || text[digits + strspn(text + digits, " \t")] != '\0')
        return (struct refusal){400, "the Content-Length is not a number"};
    for (size_t i = 0; i < digits; i++) {
        if (length > (INT64_MAX - 9) / 10)
            return (struct refusal){413, "the Content-Length is beyond any limit"};
        length = length * 10 + (text[i] - '0');
    }
    *ret_length = length;
    return PASS;
}

static struct refusal check_framing(const struct gate_request *r, struct gate_verdict *v)
{
    const char *length = header_get(r, "Content-Length");
    const char *coding = header_get(r, "Transfer-Encoding");

    if (coding && strcasecmp(coding, "chunked") != 0)
        return (struct refusal){400, "the Transfer-Encoding is not exactly chunked"};
    if (coding && length)
        return (struct refusal){400, "both Content-Length and Transfer-Encoding were sent"};
    if (coding && strcmp(r->version, "HTTP/1.1") != 0)
        return (struct refusal){400, "Transfer-Encoding needs HTTP/1.1"};
    v->is_chunked = coding != NULL;
    return length ? check_length(length, &v->content_length) : PASS;
}

static struct refusal check_meaning(const struct gate_request *r)
{
    const char *expect = header_get(r, "Expect");

    if (strcmp(r->version, "HTTP/1.0") != 0 && !header_get(r, "Host"))
        return (struct refusal){400, "the Host header is missing"};
    if (header_get(r, "Content-Encoding"))
        return (struct refusal){415, "a Content-Encoding of the request is not supported"};
    if (expect && strcasecmp(expect, "100-continue") != 0)
        return (struct refusal){417, "only 100-continue can be expected"};
    return PASS;
}

static struct refusal check_characters(const char *target)
{
    for (const char *p = target; *p; p++) {
        unsigned char c = (unsigned char)*p;
        if (c <= 0x20 || c >= 0x7f)
            return (struct refusal){400, "the target holds a character that must be escaped"};
        if (strchr("\"#<>\\^`{|}", *p) != NULL)
            return (struct refusal){400, "the target holds a character that no URL may hold"};
        if (*p != '%')
            continue;
        int high = text_hex_value(p[1]);
        int low = high < 0 ? -1 : text_hex_value(p[2]);
        if (low < 0)
            return (struct refusal){400, "the target holds a malformed percent-escape"};
        if (high * 16 + low < 0x20 || high * 16 + low == 0x7f)
            return (struct refusal){400, "the target holds an escaped control character"};
        p += 2;
    }
    return PASS;
}

static struct refusal check_segment(const char *segment, size_t len)
{
    char plain[GATE_TARGET_MAX + 1];

    for (size_t i = 0; i + 2 < len; i++)
        if (segment[i] == '%' && (strncasecmp(segment + i + 1, "2f", 2) == 0 ||
                                  strncasecmp(segment + i + 1, "5c", 2) == 0))
            return (struct refusal){400, "the path holds an escaped slash or backslash"};
    size_t size = text_percent_decode(segment, len, false, plain);
    if (strcmp(plain, ".") == 0 || strcmp(plain, "..") == 0)
        return (struct refusal){400, "the path holds a dot segment"};
    if (!text_is_plain(plain, size))
        return (struct refusal){400, "the path is not UTF-8"};
    return PASS;
}

static struct refusal check_path(const char *path, size_t len)
{
    if (len == 0 || path[0] != '/')
        return (struct refusal){400, "the target does not start with a slash"};
    for (size_t at = 1; at <= len;) {
        const char *slash = memchr(path + at, '/', len - at);
        size_t end = slash ? (size_t)(slash - path) : len;
        if (end == at && slash)
            return (struct refusal){400, "the path holds an empty segment"};
        struct refusal refusal = check_segment(path + at, end - at);
        if (refusal.status)
            return refusal;
        at = end + 1;
    }
    return PASS;
}

static struct refusal check_query(const char *query)
{
    char plain[GATE_TARGET_MAX + 1];
    size_t parameters = 1;

    for (const char *p = query; *p; p++)
        parameters += *p == '&';
    if (parameters > GATE_QUERY_MAX)
        return (struct refusal){400, "the query has more than 32 parameters"};
    size_t size = text_percent_decode(query, strlen(query), true, plain);
    if (!text_is_plain(plain, size))
        return (struct refusal){400, "the query is not UTF-8"};
    return PASS;
}

static struct refusal check_target(const char *target)
{
    size_t path_len = strcspn(target, "?");
    struct refusal refusal = check_characters(target);

    if (!refusal.status)
        refusal = check_path(target, path_len);
    if (!refusal.status && target[path_len] == '?')
        refusal = check_query(target + path_len + 1);
    return refusal;
}

void gate_check(const struct gate_request *r, struct gate_verdict *ret)
{
    *ret = (struct gate_verdict){.content_length = -1};
    struct refusal refusal = check_size(r);

    if (!refusal.status)
        refusal = check_header_text(r);
    if (!refusal.status)
        refusal = check_duplicates(r);
    if (!refusal.status)
        refusal = check_framing(r, ret);
    if (!refusal.status)
        refusal = check_target(r->target);
    if (!refusal.status)
        refusal = check_meaning(r);
    ret->status = refusal.status;
    ret->sentence = refusal.sentence;
}

bool gate_block_is_clean(const char *block, size_t len)
{
    const char *p = block, *end = block + len;

    if (end - p < 2 || p[0] != '\0' || p[1] != '\0')
        return false;
    for (p += 2; p < end && *p != '\0';) {
        if (*p == ' ' || *p == '\t')
            return false;
        for (int part = 0; part < 2; part++) { /* the name, then the value */
            p = memchr(p, '\0', (size_t)(end - p));
            if (p == NULL || ++p == end)
                return false;
        }
        if (*p++ != '\0')
            return false;
    }
    return end - p == 2 && p[0] == '\0' && p[1] == '\0';
}
