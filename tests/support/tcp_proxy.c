/* tcp_proxy.c - one thread, one poll(2) over all pairs of sockets. Commands take the lock,
 * change what the thread sees, and wake it through a pipe. */
#include "tcp_proxy.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "stream_pattern.h"

enum { PAIRS_MAX = 256, CHUNK = 64 * 1024, BACKLOG = 128 };

enum action { PASS, PAUSE, DROP };

static const struct {
    const char *name;
    enum action action[2]; /* by enum tcp_proxy_way */
    bool refuses;
} modes[TCP_PROXY_MODE__COUNT] = {
    [TCP_PROXY_PASS] = {"pass", {PASS, PASS}, false},
    [TCP_PROXY_PAUSE] = {"pause", {PAUSE, PAUSE}, false},
    [TCP_PROXY_PAUSE_REQUESTS] = {"pause_requests", {PAUSE, PASS}, false},
    [TCP_PROXY_PAUSE_ANSWERS] = {"pause_answers", {PASS, PAUSE}, false},
    [TCP_PROXY_DROP] = {"drop", {DROP, DROP}, false},
    [TCP_PROXY_DROP_REQUESTS] = {"drop_requests", {DROP, PASS}, false},
    [TCP_PROXY_DROP_ANSWERS] = {"drop_answers", {PASS, DROP}, false},
    [TCP_PROXY_REFUSE] = {"refuse", {PASS, PASS}, true},
};

/* One way through a pair: bytes read from one socket that the other has not taken yet. */
struct way {
    char bytes[CHUNK];
    size_t at, len;
    int64_t due_ms; /* not passed on before */
    int64_t gone;   /* bytes, since the connection was opened */
    bool ended;     /* its source has sent its last byte ... */
    bool shut;      /* ... and the other side was told */
    bool is_last;   /* the connection ends once `bytes` are through */
};

struct pair {
    int fd[2];         /* client, target; way[i] leads away from fd[i] */
    struct way way[2]; /* by enum tcp_proxy_way */
    size_t matched;    /* bytes of the trap's pattern that came last */
    bool is_trapped;
    enum tcp_proxy_cut cut; /* when trapped */
};

struct trap {
    enum tcp_proxy_cut cut;
    struct stream_pattern pattern;
    unsigned times;
    uint64_t sprung;
};

struct tcp_proxy {
    pthread_t thread;
    pthread_mutex_t lock;
    int listener, port, wake[2];
    /* below: under lock */
    struct sockaddr_in target;
    struct pair *pairs[PAIRS_MAX];
    size_t pair_count;
    enum tcp_proxy_mode mode;
    int64_t delay_ms, limit[2];
    struct trap trap;
    uint64_t accepted, dropped;
    bool changed; /* by a command since the thread last looked */
    bool ending;
};

/* What becomes of a pair. */
enum fate { KEEP, CLOSE, RESET };

const char *tcp_proxy_mode_name(enum tcp_proxy_mode mode)
{
    return (unsigned)mode < TCP_PROXY_MODE__COUNT ? modes[mode].name : NULL;
}

enum tcp_proxy_mode tcp_proxy_mode_named(const char *name)
{
    int mode = 0;

    while (mode < TCP_PROXY_MODE__COUNT && strcmp(modes[mode].name, name) != 0)
        mode++;
    return (enum tcp_proxy_mode)mode;
}

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

/* -1 when the target refuses; the connection may still be on its way. */
static int connect_target(const struct tcp_proxy *p)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd >= 0 && (connect(fd, (const struct sockaddr *)&p->target, sizeof p->target) == 0 ||
                    errno == EINPROGRESS))
        return fd;
    close_fd(fd, false);
    return -1;
}

