/* The pure parts: text, rows, splitting, totals, sorting. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "row.h"
#include "sort.h"
#include "split.h"
#include "table.h"
#include "text.h"

static void utf8_takes_the_well_formed_and_nothing_else(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain ascii of some length", true},
        {"\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xEF\xBF\xBF", true},
        {"\xF0\x90\x80\x80 \xF4\x8F\xBF\xBF", true},
        {"12345678\x80", false},
        {"\xC0\xAF", false},
        {"\xC1\xBF", false},
        {"\xE0\x9F\xBF", false},
        {"\xED\xA0\x80", false},
        {"\xF0\x8F\xBF\xBF", false},
        {"\xF4\x90\x80\x80", false},
        {"\xF5\x80\x80\x80", false},
        {"\xE2\x82", false},
        {"\xE2\x82 ", false},
        {"\xF0\x9F\x8E", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(utf8_is_valid(cases[i].text, strlen(cases[i].text)), cases[i].valid);
}

static void an_excerpt_is_printable_and_never_long(void **state)
{
    char text[EXCERPT_MAX], noise[300];

    (void)state;
    excerpt_make(text, "a\n\r\t\\\x01\xFF\xC2\x9B\xC3\xA9\"", 12);
    assert_string_equal(text, "a\\n\\r\\t\\\\\\x01\\xff\\xc2\\x9b\xC3\xA9\"");
    for (int byte = 0; byte < 256; byte++) {
        memset(noise, byte, sizeof noise);
        size_t len = excerpt_make(text, noise, sizeof noise);
        assert_true(len <= EXCERPT_BYTES + 3);
        assert_int_equal(len, strlen(text));
        assert_string_equal(text + len - 3, "...");
    }
    assert_int_equal(excerpt_make(text, "x", 0), 0);
}

static void dates_are_real_days_in_order(void **state)
{
    uint32_t before = 0, day;
    char text[DATE_TEXT_LEN];

    (void)state;
    assert_true(date_parse("0001-01-01", 10, &before));
    assert_true(date_parse("2024-02-29", 10, &day));
    assert_true(day > before);
    date_format(day, text);
    assert_memory_equal(text, "2024-02-29", DATE_TEXT_LEN);
    assert_true(date_parse("2000-02-29", 10, &day));
    assert_false(date_parse("1900-02-29", 10, &day));
    assert_false(date_parse("2023-02-29", 10, &day));
    assert_false(date_parse("0000-12-31", 10, &day));
    assert_false(date_parse("2024-00-01", 10, &day));
    assert_false(date_parse("2024-99-01", 10, &day));
    assert_false(date_parse("2024-01-1:", 10, &day));
    assert_false(date_parse("2024-01-01", 9, &day));
}

static void plays_are_digits_up_to_128_bits(void **state)
{
    static const char largest[] = "340282366920938463463374607431768211455";
    uint128 n;
    char text[PLAYS_TEXT_MAX];

    (void)state;
    assert_int_equal(plays_parse(largest, strlen(largest), &n), -1);
    assert_true(n == (uint128)-1);
    assert_int_equal(plays_format(n, text), PLAYS_TEXT_MAX);
    assert_memory_equal(text, largest, PLAYS_TEXT_MAX);
    assert_int_equal(plays_parse("340282366920938463463374607431768211456", 39, &n),
                     CSV_REASON_PLAYS_TOO_BIG);
    assert_int_equal(plays_parse("9999999999999999999", 19, &n), -1);
    assert_true(n == UINT64_C(9999999999999999999));
    assert_int_equal(plays_parse("18446744073709551616", 20, &n), -1);
    assert_int_equal(plays_format(n, text), 20);
    assert_memory_equal(text, "18446744073709551616", 20);
    assert_int_equal(plays_parse("", 0, &n), CSV_REASON_BAD_PLAYS);
    assert_int_equal(plays_parse("1/", 2, &n), CSV_REASON_BAD_PLAYS);
    assert_int_equal(plays_parse("99999999999999999999999999999999999999999x", 42, &n),
                     CSV_REASON_BAD_PLAYS);
    assert_int_equal(plays_format(0, text), 1);
}

/* Text with every trap of splitting, and where its rows end. */
static const char trap[] =
    "a,\"b\r\n\",\"\"\r\n\"\"\"\",\"c\"\"\n\"\rd\"e,f\"\n\"g\"h,\"\r,\"\r\r\n\"i\",";
static const size_t trap_ends[] = {12, 24, 31, 41, 43};

static void rows_end_at_the_same_places_however_the_data_grows(void **state)
{
    size_t len = sizeof trap - 1;

    (void)state;
    /* The data comes in two steps, cut at each place; the last row end known after each. */
    for (size_t cut = 0; cut <= len; cut++) {
        struct split s = {0};
        split_scan(&s, trap, cut, false, SPLIT_LAST_ROW_END);
        size_t due = 0;
        for (size_t i = 0; i < sizeof trap_ends / sizeof *trap_ends; i++) {
            /* a CR counts once the byte behind it is known */
            bool bare_cr = trap[trap_ends[i] - 1] == '\r';
            if (trap_ends[i] + bare_cr <= cut)
                due = trap_ends[i];
        }
        assert_int_equal(s.boundary, due);
        split_scan(&s, trap, len, false, SPLIT_LAST_ROW_END);
        assert_int_equal(s.boundary, 43);
        assert_false(s.inside);
    }
}

