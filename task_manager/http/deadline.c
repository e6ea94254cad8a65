/* deadline.c - one thread that looks at all connections and cuts the slow ones. */
#include "deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/tcp.h> /* struct tcp_info with tcpi_bytes_*; glibc's is older */
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "metrics.h"

enum {
    LINGER_MAX = 64,
    LINGER_MS = 5000,
    LINGER_READS = 8,
    LINGER_BUFFER = 65536,
    ABANDONED_MS = 1000
};

struct moved {
    uint64_t in, out; /* bytes received, bytes acknowledged by the client */
};

struct conn {
    struct conn *prev, *next;
    int fd;
    bool linger;
    _Atomic uint32_t state; /* phase in the low two bits, above them a count of changes */

    /* The sweeper's own notes, about the state it saw last. */
    uint32_t seen;
    bool is_cut, has_begun; /* has_begun: the first byte of a request has come */
    int64_t since_ms, begun_ms, progress_ms;
    struct moved base, last; /* when the phase began; at the last look */
};

struct deadline {
    struct deadline_limits limits;
    pthread_t thread;
    pthread_mutex_t lock; /* the list and the lingering sockets */
    struct conn *first;
    struct {
        int fd;
        int64_t until_ms;
    } linger[LINGER_MAX];
    size_t lingering;
    int wake_fd;
    atomic_bool stopping;
    char scratch[LINGER_BUFFER]; /* what lingering connections send; never looked at */
};

void conn_enter(struct conn *c, enum conn_phase phase)
{
    uint32_t now = atomic_load_explicit(&c->state, memory_order_relaxed);
    atomic_store_explicit(&c->state, ((now & ~3U) + 4U) | (uint32_t)phase,
                          memory_order_relaxed);
}

static struct moved bytes_moved(int fd)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof info;

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0)
        return (struct moved){0, 0};
    return (struct moved){info.tcpi_bytes_received, info.tcpi_bytes_acked};
}

/* The bytes before the first look count for a connection that has had no request yet. Later
 * phases are counted from the look that first saw them. */
static void note_new_phase(struct conn *c, uint32_t state, struct moved bytes, int64_t now)
{
    bool is_untouched = state == (uint32_t)CONN_WAITING;

    c->seen = state;
    c->since_ms = c->progress_ms = now;
    c->base = is_untouched ? (struct moved){0, 0} : bytes;
    c->last = bytes;
    c->has_begun = false;
}

/* Waiting for a request. Only bytes that came in begin one: the client may still be
 * acknowledging the last reply. */
static bool waiting_is_overdue(struct conn *c, const struct deadline_limits *l, int64_t now)
{
    if (!c->has_begun && c->last.in != c->base.in) {
        c->has_begun = true;
        c->begun_ms = now;
    }
    if (c->has_begun)
        return now - c->begun_ms > l->header_ms;
    return now - c->progress_ms > l->idle_ms || now - c->since_ms > l->idle_ms + l->header_ms;
}

/* Has the client closed, and has all that it sent been read? The library's epoll loop misses
 * the close when it comes together with the last bytes. */
