/* test_time.c - clock, id and backoff. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backoff.h"
#include "clock.h"
#include "id.h"

/* --- clock --- */

static void times_are_read_and_written(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
        const char *shown;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00.000Z"},
        {"2026-01-31T23:59:59.123Z", INT64_C(1769903999123), "2026-01-31T23:59:59.123Z"},
        {"2026-01-31t23:59:59z", INT64_C(1769903999000), "2026-01-31T23:59:59.000Z"},
        {"2026-01-31 23:59:59Z", INT64_C(1769903999000), "2026-01-31T23:59:59.000Z"},
        {"2026-02-01T01:29:59+01:30", INT64_C(1769903999000), "2026-01-31T23:59:59.000Z"},
        {"2026-01-31T18:59:59-05:00", INT64_C(1769903999000), "2026-01-31T23:59:59.000Z"},
        {"2024-02-29T12:00:00.5Z", INT64_C(1709208000500), "2024-02-29T12:00:00.500Z"},
        {"2024-02-29T12:00:00.123456789Z", INT64_C(1709208000123), "2024-02-29T12:00:00.123Z"},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char shown[CLOCK_TEXT_MAX];
        int64_t ms = -1;
        assert_true(clock_parse(cases[i].text, &ms));
        assert_int_equal(ms, cases[i].ms);
        clock_format(ms, shown);
        assert_string_equal(shown, cases[i].shown);
    }
}

static void texts_that_are_no_times_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "now",
        "2026-01-31",
        "2026-01-31T23:59:59",
        "2026-01-31T23:59Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-02-29T00:00:00Z",
        "2026-01-32T00:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T23:60:00Z",
        "2026-01-31T23:59:60Z",
        "2026-01-31T23:59:59.Z",
        "2026-01-31T23:59:59Zx",
        " 2026-01-31T23:59:59Z",
        "2026-1-31T23:59:59Z",
        "2026-01-31T23:59:59+24:00",
        "2026-01-31T23:59:59+0100",
        "2026-01-31T23:59:59+01:60",
        "1969-12-31T23:59:59Z",
        "02026-01-31T23:59:59Z",
        "-026-01-31T23:59:59Z",
        "2026/01/31T23:59:59Z",
        "2026-01-31T23:59:59.123",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int64_t ms = 42;
        assert_false(clock_parse(bad[i], &ms));
        assert_int_equal(ms, 42);
    }
}

static void times_before_the_epoch_and_out_of_range_can_be_shown(void **state)
{
    char shown[CLOCK_TEXT_MAX];

    (void)state;
    clock_format(-1, shown);
    assert_string_equal(shown, "1969-12-31T23:59:59.999Z");
    clock_format(INT64_MAX, shown);
    assert_string_equal(shown, "out-of-range");
    clock_format(INT64_MIN, shown);
    assert_string_equal(shown, "out-of-range");
}

static void days_are_days_of_the_calendar(void **state)
{
    static const struct {
        int year, month, day;
        bool is_date;
    } cases[] = {
        {2024, 2, 29, true},  {2023, 2, 29, false}, {1900, 2, 29, false}, {2000, 2, 29, true},
        {1, 1, 1, true},      {0, 12, 31, false},   {9999, 12, 31, true}, {10000, 1, 1, false},
        {2024, 4, 31, false}, {2024, 4, 30, true},  {2024, 0, 1, false},  {2024, 13, 1, false},
        {2024, 1, 0, false},  {2024, 1, 31, true},  {2024, 1, -1, false}, {2024, 12, 32, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(clock_is_date(cases[i].year, cases[i].month, cases[i].day),
                         cases[i].is_date);
}

static void the_monotonic_clock_never_goes_back(void **state)
{
    int64_t last = clock_mono_ns();

    (void)state;
    for (int i = 0; i < 10000; i++) {
        int64_t now = clock_mono_ns();
        assert_true(now >= last);
        last = now;
    }
    assert_true(clock_wall_ms() > INT64_C(1700000000000));
}

/* --- id --- */

enum { THREADS = 4, PER_THREAD = 25000 };

struct made {
    char ids[PER_THREAD][ID_TEXT_MAX];
    bool rising;
};

static void *make_ids(void *arg)
{
    struct made *made = arg;

    made->rising = true;
    for (int i = 0; i < PER_THREAD; i++) {
        id_new(made->ids[i]);
        if (i > 0 && strcmp(made->ids[i - 1], made->ids[i]) >= 0)
            made->rising = false;
    }
    return NULL;
}

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, ID_TEXT_MAX);
}

static void ids_rise_strictly_and_never_repeat_across_threads(void **state)
{
    pthread_t threads[THREADS];
    struct made *made = calloc(THREADS, sizeof *made);

    (void)state;
    assert_non_null(made);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, make_ids, &made[i]), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    char(*all)[ID_TEXT_MAX] = calloc((size_t)THREADS * PER_THREAD, ID_TEXT_MAX);
    assert_non_null(all);
    for (int i = 0; i < THREADS; i++) {
        assert_true(made[i].rising);
        memcpy(all[i * PER_THREAD], made[i].ids, sizeof made[i].ids);
    }
    qsort(all, (size_t)THREADS * PER_THREAD, ID_TEXT_MAX, compare_ids);
    for (int i = 1; i < THREADS * PER_THREAD; i++)
        assert_true(strcmp(all[i - 1], all[i]) < 0);
    free(all);
    free(made);
}

