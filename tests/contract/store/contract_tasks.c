/* contract_tasks.c - submit, idempotency keys, get, list, events, counts. */
#include "store_contract.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"

enum { LARGE = 1024 * 1024 };

/* Fills with four-byte characters as far as whole ones fit. */
static void fill(char *text, size_t size)
{
    size_t n = 0;

    while (n + 4 < size) {
        memcpy(text + n, "\xF0\x9F\x8E\xB5", 4);
        n += 4;
    }
    while (n + 1 < size)
        text[n++] = 'x';
    text[n] = '\0';
}

static void fill_ascii(char *text, size_t size)
{
    memset(text, 'k', size - 1);
    text[size - 1] = '\0';
}

static void a_task_comes_back_as_it_was_given(void **state)
{
    struct fixture *f = *state;
    struct submission item = a_submission();
    struct submit_result result;
    struct task got;

    item.task.priority = -7;
    item.task.timeout_ms = 90000;
    snprintf(item.task.input_name, sizeof item.task.input_name,
             "Plays of '26; DROP TABLE task");
    snprintf(item.task.input.key, sizeof item.task.input.key, "raw_data/a.csv");
    item.task.input.size = 1ULL << 40;
    fill_ascii(item.task.input.sha256, sizeof item.task.input.sha256);
    item.task.params = strdup("{\"a\":\"\\\" ' \xC3\xA9\"}");
    submit(f->s, &item, &result);
    assert_string_equal(result.id, item.task.id);

    assert_ok(store_get(f->s, result.id, &got, err));
    assert_string_equal(got.id, item.task.id);
    assert_string_equal(got.type, "noop");
    assert_string_equal(got.queue, "q");
    assert_int_equal(got.state, TASK_RECEIVED);
    assert_int_equal(got.priority, -7);
    assert_int_equal(got.attempt, 0);
    assert_int_equal(got.max_attempts, 3);
    assert_int_equal(got.timeout_ms, 90000);
    assert_string_equal(got.input_name, item.task.input_name);
    assert_string_equal(got.input.key, item.task.input.key);
    assert_true(got.input.size == item.task.input.size);
    assert_string_equal(got.input.sha256, item.task.input.sha256);
    assert_string_equal(got.output.key, "");
    assert_string_equal(got.params, item.task.params);
    assert_null(got.result);
    assert_in_range(got.created_ms, (uint64_t)clock_wall_ms() - 60000,
                    (uint64_t)clock_wall_ms() + 60000);
    assert_true(got.run_at_ms >= got.created_ms && got.run_at_ms <= got.created_ms + 1000);
    assert_int_equal(got.started_ms, 0);
    assert_int_equal(got.finished_ms, 0);
    assert_int_equal(got.lease_until_ms, 0);
    task_release(&got);
    free(item.task.params);
}

static void values_at_their_size_limits_are_kept(void **state)
{
    struct fixture *f = *state;
    struct submission item = a_submission();
    struct submit_result result;
    struct task got;
    char key[TASK_KEY_MAX];

    fill_ascii(item.task.type, sizeof item.task.type);
    fill_ascii(item.task.queue, sizeof item.task.queue);
    fill(item.task.input_name, sizeof item.task.input_name);
    fill_ascii(item.task.input.key, sizeof item.task.input.key);
    fill_ascii(key, sizeof key);
    item.key = key;
    item.client = key;
    item.task.priority = TASK_PRIORITY_LIMIT;
    item.task.run_at_ms = INT64_MAX;
    item.task.params = malloc(LARGE);
    assert_non_null(item.task.params);
    fill(item.task.params, LARGE);
    submit(f->s, &item, &result);

    assert_ok(store_get(f->s, result.id, &got, err));
    assert_string_equal(got.type, item.task.type);
    assert_string_equal(got.queue, item.task.queue);
    assert_string_equal(got.input_name, item.task.input_name);
    assert_string_equal(got.input.key, item.task.input.key);
    assert_true(strcmp(got.params, item.task.params) == 0);
    assert_true(got.run_at_ms == INT64_MAX);
    task_release(&got);
    free(item.task.params);
}

