/* pipeline_contract.c - what every repository has to keep of segue/pipeline_repository.h. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "pipeline_fixture.h"

static struct pipeline_record record_of(enum pipeline_model model, int number, int pipeline,
                                        const char *name)
{
    struct pipeline_record r = {.model = model};
    static char metadata[] = "{}";

    snprintf(r.uuid, sizeof r.uuid, "%08x-0000-7000-8000-%012x", (unsigned)model,
             (unsigned)number);
    if (model == PIPELINE_MODEL_STEP)
        snprintf(r.pipeline_uuid, sizeof r.pipeline_uuid, "00000000-0000-7000-8000-%012x",
                 (unsigned)pipeline);
    snprintf(r.name, sizeof r.name, "%s", name);
    r.metadata = metadata;
    return r;
}

static struct pipeline_record pipeline_of(int number, const char *name)
{
    return record_of(PIPELINE_MODEL_PIPELINE, number, 0, name);
}

static struct pipeline_record step_of(int number, int pipeline, const char *name)
{
    return record_of(PIPELINE_MODEL_STEP, number, pipeline, name);
}

static void save(struct fixture *f, struct pipeline_record *records, size_t count)
{
    struct pipeline_err err = {0};

    if (f->r->ops->save(f->r, records, count, &err))
        fail_msg("%s", err.text);
}

static struct pipeline_record get(struct fixture *f, const struct pipeline_record *like)
{
    struct pipeline_record r;
    struct pipeline_err err = {0};

    if (f->r->ops->get(f->r, like->model, like->uuid, &r, &err))
        fail_msg("%s", err.text);
    return r;
}

/* -- the tests -- */

static void what_was_saved_is_got_back_whole(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record saved[] = {pipeline_of(1, "Backup \xf0\x9f\x92\xbe '\"\\ %s;--"),
                                      step_of(2, 1, "first"), step_of(3, 1, "first")};
    char *big = malloc(PIPELINE_METADATA_MAX);

    assert_non_null(big);
    memset(big, 'x', PIPELINE_METADATA_MAX - 1);
    memcpy(big, "{\"\\u00e9\xc3\xa9\":\"", 13);
    big[PIPELINE_METADATA_MAX - 1] = '\0';
    saved[0].metadata = big;
    saved[0].status = PIPELINE_PENDING;
    memset(saved[1].name, 'n', PIPELINE_NAME_MAX - 1);
    memset(saved[1].reason, 'r', PIPELINE_REASON_MAX - 1);
    saved[1].status = PIPELINE_FAILED;
    saved[2].start_ended = true;
    save(f, saved, 3);
    for (size_t i = 0; i < 3; i++) {
        struct pipeline_record r = get(f, &saved[i]);
        assert_int_equal(r.model, saved[i].model);
        assert_int_equal(r.version, 1);
        assert_int_equal(saved[i].version, 1);
        assert_int_equal(r.seq, saved[i].seq);
        assert_string_equal(r.uuid, saved[i].uuid);
        assert_string_equal(r.pipeline_uuid, saved[i].pipeline_uuid);
        assert_string_equal(r.name, saved[i].name);
        assert_string_equal(r.reason, saved[i].reason);
        assert_string_equal(r.metadata, saved[i].metadata);
        assert_int_equal(r.status, saved[i].status);
        assert_int_equal(r.start_ended, saved[i].start_ended);
        assert_string_equal(r.claim, "");
        assert_int_equal(r.claim_ms, 0);
        pipeline_record_release(&r);
    }
    assert_true(saved[1].seq > 0 && saved[2].seq > saved[1].seq);
    free(big);
}

static void what_is_not_there_is_not_found(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record nobody = pipeline_of(9, "x"), r;
    struct pipeline_err err;

    nobody.version = 1;
    assert_int_equal(f->r->ops->get(f->r, nobody.model, nobody.uuid, &r, &err),
                     -PIPELINE_E_NOT_FOUND);
    assert_true(strlen(err.text) > 0);
    assert_int_equal(
        f->r->ops->get(f->r, nobody.model, "'; DROP TABLE pipelines; --", &r, &err),
        -PIPELINE_E_NOT_FOUND);
    assert_int_equal(f->r->ops->update(f->r, &nobody, &err), -PIPELINE_E_NOT_FOUND);
    /* A step is no pipeline. */
    struct pipeline_record pair[] = {pipeline_of(1, "p"), step_of(2, 1, "s")};
    save(f, pair, 2);
    assert_int_equal(f->r->ops->get(f->r, PIPELINE_MODEL_PIPELINE, pair[1].uuid, &r, &err),
                     -PIPELINE_E_NOT_FOUND);
}

