#include "health.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"
#include "runtime.h"

enum { BACKLOG = 16 };

/* --- the judgement --- */

static double seconds(int64_t ms)
{
    return (double)(ms > 0 ? ms : 0) / 1000.0;
}

static bool is_over(const struct health *h, int64_t since_ms, int64_t now_ms)
{
    return now_ms - since_ms > h->limit_ms;
}

static bool no(char ret_text[HEALTH_TEXT_MAX], const char *what, int64_t since_ms,
               int64_t now_ms)
{
    snprintf(ret_text, HEALTH_TEXT_MAX, "%s for %.1f s", what, seconds(now_ms - since_ms));
    return false;
}

static const char *const links[] = {
    [HINTS_NONE] = "without a broker, by polling",
    [HINTS_DOWN] = "the broker is away, by polling",
    [HINTS_PAUSED] = "the broker's link is up",
    [HINTS_UP] = "the broker's link is up",
};

bool health_judge(const struct health *h, int64_t now_ms, char ret_text[HEALTH_TEXT_MAX])
{
    if (h->is_stopping) {
        snprintf(ret_text, HEALTH_TEXT_MAX, "the worker is stopping");
        return false;
    }
    if (is_over(h, h->slot_ms, now_ms))
        return no(ret_text, "no slot has had a process", h->slot_ms, now_ms);
    /* Calls that failed and are no longer needed do not count once others get through. */
    int64_t silent_ms = h->failing_ms > h->heard_ms ? h->failing_ms : h->heard_ms;
    if (h->failing_ms && is_over(h, silent_ms, now_ms))
        return no(ret_text, "the task manager has not answered", silent_ms, now_ms);
    if (is_over(h, h->back_by_ms, now_ms))
        return no(ret_text, "a claim has been overdue", h->back_by_ms, now_ms);
    if (!h->claimed_ms) {
        snprintf(ret_text, HEALTH_TEXT_MAX, "no claim has been answered yet");
        return false;
    }
    if (h->refused_ms && is_over(h, h->refused_ms, now_ms))
        return no(ret_text, "claims have failed", h->refused_ms, now_ms);
    snprintf(ret_text, HEALTH_TEXT_MAX,
             "consuming; %u of %u slots busy; last claim answered %.1f s ago; %s", h->busy,
             h->slots, seconds(now_ms - h->claimed_ms), links[h->link]);
    return true;
}

bool health_is_stuck(const struct health *h, int64_t now_ms)
{
    return !h->is_stopping &&
           (is_over(h, h->slot_ms, now_ms) || is_over(h, h->back_by_ms, now_ms));
}

/* --- the socket --- */

static int address_of(const char *path, struct sockaddr_un *ret, struct err *err)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof ret->sun_path)
        return err_set(err, -E_BAD_VALUE, "HEALTH_SOCKET: longer than %zu bytes",
                       sizeof ret->sun_path - 1);
    memcpy(ret->sun_path, path, strlen(path));
    return 0;
}

static int open_socket(int flags, struct err *err)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);

    return fd >= 0 ? fd : err_set_errno(err, err_from_errno(errno), errno, "make a socket");
}

/* What a worker that was killed left behind, or one that is about to end still has. */
static void make_way(const char *path)
{
    struct stat st;

    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path);
}

int health_door_open(struct health_door *d, const char *path, struct err *err)
{
    struct sockaddr_un address;
    struct stat st;

    *d = (struct health_door){.path = path, .fd = -1};
    if (!path[0])
        return 0;
    int rc = address_of(path, &address, err);
    if (rc)
        return rc;
    int fd = open_socket(SOCK_NONBLOCK, err);
    if (fd < 0)
        return fd;
    make_way(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, BACKLOG) != 0 || stat(path, &st) != 0) {
        int errnum = errno;
        close(fd);
        return err_set_errno(err, err_from_errno(errnum), errnum,
                             "HEALTH_SOCKET: listen at '%s'", path);
    }
    d->fd = fd;
    d->device = st.st_dev;
    d->inode = st.st_ino;
    return 0;
}

void health_door_close(struct health_door *d)
{
    struct stat st;

    if (d->fd < 0)
        return;
    if (lstat(d->path, &st) == 0 && st.st_dev == d->device && st.st_ino == d->inode)
        unlink(d->path); /* or else it is a successor's */
    close(d->fd);
    d->fd = -1;
}

void health_door_answer(struct health_door *d, bool is_ok, const char *text)
{
    char line[HEALTH_TEXT_MAX + 8];
    int fd, len = snprintf(line, sizeof line, "%s: %s\n", is_ok ? "ok" : "no", text);

    while ((fd = accept4(d->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) >= 0) {
        /* A new socket's buffer takes a line; who has hung up does not want it. */
        if (send(fd, line, (size_t)len, MSG_NOSIGNAL) < 0)
            errno = 0;
        close(fd);
    }
}

/* --- the one who asks --- */

/* One line, or what came of it in time. */
static ssize_t read_line(int fd, char *ret, size_t size, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t len = 0;

    while (len < size - 1 && !memchr(ret, '\n', len)) {
        int64_t rest = until_ms - clock_mono_ms();
        if (rest <= 0 || poll(&p, 1, (int)rest) <= 0)
            break;
        ssize_t got = read(fd, ret + len, size - 1 - len);
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    while (len > 0 && ret[len - 1] == '\n')
        len--;
    ret[len] = '\0';
    return (ssize_t)len;
}

int runtime_ask_health(const char *path, int64_t patience_ms, char *ret_line, size_t size,
                       struct err *err)
{
    struct sockaddr_un address;
    const int64_t until = clock_mono_ms() + patience_ms;
    int rc = address_of(path, &address, err);

    if (rc)
        return rc;
    int fd = open_socket(0, err);
    if (fd < 0)
        return fd;
    if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        rc = err_set_errno(err, -E_UNAVAILABLE, errno, "no worker listens at '%s'", path);
    else if (read_line(fd, ret_line, size, until) == 0)
        rc = err_set(err, -E_TIMEOUT, "the worker at '%s' does not answer", path);
    else if (strncmp(ret_line, "ok:", 3) != 0)
        rc = err_set(err, -E_UNAVAILABLE, "%s", ret_line);
    close(fd);
    return rc;
}