static void an_unknown_or_malformed_id_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct task got;

    assert_code(E_NOT_FOUND, store_get(f->s, a_submission().task.id, &got, err));
    assert_code(E_NOT_FOUND, store_get(f->s, "not-an-id", &got, err));
    assert_code(E_NOT_FOUND, store_get(f->s, "' OR '1'='1", &got, err));
}

static void a_submit_writes_task_event_and_outbox_together(void **state)
{
    struct fixture *f = *state;
    struct submission items[3] = {a_submission(), a_submission(), a_submission()};
    struct submit_result results[3];
    struct task_event *events;
    struct outbox_row rows[8];
    size_t count;

    assert_ok(store_submit(f->s, items, 3, true, results, err));
    assert_ok(store_events(f->s, NULL, 0, 100, &events, &count, err));
    assert_int_equal(count, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(events[i].task_id, items[i].task.id);
        assert_true(events[i].is_first);
        assert_int_equal(events[i].to, TASK_RECEIVED);
        assert_true(i == 0 || events[i].seq > events[i - 1].seq);
    }
    free(events);
    assert_ok(store_outbox_take(f->s, 8, 60000, rows, &count, err));
    assert_int_equal(count, 3);
    assert_string_equal(rows[0].task_id, items[0].task.id);
    assert_string_equal(rows[0].type, "noop");
    assert_string_equal(rows[0].queue, "q");
    assert_int_equal(rows[0].attempt, 0);
}

static void a_submit_that_fails_leaves_nothing(void **state)
{
    struct fixture *f = *state;
    struct submission items[2] = {a_submission(), a_submission()};
    struct submit_result results[2];
    struct outbox_row rows[4];
    struct task got;
    size_t count;

    memcpy(items[1].task.id, items[0].task.id, ID_TEXT_MAX); /* the second cannot be stored */
    assert_code(E_BUG, store_submit(f->s, items, 2, true, results, err));
    assert_code(E_NOT_FOUND, store_get(f->s, items[0].task.id, &got, err));
    assert_ok(store_outbox_take(f->s, 4, 1000, rows, &count, err));
    assert_int_equal(count, 0);
    submit(f->s, &items[0], &results[0]); /* and nothing is in the way */
}

static void a_submit_without_announcing_writes_no_outbox_row(void **state)
{
    struct fixture *f = *state;
    struct submission item = a_submission();
    struct submit_result result;
    struct outbox_row rows[1];
    size_t count;

    assert_ok(store_submit(f->s, &item, 1, false, &result, err));
    assert_ok(store_outbox_take(f->s, 1, 1000, rows, &count, err));
    assert_int_equal(count, 0);
}

static struct submission with_key(const char *client, const char *key, const char *digest)
{
    struct submission item = a_submission();

    item.client = client;
    item.key = key;
    snprintf(item.request_sha256, sizeof item.request_sha256, "%s", digest);
    return item;
}