static void all_records_are_saved_or_none(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record first = pipeline_of(1, "p"), r;
    struct pipeline_record taken[] = {pipeline_of(2, "q"), step_of(5, 2, "s"),
                                      pipeline_of(1, "again")};
    struct pipeline_record homeless[] = {pipeline_of(3, "q"), step_of(6, 77, "s")};
    struct pipeline_err err;

    save(f, &first, 1);
    assert_int_equal(f->r->ops->save(f->r, taken, 3, &err), -PIPELINE_E_EXISTS);
    assert_int_equal(f->r->ops->get(f->r, PIPELINE_MODEL_PIPELINE, taken[0].uuid, &r, NULL),
                     -PIPELINE_E_NOT_FOUND);
    assert_int_equal(f->r->ops->get(f->r, PIPELINE_MODEL_STEP, taken[1].uuid, &r, NULL),
                     -PIPELINE_E_NOT_FOUND);
    assert_int_equal(f->r->ops->save(f->r, homeless, 2, &err), -PIPELINE_E_NOT_FOUND);
    assert_int_equal(f->r->ops->get(f->r, PIPELINE_MODEL_PIPELINE, homeless[0].uuid, &r, NULL),
                     -PIPELINE_E_NOT_FOUND);
    r = get(f, &first);
    assert_string_equal(r.name, "p");
    pipeline_record_release(&r);
    save(f, taken, 2); /* and nothing is in the way of another try */
}

static void an_update_changes_what_may_change_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record saved = pipeline_of(1, "p"), changed;
    char metadata[] = "{\"n\":1}";

    save(f, &saved, 1);
    changed = saved;
    snprintf(changed.name, sizeof changed.name, "other");
    snprintf(changed.reason, sizeof changed.reason, "a reason");
    snprintf(changed.claim, sizeof changed.claim, "0123456789abcdef0123456789abcdef");
    changed.status = PIPELINE_CANCELLED;
    changed.metadata = metadata;
    changed.start_ended = true;
    changed.claim_ms = 60000;
    assert_int_equal(f->r->ops->update(f->r, &changed, NULL), 0);
    struct pipeline_record r = get(f, &saved);
    assert_string_equal(r.name, "p");
    assert_int_equal(r.seq, saved.seq);
    assert_int_equal(r.version, 2);
    assert_int_equal(r.status, PIPELINE_CANCELLED);
    assert_string_equal(r.reason, "a reason");
    assert_string_equal(r.metadata, metadata);
    assert_true(r.start_ended);
    assert_string_equal(r.claim, changed.claim);
    assert_true(r.claim_ms > 30000 && r.claim_ms <= 60000);
    r.claim_ms = 0;
    assert_int_equal(f->r->ops->update(f->r, &r, NULL), 0);
    pipeline_record_release(&r);
    r = get(f, &saved);
    assert_int_equal(r.claim_ms, 0);
    assert_int_equal(r.version, 3);
    pipeline_record_release(&r);
}

static void an_update_of_another_version_is_stale_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record saved = step_of(2, 1, "s"), pair[] = {pipeline_of(1, "p"), saved};
    struct pipeline_err err;

    save(f, pair, 2);
    saved = pair[1];
    saved.status = PIPELINE_PENDING;
    assert_int_equal(f->r->ops->update(f->r, &saved, NULL), 0);
    saved.status = PIPELINE_FAILED;
    assert_int_equal(f->r->ops->update(f->r, &saved, &err), -PIPELINE_E_STALE);
    saved.version = 3;
    assert_int_equal(f->r->ops->update(f->r, &saved, &err), -PIPELINE_E_STALE);
    struct pipeline_record r = get(f, &saved);
    assert_int_equal(r.status, PIPELINE_PENDING);
    assert_int_equal(r.version, 2);
    pipeline_record_release(&r);
}

static void assert_found(struct fixture *f, struct pipeline_query query, const char *expected)
{
    struct pipeline_records found;
    struct pipeline_err err = {0};
    char text[400] = "";

    if (f->r->ops->search(f->r, &query, &found, &err))
        fail_msg("%s", err.text);
    for (size_t i = 0; i < found.count; i++) {
        size_t len = strlen(text);
        snprintf(text + len, sizeof text - len, "%s%ld", i ? " " : "",
                 strtol(found.items[i].uuid + 24, NULL, 16));
        assert_int_equal(found.items[i].model, query.model);
        assert_string_equal(found.items[i].metadata, "{}");
    }
    assert_string_equal(text, expected);
    pipeline_records_release(&found);
}

static void a_search_is_exact_and_in_the_order_of_insertion(void **state)
{
    const enum pipeline_model P = PIPELINE_MODEL_PIPELINE, S = PIPELINE_MODEL_STEP;
    struct fixture *f = *state;
    struct pipeline_record r[] = {
        pipeline_of(4, "a"), pipeline_of(3, "A"),    pipeline_of(2, "a "), pipeline_of(1, "a"),
        step_of(9, 4, "a"),  step_of(8, 3, "other"), step_of(7, 4, "b"),   step_of(6, 4, "c"),
    };

    r[0].status = r[3].status = PIPELINE_PENDING;
    save(f, r, 8);
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_NAME, "a", 0, 10}, "4 1");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_NAME, "a ", 0, 10}, "2");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_NAME, "%", 0, 10}, "");
    assert_found(f, (struct pipeline_query){S, PIPELINE_FIELD_NAME, "a", 0, 10}, "9");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_STATUS, "pending", 0, 10}, "4 1");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_STATUS, "created", 0, 10}, "3 2");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_STATUS, "created", 0, 1}, "3");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_STATUS, "created", r[1].seq, 10},
                 "2");
    assert_found(f, (struct pipeline_query){P, PIPELINE_FIELD_STATUS, "nothing", 0, 10}, "");
    assert_found(f, (struct pipeline_query){S, PIPELINE_FIELD_PIPELINE_UUID, r[0].uuid, 0, 10},
                 "9 7 6");
    assert_found(
        f, (struct pipeline_query){S, PIPELINE_FIELD_PIPELINE_UUID, r[0].uuid, r[4].seq, 1},
        "7");
    assert_found(f, (struct pipeline_query){S, PIPELINE_FIELD_PIPELINE_UUID, r[2].uuid, 0, 10},
                 "");
}

