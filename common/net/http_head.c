/* http_head.c - the few header fields that callers use, cut to size and made harmless. */
#include "http_head.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* A day is longer than anyone waits; more digits than that are not worth reading. */
enum { RETRY_AFTER_MAX_S = 86400 };

static void copy_text(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size)
        len = size - 1;
    memcpy(to, from, len);
    to[len] = '\0';
}

/* "HTTP/1.1 200 OK" -> 200; 0 when it is no such line. */
static int status_of(const char *line, size_t len)
{
    if (len < 12 || memcmp(line, "HTTP/", 5) != 0)
        return 0;
    const char *at = memchr(line, ' ', len);
    if (!at || line + len - at < 4)
        return 0;
    int status = 0;
    for (int i = 1; i <= 3; i++) {
        if (!isdigit((unsigned char)at[i]))
            return 0;
        status = status * 10 + (at[i] - '0');
    }
    return status;
}

static int64_t seconds_of(const char *value, size_t len)
{
    int64_t seconds = 0;

    if (len == 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)value[i]))
            return -1; /* the date form: servers of ours do not send it */
        if (seconds < RETRY_AFTER_MAX_S)
            seconds = seconds * 10 + (value[i] - '0');
    }
    return seconds < RETRY_AFTER_MAX_S ? seconds : RETRY_AFTER_MAX_S;
}

/* The name is the server's; what is left of it must be a plain name in the caller's folder:
 * no path, no control bytes, not hidden. Anything else reads as no name. */
static void make_plain_name(char *name)
{
    char *slash = strrchr(name, '/'), *backslash = strrchr(name, '\\');
    char *base = name;

    if (slash && slash >= base)
        base = slash + 1;
    if (backslash && backslash >= base)
        base = backslash + 1;
    memmove(name, base, strlen(base) + 1);
    for (const char *p = name; *p; p++) {
        if (iscntrl((unsigned char)*p)) {
            *name = '\0';
            return;
        }
    }
    if (*name == '.')
        *name = '\0';
}

/* attachment; filename=a.csv   or   filename="a \"b\".csv"   (RFC 6266, section 4) */
static void read_filename(struct http_answer *a, const char *value, size_t len)
{
    static const char key[] = "filename=";
    const char *end = value + len, *at = value;
    size_t n = 0;

    while (at + sizeof key - 1 <= end && strncasecmp(at, key, sizeof key - 1) != 0)
        at++;
    if (at + sizeof key - 1 > end)
        return;
    at += sizeof key - 1;
    bool quoted = at < end && *at == '"';
    for (at += quoted; at < end && n < sizeof a->filename - 1; at++) {
        if (quoted ? *at == '"' : *at == ';' || *at == ' ')
            break;
        if (quoted && *at == '\\' && at + 1 < end)
            at++;
        a->filename[n++] = *at;
    }
    a->filename[n] = '\0';
    make_plain_name(a->filename);
}

static void take_field(struct http_answer *a, const char *name, size_t name_len,
                       const char *value, size_t len)
{
#define IS(text) (name_len == sizeof(text) - 1 && strncasecmp(name, text, name_len) == 0)
    if (IS("Content-Type"))
        copy_text(a->content_type, sizeof a->content_type, value, len);
    else if (IS("Location"))
        copy_text(a->location, sizeof a->location, value, len);
    else if (IS("Retry-After"))
        a->retry_after_s = seconds_of(value, len);
    else if (IS("Content-Disposition"))
        read_filename(a, value, len);
#undef IS
}

void http_head_line(struct http_answer *a, const char *line, size_t len)
{
    while (len > 0 && isspace((unsigned char)line[len - 1]))
        len--;

    int status = status_of(line, len);
    if (status) {
        a->status = status;
        buf_clear(&a->body); /* of an answer that came before, on a link that then broke */
        a->content_type[0] = a->location[0] = a->filename[0] = '\0';
        a->retry_after_s = -1;
        return;
    }
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return;
    const char *value = colon + 1, *end = line + len;
    while (value < end && isspace((unsigned char)*value))
        value++;
    take_field(a, line, (size_t)(colon - line), value, (size_t)(end - value));
}

void http_head_whole(struct http_answer *a, const char *bytes, size_t len)
{
    const char *at = bytes, *end = bytes + len;
    bool chunked = false;

    while (at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            break;
        size_t line_len = (size_t)(line_end - at);
        bool empty = line_len == 0 || (line_len == 1 && *at == '\r');
        if (empty && a->status >= 200) {
            if (!chunked)
                buf_append(&a->body, line_end + 1, (size_t)(end - line_end - 1));
            return;
        }
        chunked |= line_len > 17 && strncasecmp(at, "Transfer-Encoding", 17) == 0;
        http_head_line(a, at, line_len);
        at = line_end + 1;
    }
    a->status = 0;
}
