/* store_sqlite_faults.c - what SQLite's files go through: a second process, kill -9 in the
 * middle of a storm of writes, a full disk, requests that fail beside others that do not, and
 * a crowd. */
#include <ftw.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "store.h"

enum { PATIENCE_MS = 30000 };

struct place {
    char dir[128], url[192];
    bool mounted;
};

static int place_make(void **state)
{
    const char *temp = getenv("TMPDIR");
    struct place *p = calloc(1, sizeof *p);

    *state = p;
    if (!p)
        return -1;
    snprintf(p->dir, sizeof p->dir, "%.80s/segue-lite.XXXXXX", temp ? temp : "/tmp");
    if (!mkdtemp(p->dir))
        return -1;
    snprintf(p->url, sizeof p->url, "sqlite:%s/segue.db", p->dir);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int place_remove(void **state)
{
    struct place *p = *state;

    if (p->mounted)
        umount2(p->dir, MNT_DETACH);
    int rc = nftw(p->dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    free(p);
    return rc;
}

static struct store *open_it(const struct place *p)
{
    struct err err = ERR_INIT;
    struct store *s = NULL;

    if (store_open(p->url, 4, &s, &err) || store_upgrade(s, &err)) {
        fprintf(stderr, "%s\n", err.text);
        store_close(s);
        return NULL;
    }
    return s;
}

static struct submission a_submission(void)
{
    struct submission item = {.task = {.type = "noop", .queue = "q", .max_attempts = 3},
                              .client = ""};

    id_new(item.task.id);
    return item;
}

static bool exists(struct store *s, const char *id)
{
    struct task t;
    int rc = store_get(s, id, &t, NULL);

    task_release(&t);
    return rc == 0;
}

static void assert_intact(const struct place *p)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;

    assert_int_equal(sqlite3_open(p->url + strlen("sqlite:"), &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &st, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(st, 0), "ok");
    sqlite3_finalize(st);
    sqlite3_close(db);
}

/* -- a second manager -- */

static void a_second_opener_is_told_that_the_file_is_in_use(void **state)
{
    struct place *p = *state;
    struct store *first = open_it(p), *second = NULL;
    struct err err = ERR_INIT;

    assert_non_null(first);
    assert_int_equal(store_open(p->url, 2, &second, &err), -E_UNAVAILABLE);
    assert_non_null(strstr(err.text, "in use by another task manager"));
    store_close(first);
    assert_int_equal(store_open(p->url, 2, &second, &err), 0);
    store_close(second);
}

/* -- kill -9 -- */

enum { STORM_THREADS = 4, STORM_IDS = 300 };

struct storm {
    struct store *s;
    int fd;
};

/* Writes the id of each task to the pipe once its submit has returned 0. */
static void *storm_main(void *arg)
{
    struct storm *storm = arg;

    for (;;) {
        struct submission item = a_submission();
        struct submit_result result;
        if (store_submit(storm->s, &item, 1, true, &result, NULL))
            continue;
        if (write(storm->fd, result.id, ID_TEXT_MAX) != ID_TEXT_MAX)
            _exit(1);
    }
    return NULL;
}

static void run_storm(const struct place *p, int fd)
{
    struct storm storm = {open_it(p), fd};
    pthread_t thread;

    if (!storm.s)
        _exit(1);
    for (int i = 1; i < STORM_THREADS; i++) {
        if (pthread_create(&thread, NULL, storm_main, &storm))
            _exit(1);
    }
    storm_main(&storm);
}

static bool read_id(int fd, char *ret)
{
    size_t got = 0;

    while (got < ID_TEXT_MAX) {
        ssize_t n = read(fd, ret + got, ID_TEXT_MAX - got);
        if (n <= 0)
            return false;
        got += (size_t)n;
    }
    return true;
}

static void every_submit_that_returned_survives_kill_9(void **state)
{
    struct place *p = *state;
    int pipes[2], status;
    size_t count = 0, capacity = 100000;
    char(*ids)[ID_TEXT_MAX] = calloc(capacity, sizeof *ids);

    assert_non_null(ids);
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(pipes[0]);
        run_storm(p, pipes[1]);
        _exit(1);
    }
    close(pipes[1]);
    while (count < capacity && read_id(pipes[0], ids[count])) {
        if (++count == STORM_IDS)
            kill(child, SIGKILL); /* the pipe is read to its end after that */
    }
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_true(count >= STORM_IDS);

    struct store *s = open_it(p);
    assert_non_null(s);
    for (size_t i = 0; i < count; i++) {
        struct task_event *events = NULL;
        size_t event_count = 0;
        assert_true(exists(s, ids[i]));
        assert_int_equal(store_events(s, ids[i], 0, 5, &events, &event_count, NULL), 0);
        assert_int_equal(event_count, 1);
        free(events);
    }
    store_close(s);
    assert_intact(p);
    free(ids);
}

/* -- a full disk -- */

static void a_full_disk_is_told_and_the_store_recovers(void **state)
{
    enum { LARGE = 200000, SPACE_K = 2048 };
    struct place *p = *state;
    struct submission item = a_submission();
    struct submit_result result;
    struct store *s;
    char options[32], ballast[192], first[ID_TEXT_MAX];
    int rc = 0;

    snprintf(options, sizeof options, "size=%dk", SPACE_K);
    if (mount("tmpfs", p->dir, "tmpfs", 0, options) != 0) {
        print_message("skipped: a small tmpfs cannot be mounted here\n");
        skip(); /* a matter of privileges, not of what is installed */
    }
    p->mounted = true;
    s = open_it(p);
    assert_non_null(s);
    memcpy(first, item.task.id, sizeof first);
    assert_int_equal(store_submit(s, &item, 1, true, &result, NULL), 0);

    snprintf(ballast, sizeof ballast, "%s/ballast", p->dir);
    FILE *f = fopen(ballast, "w");
    assert_non_null(f);
    char block[4096] = {1};
    for (int i = 0; i < SPACE_K / 4 && fwrite(block, sizeof block, 1, f) == 1 && fflush(f) == 0;
         i++)
        ;
    fclose(f);

    char *params = calloc(1, LARGE + 1);
    assert_non_null(params);
    memset(params, 'p', LARGE);
    for (int i = 0; i < 100 && !rc; i++) {
        item = a_submission();
        item.task.params = params;
        struct err err = ERR_INIT;
        rc = store_submit(s, &item, 1, true, &result, &err);
        if (rc && rc != -E_NO_SPACE)
            fail_msg("%s", err.text);
    }
    assert_int_equal(rc, -E_NO_SPACE);
    assert_false(exists(s, item.task.id));
    assert_true(exists(s, first));

    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(store_submit(s, &item, 1, true, &result, NULL), 0);
    assert_true(exists(s, item.task.id));
    assert_int_equal(store_ping(s, NULL), 0);
    free(params);
    store_close(s);
    assert_intact(p);
}

/* -- neighbours in a group commit -- */

enum { NEIGHBOURS = 16, ROUNDS = 40 };

struct neighbour {
    struct store *s;
    const char *taken;
    char ids[ROUNDS][ID_TEXT_MAX];
    int wrong;
};

static void *submit_good_and_bad(void *arg)
{
    struct neighbour *n = arg;

    for (int i = 0; i < ROUNDS; i++) {
        struct submission good = a_submission(), bad[2] = {a_submission(), a_submission()};
        struct submit_result results[2];
        memcpy(bad[1].task.id, n->taken, ID_TEXT_MAX);
        n->wrong += store_submit(n->s, bad, 2, true, results, NULL) != -E_BUG;
        n->wrong += exists(n->s, bad[0].task.id);
        n->wrong += store_submit(n->s, &good, 1, true, results, NULL) != 0;
        memcpy(n->ids[i], good.task.id, ID_TEXT_MAX);
    }
    return NULL;
}

static void a_request_that_fails_undoes_only_itself(void **state)
{
    struct place *p = *state;
    struct store *s = open_it(p);
    struct submission taken = a_submission();
    struct submit_result result;
    static struct neighbour all[NEIGHBOURS];
    pthread_t threads[NEIGHBOURS];
    int64_t total = 0;
    struct task_list list;

    assert_non_null(s);
    assert_int_equal(store_submit(s, &taken, 1, true, &result, NULL), 0);
    for (int i = 0; i < NEIGHBOURS; i++) {
        all[i].s = s;
        all[i].taken = taken.task.id;
        assert_int_equal(pthread_create(&threads[i], NULL, submit_good_and_bad, &all[i]), 0);
    }
    for (int i = 0; i < NEIGHBOURS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < NEIGHBOURS; i++) {
        assert_int_equal(all[i].wrong, 0);
        for (int k = 0; k < ROUNDS; k++)
            assert_true(exists(s, all[i].ids[k]));
    }
    assert_int_equal(store_list(s, &(struct store_filter){.limit = 1}, &list, &total, NULL), 0);
    task_list_release(&list);
    assert_int_equal(total, NEIGHBOURS * ROUNDS + 1);
    store_close(s);
}

/* -- a crowd that has left -- */

enum { CROWD = 40, CROWD_EACH = 250 };

static void pages_that_a_crowd_needed_are_given_back_when_it_has_left(void **state)
{
    static struct submission items[CROWD_EACH];
    static struct submit_result results[CROWD_EACH];
    struct store *s = open_it(*state);
    const int64_t until_ms = clock_mono_ms() + PATIENCE_MS;

    assert_non_null(s);
    int64_t before = sqlite3_memory_used();
    for (int i = 0; i < CROWD; i++) {
        for (int k = 0; k < CROWD_EACH; k++)
            items[k] = a_submission();
        assert_int_equal(store_submit(s, items, CROWD_EACH, true, results, NULL), 0);
    }
    int64_t busy = sqlite3_memory_used();
    assert_true(busy > before + (1 << 20)); /* or there is nothing to give back */
    while (sqlite3_memory_used() > before + (busy - before) / 4) {
        assert_true(clock_mono_ms() < until_ms);
        poll(NULL, 0, 10);
    }
    store_close(s);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_place(a_second_opener_is_told_that_the_file_is_in_use),
        with_place(every_submit_that_returned_survives_kill_9),
        with_place(a_full_disk_is_told_and_the_store_recovers),
        with_place(a_request_that_fails_undoes_only_itself),
        with_place(pages_that_a_crowd_needed_are_given_back_when_it_has_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
