/* contract_attempts.c - claims, leases, renewals and what is kept of each attempt. */
#include "store_contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

static void a_claim_starts_an_attempt(void **state)
{
    struct fixture *f = *state;
    struct claimed got;
    struct attempt *attempts;
    size_t count;
    char id[ID_TEXT_MAX];

    assert_false(claim_from(f->s, "q", 60000, &got));
    submit_to(f->s, "q", 0, id);
    assert_false(claim_from(f->s, "other", 60000, &got));
    assert_true(claim_from(f->s, "q", 60000, &got));
    assert_string_equal(got.task.id, id);
    assert_int_equal(got.task.state, TASK_PROCESSING);
    assert_int_equal(got.task.attempt, 1);
    assert_string_equal(got.task.worker, "w1");
    assert_true(got.task.started_ms > 0);
    assert_true(got.task.lease_until_ms >= got.task.started_ms + 59000);
    assert_true(token_is_valid(got.token));
    task_release(&got.task);
    assert_false(claim_from(f->s, "q", 60000, &got));

    assert_ok(store_attempts(f->s, id, 10, &attempts, &count, err));
    assert_int_equal(count, 1);
    assert_int_equal(attempts[0].number, 1);
    assert_int_equal(attempts[0].outcome, ATTEMPT_RUNNING);
    assert_string_equal(attempts[0].worker, "w1");
    assert_int_equal(attempts[0].ended_ms, 0);
    free(attempts);
}

static void a_claim_can_name_its_task(void **state)
{
    struct fixture *f = *state;
    struct claimed got;
    char first[ID_TEXT_MAX], second[ID_TEXT_MAX];

    submit_to(f->s, "q", 0, first);
    submit_to(f->s, "elsewhere", 0, second);
    assert_true(claim_id(f->s, second, 60000, &got));
    assert_string_equal(got.task.id, second);
    task_release(&got.task);
    assert_false(claim_id(f->s, second, 60000, &got));
    assert_false(claim_id(f->s, "junk", 60000, &got));
    assert_int_equal(state_of(f->s, first), TASK_RECEIVED);
}

static void claims_go_by_priority_then_age_across_queues(void **state)
{
    static const struct {
        const char *queue;
        int priority;
    } given[] = {{"a", 0}, {"b", 0},    {"a", 5},   {"b", -1000},
                 {"b", 5}, {"a", 1000}, {"c", 1000}};
    static const int expected[] = {5, 2, 4, 0, 1, 3};
    const char *const queues[] = {"a", "b"};
    struct fixture *f = *state;
    char ids[7][ID_TEXT_MAX];
    struct claimed got[8];
    size_t count, n = 0;

    for (int i = 0; i < 7; i++)
        submit_to(f->s, given[i].queue, given[i].priority, ids[i]);
    for (int limit = 1; limit <= 3; limit++) { /* 1 + 2 + 3 */
        struct claim claim = {"w", queues, 2, NULL, limit, 60000, false};
        assert_ok(store_claim(f->s, &claim, got, &count, err));
        assert_int_equal(count, limit);
        for (size_t i = 0; i < count; i++) {
            assert_string_equal(got[i].task.id, ids[expected[n++]]);
            task_release(&got[i].task);
        }
    }
    struct claim claim = {"w", queues, 2, NULL, 8, 60000, false};
    assert_ok(store_claim(f->s, &claim, got, &count, err));
    assert_int_equal(count, 0);
}

static void a_single_queue_gives_highest_priority_then_oldest(void **state)
{
    static const int priorities[] = {0, 3, -3, 3};
    static const int expected[] = {1, 3, 0, 2};
    struct fixture *f = *state;
    char ids[4][ID_TEXT_MAX];
    struct claimed got;

    for (int i = 0; i < 4; i++)
        submit_to(f->s, "q", priorities[i], ids[i]);
    for (int i = 0; i < 4; i++) {
        assert_true(claim_from(f->s, "q", 60000, &got));
        assert_string_equal(got.task.id, ids[expected[i]]);
        task_release(&got.task);
    }
}

static bool claimable(void *arg)
{
    struct fixture *f = arg;
    struct claimed got;
    bool is = claim_from(f->s, "q", 60000, &got);

    if (is)
        task_release(&got.task);
    return is;
}

