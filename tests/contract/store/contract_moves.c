/* contract_moves.c - every guard of the one way a task changes state. */
#include "store_contract.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void a_report_is_made_once_and_known_when_repeated(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct task t;
    struct task_event *events;
    size_t count;

    start_one(f->s, id, token);
    struct task_move m = report(id, token, TASK_DONE, ATTEMPT_DONE);
    snprintf(m.output.key, sizeof m.output.key, "processed_data/x.csv");
    m.output.size = 42;
    m.result = "{\"rows\":7}";
    struct move_result result = move(f->s, &m);
    assert_int_equal(result.outcome, MOVE_MADE);
    assert_int_equal(result.state, TASK_DONE);
    result = move(f->s, &m);
    assert_int_equal(result.outcome, MOVE_REPEATED);
    assert_int_equal(result.state, TASK_DONE);
    struct task_move other = report(id, token, TASK_FAILED, ATTEMPT_FAILED);
    assert_int_equal(move(f->s, &other).outcome, MOVE_STALE);

    assert_ok(store_get(f->s, id, &t, err));
    assert_int_equal(t.state, TASK_DONE);
    assert_string_equal(t.output.key, "processed_data/x.csv");
    assert_int_equal(t.output.size, 42);
    assert_string_equal(t.result, "{\"rows\":7}");
    assert_true(t.finished_ms >= t.started_ms && t.started_ms > 0);
    assert_int_equal(t.lease_until_ms, 0);
    task_release(&t);
    assert_ok(store_events(f->s, id, 0, 10, &events, &count, err));
    assert_int_equal(count, 3); /* the repeat wrote none */
    free(events);
}

static void a_move_that_is_another_attempts_is_not_made(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct task t;

    start_one(f->s, id, token);
    struct task_move m = report(id, token, TASK_DONE, ATTEMPT_DONE);
    m.attempt = 2;
    struct move_result result = move(f->s, &m);
    assert_int_equal(result.outcome, MOVE_OTHER_ATTEMPT);
    assert_int_equal(result.state, TASK_PROCESSING);
    m.token[0] ^= 1;
    assert_int_equal(move(f->s, &m).outcome, MOVE_STALE); /* its attempt is nobody's business */
    m.token[0] ^= 1;
    m.attempt = 1;
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    m.attempt = 2;
    assert_int_equal(move(f->s, &m).outcome, MOVE_REPEATED);
    assert_ok(store_get(f->s, id, &t, err));
    assert_int_equal(t.state, TASK_DONE);
    task_release(&t);
}

static void a_move_of_a_task_that_is_elsewhere_is_stale_and_of_none_not_found(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], unknown[ID_TEXT_MAX];
    struct task_move m;

    submit_to(f->s, "q", 0, id);
    m = by_hand(id, TASK_PROCESSING, TASK_DONE);
    struct move_result result = move(f->s, &m);
    assert_int_equal(result.outcome, MOVE_STALE);
    assert_int_equal(result.state, TASK_RECEIVED);
    id_new(unknown);
    m = by_hand(unknown, TASK_RECEIVED, TASK_CANCELLED);
    assert_int_equal(move(f->s, &m).outcome, MOVE_NOT_FOUND);
    m = by_hand("junk", TASK_RECEIVED, TASK_CANCELLED);
    assert_int_equal(move(f->s, &m).outcome, MOVE_NOT_FOUND);
}

static void a_wrong_token_is_stale(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];

    start_one(f->s, id, token);
    token_new(token);
    struct task_move m = report(id, token, TASK_DONE, ATTEMPT_DONE);
    assert_int_equal(move(f->s, &m).outcome, MOVE_STALE);
    assert_int_equal(state_of(f->s, id), TASK_PROCESSING);
}

static void illegal_moves_are_refused(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct move_result result;
    struct task_move m;

    submit_to(f->s, "q", 0, id);
    m = by_hand(id, TASK_RECEIVED, TASK_DONE);
    assert_code(E_BUG, store_move(f->s, &m, 1, true, &result, err));
    m = by_hand(id, TASK_RECEIVED, TASK_PROCESSING);
    assert_code(E_BUG, store_move(f->s, &m, 1, true, &result, err));
    m = by_hand(id, TASK_PROCESSING, TASK_DONE);
    m.outcome = ATTEMPT_RUNNING;
    assert_code(E_BUG, store_move(f->s, &m, 1, true, &result, err));
    assert_int_equal(state_of(f->s, id), TASK_RECEIVED);
}

static void the_reaper_moves_expired_leases_only(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct claimed got;

    start_one(f->s, id, token);
    struct task_move m = report(id, token, TASK_RECEIVED, ATTEMPT_LOST);
    m.lease_expired = true;
    assert_int_equal(move(f->s, &m).outcome, MOVE_STALE);
    submit_to(f->s, "q", 0, id);
    assert_true(claim_id(f->s, id, -1, &got)); /* a lease that is over when it begins */
    task_release(&got.task);
    m = report(id, got.token, TASK_RECEIVED, ATTEMPT_LOST);
    m.lease_expired = true;
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
}

