/* The engine against hostile input: seams, sizes, damaged compression, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "csv_run.h"

#define HEADER "Song,Date,Number of Plays\n"

static struct csv_result run_text(const char *text, size_t len,
                                  const struct csv_options *options)
{
    struct csv_result r;
    struct csv_case c = {.data = text, .len = len};

    if (options)
        c.options = *options;
    csv_run(&c, &r);
    return r;
}

static void expect_error(const char *data, size_t len, const struct csv_options *options,
                         const char *part)
{
    struct csv_result r = run_text(data, len, options);

    assert_int_equal(r.rc, -E_BAD_INPUT);
    if (!strstr(r.err.text, part))
        fail_msg("\"%s\" does not say \"%s\"", r.err.text, part);
    assert_int_equal(r.out_len, 0);
    csv_result_release(&r);
}

static void every_seam_gives_the_same_totals_and_lines(void **state)
{
    static const char text[] =
        HEADER "\"a\r\n\"\"b,\",2024-01-01,1\r\n\r\n\"c\"\"\",2024-01-02,\"2\"\r"
               "5\" disc,2024-01-03,3\n\"\r\",2024-01-01,4\r\n\"d\"x,2024-01-01,5\n"
               "e,2024-01-01,6\r\rf,2024-01-0x,7\r\n\"c\"\"\",2024-01-02,8";
    static const char rejects[] =
        "line,column,reason,excerpt\n9,Song,text_after_quote,\"\"\"d\"\"x,2024-01-01,5\"\n"
        "12,Date,bad_date,2024-01-0x\n";
    struct csv_result whole =
        run_text(text, sizeof text - 1, &(struct csv_options){.skip_bad_rows = true});

    (void)state;
    assert_int_equal(whole.rc, 0);
    assert_string_equal(whole.rejects, rejects);
    for (size_t block = 3; block < sizeof text + 2; block++)
        for (unsigned threads = 1; threads < 4; threads++) {
            struct csv_plan plan = csv_tiny_plan(threads, block, block % 2 ? 1 : 100000);
            struct csv_case c = {.data = text,
                                 .len = sizeof text - 1,
                                 .plan = &plan,
                                 .options.skip_bad_rows = true};
            struct csv_result r;
            csv_run(&c, &r);
            assert_int_equal(r.rc, 0);
            assert_string_equal(r.out, whole.out);
            assert_string_equal(r.rejects, rejects);
            assert_int_equal(r.stats.rows_rejected, 2);
            assert_int_equal(r.stats.rejected[CSV_REASON_BAD_DATE], 1);
            csv_result_release(&r);
        }
    csv_result_release(&whole);
}

/* Rows of one size with a bad one at a chosen place. */
static void append_rows(struct buf *b, unsigned count, unsigned bad_from)
{
    for (unsigned i = 0; i < count; i++)
        buf_printf(b, "song %u,2024-01-01,%s\n", i % 50, i >= bad_from ? "bad" : "1");
}

static void the_first_bad_row_of_the_file_is_named_at_any_thread_count(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_append_str(&b, HEADER);
    append_rows(&b, 4000, 2500);
    assert_true(buf_ok(&b));
    for (unsigned round = 0; round < 60; round++) {
        struct csv_plan plan = csv_tiny_plan(1 + round % 6, 200, 1 << 20);
        struct csv_case c = {.data = b.data, .len = b.len, .plan = &plan};
        struct csv_result r;
        csv_run(&c, &r);
        assert_int_equal(r.rc, -E_BAD_INPUT);
        assert_non_null(strstr(r.err.text, "line 2502, column Number of Plays: "));
        csv_result_release(&r);
    }
    buf_release(&b);
}

static void a_bad_row_is_named_even_when_the_file_is_cut_off_behind_it(void **state)
{
    struct buf b = BUF_INIT;
    size_t len;

    (void)state;
    buf_append_str(&b, HEADER);
    append_rows(&b, 2000, 1999);
    char *packed = csv_pack(CSV_GZIP, b.data, b.len, &len);
    expect_error(packed, len - 4, NULL, "line 2001, column Number of Plays");
    expect_error(packed, len - 4, &(struct csv_options){.skip_bad_rows = true}, "cut off");
    free(packed);
    buf_release(&b);
}

