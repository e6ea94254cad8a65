/* tcp_proxy.c - one thread, one poll(2) over all pairs of sockets. Commands take the lock,
 * change what the thread sees, and wake it through a pipe. */
#include "tcp_proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PAIRS_MAX = 64, CHUNK = 64 * 1024 };

/* One way through a pair: bytes read from one socket that the other has not taken yet. */
struct way {
    char bytes[CHUNK];
    size_t at, len;
};

struct pair {
    int fd[2]; /* client, target; way[i] leads away from fd[i] */
    struct way way[2];
};

struct tcp_proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    struct sockaddr_in target;
    int listener, port, wake[2];
    /* below: under lock */
    struct pair *pairs[PAIRS_MAX];
    size_t pair_count;
    enum tcp_proxy_mode mode;
    unsigned accepted;
    bool changed; /* by a command since the thread last looked */
    bool ending;
};

static void close_fd(int fd, bool reset)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};

    if (fd < 0)
        return;
    if (reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

static void drop_pair(struct tcp_proxy *p, size_t i, bool reset)
{
    struct pair *pair = p->pairs[i];

    close_fd(pair->fd[0], reset);
    close_fd(pair->fd[1], reset);
    free(pair);
    p->pairs[i] = p->pairs[--p->pair_count];
}

static void accept_client(struct tcp_proxy *p)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct pair *pair;
    int target;

    if (client < 0)
        return;
    if (p->mode == TCP_PROXY_REFUSE || p->pair_count == PAIRS_MAX) {
        close_fd(client, true);
        return;
    }
    p->accepted++;
    target = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pair = calloc(1, sizeof *pair);
    if (!pair || target < 0 ||
        connect(target, (const struct sockaddr *)&p->target, sizeof p->target) != 0 ||
        fcntl(target, F_SETFL, O_NONBLOCK) != 0) {
        close_fd(client, true);
        close_fd(target, true);
        free(pair);
        return;
    }
    pair->fd[0] = client;
    pair->fd[1] = target;
    p->pairs[p->pair_count++] = pair;
}

static bool is_dropped(enum tcp_proxy_mode mode, int from)
{
    return mode == TCP_PROXY_DROP || (mode == TCP_PROXY_DROP_ANSWERS && from == 1);
}

/* Reads into an empty way. False when that side has ended. */
static bool fill(struct pair *pair, int from, enum tcp_proxy_mode mode)
{
    struct way *w = &pair->way[from];
    ssize_t n = recv(pair->fd[from], w->bytes, CHUNK, 0);

    if (n <= 0)
        return n < 0 && (errno == EAGAIN || errno == EINTR);
    w->at = 0;
    w->len = is_dropped(mode, from) ? 0 : (size_t)n;
    return true;
}