static void accept_client(struct tcp_proxy *p)
{
    int client = accept4(p->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    struct pair *pair;
    int target;

    if (client < 0)
        return;
    if (modes[p->mode].refuses || p->target.sin_port == 0 || p->pair_count == PAIRS_MAX) {
        close_fd(client, true);
        return;
    }
    p->accepted++;
    target = connect_target(p);
    pair = target >= 0 ? calloc(1, sizeof *pair) : NULL;
    if (!pair) {
        close_fd(client, true);
        close_fd(target, true);
        return;
    }
    pair->fd[0] = client;
    pair->fd[1] = target;
    p->pairs[p->pair_count++] = pair;
}

/* After bytes came: is the trap's place reached? */
static enum fate spring(struct trap *t, struct pair *pair, int from)
{
    struct way *w = &pair->way[from];

    if (from == TCP_PROXY_REQUESTS && t->times > 0 && !pair->is_trapped &&
        stream_pattern_find(&t->pattern, &pair->matched, w->bytes, w->len)) {
        t->times--;
        pair->is_trapped = true;
        pair->cut = t->cut;
        if (t->cut == TCP_PROXY_CUT_BEFORE) {
            t->sprung++;
            return RESET;
        }
    } else if (from == TCP_PROXY_ANSWERS && pair->is_trapped) {
        t->sprung++;
        w->is_last = true;
        if (pair->cut == TCP_PROXY_CUT_UNANSWERED)
            return RESET;
    }
    return KEEP;
}

/* Reads into an empty way. */
static enum fate fill(struct tcp_proxy *p, struct pair *pair, int from)
{
    struct way *w = &pair->way[from];
    ssize_t n = recv(pair->fd[from], w->bytes, CHUNK, 0);
    enum fate fate;

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? KEEP : RESET;
    w->ended = n == 0;
    w->at = 0;
    w->len = (size_t)n;
    w->due_ms = p->delay_ms ? clock_mono_ms() + p->delay_ms : 0;
    fate = spring(&p->trap, pair, from);
    if (p->limit[from] >= 0 && w->gone + n >= p->limit[from]) {
        w->len = p->limit[from] > w->gone ? (size_t)(p->limit[from] - w->gone) : 0;
        w->is_last = true;
    }
    w->gone += n;
    return fate;
}

static enum fate flush(struct pair *pair, int from)
{
    struct way *w = &pair->way[from];
    ssize_t n = send(pair->fd[1 - from], w->bytes + w->at, w->len - w->at, MSG_NOSIGNAL);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? KEEP : RESET;
    w->at += (size_t)n;
    if (w->at == w->len)
        w->at = w->len = 0;
    return KEEP;
}

static bool is_due(const struct way *w)
{
    return w->len > 0 && (w->due_ms == 0 || clock_mono_ms() >= w->due_ms);
}

static short wanted(const struct tcp_proxy *p, const struct pair *pair, int side)
{
    const struct way *from = &pair->way[side], *to = &pair->way[1 - side];
    short events = 0;

    if (modes[p->mode].action[side] != PAUSE && !from->ended && from->len == 0)
        events |= POLLIN;
    if (modes[p->mode].action[1 - side] == PASS && is_due(to))
        events |= POLLOUT;
    return events;
}

static enum fate serve_side(struct tcp_proxy *p, struct pair *pair, int side, short got)
{
    short events = wanted(p, pair, side);
    enum fate fate = KEEP;

    if (got & (POLLERR | POLLHUP))
        got |= POLLIN | POLLOUT; /* whichever is tried will tell */
    if (events & got & POLLOUT)
        fate = flush(pair, 1 - side);
    if (fate == KEEP && events & got & POLLIN)
        fate = fill(p, pair, side);
    return fate;
}

/* What follows from bytes that are through, or never will be. */
static enum fate finish_way(struct tcp_proxy *p, struct pair *pair, int from)
{
    struct way *w = &pair->way[from];
    enum action action = modes[p->mode].action[from];

    if (action == DROP) {
        p->dropped += w->len - w->at;
        w->at = w->len = 0;
    }
    if (w->len > 0)
        return KEEP;
    if (w->is_last)
        return CLOSE;
    if (w->ended && !w->shut && action == PASS) {
        w->shut = true;
        if (shutdown(pair->fd[1 - from], SHUT_WR) != 0)
            return RESET;
    }
    return KEEP;
}

static enum fate serve_pair(struct tcp_proxy *p, struct pair *pair, const struct pollfd *fds)
{
    enum fate fate = KEEP;

    for (int side = 0; fate == KEEP && side < 2; side++)
        fate = serve_side(p, pair, side, fds[side].revents);
    return fate;
}

static enum fate finish_pair(struct tcp_proxy *p, struct pair *pair)
{
    enum fate fate = KEEP;

    for (int from = 0; fate == KEEP && from < 2; from++)
        fate = finish_way(p, pair, from);
    if (fate == KEEP && pair->way[0].shut && pair->way[1].shut)
        return CLOSE;
    return fate;
}

static void finish(struct tcp_proxy *p)
{
    for (size_t i = p->pair_count; i-- > 0;) { /* backwards: dropping moves the last one down */
        enum fate fate = finish_pair(p, p->pairs[i]);

        if (fate != KEEP)
            drop_pair(p, i, fate == RESET);
    }
}

/* fds: wake pipe, listener, then two per pair in the order of pairs. */
static size_t collect(struct tcp_proxy *p, struct pollfd *fds)
{
    size_t n = 0;

    fds[n++] = (struct pollfd){.fd = p->wake[0], .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = p->listener, .events = POLLIN};
    for (size_t i = 0; i < p->pair_count; i++) {
        for (int side = 0; side < 2; side++) {
            short events = wanted(p, p->pairs[i], side);
            int fd = events ? p->pairs[i]->fd[side] : -1; /* else a hang-up would spin */

            fds[n++] = (struct pollfd){.fd = fd, .events = events};
        }
    }
    return n;
}

/* Until the first held-up bytes are due; -1: there are none. */
static int poll_ms(const struct tcp_proxy *p)
{
    int64_t now = clock_mono_ms(), least = -1;

    for (size_t i = 0; i < 2 * p->pair_count; i++) {
        const struct way *w = &p->pairs[i / 2]->way[i % 2];
        if (w->len > 0 && w->due_ms > now && (least < 0 || w->due_ms - now < least))
            least = w->due_ms - now;
    }
    return (int)least;
}

static void serve(struct tcp_proxy *p, const struct pollfd *fds, size_t served)
{
    for (size_t i = served; i-- > 0;) {
        enum fate fate = serve_pair(p, p->pairs[i], &fds[2 + 2 * i]);

        if (fate != KEEP)
            drop_pair(p, i, fate == RESET);
    }
}

static void *proxy_main(void *arg)
{
    struct tcp_proxy *p = arg;
    struct pollfd fds[2 + 2 * PAIRS_MAX];
    char byte;

    pthread_mutex_lock(&p->lock);
    while (!p->ending) {
        finish(p);
        size_t n = collect(p, fds);
        int ms = poll_ms(p);

        p->changed = false;
        pthread_mutex_unlock(&p->lock);
        (void)poll(fds, (nfds_t)n, ms);
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
        listen(p->listener, BACKLOG) != 0 ||
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
    p->limit[0] = p->limit[1] = -1;
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

/* -- commands -- */

static void begin(struct tcp_proxy *p)
{
    pthread_mutex_lock(&p->lock);
}

static void commit(struct tcp_proxy *p)
{
    if (!p->changed)
        (void)!write(p->wake[1], "", 1);
    p->changed = true;
    pthread_mutex_unlock(&p->lock);
}

void tcp_proxy_close(struct tcp_proxy *p)
{
    if (!p)
        return;
    begin(p);
    p->ending = true;
    commit(p);
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

void tcp_proxy_set_target(struct tcp_proxy *p, int port)
{
    begin(p);
    p->target.sin_port = htons((uint16_t)port);
    commit(p);
}

void tcp_proxy_set_mode(struct tcp_proxy *p, enum tcp_proxy_mode mode)
{
    assert((unsigned)mode < TCP_PROXY_MODE__COUNT);
    begin(p);
    p->mode = mode;
    commit(p);
}

void tcp_proxy_set_delay(struct tcp_proxy *p, int64_t ms)
{
    begin(p);
    p->delay_ms = ms;
    commit(p);
}

void tcp_proxy_set_limit(struct tcp_proxy *p, enum tcp_proxy_way way, int64_t bytes)
{
    begin(p);
    p->limit[way] = bytes;
    commit(p);
}

void tcp_proxy_reset(struct tcp_proxy *p)
{
    begin(p);
    while (p->pair_count > 0)
        drop_pair(p, 0, true);
    commit(p);
}

void tcp_proxy_set_trap(struct tcp_proxy *p, enum tcp_proxy_cut cut, const void *pattern,
                        size_t len, unsigned times)
{
    struct trap *t = &p->trap;

    begin(p);
    t->times = times;
    if (times > 0) {
        t->cut = cut;
        stream_pattern_set(&t->pattern, pattern, len);
    }
    for (size_t i = 0; i < p->pair_count; i++)
        p->pairs[i]->matched = 0;
    commit(p);
}

static uint64_t peek(struct tcp_proxy *p, const uint64_t *counter)
{
    uint64_t n;

    pthread_mutex_lock(&p->lock);
    n = *counter;
    pthread_mutex_unlock(&p->lock);
    return n;
}

uint64_t tcp_proxy_sprung(struct tcp_proxy *p)
{
    return peek(p, &p->trap.sprung);
}

uint64_t tcp_proxy_dropped(struct tcp_proxy *p)
{
    return peek(p, &p->dropped);
}

uint64_t tcp_proxy_accepted(struct tcp_proxy *p)
{
    return peek(p, &p->accepted);
}
