#include "notify.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "clock.h"

enum { TEXT_MAX = 512, SIGNS_IN_PATIENCE = 3 };

static struct {
    struct sockaddr_un address;
    socklen_t address_len; /* 0: nobody listens */
    int64_t every_ms;      /* 0: nobody waits for signs of life */
    int64_t due_ms;
} manager;

/* "/path", or "@name" for a name without a file. */
static void find_socket(void)
{
    const char *path = getenv("NOTIFY_SOCKET");
    size_t len = path ? strlen(path) : 0;

    if (len < 2 || (path[0] != '/' && path[0] != '@') || len >= sizeof manager.address.sun_path)
        return;
    manager.address.sun_family = AF_UNIX;
    memcpy(manager.address.sun_path, path, len);
    if (path[0] == '@')
        manager.address.sun_path[0] = '\0';
    manager.address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* WATCHDOG_PID says whom the variable is for: it may have come to us from a parent. */
static int64_t find_patience_ms(void)
{
    const char *patience = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (!patience || (pid && strtoll(pid, NULL, 10) != (long long)getpid()))
        return 0;
    return strtoll(patience, NULL, 10) / 1000;
}

void notify_open(void)
{
    memset(&manager, 0, sizeof manager);
    find_socket();
    int64_t patience_ms = manager.address_len ? find_patience_ms() : 0;
    if (patience_ms > 0) {
        manager.every_ms = patience_ms / SIGNS_IN_PATIENCE + 1;
        manager.due_ms = clock_mono_ms();
    }
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

static void send_text(const char *text)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return;
    /* What does not get through is missed by the watchdog, which is what it is for. */
    if (sendto(fd, text, strlen(text), MSG_NOSIGNAL, (const struct sockaddr *)&manager.address,
               manager.address_len) < 0)
        errno = 0;
    close(fd);
}

void notify_tell(const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;

    if (!manager.address_len)
        return;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len > 0)
        send_text(text);
}

void notify_stopping(int64_t limit_ms)
{
    manager.every_ms = 0; /* from here on the time limit watches over us */
    notify_tell("STOPPING=1\nEXTEND_TIMEOUT_USEC=%lld", (long long)limit_ms * 1000);
}

int64_t notify_due_ms(void)
{
    return manager.every_ms ? manager.due_ms : INT64_MAX;
}

void notify_alive(bool is_alive, const char *status)
{
    if (!manager.every_ms)
        return;
    manager.due_ms = clock_mono_ms() + manager.every_ms;
    if (status)
        notify_tell("STATUS=%s%s", status, is_alive ? "\nWATCHDOG=1" : "");
    else if (is_alive)
        notify_tell("WATCHDOG=1");
}