static void an_id_is_a_uuid_of_version_7(void **state)
{
    char id[ID_TEXT_MAX];
    uint8_t bytes[ID_BYTES];
    uint64_t ms = 0;

    (void)state;
    int64_t before = clock_wall_ms();
    id_new(id);
    assert_true(id_is_valid(id));
    assert_int_equal(id[14], '7');
    assert_non_null(strchr("89ab", id[19]));
    id_to_bytes(id, bytes);
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | bytes[i];
    /* The counter may run ahead of the clock by the ids of the test before this one. */
    assert_true((int64_t)ms >= before && (int64_t)ms <= clock_wall_ms() + 1000);
}

static void an_id_survives_the_way_through_bytes(void **state)
{
    char id[ID_TEXT_MAX], back[ID_TEXT_MAX];
    uint8_t bytes[ID_BYTES];

    (void)state;
    for (int i = 0; i < 1000; i++) {
        id_new(id);
        id_to_bytes(id, bytes);
        id_from_bytes(bytes, back);
        assert_string_equal(back, id);
    }
    id_to_bytes("01234567-89ab-cdef-0123-456789abcdef", bytes);
    assert_memory_equal(
        bytes, "\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef", ID_BYTES);
}

static void texts_that_are_no_ids_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "01234567-89ab-cdef-0123-456789abcde",
        "01234567-89ab-cdef-0123-456789abcdef0",
        "01234567-89ab-cdef-0123-456789abcdeg",
        "01234567-89AB-cdef-0123-456789abcdef",
        "0123456789ab-cdef-0123-456789abcdef--",
        "01234567-89ab-cdef-0123-456789abcde/",
        "../../../../../../../../../etc/passwd",
        "01234567089ab0cdef001230456789abcdef",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(id_is_valid(bad[i]));
    assert_false(id_is_valid(NULL));
    assert_true(id_is_valid("01234567-89ab-cdef-0123-456789abcdef"));
}

static void tokens_are_valid_and_differ(void **state)
{
    char a[TOKEN_TEXT_MAX], b[TOKEN_TEXT_MAX];

    (void)state;
    token_new(a);
    token_new(b);
    assert_true(token_is_valid(a));
    assert_string_not_equal(a, b);
    a[31] = '\0';
    assert_false(token_is_valid(a));
    assert_false(token_is_valid("0123456789ABCDEF0123456789ABCDEF"));
    assert_false(token_is_valid("0123456789abcdef0123456789abcdef0"));
    assert_false(token_is_valid(NULL));
}

/* --- backoff --- */

static void the_ceiling_doubles_up_to_the_cap(void **state)
{
    static const int64_t expected[] = {100, 200, 400, 800, 1000, 1000};

    (void)state;
    for (unsigned tries = 0; tries < 6; tries++)
        assert_int_equal(backoff_ceiling_ms(100, 1000, tries), expected[tries]);
    assert_int_equal(backoff_ceiling_ms(100, 1000, 4000000000U), 1000);
    assert_int_equal(backoff_ceiling_ms(1, INT64_MAX / 2, 200), INT64_MAX / 2);
    assert_int_equal(backoff_ceiling_ms(5000, 1000, 0), 1000);
}

static void the_wait_is_spread_over_the_whole_range(void **state)
{
    int64_t least = INT64_MAX, most = -1;

    (void)state;
    for (int i = 0; i < 2000; i++) {
        int64_t wait = backoff_ms(1000, 8000, 2);
        assert_true(wait >= 0 && wait <= 4000);
        least = wait < least ? wait : least;
        most = wait > most ? wait : most;
    }
    assert_true(least < 400 && most > 3600);
    assert_int_equal(backoff_ms(0, 1000, 3), 0);
}

int main(void)
{
    const struct CMUnitTest cases[] = {
        cmocka_unit_test(times_are_read_and_written),
        cmocka_unit_test(texts_that_are_no_times_are_refused),
        cmocka_unit_test(times_before_the_epoch_and_out_of_range_can_be_shown),
        cmocka_unit_test(days_are_days_of_the_calendar),
        cmocka_unit_test(the_monotonic_clock_never_goes_back),
        cmocka_unit_test(ids_rise_strictly_and_never_repeat_across_threads),
        cmocka_unit_test(an_id_is_a_uuid_of_version_7),
        cmocka_unit_test(an_id_survives_the_way_through_bytes),
        cmocka_unit_test(texts_that_are_no_ids_are_refused),
        cmocka_unit_test(tokens_are_valid_and_differ),
        cmocka_unit_test(the_ceiling_doubles_up_to_the_cap),
        cmocka_unit_test(the_wait_is_spread_over_the_whole_range),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