static void a_task_for_later_is_not_claimed_before_its_time(void **state)
{
    struct fixture *f = *state;
    struct submission far = a_submission(), near = a_submission();
    struct submit_result result;
    struct claimed got;

    far.task.run_at_ms = clock_wall_ms() + 3600000;
    far.task.priority = TASK_PRIORITY_LIMIT;
    near.task.run_at_ms = clock_wall_ms() + 300;
    submit(f->s, &far, &result);
    submit(f->s, &near, &result);
    assert_false(claim_from(f->s, "q", 60000, &got));
    assert_false(claim_id(f->s, near.task.id, 60000, &got));
    assert_true(clock_wall_ms() < near.task.run_at_ms); /* else the lines above prove nothing */
    wait_until(claimable, f);
    assert_true(clock_wall_ms() >= near.task.run_at_ms);
    assert_int_equal(state_of(f->s, near.task.id), TASK_PROCESSING);
    assert_int_equal(state_of(f->s, far.task.id), TASK_RECEIVED);
}

/* -- many claimers -- */

enum { CLAIMERS = 8, PREY = 400 };

struct claimer {
    struct store *s;
    int number, rc;
    char ids[PREY][ID_TEXT_MAX];
    size_t count;
};

static void *claim_all(void *arg)
{
    struct claimer *c = arg;
    const char *const queues[] = {"a", "b"};
    struct claimed got[4];
    char worker[16];
    int empty = 0;

    snprintf(worker, sizeof worker, "w%d", c->number);
    while (empty < 5 && !c->rc) {
        /* odd ones take from two queues, in batches */
        struct claim claim = {
            worker, queues,       1 + (size_t)c->number % 2, NULL, 1 + c->number % 4,
            60000,  c->number > 5};
        size_t count = 0;
        c->rc = store_claim(c->s, &claim, got, &count, NULL);
        empty = count ? 0 : empty + 1;
        for (size_t i = 0; i < count && c->count < PREY; i++) {
            memcpy(c->ids[c->count++], got[i].task.id, ID_TEXT_MAX);
            task_release(&got[i].task);
        }
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, ID_TEXT_MAX);
}

static void eight_claimers_never_get_the_same_task(void **state)
{
    struct fixture *f = *state;
    struct submission items[PREY];
    struct submit_result results[PREY];
    struct claimer *claimers = calloc(CLAIMERS, sizeof *claimers);
    char(*all)[ID_TEXT_MAX] = calloc(PREY, sizeof *all);
    pthread_t threads[CLAIMERS];
    size_t total = 0;

    assert_true(claimers && all);
    for (int i = 0; i < PREY; i++) {
        items[i] = a_submission();
        snprintf(items[i].task.queue, sizeof items[i].task.queue, i % 2 ? "a" : "b");
    }
    assert_ok(store_submit(f->s, items, PREY, false, results, err));
    for (int i = 0; i < CLAIMERS; i++) {
        claimers[i].s = f->s;
        claimers[i].number = i;
        assert_int_equal(pthread_create(&threads[i], NULL, claim_all, &claimers[i]), 0);
    }
    for (int i = 0; i < CLAIMERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CLAIMERS; i++) {
        assert_int_equal(claimers[i].rc, 0);
        assert_true(total + claimers[i].count <= PREY);
        memcpy(all[total], claimers[i].ids, claimers[i].count * ID_TEXT_MAX);
        total += claimers[i].count;
    }
    assert_int_equal(total, PREY);
    qsort(all, total, sizeof *all, compare_ids);
    for (size_t i = 1; i < total; i++)
        assert_true(memcmp(all[i - 1], all[i], ID_TEXT_MAX) != 0);
    free(claimers);
    free(all);
}

/* -- leases -- */

struct lapse {
    struct store *s;
    struct expired found;
};

static bool one_expired(void *arg)
{
    struct lapse *l = arg;
    size_t count;

    assert_ok(store_expired(l->s, &l->found, 1, &count, err));
    return count == 1;
}

