/* client.c - sockets, with a time limit so that a hang is a failure. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"

void client_open(struct client *c, const char *address)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    struct timeval limit = {.tv_sec = 20};
    const char *colon = strrchr(address, ':');

    addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(c->fd >= 0);
    setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    buf_init(&c->in);
    c->is_broken = false;
    assert_int_equal(connect(c->fd, (struct sockaddr *)&addr, sizeof addr), 0);
}

void client_close(struct client *c)
{
    close(c->fd);
    buf_release(&c->in);
}

/* A server that has refused may have closed: that shows in the answer, not here. */
void client_send(struct client *c, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = send(c->fd, p, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
            c->is_broken = true;
            return;
        }
        assert_true(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

void client_sendf(struct client *c, const char *fmt, ...)
{
    char *text;
    va_list args;

    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    assert_true(len >= 0);
    client_send(c, text, (size_t)len);
    free(text);
}

/* False at the end of the stream. */
static bool read_more(struct client *c)
{
    char bytes[16384];
    ssize_t n = recv(c->fd, bytes, sizeof bytes, 0);

    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        fail_msg("no answer within 20 s");
    if (n <= 0)
        return false;
    buf_append(&c->in, bytes, (size_t)n);
    return true;
}

static void drop_front(struct buf *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    b->data[b->len] = '\0';
}

static bool read_head(struct client *c, struct answer *ret)
{
    char *end;

    while ((end = c->in.len ? memmem(c->in.data, c->in.len, "\r\n\r\n", 4) : NULL) == NULL)
        if (!read_more(c))
            return false;
    size_t len = (size_t)(end - c->in.data) + 4;
    buf_append(&ret->head, c->in.data, len);
    drop_front(&c->in, len);
    assert_int_equal(sscanf(ret->head.data, "HTTP/1.1 %d ", &ret->status), 1);
    return true;
}

void client_answer(struct client *c, bool has_body, struct answer *ret)
{
    *ret = (struct answer){0};
    buf_init(&ret->head);
    buf_init(&ret->body);
    do {
        buf_clear(&ret->head);
        if (!read_head(c, ret)) {
            ret->status = 0;
            return;
        }
    } while (ret->status == 100);
    size_t len = has_body ? strtoul(answer_header(ret, "Content-Length"), NULL, 10) : 0;
    while (c->in.len < len)
        if (!read_more(c))
            break;
    len = c->in.len < len ? c->in.len : len;
    buf_append(&ret->body, c->in.data, len);
    drop_front(&c->in, len);
}

bool client_is_closed(struct client *c)
{
    return c->in.len == 0 && !read_more(c);
}

void client_drain(struct client *c)
{
    while (read_more(c))
        ;
    buf_clear(&c->in);
}

const char *answer_header(const struct answer *a, const char *name)
{
    static _Thread_local char value[1024];
    size_t name_len = strlen(name);

    for (const char *p = strstr(a->head.data, "\r\n"); p && p[2]; p = strstr(p + 2, "\r\n")) {
        if (strncasecmp(p + 2, name, name_len) != 0 || p[2 + name_len] != ':')
            continue;
        p += 3 + name_len;
        p += strspn(p, " ");
        size_t len = strcspn(p, "\r");
        assert_true(len < sizeof value);
        memcpy(value, p, len);
        value[len] = '\0';
        return value;
    }
    return "";
}

void answer_release(struct answer *a)
{
    buf_release(&a->head);
    buf_release(&a->body);
}

int client_ask(const char *address, const char *request, struct buf *ret_body)
{
    struct client c;
    struct answer a;

    client_open(&c, address);
    client_send(&c, request, strlen(request));
    client_answer(&c, strncmp(request, "HEAD", 4) != 0, &a);
    if (ret_body) {
        buf_clear(ret_body);
        buf_append(ret_body, a.body.data, a.body.len);
    }
    int status = a.status;
    answer_release(&a);
    client_close(&c);
    return status;
}
