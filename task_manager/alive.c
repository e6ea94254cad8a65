#include "alive.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "notify.h"

enum { PATIENCE_MS = 2000, HOST_MAX = 64 };

struct address {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } to;
    socklen_t len;
};

/* "127.0.0.1:5000" or "[::1]:5000"; a wildcard is answered at the machine's own address. */
static bool parse_address(const char *text, struct address *ret)
{
    char host[HOST_MAX];
    const char *colon = strrchr(text, ':');
    bool is_v6 = text[0] == '[';

    memset(ret, 0, sizeof *ret);
    if (!colon || colon - text >= HOST_MAX)
        return false;
    in_port_t port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    int len = (int)(colon - text) - (is_v6 ? 2 : 0);
    snprintf(host, sizeof host, "%.*s", len, text + is_v6);
    if (is_v6) {
        ret->len = sizeof ret->to.v6;
        ret->to.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
        if (inet_pton(AF_INET6, host, &ret->to.v6.sin6_addr) != 1)
            return false;
        if (IN6_IS_ADDR_UNSPECIFIED(&ret->to.v6.sin6_addr))
            ret->to.v6.sin6_addr = in6addr_loopback;
        return true;
    }
    ret->len = sizeof ret->to.v4;
    ret->to.v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = port};
    if (inet_pton(AF_INET, host, &ret->to.v4.sin_addr) != 1)
        return false;
    if (ret->to.v4.sin_addr.s_addr == htonl(INADDR_ANY))
        ret->to.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return true;
}

static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left = until_ms - clock_mono_ms();

    return left > 0 && poll(&p, 1, (int)left) == 1;
}

static bool exchange(int fd, const struct address *address, int64_t until_ms)
{
    static const char request[] =
        "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    static const char wanted[] = "HTTP/1.1 200 ";
    char answer[sizeof wanted - 1];
    size_t have = 0;

    if (connect(fd, &address->to.any, address->len) != 0 && errno != EINPROGRESS)
        return false;
    if (!wait_for(fd, POLLOUT, until_ms) ||
        send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != (ssize_t)sizeof request - 1)
        return false;
    while (have < sizeof answer && wait_for(fd, POLLIN, until_ms)) {
        ssize_t got = recv(fd, answer + have, sizeof answer - have, 0);
        if (got <= 0)
            return false;
        have += (size_t)got;
    }
    return have == sizeof answer && memcmp(answer, wanted, have) == 0;
}

static bool is_answered(const char *text)
{
    struct address address;

    if (!parse_address(text, &address))
        return true; /* not an address we know how to ask: then nothing is known against it */
    int fd = socket(address.to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool ok = exchange(fd, &address, clock_mono_ms() + PATIENCE_MS);
    close(fd);
    return ok;
}

/* Have requests of others been dealt with since the last time? */
static bool has_moved(void)
{
    static int64_t before;
    int64_t now = metric_get(METRIC_HTTP_REQUESTS) + metric_get(METRIC_HTTP_GATE_REFUSED);
    bool moved = now != before;

    before = now;
    return moved;
}

void alive_tell(const char *address)
{
    if (clock_mono_ms() < notify_due_ms())
        return;
    bool ok = is_answered(address);
    bool moved = has_moved(); /* in any case, since the answer itself counts as well */
    if (!ok)
        log_warn("manager.healthz_unanswered", LOG_S("address", address),
                 LOG_S("others_are", moved ? "answered" : "not answered"));
    notify_alive(ok || moved, ok ? "serving" : "does not answer /healthz");
}

int64_t alive_wait_ms(void)
{
    int64_t due_ms = notify_due_ms(), left_ms = due_ms - clock_mono_ms();

    return due_ms == INT64_MAX ? -1 : left_ms > 0 ? left_ms : 0;
}
