/* worker_bench.h - the real worker program against a fake manager, for cmocka tests. */
#ifndef TESTS_WORKER_BENCH_H
#define TESTS_WORKER_BENCH_H

#include <stdbool.h>
#include <sys/types.h>

#include "clock.h"
#include "fake_manager.h"

enum { PATIENCE_MS = 30000, PIDS_MAX = 32 };

struct bench {
    char root[64], log_path[96];
    struct fake_manager manager;
    pid_t worker;      /* 0: none */
    bool brings_child; /* as `something & exec data_processor` does */
};

int worker_bench_setup(void **state);
int worker_bench_teardown(void **state);

/* Starts the program with two slots and up to two flags more. */
void worker_start(struct bench *b, const char *flag1, const char *flag2);
/* The exit code; -1 for a death by signal. */
int worker_wait_end(struct bench *b);
bool worker_log_says(const struct bench *b, const char *word);

/* SIGSTOP, and waits until it has stopped: until then it may still do something. */
void worker_pause(const struct bench *b);

/* Those of a process that live, in the order of their start. */
int children_of(pid_t pid, pid_t ret[PIDS_MAX]);
/* The same with all below them. */
int family_of(pid_t pid, pid_t ret[PIDS_MAX]);
/* Does it run? A zombie does not. */
bool is_alive(pid_t pid);

void sleep_ms(long ms);

#define set(b, field, value)                                                                   \
    do {                                                                                       \
        pthread_mutex_lock(&(b)->manager.lock);                                                \
        (b)->manager.field = (value);                                                          \
        pthread_mutex_unlock(&(b)->manager.lock);                                              \
    } while (0)

#define wait_for(condition)                                                                    \
    do {                                                                                       \
        int64_t until = clock_mono_ms() + PATIENCE_MS;                                         \
        while (!(condition)) {                                                                 \
            if (clock_mono_ms() > until)                                                       \
                fail_msg("waited in vain for %s", #condition);                                 \
            sleep_ms(10);                                                                      \
        }                                                                                      \
    } while (0)

#endif