static void the_token_of_a_reaped_attempt_is_stale_after_the_next_claim(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX];
    struct claimed first, second;

    submit_to(f->s, "q", 0, id);
    assert_true(claim_id(f->s, id, -1, &first));
    task_release(&first.task);
    struct task_move reap = report(id, first.token, TASK_RECEIVED, ATTEMPT_LOST);
    reap.lease_expired = true;
    assert_int_equal(move(f->s, &reap).outcome, MOVE_MADE);
    assert_int_equal(move(f->s, &reap).outcome, MOVE_REPEATED);
    struct task_move late = report(id, first.token, TASK_DONE, ATTEMPT_DONE);
    struct move_result result = move(f->s, &late);
    assert_int_equal(result.outcome, MOVE_STALE);
    assert_int_equal(result.state, TASK_RECEIVED);

    assert_true(claim_id(f->s, id, 60000, &second));
    task_release(&second.task);
    assert_string_not_equal(first.token, second.token);
    assert_int_equal(move(f->s, &late).outcome, MOVE_STALE);
    struct renewal r = {.progress = -1};
    memcpy(r.task_id, id, sizeof r.task_id);
    memcpy(r.token, first.token, sizeof r.token);
    assert_ok(store_renew(f->s, &r, 1, 60000, err));
    assert_false(r.ok);
    struct task_move done = report(id, second.token, TASK_DONE, ATTEMPT_DONE);
    assert_int_equal(move(f->s, &done).outcome, MOVE_MADE);
}

static void a_delayed_return_waits_and_is_announced_for_then(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct claimed got;
    struct task t;
    struct outbox_row rows[4];
    size_t count;

    start_one(f->s, id, token);
    assert_ok(store_outbox_take(f->s, 4, 60000, rows, &count, err));
    struct task_move m = report(id, token, TASK_RECEIVED, ATTEMPT_FAILED);
    m.delay_ms = 3600000;
    m.error.class = ERROR_TRANSIENT;
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    assert_false(claim_from(f->s, "q", 60000, &got));
    assert_ok(store_get(f->s, id, &t, err));
    assert_true(t.run_at_ms >= t.started_ms + 3600000 - 1000);
    assert_int_equal(t.error.class, ERROR_NONE);
    assert_string_equal(t.worker, "");
    task_release(&t);
    assert_ok(store_outbox_take(f->s, 4, 1000, rows, &count, err));
    assert_int_equal(count, 0);
}

static void a_failed_task_keeps_its_error_until_it_is_retried_by_hand(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct task t;
    struct claimed got;

    start_one(f->s, id, token);
    struct task_move m = report(id, token, TASK_FAILED, ATTEMPT_FAILED);
    m.error.class = ERROR_INPUT;
    snprintf(m.error.code, sizeof m.error.code, "bad_date");
    snprintf(m.error.message, sizeof m.error.message, "line 3: '\xC3\xA9' is no date");
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    assert_ok(store_get(f->s, id, &t, err));
    assert_int_equal(t.error.class, ERROR_INPUT);
    assert_string_equal(t.error.code, "bad_date");
    assert_string_equal(t.error.message, m.error.message);
    task_release(&t);

    for (int round = 1; round <= 2;
         round++) { /* each retry grants the submitted budget again */
        m = by_hand(id, TASK_FAILED, TASK_RECEIVED);
        m.reset_attempts = true;
        assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
        assert_ok(store_get(f->s, id, &t, err));
        assert_int_equal(t.error.class, ERROR_NONE);
        assert_string_equal(t.error.message, "");
        assert_int_equal(t.finished_ms, 0);
        assert_int_equal(t.attempt, round);
        assert_int_equal(t.max_attempts, round + 3);
        task_release(&t);
        assert_true(claim_from(f->s, "q", 60000, &got));
        task_release(&got.task);
        m = report(id, got.token, TASK_FAILED, ATTEMPT_FAILED);
        assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    }
}

static void handing_a_task_back_costs_none_of_its_attempts(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    static const struct {
        enum attempt_outcome outcome;
        int max_attempts;
    } rounds[] = {
        {ATTEMPT_RELEASED, 4}, {ATTEMPT_RELEASED, 5}, {ATTEMPT_FAILED, 5}, {ATTEMPT_LOST, 5}};
    struct claimed got;
    struct task t;

    start_one(f->s, id, token); /* with 3 attempts */
    for (int i = 0; i < 4; i++) {
        struct task_move m = report(id, token, TASK_RECEIVED, rounds[i].outcome);
        assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
        assert_int_equal(move(f->s, &m).outcome, MOVE_REPEATED); /* and counts once */
        assert_ok(store_get(f->s, id, &t, err));
        assert_int_equal(t.attempt, i + 1);
        assert_int_equal(t.max_attempts, rounds[i].max_attempts);
        task_release(&t);
        assert_true(claim_from(f->s, "q", 60000, &got));
        memcpy(token, got.token, sizeof token);
        task_release(&got.task);
    }
}

