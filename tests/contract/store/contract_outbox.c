/* contract_outbox.c - rows that several relays share. */
#include "store_contract.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 100, TAKERS = 4 };

static void a_held_row_is_not_given_twice_and_a_done_one_never_again(void **state)
{
    struct fixture *f = *state;
    char ids[3][ID_TEXT_MAX];
    struct outbox_row first[2], second[4];
    size_t count;

    for (int i = 0; i < 3; i++)
        submit_to(f->s, "q", 0, ids[i]);
    assert_ok(store_outbox_take(f->s, 2, 60000, first, &count, err));
    assert_int_equal(count, 2);
    assert_string_equal(first[0].task_id, ids[0]);
    assert_string_equal(first[1].task_id, ids[1]);
    assert_ok(store_outbox_take(f->s, 4, 60000, second, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(second[0].task_id, ids[2]);

    assert_ok(store_outbox_done(f->s, &first[0].seq, 1, err));
    const int64_t failed[] = {first[0].seq, first[1].seq};
    assert_ok(store_outbox_give_up(f->s, failed, 2, err)); /* one of them is done: no matter */
    assert_ok(store_outbox_take(f->s, 4, 60000, second, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(second[0].task_id, ids[1]);
}

static bool row_comes_again(void *arg)
{
    struct fixture *f = arg;
    struct outbox_row row;
    size_t count;

    assert_ok(store_outbox_take(f->s, 1, 60000, &row, &count, err));
    return count == 1;
}

static void a_row_comes_again_when_its_holder_is_silent(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct outbox_row row;
    size_t count;

    submit_to(f->s, "q", 0, id);
    assert_ok(store_outbox_take(f->s, 1, 20, &row, &count, err));
    assert_int_equal(count, 1);
    wait_until(row_comes_again, f);
}

struct taker {
    struct store *s;
    int64_t seqs[ROWS];
    size_t count;
    int rc;
};

static void *take_all(void *arg)
{
    struct taker *t = arg;
    struct outbox_row rows[7];
    int empty = 0;

    while (empty < 5 && !t->rc) {
        size_t count = 0;
        t->rc = store_outbox_take(t->s, 7, 60000, rows, &count, NULL);
        empty = count ? 0 : empty + 1;
        int64_t *from = &t->seqs[t->count];
        for (size_t i = 0; i < count && t->count < ROWS; i++)
            t->seqs[t->count++] = rows[i].seq;
        if (!t->rc)
            t->rc = store_outbox_done(t->s, from, count, NULL);
    }
    return NULL;
}

static void takers_at_once_share_the_rows(void **state)
{
    struct fixture *f = *state;
    struct submission items[ROWS];
    struct submit_result results[ROWS];
    struct taker takers[TAKERS];
    struct store_counts counts;
    pthread_t threads[TAKERS];
    size_t total = 0;

    for (int i = 0; i < ROWS; i++)
        items[i] = a_submission();
    assert_ok(store_submit(f->s, items, ROWS, true, results, err));
    for (int i = 0; i < TAKERS; i++) {
        takers[i] = (struct taker){.s = f->s};
        assert_int_equal(pthread_create(&threads[i], NULL, take_all, &takers[i]), 0);
    }
    for (int i = 0; i < TAKERS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < TAKERS; i++) {
        assert_int_equal(takers[i].rc, 0);
        total += takers[i].count;
    }
    assert_int_equal(total, ROWS);
    assert_ok(store_counts(f->s, ROWS, &counts, err));
    assert_int_equal(counts.outbox, 0);
}

static void a_return_to_the_queue_is_announced_with_its_attempts(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct outbox_row rows[4];
    size_t count;

    start_one(f->s, id, token);
    assert_ok(store_outbox_take(f->s, 4, 60000, rows, &count, err));
    struct task_move m = report(id, token, TASK_RECEIVED, ATTEMPT_RELEASED);
    move(f->s, &m);
    assert_ok(store_outbox_take(f->s, 4, 60000, rows, &count, err));
    assert_int_equal(count, 1);
    assert_string_equal(rows[0].task_id, id);
    assert_int_equal(rows[0].attempt, 1);
}

int contract_outbox(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_held_row_is_not_given_twice_and_a_done_one_never_again),
        with_store(a_row_comes_again_when_its_holder_is_silent),
        with_store(takers_at_once_share_the_rows),
        with_store(a_return_to_the_queue_is_announced_with_its_attempts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