static void a_repeated_key_is_replayed_and_another_request_is_a_mismatch(void **state)
{
    struct fixture *f = *state;
    struct submission first = with_key("c", "k", "digest"),
                      again = with_key("c", "k", "digest");
    struct submission other = with_key("c", "k", "other"),
                      foreign = with_key("d", "k", "digest");
    struct submission near = with_key("c", "K", "other"), spaced = with_key("c", "k ", "other");
    struct submit_result result;
    struct task got;

    submit(f->s, &first, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    submit(f->s, &again, &result);
    assert_int_equal(result.outcome, SUBMIT_REPLAYED);
    assert_string_equal(result.id, first.task.id);
    assert_code(E_NOT_FOUND, store_get(f->s, again.task.id, &got, err));
    submit(f->s, &other, &result);
    assert_int_equal(result.outcome, SUBMIT_MISMATCH);
    submit(f->s, &foreign, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    submit(f->s, &near, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    submit(f->s, &spaced, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
}

static void a_batch_may_hold_the_same_key_twice(void **state)
{
    struct fixture *f = *state;
    struct submission items[3] = {with_key("", "b", "x"), with_key("", "a", "x"),
                                  with_key("", "b", "x")};
    struct submit_result results[3];

    assert_ok(store_submit(f->s, items, 3, true, results, err));
    assert_int_equal(results[0].outcome, SUBMIT_ACCEPTED);
    assert_int_equal(results[1].outcome, SUBMIT_ACCEPTED);
    assert_int_equal(results[2].outcome, SUBMIT_REPLAYED);
    assert_string_equal(results[2].id, items[0].task.id);
}

enum { CROWD = 50 };

struct racer {
    struct store *s;
    struct submit_result result;
    int rc;
};

static void *race(void *arg)
{
    struct racer *r = arg;
    struct submission item = with_key("c", "race", "digest");

    r->rc = store_submit(r->s, &item, 1, true, &r->result, NULL);
    return NULL;
}

static void fifty_at_once_with_one_key_make_one_task(void **state)
{
    struct fixture *f = *state;
    struct racer racers[CROWD];
    pthread_t threads[CROWD];
    int accepted = 0;
    int64_t total = 0;
    struct task_list list;

    for (int i = 0; i < CROWD; i++) {
        racers[i] = (struct racer){.s = f->s};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < CROWD; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(racers[i].rc, 0);
        accepted += racers[i].result.outcome == SUBMIT_ACCEPTED;
        assert_true(racers[i].result.outcome != SUBMIT_MISMATCH);
        assert_string_equal(racers[i].result.id, racers[0].result.id);
    }
    assert_int_equal(accepted, 1);
    assert_ok(store_list(f->s, &(struct store_filter){.limit = 1}, &list, &total, err));
    assert_int_equal(total, 1);
    task_list_release(&list);
}

static void a_key_can_be_looked_up_without_using_it(void **state)
{
    struct fixture *f = *state;
    struct submission item = with_key("", "k", "x"), same = with_key("", "k", "x"),
                      other = with_key("", "k", "y");
    struct submit_result first, seen;

    assert_ok(store_look_up(f->s, &item, &seen, err));
    assert_int_equal(seen.outcome, SUBMIT_ACCEPTED);
    submit(f->s, &item, &first);
    assert_int_equal(first.outcome, SUBMIT_ACCEPTED); /* the look left nothing */
    assert_ok(store_look_up(f->s, &same, &seen, err));
    assert_int_equal(seen.outcome, SUBMIT_REPLAYED);
    assert_string_equal(seen.id, first.id);
    assert_ok(store_look_up(f->s, &other, &seen, err));
    assert_int_equal(seen.outcome, SUBMIT_MISMATCH);
}

static bool one_key_forgotten(void *arg)
{
    struct fixture *f = arg;
    int64_t removed = 0;

    assert_ok(store_forget_keys(f->s, 1, 1, &removed, err));
    return removed == 1;
}

static void old_keys_are_forgotten_and_young_ones_are_kept(void **state)
{
    struct fixture *f = *state;
    struct submission one = with_key("", "one", "x"), two = with_key("", "two", "x");
    struct submission again = with_key("", "one", "x");
    struct submit_result result;
    int64_t removed;

    submit(f->s, &one, &result);
    assert_ok(store_forget_keys(f->s, 3600000, 100, &removed, err));
    assert_int_equal(removed, 0);
    submit(f->s, &again, &result);
    assert_int_equal(result.outcome, SUBMIT_REPLAYED);
    wait_until(one_key_forgotten, f);
    submit(f->s, &again, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    submit(f->s, &two, &result);
    wait_until(one_key_forgotten, f); /* at most `limit` at a time: two are left */
    wait_until(one_key_forgotten, f);
}

/* -- lists -- */

static void put(struct store *s, const char *type, const char *queue, char *ret_id)
{
    struct submission item = a_submission();
    struct submit_result result;

    snprintf(item.task.type, sizeof item.task.type, "%s", type);
    snprintf(item.task.queue, sizeof item.task.queue, "%s", queue);
    submit(s, &item, &result);
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

static void assert_list(struct store *s, struct store_filter filter, int64_t total,
                        const char *first, size_t count)
{
    struct task_list list;
    int64_t got = -1;

    assert_ok(store_list(s, &filter, &list, &got, err));
    assert_int_equal(got, total);
    assert_int_equal(list.count, count);
    if (first)
        assert_string_equal(list.items[0].id, first);
    for (size_t i = 1; i < list.count; i++)
        assert_true(strcmp(list.items[i - 1].id, list.items[i].id) > 0);
    task_list_release(&list);
}

static void lists_are_filtered_counted_and_paged_newest_first(void **state)
{
    struct fixture *f = *state;
    char ids[30][ID_TEXT_MAX];
    struct task_move m;

    for (int i = 0; i < 30; i++)
        put(f->s, i % 3 ? "a" : "b", i % 2 ? "x" : "y", ids[i]);
    m = by_hand(ids[29], TASK_RECEIVED, TASK_CANCELLED);
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    m = by_hand(ids[0], TASK_RECEIVED, TASK_FAILED);
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);

    const unsigned waiting = 1U << TASK_RECEIVED,
                   ended = 1U << TASK_FAILED | 1U << TASK_CANCELLED;
    assert_list(f->s, (struct store_filter){.limit = 100}, 30, ids[29], 30);
    assert_list(f->s, (struct store_filter){.limit = 10, .offset = 25}, 30, ids[4], 5);
    assert_list(f->s, (struct store_filter){.limit = 10, .offset = 30}, 30, NULL, 0);
    assert_list(f->s, (struct store_filter){.limit = 100, .states = waiting}, 28, ids[28], 28);
    assert_list(f->s, (struct store_filter){.limit = 100, .states = ended}, 2, ids[29], 2);
    assert_list(f->s, (struct store_filter){.limit = 100, .type = "b"}, 10, ids[27], 10);
    assert_list(f->s, (struct store_filter){.limit = 3, .queue = "y"}, 15, ids[28], 3);
    assert_list(f->s,
                (struct store_filter){.limit = 9, .type = "b", .queue = "y", .states = waiting},
                4, ids[24], 4);
    assert_list(f->s, (struct store_filter){.limit = 9, .type = "none"}, 0, NULL, 0);
}

static void a_list_leaves_out_the_large_texts(void **state)
{
    struct fixture *f = *state;
    char params[] = "{\"a\":1}";
    struct submission item = a_submission();
    struct submit_result result;
    struct claimed got;
    struct task_list list;
    struct task t;

    item.task.params = params;
    submit(f->s, &item, &result);
    assert_true(claim_from(f->s, "q", 60000, &got));
    assert_string_equal(got.task.params, item.task.params);
    struct task_move m = report(result.id, got.token, TASK_DONE, ATTEMPT_DONE);
    m.result = "{\"b\":2}";
    assert_int_equal(move(f->s, &m).outcome, MOVE_MADE);
    task_release(&got.task);

    assert_ok(store_list(f->s, &(struct store_filter){.limit = 1}, &list, NULL, err));
    assert_int_equal(list.count, 1);
    assert_string_equal(list.items[0].id, result.id);
    assert_null(list.items[0].params);
    assert_null(list.items[0].result);
    task_list_release(&list);
    assert_ok(store_get(f->s, result.id, &t, err));
    assert_string_equal(t.params, item.task.params);
    assert_string_equal(t.result, m.result);
    task_release(&t);
}

static void events_can_be_followed_and_paged(void **state)
{
    struct fixture *f = *state;
    struct task_event *events;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX], other[ID_TEXT_MAX];
    size_t count;

    start_one(f->s, id, token);
    submit_to(f->s, "q", 0, other);
    struct task_move m = report(id, token, TASK_DONE, ATTEMPT_DONE);
    m.detail = "all \xF0\x9F\x8E\xB5 well";
    move(f->s, &m);

    assert_ok(store_events(f->s, id, 0, 2, &events, &count, err));
    assert_int_equal(count, 2);
    int64_t after = events[1].seq;
    assert_false(events[1].is_first);
    assert_int_equal(events[1].from, TASK_RECEIVED);
    assert_int_equal(events[1].to, TASK_PROCESSING);
    assert_int_equal(events[1].attempt, 1);
    assert_string_equal(events[1].actor, "w1");
    free(events);
    assert_ok(store_events(f->s, id, after, 10, &events, &count, err));
    assert_int_equal(count, 1);
    assert_int_equal(events[0].from, TASK_PROCESSING);
    assert_int_equal(events[0].to, TASK_DONE);
    assert_string_equal(events[0].detail, m.detail);
    assert_true(events[0].at_ms > 0);
    free(events);
    assert_ok(store_events(f->s, NULL, 0, 10, &events, &count, err));
    assert_int_equal(count, 4);
    free(events);

    assert_ok(store_events(f->s, id, STORE_LATEST, 2, &events, &count, err));
    assert_int_equal(count, 2);
    assert_int_equal(events[0].to, TASK_PROCESSING);
    assert_int_equal(events[1].to, TASK_DONE);
    free(events);
    assert_ok(store_events(f->s, id, STORE_LATEST, 10, &events, &count, err));
    assert_int_equal(count, 3);
    assert_true(events[0].is_first);
    free(events);
}

static bool outbox_has_aged(void *arg)
{
    struct fixture *f = arg;
    struct store_counts c;

    assert_ok(store_counts(f->s, 1000, &c, err));
    return c.outbox_oldest_ms > 0;
}

static void counts_tell_what_waits_and_runs(void **state)
{
    struct fixture *f = *state;
    struct store_counts c;
    struct submission later = a_submission();
    struct submit_result result;
    char id[ID_TEXT_MAX], token[TOKEN_TEXT_MAX];

    assert_ok(store_counts(f->s, 1000, &c, err));
    assert_int_equal(c.waiting + c.running + c.outbox + c.outbox_oldest_ms, 0);
    start_one(f->s, id, token);
    submit_to(f->s, "q", 0, id);
    submit_to(f->s, "q", 0, id);
    later.task.run_at_ms = clock_wall_ms() + 3600000;
    submit(f->s, &later, &result);
    assert_ok(store_counts(f->s, 1000, &c, err));
    assert_int_equal(c.waiting, 3);
    assert_int_equal(c.running, 1);
    assert_int_equal(c.outbox, 3); /* the one for later is not due */
    assert_ok(store_counts(f->s, 2, &c, err));
    assert_int_equal(c.waiting, 2); /* no further than asked */
    assert_int_equal(c.running, 1);
    assert_int_equal(c.outbox, 2);
    wait_until(outbox_has_aged, f);
}

static void a_ready_store_answers_a_ping(void **state)
{
    struct fixture *f = *state;

    assert_ok(store_ping(f->s, err));
    assert_string_equal(store_name(f->s), STORE_BACKEND);
}

int contract_tasks(void)
{
    const struct CMUnitTest tests[] = {
        with_store(a_task_comes_back_as_it_was_given),
        with_store(values_at_their_size_limits_are_kept),
        with_store(an_unknown_or_malformed_id_is_not_found),
        with_store(a_submit_writes_task_event_and_outbox_together),
        with_store(a_submit_that_fails_leaves_nothing),
        with_store(a_submit_without_announcing_writes_no_outbox_row),
        with_store(a_repeated_key_is_replayed_and_another_request_is_a_mismatch),
        with_store(a_batch_may_hold_the_same_key_twice),
        with_store(fifty_at_once_with_one_key_make_one_task),
        with_store(old_keys_are_forgotten_and_young_ones_are_kept),
        with_store(lists_are_filtered_counted_and_paged_newest_first),
        with_store(a_list_leaves_out_the_large_texts),
        with_store(events_can_be_followed_and_paged),
        with_store(counts_tell_what_waits_and_runs),
        with_store(a_key_can_be_looked_up_without_using_it),
        with_store(a_ready_store_answers_a_ping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