static void a_cancelled_task_says_so_and_ends_its_attempt(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];
    struct attempt *attempts;
    struct task t;
    size_t count;

    start_one(f->s, id, token);
    struct task_move m = by_hand(id, TASK_PROCESSING, TASK_CANCELLED);
    m.error.class = ERROR_CANCELLED;
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    assert_ok(store_get(f->s, id, &t, err));
    assert_int_equal(t.error.class, ERROR_CANCELLED);
    task_release(&t);
    assert_ok(store_attempts(f->s, id, 5, &attempts, &count, err));
    assert_int_equal(attempts[0].outcome, ATTEMPT_CANCELLED);
    free(attempts);
    struct task_move done = report(id, token, TASK_DONE, ATTEMPT_DONE);
    assert_int_equal(move(f->s, &done).outcome, MOVE_STALE);
}

static void a_batch_of_moves_answers_each(void **state)
{
    struct fixture *f = *state;
    char ids[4][ID_TEXT_MAX], tokens[4][TOKEN_TEXT_MAX], unknown[ID_TEXT_MAX];
    struct move_result results[6];

    for (int i = 0; i < 4; i++)
        start_one(f->s, ids[i], tokens[i]);
    struct task_move early = report(ids[1], tokens[1], TASK_DONE, ATTEMPT_DONE);
    move(f->s, &early);
    id_new(unknown);
    struct task_move items[6] = {
        report(ids[3], tokens[3], TASK_FAILED, ATTEMPT_FAILED),
        report(unknown, tokens[0], TASK_DONE, ATTEMPT_DONE),
        report(ids[1], tokens[1], TASK_DONE, ATTEMPT_DONE),
        report(ids[0], tokens[0], TASK_RECEIVED, ATTEMPT_RELEASED),
        report(ids[2], tokens[0], TASK_DONE, ATTEMPT_DONE),
        report(ids[3], tokens[3], TASK_FAILED, ATTEMPT_FAILED),
    };
    assert_ok(store_move(f->s, items, 6, true, results, err));
    assert_int_equal(results[0].outcome, MOVE_MADE);
    assert_int_equal(results[1].outcome, MOVE_NOT_FOUND);
    assert_int_equal(results[2].outcome, MOVE_REPEATED);
    assert_int_equal(results[3].outcome, MOVE_MADE);
    assert_int_equal(results[3].state, TASK_RECEIVED);
    assert_int_equal(results[4].outcome, MOVE_STALE);
    assert_int_equal(results[5].outcome, MOVE_REPEATED);
    assert_int_equal(state_of(f->s, ids[2]), TASK_PROCESSING);
}

static void long_texts_of_an_event_are_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    char id[ID_TEXT_MAX], detail[2000];
    struct task_event *events;
    size_t count;

    memset(detail, 0, sizeof detail);
    detail[0] = '.';
    for (size_t i = 1; i + 4 < sizeof detail; i += 4)
        memcpy(detail + i, "\xF0\x9F\x8E\xB5", 4);
    submit_to(f->s, "q", 0, id);
    struct task_move m = by_hand(id, TASK_RECEIVED, TASK_CANCELLED);
    m.detail = m.actor = detail;
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    assert_ok(store_events(f->s, id, 0, 5, &events, &count, err));
    assert_int_equal(strlen(events[1].detail), 637); /* 1 + 159 * 4; 638 and 639 would split */
    assert_int_equal(strlen(events[1].actor), 125);
    free(events);
}

int contract_moves(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_report_is_made_once_and_known_when_repeated),
        with_store(a_move_that_is_another_attempts_is_not_made),
        with_store(a_move_of_a_task_that_is_elsewhere_is_stale_and_of_none_not_found),
        with_store(a_wrong_token_is_stale),
        with_store(illegal_moves_are_refused),
        with_store(the_reaper_moves_expired_leases_only),
        with_store(the_token_of_a_reaped_attempt_is_stale_after_the_next_claim),
        with_store(a_delayed_return_waits_and_is_announced_for_then),
        with_store(a_failed_task_keeps_its_error_until_it_is_retried_by_hand),
        with_store(handing_a_task_back_costs_none_of_its_attempts),
        with_store(a_cancelled_task_says_so_and_ends_its_attempt),
        with_store(a_batch_of_moves_answers_each),
        with_store(long_texts_of_an_event_are_cut_between_characters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
