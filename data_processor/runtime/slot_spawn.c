#include "slot_spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ARGS_MAX = 32 };

struct spawn_plan {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
};

static void spawn_plan_release(struct spawn_plan *p)
{
    posix_spawn_file_actions_destroy(&p->files);
    posix_spawnattr_destroy(&p->attr);
}

/* The child gets an empty stdin, its socket as SLOT_FD, its tickets beside it (-1: none), a
 * group of its own and a clean signal mask. posix_spawn runs no code of ours between fork and
 * exec, so threads do not matter. */
static int spawn_plan_init(struct spawn_plan *p, int child_fd, int tickets_fd)
{
    sigset_t none, all;
    const short flags = POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;

    int rc = posix_spawn_file_actions_init(&p->files);
    if (rc)
        return rc;
    rc = posix_spawnattr_init(&p->attr);
    if (rc) {
        posix_spawn_file_actions_destroy(&p->files);
        return rc;
    }
    sigemptyset(&none);
    sigfillset(&all);
    rc = posix_spawn_file_actions_addopen(&p->files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (!rc)
        rc = posix_spawn_file_actions_adddup2(&p->files, child_fd, SLOT_FD);
    if (!rc && tickets_fd >= 0)
        rc = posix_spawn_file_actions_adddup2(&p->files, tickets_fd, SLOT_TICKETS_FD);
    if (!rc)
        rc = posix_spawnattr_setflags(&p->attr, flags);
    if (!rc)
        rc = posix_spawnattr_setpgroup(&p->attr, 0);
    if (!rc)
        rc = posix_spawnattr_setsigmask(&p->attr, &none);
    if (!rc)
        rc = posix_spawnattr_setsigdefault(&p->attr, &all);
    if (rc)
        spawn_plan_release(p);
    return rc;
}

static bool is_withheld(const char *entry)
{
    static const char *const names[] = {"AMQP_URL=",
                                        "AMQP_URL_FILE=",
                                        "AZURE_STORAGE_CONNECTION_STRING=",
                                        "AZURE_STORAGE_CONNECTION_STRING_FILE=",
                                        "DATABASE_URL=",
                                        "DATABASE_URL_FILE=",
                                        "SECRET_KEY=",
                                        "SECRET_KEY_FILE="};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strncmp(entry, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

/* Our environment without secrets, but for the one that jobs need: they have no use for the
 * others, and a slot that is started again after a secret's file has gone must not fail for
 * it. free() the array. */
static char **slot_environment(const struct runtime_options *o)
{
    size_t count = 0, n = 0;

    while (environ[count])
        count++;
    char **env = calloc(count + 2, sizeof *env);
    if (env && o->slot_secret)
        env[n++] = (char *)(uintptr_t)o->slot_secret;
    for (size_t i = 0; env && i < count; i++) {
        if (!is_withheld(environ[i]))
            env[n++] = environ[i];
    }
    return env;
}

static int spawn_process(const struct runtime_options *o, int child_fd, int tickets_fd,
                         pid_t *ret_pid)
{
    struct spawn_plan plan;
    char parent[24];
    const char *argv[ARGS_MAX] = {"data_processor", "slot", parent};
    size_t argc = 3;

    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    for (size_t i = 0; o->slot_args && o->slot_args[i]; i++) {
        assert(argc < ARGS_MAX - 1);
        argv[argc++] = o->slot_args[i];
    }
    char **env = slot_environment(o);
    if (!env)
        return ENOMEM;
    int rc = spawn_plan_init(&plan, child_fd, tickets_fd);
    if (!rc) {
        rc = posix_spawn(ret_pid, o->program, &plan.files, &plan.attr,
                         (char *const *)(uintptr_t)argv, env);
        spawn_plan_release(&plan);
    }
    free(env);
    return rc;
}

/* The same file above the numbers that it and others get in the child: dup2 onto itself would
 * keep close-on-exec. 0 or errno; *fd is closed then. */
static int lift(int *fd)
{
    if (*fd > SLOT_TICKETS_FD)
        return 0;
    int moved = fcntl(*fd, F_DUPFD_CLOEXEC, SLOT_TICKETS_FD + 1);
    int errnum = moved < 0 ? errno : 0;
    close(*fd);
    *fd = moved;
    return errnum;
}

static int make_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return errno;
    int errnum = lift(&fds[1]);
    if (errnum)
        close(fds[0]);
    return errnum;
}

static struct tickets *make_tickets(int *ret_fd)
{
    struct tickets *t = tickets_new(ret_fd);

    if (t && lift(ret_fd) != 0) {
        tickets_free(t);
        return NULL;
    }
    return t;
}

int spawn_slot(const struct runtime_options *options, pid_t *ret_pid, int *ret_fd,
               struct tickets **ret_tickets, struct err *err)
{
    int fds[2], tickets_fd = -1;
    int rc = make_pair(fds);

    if (rc)
        return err_set_errno(err, err_from_errno(rc), rc, "make a slot's socket");
    struct tickets *tickets = make_tickets(&tickets_fd);
    rc = spawn_process(options, fds[1], tickets_fd, ret_pid);
    close(fds[1]);
    if (tickets_fd >= 0)
        close(tickets_fd);
    if (!rc && fcntl(fds[0], F_SETFL, O_NONBLOCK) != 0) {
        rc = errno;
        kill(*ret_pid, SIGKILL);
        waitpid(*ret_pid, NULL, 0);
    }
    if (rc) {
        close(fds[0]);
        tickets_free(tickets);
        return err_set_errno(err, err_from_errno(rc), rc, "start '%s'", options->program);
    }
    *ret_fd = fds[0];
    *ret_tickets = tickets;
    return 0;
}
