#include "worker_bench.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

int worker_bench_setup(void **state)
{
    struct bench *b = calloc(1, sizeof *b);

    assert_non_null(b);
    snprintf(b->root, sizeof b->root, "/tmp/segue-worker-XXXXXX");
    assert_non_null(mkdtemp(b->root));
    snprintf(b->log_path, sizeof b->log_path, "%s/log", b->root);
    fake_manager_init(&b->manager);
    fake_manager_start(&b->manager);
    *state = b;
    return 0;
}

int worker_bench_teardown(void **state)
{
    struct bench *b = *state;

    if (b->worker) {
        kill(b->worker, SIGKILL);
        waitpid(b->worker, NULL, 0);
    }
    fake_manager_stop(&b->manager);
    fake_manager_release(&b->manager);
    pid_t pid = fork();
    if (pid == 0) {
        execl("/bin/rm", "rm", "-rf", b->root, (char *)NULL);
        _exit(127);
    }
    waitpid(pid, NULL, 0);
    free(b);
    return 0;
}

void worker_start(struct bench *b, const char *flag1, const char *flag2)
{
    char storage[96];

    snprintf(storage, sizeof storage, "file:%s/store", b->root);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int log = open(b->log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (log < 0 || dup2(log, STDERR_FILENO) < 0 || chdir(b->root) != 0)
            _exit(126);
        if (b->brings_child && fork() == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        execl(PROGRAM, PROGRAM, "--task-manager-url", b->manager.url, "--storage-url", storage,
              "--amqp-url", "", "--log-level", "debug", "--slots", "2", "--worker-name",
              "tester", "--kill-grace", "100ms", flag1, flag2, (char *)NULL);
        _exit(127);
    }
    b->worker = pid;
}

void sleep_ms(long ms)
{
    struct timespec t = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&t, NULL);
}

bool worker_log_says(const struct bench *b, const char *word)
{
    static char text[1 << 20];
    FILE *f = fopen(b->log_path, "r");

    if (!f)
        return false;
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    return strstr(text, word) != NULL;
}

int worker_wait_end(struct bench *b)
{
    int status;

    wait_for(waitpid(b->worker, &status, WNOHANG) == b->worker);
    b->worker = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* As in proc(5); X when it has gone. */
static char state_of(pid_t pid)
{
    char path[64], state = 'X';

    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *f = fopen(path, "r");
    if (!f)
        return 'X';
    if (fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = 'X'; /* it went while we looked */
    fclose(f);
    return state;
}

bool is_alive(pid_t pid)
{
    char state = state_of(pid);

    return state != 'Z' && state != 'X';
}

void worker_pause(const struct bench *b)
{
    kill(b->worker, SIGSTOP);
    wait_for(state_of(b->worker) == 'T');
}

int children_of(pid_t pid, pid_t ret[PIDS_MAX])
{
    char path[64];
    int count = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *f = fopen(path, "r");
    while (f && count < PIDS_MAX && fscanf(f, "%d", &ret[count]) == 1)
        count += is_alive(ret[count]);
    if (f)
        fclose(f);
    return count;
}

int family_of(pid_t pid, pid_t ret[PIDS_MAX])
{
    int count = children_of(pid, ret);

    for (int i = 0; i < count; i++) {
        pid_t below[PIDS_MAX];
        int n = children_of(ret[i], below);
        for (int k = 0; k < n && count < PIDS_MAX; k++)
            ret[count++] = below[k];
    }
    return count;
}