static void a_lease_that_runs_out_is_listed_and_can_be_revived(void **state)
{
    struct fixture *f = *state;
    struct lapse l = {.s = f->s};
    struct claimed got;
    struct renewal r = {.progress = 0.5};
    struct task t;
    char id[ID_TEXT_MAX], other[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    size_t count;

    start_one(f->s, other, token); /* a lease that holds */
    submit_to(f->s, "q", 0, id);
    assert_true(claim_id(f->s, id, 1, &got));
    wait_until(one_expired, &l);
    assert_string_equal(l.found.id, id);
    assert_string_equal(l.found.token, got.token);
    assert_string_equal(l.found.worker, "w1");
    assert_int_equal(l.found.attempt, 1);
    assert_int_equal(l.found.max_attempts, 3);

    memcpy(r.task_id, id, sizeof r.task_id);
    memcpy(r.token, got.token, sizeof r.token);
    assert_ok(store_renew(f->s, &r, 1, 60000, err));
    assert_true(r.ok);
    assert_ok(store_expired(f->s, &l.found, 1, &count, err));
    assert_int_equal(count, 0);
    assert_ok(store_get(f->s, id, &t, err));
    assert_true(t.progress > 0.49 && t.progress < 0.51);
    assert_true(t.lease_until_ms > got.task.lease_until_ms);
    task_release(&t);
    task_release(&got.task);
}

static void a_batch_of_renewals_answers_each(void **state)
{
    struct fixture *f = *state;
    struct renewal r[4] = {
        {.progress = -1}, {.progress = -1}, {.progress = 7}, {.progress = -1}};
    struct task t;
    char token[TOKEN_TEXT_MAX];

    start_one(f->s, r[0].task_id, r[0].token);
    token_new(r[0].token); /* not the one it was given */
    id_new(r[1].task_id);
    start_one(f->s, r[2].task_id, r[2].token);
    submit_to(f->s, "q", 0, r[3].task_id);
    token_new(token);
    memcpy(r[3].token, token, sizeof token);
    assert_ok(store_renew(f->s, r, 4, 60000, err));
    assert_true(!r[0].ok && r[0].exists && r[0].state == TASK_PROCESSING);
    assert_true(!r[1].ok && !r[1].exists);
    assert_true(r[2].ok);
    assert_true(!r[3].ok && r[3].exists && r[3].state == TASK_RECEIVED);
    assert_ok(store_get(f->s, r[2].task_id, &t, err));
    assert_true(t.progress <= 1 && t.progress >= 1);
    task_release(&t);
}

static void each_attempt_keeps_how_it_ended(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct claimed got;
    struct attempt *attempts;
    size_t count;

    start_one(f->s, id, token);
    struct task_move m = report(id, token, TASK_RECEIVED, ATTEMPT_FAILED);
    m.error.class = ERROR_CRASH;
    snprintf(m.error.code, sizeof m.error.code, "signal");
    memset(m.error.message, 'm', sizeof m.error.message - 1);
    m.usage = (struct attempt_usage){1500, 1200, 1LL << 33, 0, 11};
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    for (int i = 2; i <= 3; i++) {
        assert_true(claim_id(f->s, id, 60000, &got));
        assert_int_equal(got.task.attempt, i);
        task_release(&got.task);
        if (i == 2) {
            m = report(id, got.token, TASK_RECEIVED, ATTEMPT_RELEASED);
            move(f->s, &m);
        }
    }

    assert_ok(store_attempts(f->s, id, 10, &attempts, &count, err));
    assert_int_equal(count, 3);
    assert_int_equal(attempts[0].number, 1);
    assert_int_equal(attempts[0].outcome, ATTEMPT_FAILED);
    assert_int_equal(attempts[0].error.class, ERROR_CRASH);
    assert_string_equal(attempts[0].error.code, "signal");
    assert_int_equal(strlen(attempts[0].error.message), ERR_TEXT_MAX - 1);
    assert_true(attempts[0].ended_ms >= attempts[0].started_ms);
    assert_int_equal(attempts[0].usage.wall_ms, 1500);
    assert_int_equal(attempts[0].usage.cpu_ms, 1200);
    assert_true(attempts[0].usage.peak_rss_bytes == 1LL << 33);
    assert_int_equal(attempts[0].usage.signal, 11);
    assert_int_equal(attempts[1].outcome, ATTEMPT_RELEASED);
    assert_int_equal(attempts[2].outcome, ATTEMPT_RUNNING);
    free(attempts);
    assert_ok(store_attempts(f->s, id, 2, &attempts, &count, err)); /* the latest, in order */
    assert_int_equal(count, 2);
    assert_int_equal(attempts[0].number, 2);
    free(attempts);
}

int contract_attempts(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_claim_starts_an_attempt),
        with_store(a_claim_can_name_its_task),
        with_store(claims_go_by_priority_then_age_across_queues),
        with_store(a_single_queue_gives_highest_priority_then_oldest),
        with_store(a_task_for_later_is_not_claimed_before_its_time),
        with_store(eight_claimers_never_get_the_same_task),
        with_store(a_lease_that_runs_out_is_listed_and_can_be_revived),
        with_store(a_batch_of_renewals_answers_each),
        with_store(each_attempt_keeps_how_it_ended),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
