#include "git.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "at_work.h"
#include "clock.h"
#include "git_env.h"
#include "repo.h"

enum {
    ARGS_MAX = 24,
    TICK_MS = 100,
    END_PATIENCE_MS = 2000,
    CANNOT_START = 127,
    CPU_SPARE_S = 60,
    LOOKS = 8,     /* within the silence allowed */
    WORK_SHARE = 4 /* at work: a quarter of the time */
};
#define ADDRESS_SPACE ((rlim_t)4 << 30)

/* --- being asked to end --- */

static volatile sig_atomic_t asked_to_end;
static struct sigaction action_before;

static void on_end(int number)
{
    (void)number;
    asked_to_end = 1;
}

void repo_hold_signals(void)
{
    struct sigaction action = {.sa_handler = on_end};

    asked_to_end = 0;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, &action_before);
}

void repo_release_signals(void)
{
    sigaction(SIGTERM, &action_before, NULL);
    if (asked_to_end)
        raise(SIGTERM);
}

/* --- starting --- */

struct ends {
    int in[2], out[2], err[2]; /* [0] is read from */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void close_ends(struct ends *e)
{
    for (int i = 0; i < 2; i++) {
        close_fd(&e->in[i]);
        close_fd(&e->out[i]);
        close_fd(&e->err[i]);
    }
}

static int open_ends(struct ends *e, int pipes, struct err *err)
{
    *e = (struct ends){{-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(e->err, O_CLOEXEC) == 0 &&
        (!(pipes & GIT_PIPE_OUT) || pipe2(e->out, O_CLOEXEC) == 0) &&
        (!(pipes & GIT_PIPE_IN) || pipe2(e->in, O_CLOEXEC) == 0))
        return 0;
    err_set_errno(err, -E_IO, errno, "make a pipe");
    close_ends(e);
    return -E_IO;
}

static void limit(unsigned what, rlim_t value) /* what: unsigned in glibc */
{
    struct rlimit now, then = {value, value};

    if (getrlimit(what, &now) == 0 && now.rlim_max < value)
        then.rlim_cur = then.rlim_max = now.rlim_max;
    setrlimit(what, &then);
}

/* dup2 onto itself would leave the close-on-exec flag. */
static bool place(int fd, int as)
{
    if (fd < 0)
        fd = open("/dev/null", O_RDWR);
    return fd == as ? fcntl(fd, F_SETFD, 0) == 0 : dup2(fd, as) >= 0;
}

/* In the child: only what may be called after a fork of a process that might have threads. */
static _Noreturn void become(const struct git_job *job, char *const *argv, char *const *env,
                             const struct ends *e, pid_t parent)
{
    sigset_t none;
    int64_t rest_ms = job->deadline_ms - clock_mono_ms();

    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(CANNOT_START);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    signal(SIGXFSZ, SIG_IGN); /* a failed write is told with its reason, a death is not */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    limit(RLIMIT_FSIZE, (rlim_t)job->max_file_bytes);
    limit(RLIMIT_AS, ADDRESS_SPACE);
    limit(RLIMIT_CPU, (rlim_t)(rest_ms > 0 ? rest_ms / 1000 : 0) + CPU_SPARE_S);
    limit(RLIMIT_CORE, 0);
    if (place(e->in[0], STDIN_FILENO) && place(e->out[1], STDOUT_FILENO) &&
        place(e->err[1], STDERR_FILENO))
        execvpe("git", argv, env);
    _exit(CANNOT_START);
}

int git_start(struct git *g, const struct git_job *job, const char *const *args, int pipes,
              struct err *err)
{
    const char *argv[ARGS_MAX] = {"git"};
    struct ends e;
    pid_t self = getpid();

    *g = (struct git){.job = job, .in = -1, .out = -1, .err = -1, .percent = -1};
    for (size_t i = 0; args[i] && i + 2 < ARGS_MAX; i++)
        argv[i + 1] = args[i];
    int rc = open_ends(&e, pipes, err);
    if (rc)
        return rc;
    char **env = git_env_new(job);
    if (env)
        g->pid = fork();
    if (env && g->pid == 0)
        become(job, (char *const *)(uintptr_t)argv, env, &e, self);
    if (!env || g->pid < 0) {
        rc = err_set_errno(err, -E_NO_MEMORY, errno, "start git");
        g->pid = 0;
        close_ends(&e);
    } else {
        setpgid(g->pid, g->pid); /* whoever of both comes first */
        g->in = e.in[1];
        g->out = e.out[0];
        g->err = e.err[0];
        e.in[1] = e.out[0] = e.err[0] = -1;
        close_ends(&e);
        fcntl(g->err, F_SETFL, O_NONBLOCK);
        g->alive_ms = clock_mono_ms();
    }
    git_env_free(env);
    return rc;
}

/* --- what it says --- */

/* "Receiving objects:  45% (…": progress, which is no news otherwise. What the server says goes
 * into no error: nobody knows what it repeats. */
static bool is_news(struct git *g)
{
    static const char receiving[] = "Receiving objects:";

    if (strncmp(g->line, receiving, sizeof receiving - 1) == 0) {
        long percent = strtol(g->line + sizeof receiving - 1, NULL, 10);
        g->percent = percent >= 0 && percent <= 100 ? (int)percent : g->percent;
        return false;
    }
    return g->line_len > 0 && strncmp(g->line, "remote:", 7) != 0 && !strstr(g->line, "% (");
}

static void take_line(struct git *g)
{
    g->line[g->line_len] = '\0';
    if (is_news(g)) {
        if (g->tail_len + g->line_len + 2 > sizeof g->tail) {
            size_t drop = g->tail_len / 2 + g->line_len + 2;
            drop = drop < g->tail_len ? drop : g->tail_len;
            memmove(g->tail, g->tail + drop, g->tail_len - drop);
            g->tail_len -= drop;
        }
        memcpy(g->tail + g->tail_len, g->line, g->line_len);
        g->tail_len += g->line_len;
        g->tail[g->tail_len++] = '\n';
        g->tail[g->tail_len] = '\0';
    }
    g->line_len = 0;
}

/* False at the end. */
static bool listen_to(struct git *g)
{
    char bytes[4096];
    ssize_t got;

    while ((got = read(g->err, bytes, sizeof bytes)) > 0) {
        g->alive_ms = clock_mono_ms();
        for (ssize_t i = 0; i < got; i++) {
            if (bytes[i] == '\n' || bytes[i] == '\r')
                take_line(g);
            else if (g->line_len < sizeof g->line - 1)
                g->line[g->line_len++] = bytes[i];
        }
    }
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    take_line(g);
    return false;
}

/* --- waiting --- */

/* Unpacking a large object takes a while and is not told: whoever computes has not stalled. */
static void look_at_work(struct git *g, int64_t now)
{
    int64_t passed = now - g->looked_ms;

    if (now - g->alive_ms < g->job->stall_ms / 2 || passed < g->job->stall_ms / LOOKS)
        return;
    int64_t cpu_ms = group_cpu_ms(g->pid);
    if (g->looked_ms > g->alive_ms && (cpu_ms - g->cpu_ms) * WORK_SHARE >= passed)
        g->alive_ms = now;
    g->looked_ms = now;
    g->cpu_ms = cpu_ms;
}

/* Silence counts only when there is nothing to read: we may have been slow ourselves. */
static int check_patience(struct git *g, bool is_silent, struct err *err)
{
    int64_t now = clock_mono_ms();

    if (asked_to_end)
        return err_set(err, -E_CANCELLED, "the attempt was asked to end");
    if (now >= g->job->deadline_ms)
        return err_set(err, -E_TIMEOUT, "the download took longer than it may");
    if (is_silent)
        look_at_work(g, now);
    if (is_silent && now - g->alive_ms >= g->job->stall_ms)
        return err_set(err, -E_TIMEOUT, "nothing has come for %lld ms",
                       (long long)g->job->stall_ms);
    return 0;
}

int git_wait(struct git *g, void (*tell)(void *arg, const struct git *g), void *arg,
             struct err *err)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = g->err, .events = POLLIN},
                               {.fd = g->out, .events = POLLIN}};
        int rc = poll(fds, 2, TICK_MS);
        if (g->err >= 0 && rc > 0 && fds[0].revents && !listen_to(g))
            close_fd(&g->err);
        bool is_readable = rc > 0 && g->out >= 0 && fds[1].revents;
        rc = check_patience(g, rc == 0, err);
        if (rc)
            return rc;
        if (is_readable) {
            g->alive_ms = clock_mono_ms();
            return 1;
        }
        if (g->out < 0 && g->err < 0) {
            g->is_finished = true;
            return 0;
        }
        if (tell)
            tell(arg, g);
    }
}