static bool flush(struct pair *pair, int from)
{
    struct way *w = &pair->way[from];
    ssize_t n = send(pair->fd[1 - from], w->bytes + w->at, w->len - w->at, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    w->at += (size_t)n;
    if (w->at == w->len)
        w->at = w->len = 0;
    return true;
}

static short wanted(const struct pair *pair, int side, enum tcp_proxy_mode mode)
{
    short events = 0;

    if (mode == TCP_PROXY_PAUSE)
        return 0;
    if (pair->way[side].len == 0)
        events |= POLLIN;
    if (pair->way[1 - side].len > 0)
        events |= POLLOUT;
    return events;
}

static bool serve_side(struct pair *pair, int side, short events, enum tcp_proxy_mode mode)
{
    if (events & POLLOUT && pair->way[1 - side].len > 0 && !flush(pair, 1 - side))
        return false;
    if (events & POLLIN && pair->way[side].len == 0)
        return fill(pair, side, mode);
    return !(events & (POLLERR | POLLHUP)) || mode == TCP_PROXY_PAUSE;
}

/* fds: wake pipe, listener, then two per pair in the order of pairs. */
static size_t collect(struct tcp_proxy *p, struct pollfd *fds)
{
    size_t n = 0;

    fds[n++] = (struct pollfd){.fd = p->wake[0], .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    for (size_t i = 0; i < p->pair_count; i++) {
        for (int side = 0; side < 2; side++) {
            short events = wanted(p->pairs[i], side, p->mode);
            int fd = events ? p->pairs[i]->fd[side] : -1; /* else a hang-up would spin */

            fds[n++] = (struct pollfd){.fd = fd, .events = events};
        }
    }
    return n;
}

static void serve(struct tcp_proxy *p, const struct pollfd *fds, size_t served)
{
    for (size_t i = served; i-- > 0;) { /* backwards: dropping moves the last one down */
        struct pair *pair = p->pairs[i];

        if (!serve_side(pair, 0, fds[2 + 2 * i].revents, p->mode) ||
            !serve_side(pair, 1, fds[3 + 2 * i].revents, p->mode))
            drop_pair(p, i, false);
    }
}

static void *proxy_main(void *arg)
{
    struct tcp_proxy *p = arg;
    struct pollfd fds[2 + 2 * PAIRS_MAX];
    char byte;

    pthread_mutex_lock(&p->lock);
    while (!p->ending) {
        size_t n = collect(p, fds);

        p->changed = false;
        pthread_mutex_unlock(&p->lock);
        (void)poll(fds, (nfds_t)n, -1);
        pthread_mutex_lock(&p->lock);
        if (fds[0].revents)
            (void)!read(p->wake[0], &byte, 1);
        if (p->changed) /* what poll said is about pairs that may be gone */
            continue;
        serve(p, fds, (n - 2) / 2);
        if (fds[1].revents)
            accept_client(p);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static bool listen_on_loopback(struct tcp_proxy *p)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;

    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->listener < 0 || bind(p->listener, (const struct sockaddr *)&at, sizeof at) != 0 ||
        listen(p->listener, 64) != 0 ||
        getsockname(p->listener, (struct sockaddr *)&at, &len) != 0)
        return false;
    p->port = ntohs(at.sin_port);
    return true;
}

struct tcp_proxy *tcp_proxy_open(const char *host, int port)
{
    struct tcp_proxy *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->listener = p->wake[0] = p->wake[1] = -1;
    p->target.sin_family = AF_INET;
    p->target.sin_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &p->target.sin_addr) == 1 && listen_on_loopback(p) &&
        pipe2(p->wake, O_CLOEXEC) == 0 && pthread_mutex_init(&p->lock, NULL) == 0) {
        if (pthread_create(&p->thread, NULL, proxy_main, p) == 0)
            return p;
        pthread_mutex_destroy(&p->lock);
    }
    close_fd(p->listener, false);
    close_fd(p->wake[0], false);
    close_fd(p->wake[1], false);
    free(p);
    return NULL;
}

/* Caller holds the lock. */
static void wake(struct tcp_proxy *p)
{
    p->changed = true;
    (void)!write(p->wake[1], "", 1);
}

void tcp_proxy_close(struct tcp_proxy *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    wake(p);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    while (p->pair_count > 0)
        drop_pair(p, 0, false);
    close_fd(p->listener, false);
    close_fd(p->wake[0], false);
    close_fd(p->wake[1], false);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

int tcp_proxy_port(const struct tcp_proxy *p)
{
    return p->port;
}

void tcp_proxy_set_mode(struct tcp_proxy *p, enum tcp_proxy_mode mode)
{
    pthread_mutex_lock(&p->lock);
    p->mode = mode;
    wake(p);
    pthread_mutex_unlock(&p->lock);
}

void tcp_proxy_reset(struct tcp_proxy *p)
{
    pthread_mutex_lock(&p->lock);
    while (p->pair_count > 0)
        drop_pair(p, 0, true);
    wake(p);
    pthread_mutex_unlock(&p->lock);
}

unsigned tcp_proxy_accepted(struct tcp_proxy *p)
{
    unsigned n;

    pthread_mutex_lock(&p->lock);
    n = p->accepted;
    pthread_mutex_unlock(&p->lock);
    return n;
}