static void byte_by_byte_each_row_end_is_found(void **state)
{
    size_t len = sizeof trap - 1, start = 0;

    (void)state;
    for (size_t i = 0; i < sizeof trap_ends / sizeof *trap_ends; i++) {
        struct split s = {0};
        size_t seen = 0;
        while (s.boundary == 0 && seen < len - start)
            split_scan(&s, trap + start, ++seen, false, SPLIT_FIRST_ROW_END);
        assert_int_equal(start + s.boundary, trap_ends[i]);
        start += s.boundary;
    }
}

static void line_ends_count_once_across_pieces(void **state)
{
    static const char text[] = "\r\n\n\r\r\nx\n";

    (void)state;
    for (size_t cut = 0; cut < sizeof text; cut++) {
        bool after_cr = false;
        size_t lines = split_count_lines(text, cut, &after_cr);
        lines += split_count_lines(text + cut, sizeof text - 1 - cut, &after_cr);
        assert_int_equal(lines, 5);
    }
}

static uint32_t song_id(struct table *t, const char *name)
{
    uint64_t hash = table_hash(t, name, strlen(name));
    uint32_t id = table_find(t, name, strlen(name), hash);

    if (id == TABLE_NO_SONG)
        assert_int_equal(table_add_song(t, name, strlen(name), hash, &id), 0);
    return id;
}

static void totals_are_kept_by_song_and_day_and_sorted(void **state)
{
    enum { SONGS = 3000, DAYS = 7 };
    struct table t;
    char name[32];

    (void)state;
    table_init(&t, SIZE_MAX / 4, 42);
    for (int round = 0; round < 2; round++)
        for (unsigned i = 0; i < SONGS * DAYS; i++) {
            unsigned k = i * 7919 % (SONGS * DAYS);
            snprintf(name, sizeof name, "common prefix %u", k / DAYS);
            assert_int_equal(table_add(&t, song_id(&t, name), k % DAYS + 1, k), 0);
        }
    assert_int_equal(t.song_count, SONGS);
    assert_int_equal(t.group_count, SONGS * DAYS);
    table_sort(&t);
    for (size_t i = 0; i < t.group_count; i++) {
        const struct song *s = &t.songs[t.groups[i].key >> 32];
        unsigned long number = strtoul(s->bytes + strlen("common prefix "), NULL, 10);
        assert_true(group_sum(&t.groups[i]) ==
                    2 * (number * DAYS + group_day(&t.groups[i]) - 1));
        assert_false(group_overflowed(&t.groups[i]));
        if (i > 0)
            assert_true(t.groups[i - 1].key < t.groups[i].key);
    }
    for (uint32_t i = 1; i < t.song_count; i++)
        assert_true(song_compare(&t.songs[i - 1], &t.songs[i]) < 0);
    table_release(&t);
}

static void a_table_reserves_no_more_than_its_budget(void **state)
{
    enum { BUDGET = 300 * 1024 };
    struct table t;
    char name[32];
    int rc = 0;
    unsigned songs = 0;

    (void)state;
    table_init(&t, BUDGET, 1);
    for (; rc == 0; songs++) {
        uint32_t id;
        snprintf(name, sizeof name, "song %u", songs);
        rc = table_add_song(&t, name, strlen(name), table_hash(&t, name, strlen(name)), &id);
        if (rc == 0)
            rc = table_add(&t, id, 1, 1);
        assert_true(t.used <= BUDGET);
    }
    assert_int_equal(rc, TABLE_FULL);
    assert_true(songs > 1000);
    table_release(&t);
}

static void an_empty_table_takes_one_total_whatever_its_budget(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, 1, 1);
    assert_int_equal(table_add(&t, song_id(&t, "a"), 1, 1), 0);
    table_release(&t);
}

static void a_sum_past_128_bits_is_marked(void **state)
{
    struct table t;

    (void)state;
    table_init(&t, SIZE_MAX / 4, 9);
    uint32_t id = song_id(&t, "a");
    assert_int_equal(table_add(&t, id, 5, (uint128)-1), 0);
    assert_int_equal(table_add(&t, id, 5, 0), 0);
    assert_int_equal(table_add(&t, id, 6, 1), 0);
    assert_int_equal(table_add(&t, id, 6, (uint128)-1), 0);
    assert_int_equal(table_add(&t, id, 6, 1), 0);
    assert_int_equal(t.group_count, 2);
    table_sort(&t);
    assert_false(group_overflowed(&t.groups[0]));
    assert_true(group_sum(&t.groups[0]) == (uint128)-1);
    assert_true(group_overflowed(&t.groups[1]));
    table_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_takes_the_well_formed_and_nothing_else),
        cmocka_unit_test(an_excerpt_is_printable_and_never_long),
        cmocka_unit_test(dates_are_real_days_in_order),
        cmocka_unit_test(plays_are_digits_up_to_128_bits),
        cmocka_unit_test(rows_end_at_the_same_places_however_the_data_grows),
        cmocka_unit_test(byte_by_byte_each_row_end_is_found),
        cmocka_unit_test(line_ends_count_once_across_pieces),
        cmocka_unit_test(totals_are_kept_by_song_and_day_and_sorted),
        cmocka_unit_test(a_table_reserves_no_more_than_its_budget),
        cmocka_unit_test(an_empty_table_takes_one_total_whatever_its_budget),
        cmocka_unit_test(a_sum_past_128_bits_is_marked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