static bool peer_is_done(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    int unread = 0;

    return poll(&p, 1, 0) == 1 && ioctl(fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Notes what is new and says whether the connection has overstepped a limit. */
static bool conn_is_overdue(struct conn *c, const struct deadline_limits *l, int64_t now)
{
    uint32_t state = atomic_load_explicit(&c->state, memory_order_relaxed);
    enum conn_phase phase = (enum conn_phase)(state & 3U);
    bool is_new = state != c->seen || c->since_ms == 0;

    if (phase == CONN_HANDLING && !is_new)
        return false;
    struct moved bytes = bytes_moved(c->fd);
    if (is_new)
        note_new_phase(c, state, bytes, now);
    if (bytes.in != c->last.in || bytes.out != c->last.out) {
        c->last = bytes;
        c->progress_ms = now;
    }
    if (phase == CONN_HANDLING)
        return false;
    if (phase == CONN_WAITING)
        return waiting_is_overdue(c, l, now);
    if (phase == CONN_RECEIVING && now - c->progress_ms > ABANDONED_MS && peer_is_done(c->fd))
        return true;
    uint64_t moved = bytes.in - c->base.in + bytes.out - c->base.out;
    int64_t earned = (int64_t)((double)moved * 1000.0 / (double)l->min_rate);
    return now - c->since_ms > l->request_ms + earned || now - c->progress_ms > l->idle_ms;
}

static void sweep(struct deadline *d, int64_t now)
{
    for (struct conn *c = d->first; c; c = c->next) {
        if (c->is_cut || !conn_is_overdue(c, &d->limits, now))
            continue;
        bool was_idle = (c->seen & 3U) == CONN_WAITING && !c->has_begun;
        c->is_cut = true;
        shutdown(c->fd, SHUT_RDWR);
        if (!was_idle) /* a keep-alive connection that is no longer used is no offence */
            metric_add(METRIC_HTTP_OVERDUE, 1);
    }
}

/* Reads and forgets what lingering connections send; true while one has more at once. */
static bool drain(struct deadline *d, int64_t now)
{
    bool busy = false;

    for (size_t i = 0; i < d->lingering;) {
        ssize_t n = 1;
        for (int reads = 0; reads < LINGER_READS && n > 0; reads++)
            n = recv(d->linger[i].fd, d->scratch, sizeof d->scratch, MSG_DONTWAIT);
        bool is_over = n == 0 || now > d->linger[i].until_ms || atomic_load(&d->stopping);
        busy = busy || (n > 0 && !is_over);
        if (!is_over) {
            i++;
            continue;
        }
        close(d->linger[i].fd);
        d->linger[i] = d->linger[--d->lingering];
    }
    return busy;
}

static void *deadline_main(void *arg)
{
    struct deadline *d = arg;
    int64_t next_sweep = 0;

    while (!atomic_load(&d->stopping)) {
        struct pollfd fds[1 + LINGER_MAX] = {{.fd = d->wake_fd, .events = POLLIN}};
        pthread_mutex_lock(&d->lock);
        int64_t now = clock_mono_ms();
        bool busy = drain(d, now);
        if (now >= next_sweep) {
            sweep(d, now);
            next_sweep = now + DEADLINE_TICK_MS;
        }
        nfds_t count = 1;
        for (size_t i = 0; i < d->lingering; i++)
            fds[count++] = (struct pollfd){.fd = d->linger[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&d->lock);

        poll(fds, count, busy ? 0 : (int)(next_sweep - now));
        uint64_t ignored;
        if (fds[0].revents && read(d->wake_fd, &ignored, sizeof ignored) < 0)
            continue;
    }
    pthread_mutex_lock(&d->lock);
    drain(d, clock_mono_ms());
    pthread_mutex_unlock(&d->lock);
    return NULL;
}

static void deadline_wake(struct deadline *d)
{
    uint64_t one = 1;
    if (write(d->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: it is awake */
}

int deadline_start(const struct deadline_limits *limits, struct deadline **ret, struct err *err)
{
    struct deadline *d = calloc(1, sizeof *d);

    if (!d)
        return err_set(err, -E_NO_MEMORY, "no memory for the connection sweeper");
    d->limits = *limits;
    pthread_mutex_init(&d->lock, NULL);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = d->wake_fd < 0 ? EMFILE : pthread_create(&d->thread, NULL, deadline_main, d);
    if (failure) {
        if (d->wake_fd >= 0)
            close(d->wake_fd);
        pthread_mutex_destroy(&d->lock);
        free(d);
        return err_set_errno(err, -E_UNAVAILABLE, failure,
                             "cannot start the connection sweeper");
    }
    *ret = d;
    return 0;
}

void deadline_stop_free(struct deadline *d)
{
    if (!d)
        return;
    atomic_store(&d->stopping, true);
    deadline_wake(d);
    pthread_join(d->thread, NULL);
    close(d->wake_fd);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

struct conn *deadline_watch(struct deadline *d, int fd)
{
    struct conn *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->fd = fd;
    atomic_init(&c->state, (uint32_t)CONN_WAITING);
    pthread_mutex_lock(&d->lock);
    c->next = d->first;
    if (c->next)
        c->next->prev = c;
    d->first = c;
    pthread_mutex_unlock(&d->lock);
    metric_add(METRIC_HTTP_CONNECTIONS, 1);
    return c;
}

void conn_linger(struct conn *c)
{
    c->linger = true;
}

void deadline_forget(struct deadline *d, struct conn *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&d->lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        d->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->linger && !c->is_cut && d->lingering < LINGER_MAX && !atomic_load(&d->stopping)) {
        int copy = fcntl(c->fd, F_DUPFD_CLOEXEC, 0);
        if (copy >= 0) {
            shutdown(copy, SHUT_WR);
            d->linger[d->lingering].fd = copy;
            d->linger[d->lingering++].until_ms = clock_mono_ms() + LINGER_MS;
            deadline_wake(d);
        }
    }
    pthread_mutex_unlock(&d->lock);
    metric_add(METRIC_HTTP_CONNECTIONS, -1);
    free(c);
}

void deadline_cut_all(struct deadline *d)
{
    pthread_mutex_lock(&d->lock);
    for (struct conn *c = d->first; c; c = c->next) {
        uint32_t state = atomic_load_explicit(&c->state, memory_order_relaxed);
        if ((state & 3U) == CONN_HANDLING)
            continue;
        c->is_cut = true;
        shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&d->lock);
}