static void damaged_compression_is_told_for_what_it_is(void **state)
{
    static const char text[] = HEADER "a,2024-01-01,1\nb,2024-01-01,2\n";
    static const char *const kinds[] = {"", "gzip", "zstd"};
    char says[64];

    (void)state;
    for (enum csv_packing k = CSV_GZIP; k <= CSV_ZSTD; k++) {
        size_t len;
        char *packed = csv_pack(k, text, sizeof text - 1, &len);
        char *longer = malloc(len + 8);
        assert_non_null(longer);
        memcpy(longer, packed, len);
        memcpy(longer + len, "garbage", 7);
        snprintf(says, sizeof says, "after the end of the %s data other bytes follow",
                 kinds[k]);
        expect_error(longer, len + 7, NULL, says);
        expect_error(longer, len + 1, NULL, "data");
        snprintf(says, sizeof says, "the %s data is cut off", kinds[k]);
        expect_error(packed, len - 1, NULL, says);
        expect_error(packed, len - 12, NULL, says);
        /* the check sum of the last gzip member, a reserved bit of the first zstd frame */
        size_t at = k == CSV_GZIP ? len - 6 : 4;
        longer[at] = (char)(longer[at] ^ 0x08);
        snprintf(says, sizeof says, "the %s data is damaged", kinds[k]);
        expect_error(longer, len, NULL, says);
        free(longer);
        free(packed);
    }
}

static void compressed_nothing_is_an_empty_file(void **state)
{
    size_t len;

    (void)state;
    for (enum csv_packing k = CSV_GZIP; k <= CSV_ZSTD; k++) {
        char *packed = csv_pack(k, "", 0, &len);
        expect_error(packed, len, NULL, "the file is empty: no header");
        free(packed);
    }
    expect_error("\x1f\x8b", 2, NULL, "cut off");
    expect_error("\x28\xb5\x2f\xfd", 4, NULL, "cut off");
    expect_error("\x28\xb5\x2f", 3, NULL, "no column \"Song\"");
}

static void a_bomb_stops_at_the_cap(void **state)
{
    size_t size = 30 << 20, len;
    char *zeros = calloc(1, size);

    (void)state;
    assert_non_null(zeros);
    memset(zeros, '\n', size);
    memcpy(zeros, HEADER, strlen(HEADER));
    struct csv_options options = {.max_inflated_bytes = 1 << 20};
    for (enum csv_packing k = CSV_GZIP; k <= CSV_ZSTD; k++) {
        char *packed = csv_pack(k, zeros, size, &len);
        expect_error(packed, len, &options, "inflates to more than the allowed 1048576 bytes");
        free(packed);
    }
    /* exactly the cap is allowed; plain input has none */
    char *packed = csv_pack(CSV_GZIP, zeros, 1 << 20, &len);
    struct csv_result r = run_text(packed, len, &options);
    assert_int_equal(r.rc, 0);
    csv_result_release(&r);
    r = run_text(zeros, 2 << 20, &options);
    assert_int_equal(r.rc, 0);
    csv_result_release(&r);
    free(packed);
    free(zeros);
}

/* HEADER, one row whose song has `song` bytes, a good row, a bad row. */
static void long_row(struct buf *b, size_t song, bool quoted)
{
    char *name = malloc(song);

    assert_non_null(name);
    memset(name, 'n', song);
    for (size_t i = 10; quoted && i + 1 < song; i += 100)
        memcpy(name + i, "\r\n", 2);
    buf_append_str(b, HEADER);
    buf_append_str(b, quoted ? "\"" : "");
    buf_append(b, name, song);
    buf_append_str(b, quoted ? "\",2024-01-01,1\r\n" : ",2024-01-01,1\r\n");
    buf_append_str(b, "a,2024-01-01,2\nb,2024-01-01,\n");
    assert_true(buf_ok(b));
    free(name);
}

