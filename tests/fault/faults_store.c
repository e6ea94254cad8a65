/* faults_store.c - a store through a task's whole life while any one call, or all from one on,
 * fail: what is written is written whole. Both backends, as in tests/contract/store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "store_help.h"

enum { CONNECTIONS = 2, KEY_SIZE = 64, HOLD_MS = 60000 };

/* What the run told, and how far it came. */
static char id[ID_TEXT_MAX], key[KEY_SIZE];
static bool submitted, refused, moved, relayed; /* relayed: at least tried */

static struct submission submission_of(const char *task_id)
{
    struct submission item = {
        .task = {.type = "noop", .queue = "q", .max_attempts = 3}, .client = "", .key = key};

    memcpy(item.task.id, task_id, sizeof item.task.id);
    memset(item.request_sha256, 'a', SHA256_TEXT_MAX - 1);
    return item;
}

static int relay(struct store *s, struct err *err)
{
    struct outbox_row rows[16];
    int64_t seqs[16];
    size_t count = 0;
    int rc = store_outbox_take(s, 16, HOLD_MS, rows, &count, err);

    for (size_t i = 0; i < count; i++)
        seqs[i] = rows[i].seq;
    relayed = true;
    if (rc || count == 0)
        return rc;
    return store_outbox_done(s, seqs, count, err);
}

static int work(struct store *s, struct err *err)
{
    const char *const queues[] = {"q"};
    struct claim claim = {"w", queues, 1, NULL, 1, 60000, false};
    struct claimed claimed;
    struct renewal renewal = {.progress = 0.5};
    struct task_move move = {.from = TASK_PROCESSING,
                             .to = TASK_DONE,
                             .outcome = ATTEMPT_DONE,
                             .result = "{\"rows\":1}",
                             .actor = "w"};
    struct move_result result;
    size_t count = 0;
    int rc = store_claim(s, &claim, &claimed, &count, err);

    if (rc)
        return rc;
    assert_int_equal(count, 1);
    memcpy(renewal.task_id, claimed.task.id, sizeof renewal.task_id);
    memcpy(renewal.token, claimed.token, sizeof renewal.token);
    memcpy(move.id, claimed.task.id, sizeof move.id);
    memcpy(move.token, claimed.token, sizeof move.token);
    task_release(&claimed.task);
    rc = store_renew(s, &renewal, 1, 60000, err);
    if (!rc)
        rc = store_move(s, &move, 1, true, &result, err);
    if (!rc)
        assert_int_equal(result.outcome, MOVE_MADE);
    moved = !rc && strcmp(move.id, id) == 0;
    return rc;
}

static int look(struct store *s, struct err *err)
{
    struct task_event *events = NULL;
    struct attempt *attempts = NULL;
    struct task_list list = {0};
    struct task task;
    struct store_counts counts;
    struct expired expired[4];
    size_t event_count, attempt_count, expired_count;
    int64_t total, removed;
    struct key_use use = {.key = "raw_data/none"};
    struct purged purged[4];
    size_t purged_count;
    int rc = store_get(s, id, &task, err);

    if (rc)
        return rc;
    task_release(&task);
    rc = store_events(s, id, 0, 10, &events, &event_count, err);
    if (!rc)
        free(events);
    if (!rc)
        rc = store_attempts(s, id, 10, &attempts, &attempt_count, err);
    if (!rc)
        free(attempts);
    if (!rc)
        rc = store_list(s, &(struct store_filter){.limit = 3}, &list, &total, err);
    if (!rc)
        task_list_release(&list);
    if (!rc)
        rc = store_counts(s, 100, &counts, err);
    if (!rc)
        rc = store_expired(s, expired, 4, &expired_count, err);
    if (!rc)
        rc = store_key_uses(s, &use, 1, err);
    if (!rc)
        rc = store_purge(s, 3600000, 4, purged, &purged_count, err);
    if (!rc)
        rc = store_forget_keys(s, 3600000, 10, &removed, err);
    return rc ? rc : store_ping(s, err);
}

