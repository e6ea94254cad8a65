/* listen.c - we open the sockets ourselves, so that an error names the address and port 0 can
 * be asked for its number. */
#include "listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Cuts "host:port" in two; the brackets of a v6 address go. */
static int split(const char *where, char host[LISTEN_TEXT_MAX], const char **ret_port,
                 struct err *err)
{
    const char *colon = strrchr(where, ':');
    size_t len = colon ? (size_t)(colon - where) : 0;
    const char *start = where;

    if (len >= 2 && *start == '[' && start[len - 1] == ']') {
        start++;
        len -= 2;
    }
    size_t digits = colon ? strspn(colon + 1, "0123456789") : 0;
    if (len == 0 || len >= LISTEN_TEXT_MAX || digits == 0 || digits > 5 ||
        colon[1 + digits] != '\0' || strtol(colon + 1, NULL, 10) > 65535)
        return err_set(err, -E_BAD_VALUE, "\"%s\" is no address:port to listen on", where);
    memcpy(host, start, len);
    host[len] = '\0';
    *ret_port = colon + 1;
    return 0;
}

int listen_check(const char *where, struct err *err)
{
    char host[LISTEN_TEXT_MAX];
    const char *port;

    return split(where, host, &port, err);
}

static int describe(int fd, char ret_address[LISTEN_TEXT_MAX])
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0 ||
        getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return -1;
    int size = snprintf(ret_address, LISTEN_TEXT_MAX,
                        addr.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
    return size > 0 && size < LISTEN_TEXT_MAX ? 0 : -1;
}

static int open_at(const struct addrinfo *at, int *ret_fd)
{
    int on = 1;
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        (at->ai_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0) ||
        bind(fd, at->ai_addr, at->ai_addrlen) != 0 || listen(fd, SOMAXCONN) != 0) {
        int failure = errno;
        close(fd);
        errno = failure;
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

int listen_open(const char *where, int *ret_fd, char ret_address[LISTEN_TEXT_MAX],
                struct err *err)
{
    static const struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                          .ai_socktype = SOCK_STREAM};
    char host[LISTEN_TEXT_MAX];
    const char *port = NULL;
    struct addrinfo *found;
    int fd = -1;

    int result = split(where, host, &port, err);
    if (result < 0)
        return result;
    int failure = getaddrinfo(host, port, &hints, &found);
    if (failure == EAI_MEMORY || failure == EAI_AGAIN || failure == EAI_SYSTEM)
        return err_set(err, -E_UNAVAILABLE, "cannot look up %s: %s", where,
                       gai_strerror(failure));
    if (failure)
        return err_set(err, -E_BAD_VALUE, "\"%s\" is no address to listen on: %s", where,
                       gai_strerror(failure));
    result = open_at(found, &fd);
    failure = errno;
    freeaddrinfo(found);
    if (result < 0)
        return err_set_errno(err, -E_UNAVAILABLE, failure, "cannot listen on %s", where);
    if (describe(fd, ret_address) < 0) {
        close(fd);
        return err_set(err, -E_UNAVAILABLE, "cannot tell where %s is", where);
    }
    *ret_fd = fd;
    return 0;
}