static void a_field_of_two_megabytes_is_fine_in_little_memory(void **state)
{
    struct csv_options options = {.skip_bad_rows = true, .memory_bytes = 16 << 20};
    struct buf b = BUF_INIT;

    (void)state;
    long_row(&b, 2 << 20, false);
    for (options.threads = 1; options.threads < 4; options.threads++) {
        struct csv_result r = run_text(b.data, b.len, &options);
        assert_int_equal(r.rc, 0);
        assert_int_equal(r.stats.groups, 2);
        assert_string_equal(r.rejects,
                            "line,column,reason,excerpt\n4,Number of Plays,bad_plays,\n");
        csv_result_release(&r);
    }
    buf_release(&b);
}

static void a_row_past_four_mebibytes_is_bad_and_the_rest_goes_on(void **state)
{
    static const size_t fixed = sizeof ",2024-01-01,1" - 1;

    (void)state;
    for (int quoted = 0; quoted < 2; quoted++)
        for (size_t over = 0; over < 2; over++) {
            struct buf b = BUF_INIT;
            size_t song = ROW_MAX_BYTES - fixed - (quoted ? 2 : 0) + over;
            long_row(&b, song, quoted);
            size_t inner = quoted ? (song - 10 + 98) / 100 : 0;
            char line[80], bad[80];
            snprintf(bad, sizeof bad, "\n2,,row_too_long,%s", quoted ? "\"\"\"nnnn" : "nnnn");
            snprintf(line, sizeof line, "\n%zu,Number of Plays,bad_plays,\n", inner + 4);
            for (unsigned threads = 1; threads < 3; threads++) {
                struct csv_options options = {.skip_bad_rows = true, .threads = threads};
                struct csv_result r = run_text(b.data, b.len, &options);
                assert_int_equal(r.rc, 0);
                assert_int_equal(r.stats.rejected[CSV_REASON_ROW_TOO_LONG], over);
                assert_int_equal(r.stats.groups, 2 - over);
                assert_true(!strstr(r.rejects, bad) == !over);
                assert_non_null(strstr(r.rejects, line));
                csv_result_release(&r);
            }
            buf_release(&b);
        }
}

static void a_quote_left_open_in_a_long_file_costs_no_memory(void **state)
{
    size_t size = 40 << 20;
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    memset(text, '\n', size);
    memcpy(text, HEADER "a,2024-01-01,1\n\"", strlen(HEADER) + 16);
    struct csv_options options = {.skip_bad_rows = true, .threads = 2};
    struct csv_result r = run_text(text, size, &options);
    assert_int_equal(r.rc, 0);
    assert_int_equal(r.stats.rejected[CSV_REASON_ROW_TOO_LONG], 1);
    assert_int_equal(r.stats.rows_summed, 1);
    csv_result_release(&r);
    expect_error(text, size, NULL, "line 3: the row is longer than 4 MiB: \"\"\\n");
    free(text);
}

static void a_header_without_end_is_refused(void **state)
{
    size_t size = ROW_MAX_BYTES + 100;
    char *text = malloc(size);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', size);
    expect_error(text, size, NULL, "the header is longer than");
    free(text);
}

/* Many groups through many runs and several merge passes. */
static void spilling_changes_no_byte(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_append_str(&b, HEADER);
    for (unsigned i = 0; i < 20000; i++)
        buf_printf(&b, "song %u,20%02u-01-%02u,%u\n", i * 7919 % 997, i % 31 + 10, i % 28 + 1,
                   i);
    assert_true(buf_ok(&b));
    struct csv_result whole = run_text(b.data, b.len, NULL);
    assert_int_equal(whole.rc, 0);
    assert_int_equal(whole.stats.spilled_runs, 0);
    for (unsigned threads = 1; threads < 5; threads++) {
        struct csv_plan plan = csv_tiny_plan(threads, 1000, 40000);
        struct csv_case c = {.data = b.data, .len = b.len, .plan = &plan};
        struct csv_result r;
        csv_run(&c, &r);
        assert_int_equal(r.rc, 0);
        assert_true(r.stats.spilled_runs > 9);
        assert_string_equal(r.out, whole.out);
        csv_result_release(&r);
    }
    csv_result_release(&whole);
    buf_release(&b);
}