ssize_t git_read(struct git *g, void *to, size_t size, struct err *err)
{
    for (;;) {
        int rc = git_wait(g, NULL, NULL, err);
        if (rc < 0)
            return rc;
        ssize_t got = read(g->out, to, size);
        if (got >= 0 || errno != EINTR)
            return got >= 0 ? got : err_set_errno(err, -E_IO, errno, "read from git");
    }
}

/* --- the end --- */

/* Collects git, and those of its helpers that have become our children. True once it has
 * ended. */
static bool reap(struct git *g)
{
    int status;
    pid_t pid;

    while ((pid = waitpid(-g->pid, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
        if (pid == g->pid) {
            g->status = status;
            g->is_over = true;
        }
    }
    return g->is_over;
}

/* Until nobody holds the pipe of its messages any more: then nobody writes files either. */
static void drain(struct git *g, int64_t until_ms)
{
    int64_t rest;

    while (g->err >= 0 && (rest = until_ms - clock_mono_ms()) > 0) {
        struct pollfd fd = {.fd = g->err, .events = POLLIN};
        if (poll(&fd, 1, (int)rest) > 0 && !listen_to(g))
            close_fd(&g->err);
    }
}

/* One that has said all it has to say ends by itself. */
void git_end(struct git *g)
{
    int64_t until = clock_mono_ms() + END_PATIENCE_MS;
    const struct timespec pause = {0, 1000000};

    close_fd(&g->in);
    close_fd(&g->out);
    if (g->pid <= 0)
        return;
    if (g->is_finished)
        drain(g, until);
    while (g->err < 0 && !reap(g) && clock_mono_ms() < until)
        nanosleep(&pause, NULL);
    if (!g->is_over) {
        kill(-g->pid, SIGKILL);
        until = clock_mono_ms() + END_PATIENCE_MS;
        drain(g, until);
        while (!reap(g) && clock_mono_ms() < until)
            nanosleep(&pause, NULL);
    }
    close_fd(&g->err);
    g->pid = 0;
}

int git_ask(const struct git_job *job, const char *const *args, size_t max, struct buf *ret,
            struct err *err)
{
    struct git g;
    char bytes[1024];
    ssize_t got = 0;
    int rc = git_start(&g, job, args, GIT_PIPE_OUT, err);

    if (rc)
        return rc;
    while ((got = git_read(&g, bytes, sizeof bytes, err)) > 0 && ret->len + (size_t)got <= max)
        buf_append(ret, bytes, (size_t)got);
    g.is_finished = got == 0;
    git_end(&g);
    if (got < 0)
        return (int)got;
    if (got > 0 || g.status != 0)
        return err_set(err, -E_BAD_INPUT, "git %s failed", args[0]);
    while (ret->len > 0 && ret->data[ret->len - 1] == '\n')
        ret->data[--ret->len] = '\0';
    return buf_ok(ret) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for git's answer");
}
