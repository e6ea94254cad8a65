/* The pure parts: text, rows, splitting, scanning. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"
#include "row.h"
#include "scan.h"
#include "split.h"
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

/* With the bytes behind that may be read, and which must not matter. */
static int parse_plays(const char *text, size_t len, uint128 *ret_plays)
{
    char room[BYTES_SLACK + 64];

    memset(room, '7', sizeof room);
    memcpy(room, text, len);
    return plays_read(room, len, ret_plays);
}

static void plays_are_digits_up_to_128_bits(void **state)
{
    static const char largest[] = "340282366920938463463374607431768211455";
    uint128 n;
    char text[PLAYS_TEXT_MAX];

    (void)state;
    assert_int_equal(parse_plays(largest, strlen(largest), &n), -1);
    assert_true(n == (uint128)-1);
    assert_int_equal(plays_format(n, text), PLAYS_TEXT_MAX);
    assert_memory_equal(text, largest, PLAYS_TEXT_MAX);
    assert_int_equal(parse_plays("340282366920938463463374607431768211456", 39, &n),
                     CSV_REASON_PLAYS_TOO_BIG);
    assert_int_equal(parse_plays("9999999999999999999", 19, &n), -1);
    assert_true(n == UINT64_C(9999999999999999999));
    assert_int_equal(parse_plays("18446744073709551616", 20, &n), -1);
    assert_int_equal(plays_format(n, text), 20);
    assert_memory_equal(text, "18446744073709551616", 20);
    assert_int_equal(parse_plays("", 0, &n), CSV_REASON_BAD_PLAYS);
    assert_int_equal(parse_plays("1/", 2, &n), CSV_REASON_BAD_PLAYS);
    assert_int_equal(parse_plays("99999999999999999999999999999999999999999x", 42, &n),
                     CSV_REASON_BAD_PLAYS);
    assert_int_equal(plays_format(0, text), 1);
    for (unsigned byte = 0; byte < 256; byte++) /* anywhere among up to 20 digits */
        for (size_t len = 1; len <= 20; len++)
            for (size_t at = 0; at < len; at++) {
                char digits[21] = ""; /* strspn below wants an end */
                memset(digits, '3', sizeof digits - 1);
                digits[at] = (char)byte;
                bool good = byte >= '0' && byte <= '9';
                assert_int_equal(parse_plays(digits, len, &n),
                                 good ? -1 : CSV_REASON_BAD_PLAYS);
                if (!good)
                    continue;
                size_t zeros = strspn(digits, "0");
                zeros = zeros >= len ? len - 1 : zeros;
                assert_int_equal(plays_format(n, text), len - zeros);
                assert_memory_equal(text, digits + zeros, len - zeros);
            }
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
        split_scan(&s, NULL, trap, cut, false, SPLIT_LAST_ROW_END);
        size_t due = 0;
        for (size_t i = 0; i < sizeof trap_ends / sizeof *trap_ends; i++) {
            /* a CR counts once the byte behind it is known */
            bool bare_cr = trap[trap_ends[i] - 1] == '\r';
            if (trap_ends[i] + bare_cr <= cut)
                due = trap_ends[i];
        }
        assert_int_equal(s.boundary, due);
        split_scan(&s, NULL, trap, len, false, SPLIT_LAST_ROW_END);
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
            split_scan(&s, NULL, trap + start, ++seen, false, SPLIT_FIRST_ROW_END);
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

/* All scanners read the same rows of any bytes and stop at the same places. */
static void every_scanner_reads_the_same_rows(void **state)
{
    static const char alphabet[] = ",,,\"\"\n\rab\0\xFF";
    static const unsigned char wants[][3] = {{0, 1, 2}, {2, 0, 1}, {1, 2, 0}};
    const struct scanner *plain = scanners;
    char text[300 + BYTES_SLACK];
    uint64_t random = 88172645463325252u;
    size_t rows = 0;

    (void)state;
    while (plain[1].name)
        plain++;
    for (unsigned round = 0; round < 60000; round++) {
        struct item due[40], got[40];
        size_t len = round % 300;
        for (size_t i = 0; i < sizeof text; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            text[i] =
                (random >> 40) % 3 ? alphabet[(random >> 20) % (sizeof alphabet - 1)] : 'x';
            if (round % 2 && i % 5 == 0)
                text[i] = i % 15 == 10 ? '\n' : ',';
        }
        text[len] = '\n';
        for (const struct scanner *s = scanners; s->name; s++) {
            struct scan a = {text, text + len, {0}, 5}, b = a;
            memcpy(a.want, wants[round % 3], 3);
            memcpy(b.want, wants[round % 3], 3);
            if (!s->runs_here())
                continue;
            size_t n = plain->rows(&a, due, 40);
            assert_int_equal(s->rows(&b, got, 40), n);
            assert_ptr_equal(a.at, b.at);
            assert_int_equal(a.lines, b.lines);
            for (size_t i = 0; i < n; i++)
                for (int k = 0; k < WANTED; k++) {
                    assert_ptr_equal(due[i].at[k], got[i].at[k]);
                    assert_int_equal(due[i].len[k], got[i].len[k]);
                    assert_int_equal(due[i].escaped, got[i].escaped);
                    assert_int_equal(due[i].line, got[i].line);
                }
            rows += n;
        }
    }
    assert_true(rows > 10000);
}

/* Splitting with every scanner is splitting without one, however the data grows. */
static void every_scanner_splits_alike(void **state)
{
    static const char alphabet[] = ",,\"\"\n\rab";
    char text[400 + BYTES_SLACK];
    uint64_t random = 99;

    (void)state;
    for (unsigned round = 0; round < 30000; round++) {
        size_t len = 60 + round % 340;
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            /* mostly rows as they should be, so that many are taken 64 bytes at a time */
            text[i] = round % 4 ? "\"a\"\"b\",c\n"[(i + random % 3 / 2) % 9]
                                : alphabet[(random >> 33) % (sizeof alphabet - 1)];
            if ((random >> 40) % 100 < round % 7)
                text[i] = alphabet[(random >> 33) % (sizeof alphabet - 1)];
        }
        for (const struct scanner *sc = scanners; sc->name; sc++) {
            struct split due = {0}, got = {0};
            if (!sc->runs_here())
                continue;
            for (size_t to = round % 90; to < len; to += 1 + random % 150) {
                split_scan(&due, NULL, text, to, false, SPLIT_LAST_ROW_END);
                split_scan(&got, sc, text, to, false, SPLIT_LAST_ROW_END);
                assert_int_equal(got.at, due.at);
                assert_int_equal(got.boundary, due.boundary);
                assert_int_equal(got.inside, due.inside);
            }
        }
    }
}