/* Arrays on large pages and their growth, against the same rows spilled from small ones. */
static void many_songs_in_memory_are_what_they_are_spilled(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    buf_append_str(&b, HEADER);
    for (unsigned i = 0; i < 400000; i++)
        buf_printf(&b, "a song with the number %u,2024-%02u-%02u,%u\n",
                   i * 2654435761u % 190027, i % 12 + 1, i % 28 + 1, i);
    assert_true(buf_ok(&b));
    struct csv_result whole = run_text(b.data, b.len, &(struct csv_options){.threads = 1});
    assert_int_equal(whole.rc, 0);
    assert_int_equal(whole.stats.spilled_runs, 0);
    static const struct {
        unsigned threads;
        int64_t memory;
    } ways[] = {{3, 256 << 20}, {2, 16 << 20}, {7, 4 << 20}, {64, 64 << 20}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct csv_options options = {.threads = ways[i].threads,
                                      .memory_bytes = ways[i].memory};
        struct csv_result r = run_text(b.data, b.len, &options);
        assert_int_equal(r.rc, 0);
        assert_int_equal(r.stats.groups, whole.stats.groups);
        assert_int_equal(r.out_len, whole.out_len);
        assert_memory_equal(r.out, whole.out, whole.out_len);
        csv_result_release(&r);
    }
    csv_result_release(&whole);
    buf_release(&b);
}

struct seen {
    struct csv_progress last;
    unsigned calls;
};

static void note_progress(void *arg, const struct csv_progress *progress)
{
    struct seen *s = arg;

    assert_true(progress->bytes_read >= s->last.bytes_read);
    assert_true(progress->rows >= s->last.rows);
    assert_true(progress->fraction >= s->last.fraction && progress->fraction <= 1);
    s->last = *progress;
    s->calls++;
}

static void progress_ends_with_all_bytes_as_they_lie_on_disk(void **state)
{
    struct buf b = BUF_INIT;
    struct seen seen = {0};
    struct csv_options options = {.progress = note_progress, .progress_arg = &seen};
    size_t len;

    (void)state;
    buf_append_str(&b, HEADER);
    append_rows(&b, 5000, 5000);
    char *packed = csv_pack(CSV_ZSTD, b.data, b.len, &len);
    struct csv_result r = run_text(packed, len, &options);
    assert_int_equal(r.rc, 0);
    assert_int_equal(seen.last.bytes_read, len);
    assert_int_equal(seen.last.bytes_total, len);
    assert_int_equal(r.stats.bytes_in, len);
    assert_int_equal(r.stats.bytes_inflated, b.len);
    assert_true(seen.calls >= 1);
    csv_result_release(&r);
    free(packed);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_seam_gives_the_same_totals_and_lines),
        cmocka_unit_test(the_first_bad_row_of_the_file_is_named_at_any_thread_count),
        cmocka_unit_test(a_bad_row_is_named_even_when_the_file_is_cut_off_behind_it),
        cmocka_unit_test(damaged_compression_is_told_for_what_it_is),
        cmocka_unit_test(compressed_nothing_is_an_empty_file),
        cmocka_unit_test(a_bomb_stops_at_the_cap),
        cmocka_unit_test(a_field_of_two_megabytes_is_fine_in_little_memory),
        cmocka_unit_test(a_row_past_four_mebibytes_is_bad_and_the_rest_goes_on),
        cmocka_unit_test(a_quote_left_open_in_a_long_file_costs_no_memory),
        cmocka_unit_test(a_header_without_end_is_refused),
        cmocka_unit_test(spilling_changes_no_byte),
        cmocka_unit_test(many_songs_in_memory_are_what_they_are_spilled),
        cmocka_unit_test(progress_ends_with_all_bytes_as_they_lie_on_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