static int live_through(struct store *s, struct err *err)
{
    struct submission item = submission_of(id);
    struct submit_result result;
    int rc = store_upgrade(s, err);

    if (!rc)
        rc = store_submit(s, &item, 1, true, &result, err);
    submitted = !rc;
    refused = rc && rc != -E_UNKNOWN_OUTCOME; /* nothing was done */
    if (!rc)
        rc = relay(s, err);
    if (!rc)
        rc = work(s, err);
    return rc ? rc : look(s, err);
}

/* The same store, now that the fault is over. */
static void works_again(struct store *s)
{
    struct submission item;
    struct submit_result result;
    struct err err = ERR_INIT;
    char task_id[ID_TEXT_MAX], task_key[KEY_SIZE];

    id_new(task_id);
    item = submission_of(task_id);
    snprintf(task_key, sizeof task_key, "again-%s", task_id);
    item.key = task_key;
    if (store_upgrade(s, &err) || store_submit(s, &item, 1, false, &result, &err))
        fail_msg("after the fault: %s", err.text);
}

static int run(void *arg, struct err *err)
{
    const struct fixture *f = arg;
    struct store *s = NULL;

    id_new(id);
    snprintf(key, sizeof key, "key-%s", id);
    submitted = refused = moved = relayed = false;
    int rc = store_open(f->url, CONNECTIONS, &s, err);
    if (rc)
        return rc;
    rc = live_through(s, err);
    faults_disarm();
    works_again(s);
    store_close(s);
    return rc;
}

/* Outbox rows of this task; all that are due are removed. */
static int drain(struct store *s)
{
    struct outbox_row rows[64];
    struct err err = ERR_INIT;
    size_t count = 0;
    int own = 0;

    do {
        int64_t seqs[64];
        if (store_outbox_take(s, 64, 60000, rows, &count, &err))
            fail_msg("%s", err.text);
        for (size_t i = 0; i < count; i++) {
            seqs[i] = rows[i].seq;
            own += strcmp(rows[i].task_id, id) == 0;
        }
        assert_int_equal(store_outbox_done(s, seqs, count, &err), 0);
    } while (count == 64);
    return own;
}

static void check_history(struct store *s, const struct task *t)
{
    struct task_event *events = NULL;
    struct attempt *attempts = NULL;
    size_t count = 0;

    assert_int_equal(store_events(s, id, 0, 100, &events, &count, NULL), 0);
    assert_true(count > 0 && events[0].is_first);
    for (size_t i = 1; i < count; i++)
        assert_int_equal(events[i].from, events[i - 1].to);
    assert_int_equal(events[count - 1].to, t->state);
    free(events);
    assert_int_equal(store_attempts(s, id, 100, &attempts, &count, NULL), 0);
    assert_int_equal(count, (size_t)t->attempt);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(attempts[i].outcome == ATTEMPT_RUNNING,
                         i + 1 == count && t->state == TASK_PROCESSING);
    free(attempts);
}

/* Takes what still waits, so that the next run finds its own. */
static void cancel_all(struct store *s)
{
    struct store_filter waiting = {.states = 1U << TASK_RECEIVED | 1U << TASK_PROCESSING,
                                   .limit = 100};
    struct task_list list = {0};

    assert_int_equal(store_list(s, &waiting, &list, NULL, NULL), 0);
    for (size_t i = 0; i < list.count; i++) {
        struct task_move move = {.from = list.items[i].state,
                                 .to = TASK_CANCELLED,
                                 .outcome = ATTEMPT_CANCELLED,
                                 .actor = "test"};
        struct move_result result;
        memcpy(move.id, list.items[i].id, sizeof move.id);
        assert_int_equal(store_move(s, &move, 1, false, &result, NULL), 0);
    }
    task_list_release(&list);
}

