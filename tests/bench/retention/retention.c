/* retention.c - how long a claim waits while old tasks are removed.
 *
 *   bench_retention DATABASE_URL [TASKS]     the database should be empty; it is filled
 *
 * Ends TASKS (100,000) noops, each with an attempt and three events. Then one thread removes
 * them as the task manager does, in batches of 64 with pauses, while another submits, claims
 * and reports one task after the other; the same load without removal comes first, to compare
 * with. Prints the times of the claims. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "store.h"

enum { FILL_BATCH = 500, PURGE_BATCH = 64, PAUSE_MS = 10, BASELINE_MS = 5000 };

static struct store *s;
static struct err err;
static atomic_bool is_over;

static void check(int rc)
{
    if (rc) {
        fprintf(stderr, "bench_retention: %s\n", err.text);
        exit(1);
    }
}

static int64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void pause_ms(long ms)
{
    const struct timespec t = {0, ms * 1000000};
    nanosleep(&t, NULL);
}

/* Submits, claims and ends `count` tasks of a queue. The time that the claim took. */
static int64_t end_tasks(const char *queue, size_t count)
{
    static const char worker[] = "bench";
    struct submission *items = calloc(count, sizeof *items);
    struct submit_result *results = calloc(count, sizeof *results);
    struct claimed *claimed = calloc(count, sizeof *claimed);
    struct task_move *moves = calloc(count, sizeof *moves);
    struct move_result *moved = calloc(count, sizeof *moved);
    struct claim claim = {worker, &queue, 1, NULL, (int)count, 600000, false};
    size_t got = 0;

    for (size_t i = 0; i < count; i++) {
        items[i] =
            (struct submission){.task = {.type = "noop", .max_attempts = 3}, .client = ""};
        id_new(items[i].task.id);
        snprintf(items[i].task.queue, sizeof items[i].task.queue, "%s", queue);
    }
    check(store_submit(s, items, count, false, results, &err));
    int64_t began = now_us();
    check(store_claim(s, &claim, claimed, &got, &err));
    int64_t took = now_us() - began;
    for (size_t i = 0; i < got; i++) {
        moves[i] = (struct task_move){
            .from = TASK_PROCESSING, .to = TASK_DONE, .outcome = ATTEMPT_DONE, .actor = worker};
        memcpy(moves[i].id, claimed[i].task.id, sizeof moves[i].id);
        memcpy(moves[i].token, claimed[i].token, sizeof moves[i].token);
        task_release(&claimed[i].task);
    }
    check(store_move(s, moves, got, false, moved, &err));
    free(items);
    free(results);
    free(claimed);
    free(moves);
    free(moved);
    return took;
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static void *claim_on(void *name)
{
    size_t count = 0, room = 1 << 20;
    int64_t *took = calloc(room, sizeof *took);

    while (!atomic_load(&is_over) && count < room)
        took[count++] = end_tasks("live", 1);
    qsort(took, count, sizeof *took, by_size);
    printf("%-16s %zu claims: median %.2f ms, 99%% %.2f ms, longest %.2f ms\n",
           (const char *)name, count, (double)took[count / 2] / 1000,
           (double)took[count * 99 / 100] / 1000, (double)took[count - 1] / 1000);
    free(took);
    return NULL;
}

static void with_load(char *name, void (*run)(void))
{
    pthread_t load;

    atomic_store(&is_over, false);
    pthread_create(&load, NULL, claim_on, name);
    run();
    atomic_store(&is_over, true);
    pthread_join(load, NULL);
}

static void do_nothing(void)
{
    for (int64_t until = now_us() + BASELINE_MS * 1000; now_us() < until;)
        pause_ms(PAUSE_MS);
}

static int64_t age_ms;   /* what is older was there before the load began */
static size_t to_remove; /* that many */

static void purge_all(void)
{
    struct purged items[PURGE_BATCH];
    size_t removed = 0, count = 0;
    int64_t began = now_us(), longest = 0;

    while (removed < to_remove) {
        int64_t at = now_us();
        check(store_purge(s, age_ms + (at - began) / 1000, PURGE_BATCH, items, &count, &err));
        longest = now_us() - at > longest ? now_us() - at : longest;
        removed += count;
        pause_ms(PAUSE_MS);
    }
    printf("removed %zu tasks in %.1f s, longest batch %.2f ms\n", removed,
           (double)(now_us() - began) / 1e6, (double)longest / 1000);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    to_remove = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
    check(store_open(argv[1], 4, &s, &err));
    check(store_upgrade(s, &err));
    for (size_t done = 0; done < to_remove; done += FILL_BATCH)
        end_tasks("old", FILL_BATCH);
    pause_ms(PAUSE_MS);
    int64_t filled = now_us();
    with_load((char[]){"without removal"}, do_nothing);
    age_ms = (now_us() - filled) / 1000;
    with_load((char[]){"with removal"}, purge_all);
    store_close(s);
    return 0;
}