/* What a scanner takes is what the reader of single rows makes of it. */
static void a_scanner_takes_only_what_is_read_alike_byte_by_byte(void **state)
{
    static const char alphabet[] = ",,,,\"\"\"\n\r\nab";
    const struct columns columns = {.count = 3, .song = 0, .date = 1, .plays = 2};
    char text[64 + BYTES_SLACK];
    uint64_t random = 1234567;
    size_t quoted = 0;

    (void)state;
    for (unsigned round = 0; round < 300000; round++) {
        size_t len = 1 + round % 40;
        for (size_t i = 0; i < sizeof text; i++) {
            random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
            text[i] = alphabet[(random >> 33) % (sizeof alphabet - 1)];
        }
        text[len] = '\n';
        struct scan s = {text, text + len, {0, 1, 2}, 0};
        struct item item;
        struct row row;
        if (scanner_best()->rows(&s, &item, 1) == 0)
            continue;
        row_read(&row, text, text + len, &columns);
        assert_int_equal(row.fault, -1);
        assert_int_equal(row.lines, 1);
        assert_ptr_equal(s.at, row.next);
        const struct field *fields[] = {&row.song, &row.date, &row.plays};
        for (int k = 0; k < WANTED; k++) {
            assert_ptr_equal(item.at[k], fields[k]->at);
            assert_int_equal(item.len[k], fields[k]->len);
        }
        assert_int_equal(item.escaped, row.song.escaped);
        quoted += row.song.escaped;
    }
    assert_true(quoted > 20);
}

static void a_small_input_gets_small_tables_but_no_more_than_the_limit(void **state)
{
    const struct csv_options large = {.threads = 4, .memory_bytes = 256 << 20};
    const struct csv_options tight = {.threads = 4, .memory_bytes = 1 << 20};
    struct csv_plan plan, fitting;

    (void)state;
    csv_plan_make(&large, &plan);
    csv_plan_make_for(&large, 1 << 20, &fitting);
    assert_memory_equal(&fitting, &plan, sizeof plan);
    csv_plan_make_for(&large, 0, &fitting); /* a pipe: of any size */
    assert_memory_equal(&fitting, &plan, sizeof plan);
    csv_plan_make_for(&large, 30000, &fitting);
    assert_int_equal(fitting.threads, 1);
    assert_true(fitting.table_bytes < 4 << 20 && fitting.table_bytes > 30000 * 30);
    csv_plan_make_for(&tight, 30000, &fitting);
    assert_true(fitting.table_bytes < 1 << 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_input_gets_small_tables_but_no_more_than_the_limit),
        cmocka_unit_test(utf8_takes_the_well_formed_and_nothing_else),
        cmocka_unit_test(an_excerpt_is_printable_and_never_long),
        cmocka_unit_test(dates_are_real_days_in_order),
        cmocka_unit_test(plays_are_digits_up_to_128_bits),
        cmocka_unit_test(rows_end_at_the_same_places_however_the_data_grows),
        cmocka_unit_test(byte_by_byte_each_row_end_is_found),
        cmocka_unit_test(line_ends_count_once_across_pieces),
        cmocka_unit_test(every_scanner_reads_the_same_rows),
        cmocka_unit_test(every_scanner_splits_alike),
        cmocka_unit_test(a_scanner_takes_only_what_is_read_alike_byte_by_byte),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
