#include "strays.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { STAT_MAX = 512, PAUSE_MS = 2 };

int strays_adopt(struct err *err)
{
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        return err_set_errno(err, -E_IO, errno, "become a subreaper");
    return 0;
}

/* Cheap, and mostly the answer. */
static bool has_children(void)
{
    siginfo_t info;

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/* proc(5): "pid (comm) state ppid ..."; comm may hold anything. 0 when it has gone. */
static pid_t parent_of(int proc_fd, const char *pid)
{
    char path[32], text[STAT_MAX];

    snprintf(path, sizeof path, "%.20s/stat", pid);
    int fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *end = strrchr(text, ')');
    return end && strlen(end) > 4 ? (pid_t)strtol(end + 4, NULL, 10) : 0;
}

/* The next child in /proc; 0 after the last. Not from task/children: that would be those of
 * one thread, and not every kernel has it. */
static pid_t next_child(DIR *proc)
{
    const struct dirent *entry;
    const pid_t self = getpid();

    while ((entry = readdir(proc)) != NULL) {
        if (isdigit((unsigned char)entry->d_name[0]) &&
            parent_of(dirfd(proc), entry->d_name) == self)
            return (pid_t)strtol(entry->d_name, NULL, 10);
    }
    return 0;
}

/* How many strays there were; a zombie is collected on the way. A child's number is its own
 * until it is collected, and nobody else does that. */
static size_t signal_all(int signum, strays_spare_fn *spare, void *arg)
{
    DIR *proc = has_children() ? opendir("/proc") : NULL;
    size_t count = 0;
    pid_t pid;

    while (proc && (pid = next_child(proc)) != 0) {
        if (spare && spare(arg, pid))
            continue;
        kill(pid, signum);
        waitpid(pid, NULL, WNOHANG);
        count++;
    }
    if (proc)
        closedir(proc);
    return count;
}

void strays_signal(int signum, strays_spare_fn *spare, void *arg)
{
    signal_all(signum, spare, arg);
}

bool strays_end(strays_spare_fn *spare, void *arg, int64_t patience_ms)
{
    const struct timespec pause = {0, PAUSE_MS * 1000000L};
    const int64_t until = clock_mono_ms() + patience_ms;

    while (signal_all(SIGKILL, spare, arg) > 0) {
        if (clock_mono_ms() >= until)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

size_t strays_list(pid_t *ret, size_t max)
{
    DIR *proc = has_children() ? opendir("/proc") : NULL;
    size_t count = 0;

    while (proc && count < max && (ret[count] = next_child(proc)) != 0)
        count++;
    if (proc)
        closedir(proc);
    return count;
}
