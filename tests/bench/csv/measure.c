/* measure.c - runs one program and writes what it took to REPORT, as a line of JSON.
 *
 *   bench_csv_measure REPORT SECONDS MEGABYTES PROGRAM [ARGUMENT...]
 *
 * It ends the program after SECONDS, or when its memory grows past MEGABYTES: a benchmark must
 * not bring the machine down. A program of its own and not a function of the runner, because a
 * child's ru_maxrss starts at the size of the process that forked it, and Python is larger than
 * what is measured here. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_NS = 50 * 1000 * 1000, EXEC_FAILED = 127 };

static int64_t now_ns(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * INT64_C(1000000000) + at.tv_nsec;
}

/* Resident megabytes of the child, 0 if it is gone. */
static long resident(pid_t child)
{
    char path[64];
    long all, pages = 0;

    snprintf(path, sizeof path, "/proc/%ld/statm", (long)child);
    FILE *in = fopen(path, "re");
    if (!in)
        return 0;
    if (fscanf(in, "%ld %ld", &all, &pages) != 2)
        pages = 0;
    fclose(in);
    return pages * (sysconf(_SC_PAGESIZE) / 1024) / 1024;
}

static void become(char **program, const sigset_t *old_mask)
{
    /* If memory runs out all the same, the kernel is to choose this process. */
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

    if (fd >= 0 && write(fd, "1000", 4) < 0)
        fprintf(stderr, "measure: oom_score_adj: %s\n", strerror(errno));
    prctl(PR_SET_PDEATHSIG,
          SIGKILL); /* nothing is left running when the benchmark is stopped */
    sigprocmask(SIG_SETMASK, old_mask, NULL);
    execvp(program[0], program);
    fprintf(stderr, "%s: %s\n", program[0], strerror(errno));
    _exit(EXEC_FAILED);
}

/* Waits for the child's end; says why it was ended early, or "". */
static const char *watch(pid_t child, const sigset_t *sigchld, int64_t end_ns, long megabytes)
{
    const struct timespec pause = {0, WATCH_NS};

    while (sigtimedwait(sigchld, NULL, &pause) < 0) {
        const char *why = now_ns() > end_ns             ? "time"
                          : resident(child) > megabytes ? "memory"
                                                        : NULL;
        if (why) {
            kill(child, SIGKILL);
            return why;
        }
    }
    return "";
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    sigset_t sigchld, old_mask;
    struct rusage used;
    int status = 0;

    if (argc < 5) {
        fprintf(stderr,
                "usage: bench_csv_measure REPORT SECONDS MEGABYTES PROGRAM [ARGUMENT...]\n");
        return 2;
    }
    sigemptyset(&sigchld);
    sigaddset(&sigchld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &sigchld, &old_mask);

    int64_t start = now_ns();
    pid_t child = fork();
    if (child < 0) {
        fprintf(stderr, "measure: fork: %s\n", strerror(errno));
        return 1;
    }
    if (child == 0)
        become(argv + 4, &old_mask);
    const char *why = watch(child, &sigchld, start + strtoll(argv[2], NULL, 10) * 1000000000,
                            strtol(argv[3], NULL, 10));
    while (wait4(child, &status, 0, &used) < 0) {
        if (errno == EINTR)
            continue;
        fprintf(stderr, "measure: wait4: %s\n", strerror(errno));
        return 1;
    }
    double wall = (double)(now_ns() - start) / 1e9;

    FILE *out = fopen(argv[1], "we");
    if (!out) {
        fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    fprintf(
        out,
        "{\"wall\": %.6f, \"user\": %.6f, \"system\": %.6f, \"peak_kb\": %ld, \"exit\": %d, "
        "\"signal\": %d, \"ended_for\": \"%s\"}\n",
        wall, seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss,
        WIFEXITED(status) ? WEXITSTATUS(status) : -1,
        WIFSIGNALED(status) ? WTERMSIG(status) : 0, why);
    return fclose(out) ? 1 : 0;
}