static void a_claim_ends_by_itself(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record saved = pipeline_of(1, "p"), r;
    time_t until = time(NULL) + 30;

    save(f, &saved, 1);
    saved.claim_ms = 40;
    snprintf(saved.claim, sizeof saved.claim, "me");
    assert_int_equal(f->r->ops->update(f->r, &saved, NULL), 0);
    do {
        r = get(f, &saved);
        assert_true(r.claim_ms >= 0 && r.claim_ms <= 40);
        assert_string_equal(r.claim, "me");
        pipeline_record_release(&r);
        assert_true(time(NULL) < until);
    } while (r.claim_ms > 0);
}

/* -- at once -- */

enum { THREADS = 4, ROUNDS = 30 };

struct racer {
    struct fixture *f;
    struct pipeline_record record;
    int won;
    pthread_barrier_t *line;
};

static void *race(void *arg)
{
    struct racer *racer = arg;
    struct pipeline_repository *r = fixture_door(racer->f);

    for (int i = 0; i < ROUNDS; i++) {
        racer->record.version = i + 1;
        pthread_barrier_wait(racer->line);
        int rc = r->ops->update(r, &racer->record, NULL);
        assert_true(rc == 0 || rc == -PIPELINE_E_STALE);
        racer->won += rc == 0;
        pthread_barrier_wait(racer->line);
    }
    fixture_shut(racer->f, r);
    return NULL;
}

static void of_updates_at_once_one_wins(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record saved = pipeline_of(1, "p");
    struct racer racers[THREADS];
    pthread_t threads[THREADS];
    pthread_barrier_t line;
    int won = 0;

    save(f, &saved, 1);
    assert_int_equal(pthread_barrier_init(&line, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++) {
        racers[i] = (struct racer){f, saved, 0, &line};
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        won += racers[i].won;
    }
    pthread_barrier_destroy(&line);
    assert_int_equal(won, ROUNDS);
    struct pipeline_record r = get(f, &saved);
    assert_int_equal(r.version, ROUNDS + 1);
    pipeline_record_release(&r);
}

static void *just_open(void *f)
{
    fixture_shut(f, fixture_door(f));
    return NULL;
}

static void many_may_open_an_empty_place_at_once(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];

    if (!fixture_is_shared)
        skip();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, just_open, f), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

static void what_was_saved_outlives_the_door(void **state)
{
    struct fixture *f = *state;
    struct pipeline_record pair[] = {pipeline_of(1, "p"), step_of(2, 1, "s")};

    if (!fixture_is_shared)
        skip();
    save(f, pair, 2);
    pipeline_repository_free(f->r);
    f->r = NULL;
    f->r = fixture_door(f);
    struct pipeline_record r = get(f, &pair[1]);
    assert_string_equal(r.name, "s");
    pipeline_record_release(&r);
}

static void a_place_that_is_none_is_refused_with_a_sentence(void **state)
{
    struct fixture *f = *state;
    struct pipeline_repository *r = NULL;
    struct pipeline_err err = {0};

    if (!fixture_is_shared)
        skip();
    struct fixture nowhere = *f;
    size_t len = strlen(nowhere.place);
    snprintf(nowhere.place + len, sizeof nowhere.place - len, "_not_there");
    assert_int_equal(fixture_open(&nowhere, &r, &err), -PIPELINE_E_UNAVAILABLE);
    assert_true(strlen(err.text) > 10);
    assert_null(r);
}

#define T(name) cmocka_unit_test_setup_teardown(name, fixture_ready, fixture_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_was_saved_is_got_back_whole),
        T(what_is_not_there_is_not_found),
        T(all_records_are_saved_or_none),
        T(an_update_changes_what_may_change_and_nothing_else),
        T(an_update_of_another_version_is_stale_and_changes_nothing),
        T(a_search_is_exact_and_in_the_order_of_insertion),
        T(a_claim_ends_by_itself),
        T(of_updates_at_once_one_wins),
        cmocka_unit_test_setup_teardown(many_may_open_an_empty_place_at_once, fixture_empty,
                                        fixture_end),
        T(what_was_saved_outlives_the_door),
        T(a_place_that_is_none_is_refused_with_a_sentence),
    };
    int unavailable = fixture_available();

    return unavailable ? unavailable : cmocka_run_group_tests(tests, NULL, NULL);
}