/* Task, event, key and outbox row: all of them or none. */
static void check(void *arg, int rc)
{
    const struct fixture *f = arg;
    struct store *s = NULL;
    struct task task;
    struct submit_result result;
    struct err err = ERR_INIT;
    char fresh[ID_TEXT_MAX];

    if (store_open(f->url, CONNECTIONS, &s, &err) || store_upgrade(s, &err))
        fail_msg("%s", err.text);
    bool exists = store_get(s, id, &task, &err) == 0;
    assert_true(exists || (!submitted && rc));
    assert_false(exists && refused);
    if (exists) {
        assert_true(!moved || task.state == TASK_DONE);
        check_history(s, &task);
        task_release(&task);
    }
    int rows = drain(s);
    assert_true(relayed || rows == exists);

    id_new(fresh);
    struct submission again = submission_of(fresh);
    assert_int_equal(store_submit(s, &again, 1, true, &result, &err), 0);
    assert_int_equal(result.outcome, exists ? SUBMIT_REPLAYED : SUBMIT_ACCEPTED);
    assert_string_equal(result.id, exists ? id : fresh);
    cancel_all(s);
    drain(s);
    store_close(s);
}

static void a_store_is_whole_whatever_fails(void **state)
{
    const bool lite = strcmp(STORE_BACKEND, "sqlite") == 0;
    const struct faults_scenario s = {.name = STORE_BACKEND,
                                      .run = run,
                                      .check = check,
                                      .arg = *state,
                                      .settles = true,
                                      .limit = lite ? 0 : 12};

    if (lite)
        faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY | 1U << FAULT_THREAD);
    else
        faults_torture(&s, FAULTS_OF_LINKS | 1U << FAULT_MEMORY);
}

/* A COMMIT whose fsync fails may come back from the write-ahead log at the next start: nobody
 * may call that "nothing was done", since what belongs to it would be removed. */
static void a_commit_that_could_not_be_synced_is_of_unknown_outcome(void **state)
{
    struct fixture *f = *state;
    struct store *s = NULL;
    struct submission first, second;
    struct submit_result result;
    struct task task;
    struct err err = ERR_INIT;
    char ids[2][ID_TEXT_MAX];
    int status = 0;

    if (strcmp(STORE_BACKEND, "sqlite") != 0)
        skip();
    store_close(f->s);
    f->s = NULL;
    id_new(ids[0]);
    id_new(ids[1]);
    pid_t pid = fork();
    if (pid == 0) {
        snprintf(key, sizeof key, "key-%s", ids[0]);
        first = submission_of(ids[0]);
        if (store_open(f->url, CONNECTIONS, &s, &err) ||
            store_submit(s, &first, 1, true, &result, &err))
            _exit(1);
        snprintf(key, sizeof key, "key-%s", ids[1]);
        second = submission_of(ids[1]);
        faults_arm(FAULT_SYNC, FAULT_FROM_HERE, 1);
        _exit(-store_submit(s, &second, 1, true, &result, &err)); /* as kill -9 would end it */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), E_UNKNOWN_OUTCOME);
    assert_int_equal(store_open(f->url, CONNECTIONS, &s, &err), 0);
    assert_int_equal(store_get(s, ids[0], &task, &err), 0);
    task_release(&task);
    assert_int_equal(store_get(s, ids[1], &task, &err), 0); /* with SQLite's log of today */
    task_release(&task);
    cancel_all(s);
    drain(s);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_store_is_whole_whatever_fails, fixture_empty,
                                        fixture_end),
        cmocka_unit_test_setup_teardown(a_commit_that_could_not_be_synced_is_of_unknown_outcome,
                                        fixture_ready, fixture_end),
    };
    int unavailable = help_available();

    /* Connector/C 3.3 copies the server's version by strdup and looks into it without asking
     * whether there is any; where else it would die of that kind nobody has counted. */
    faults_spare_library("libmariadb.", FAULT_MEMORY);

    /* Some thousand transactions of their own: not on a disk. */
    setenv("TMPDIR", faults_temp_dir(), 1);
    return unavailable ? unavailable : cmocka_run_group_tests(tests, NULL, NULL);
}
