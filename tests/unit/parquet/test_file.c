/* A whole file: its footer and pages, the ways to put rows in, and what goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "buf.h"
#include "parquet.h"
#include "walk.h"

enum { NAME, BYTES, COUNT, DAY, NOTE, COLUMNS };

static const struct parquet_column columns[COLUMNS] = {
    {"name", PARQUET_STRING, false}, {"bytes", PARQUET_BINARY, false},
    {"count", PARQUET_INT64, false}, {"day", PARQUET_DATE, false},
    {"note", PARQUET_STRING, true},
};

struct sink {
    struct buf out;
    size_t room; /* bytes until the disk is full; 0: never */
};

static int take(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct sink *s = arg;

    if (s->room && s->out.len + len > s->room)
        return err_set(err, -E_NO_SPACE, "the disk is full");
    buf_append(&s->out, bytes, len);
    return 0;
}

static struct parquet *start(struct sink *s, const struct parquet_options *more)
{
    struct parquet_options o = more ? *more : (struct parquet_options){.threads = 1};
    struct parquet *p = NULL;
    struct err err = ERR_INIT;

    o.columns = o.columns ? o.columns : columns;
    o.column_count = o.column_count ? o.column_count : COLUMNS;
    o.temp_dir = "/tmp";
    buf_init(&s->out);
    assert_int_equal(parquet_open(&o, &(struct parquet_sink){take, s}, &p, &err), 0);
    return p;
}

/* Row i of a table that has something of everything. */
static int put_row(struct parquet *p, unsigned i, struct err *err)
{
    char name[40], bytes[200];
    int64_t count = (int64_t)i * i;
    int32_t day = (int32_t)(i / 100);
    size_t name_len = (size_t)snprintf(name, sizeof name, "name %u", i % 50);
    size_t len = i % sizeof bytes;

    memset(bytes, (int)i, len);
    int rc = parquet_put_bytes(p, NAME, name, name_len, 1, err);
    if (rc == 0)
        rc = parquet_put_bytes(p, BYTES, bytes, len, 1, err);
    if (rc == 0)
        rc = parquet_put_int64(p, COUNT, &count, 1, err);
    if (rc == 0)
        rc = parquet_put_dates(p, DAY, &day, 1, err);
    if (rc == 0)
        rc = i % 3 ? parquet_put_null(p, NOTE, 1, err)
                   : parquet_put_bytes(p, NOTE, "noted", 5, 1, err);
    return rc ? rc : parquet_rows(p, 1, name_len + len + 12 + (i % 3 ? 0 : 5), err);
}

static int write_table(struct sink *s, const struct parquet_options *o, unsigned rows,
                       struct parquet_info *info, struct err *err)
{
    struct parquet *p = start(s, o);
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < rows; i++)
        rc = put_row(p, i, err);
    if (rc == 0)
        return parquet_close_free(p, info, err);
    parquet_abort_free(p);
    return rc;
}

/* The items of a list of structs in a field: the next one, from the first on. */
static const unsigned char *next_item(const struct fields *f, unsigned field,
                                      const unsigned char *before, const unsigned char *end)
{
    struct fields inner;

    return before ? walk_struct(before, end, &inner) : f->at[field];
}

/* Rows of put_row from one to another without a note. */
static int nulls(int from, int to)
{
    int count = 0;

    for (; from < to; from++)
        count += from % 3 != 0;
    return count;
}

static void every_page_and_the_footer_are_whole(void **state)
{
    enum { ROWS = 30000, GROUP = 7000 };
    struct sink s = {.room = 0};
    struct parquet_info info;
    struct fields footer, group;
    struct err err = ERR_INIT;
    const struct parquet_options o = {.group_rows = GROUP, .threads = 3, .sorted = 0};

    (void)state;
    assert_int_equal(write_table(&s, &o, ROWS, &info, &err), 0);
    const unsigned char *file = (unsigned char *)s.out.data, *end = file + s.out.len;
    assert_int_equal(info.bytes, s.out.len);
    assert_int_equal(info.rows, ROWS);
    assert_int_equal(info.groups, 5);
    walk_footer(file, s.out.len, &footer);
    assert_int_equal(footer.number[2], COLUMNS + 1); /* schema */
    assert_int_equal(footer.number[3], ROWS);
    assert_int_equal(footer.number[4], 5);
    assert_int_equal(footer.number[7], COLUMNS); /* column orders */
    assert_memory_equal(footer.at[6], "Segue version ", 14);
    const unsigned char *at = NULL;
    for (int i = 0; i < 5; i++) {
        at = next_item(&footer, 4, at, end);
        walk_struct(at, end, &group);
        assert_int_equal(group.number[3], i < 4 ? GROUP : ROWS - 4 * GROUP);
        const unsigned char *chunk = NULL;
        for (int c = 0; c < COLUMNS; c++) {
            struct walk_chunk w;
            chunk = next_item(&group, 1, chunk, end);
            walk_chunk(file, s.out.len, chunk, &w);
            assert_int_equal(w.values, group.number[3]);
            assert_int_equal(w.meta.number[4], 6); /* zstd */
            assert_int_equal(w.dictionaries,
                             c == NAME || c == DAY || c == NOTE); /* what repeats */
            assert_int_equal(w.statistics.number[3],
                             c == NOTE ? nulls(i * GROUP, i * GROUP + (int)w.values) : 0);
        }
    }
    buf_release(&s.out);
}

static void bounds_and_order_are_told(void **state)
{
    struct sink s = {.room = 0};
    struct fields footer, group;
    struct walk_chunk w;
    struct err err = ERR_INIT;
    char longest[200];
    const struct parquet_options o = {.column_count = 2, .sorted = 2};
    struct parquet *p = start(&s, &o);

    (void)state;
    memset(longest, 'z', sizeof longest);
    assert_int_equal(parquet_put_bytes(p, 0, "a", 1, 1, &err), 0);
    assert_int_equal(parquet_put_bytes(p, 0, longest, sizeof longest, 1, &err), 0);
    assert_int_equal(parquet_put_bytes(p, 1, "", 0, 2, &err), 0);
    assert_int_equal(parquet_rows(p, 2, 0, &err), 0);
    assert_int_equal(parquet_close_free(p, NULL, &err), 0);
    const unsigned char *file = (unsigned char *)s.out.data, *end = file + s.out.len;
    walk_footer(file, s.out.len, &footer);
    walk_struct(footer.at[4], end, &group);
    assert_int_equal(group.number[4], 2); /* sorting columns */
    walk_chunk(file, s.out.len, group.at[1], &w);
    assert_int_equal(w.statistics.number[6], 1);
    assert_memory_equal(w.statistics.at[6], "a", 1);
    assert_int_equal(w.statistics.number[8], 1); /* exact */
    assert_int_equal(w.statistics.number[5], 64);
    assert_int_equal(w.statistics.at[5][63], '{');
    assert_int_equal(w.statistics.number[7], 0); /* not exact */
    buf_release(&s.out);
}

static void no_rows_are_a_file_too(void **state)
{
    struct sink s = {.room = 0};
    struct parquet_info info;
    struct fields footer;
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(write_table(&s, NULL, 0, &info, &err), 0);
    assert_int_equal(info.groups, 0);
    walk_footer((unsigned char *)s.out.data, s.out.len, &footer);
    assert_int_equal(footer.number[3], 0);
    assert_int_equal(footer.number[4], 0);
    buf_release(&s.out);
}

static void a_dictionary_that_grows_too_large_gives_way_to_plain_pages(void **state)
{
    struct sink s = {.room = 0};
    struct fields footer, group;
    struct walk_chunk w;
    struct err err = ERR_INIT;
    const struct parquet_options o = {.column_count = 1, .group_rows = 1000000};
    struct parquet *p = start(&s, &o);
    char text[64];

    (void)state;
    for (int i = 0; i < 200000; i++) {
        int len = snprintf(text, sizeof text, "some text to fill a dictionary %d",
                           i < 100000 ? i % 500 : i);
        assert_int_equal(parquet_put_bytes(p, 0, text, (size_t)len, 1, &err), 0);
        assert_int_equal(parquet_rows(p, 1, 0, &err), 0);
    }
    assert_int_equal(parquet_close_free(p, NULL, &err), 0);
    walk_footer((unsigned char *)s.out.data, s.out.len, &footer);
    walk_struct(footer.at[4], (unsigned char *)s.out.data + s.out.len, &group);
    walk_chunk((unsigned char *)s.out.data, s.out.len, group.at[1], &w);
    assert_int_equal(w.dictionaries, 1);
    assert_int_equal(w.meta.number[2], 3); /* PLAIN, RLE, RLE_DICTIONARY */
    assert_in_range(w.largest_page, 1, 1100000);
    buf_release(&s.out);
}

/* -- the same rows, the same bytes -- */

static void threads_do_not_show(void **state)
{
    struct sink one = {.room = 0}, many = {.room = 0};
    struct err err = ERR_INIT;
    const struct parquet_options o = {.threads = 7, .group_rows = 20000},
                                 single = {.threads = 1, .group_rows = 20000};

    (void)state;
    assert_int_equal(write_table(&one, &single, 100000, NULL, &err), 0);
    assert_int_equal(write_table(&many, &o, 100000, NULL, &err), 0);
    assert_int_equal(one.out.len, many.out.len);
    assert_memory_equal(one.out.data, many.out.data, one.out.len);
    buf_release(&one.out);
    buf_release(&many.out);
}

/* Songs with all their days, in pieces of up to `most` rows. */
static void write_songs(struct sink *s, size_t most)
{
    static const struct parquet_column songs[] = {{"song", PARQUET_STRING, false},
                                                  {"plays", PARQUET_INT64, false}};
    const struct parquet_options o = {.columns = songs,
                                      .column_count = 2,
                                      .group_rows = 5000,
                                      .group_bytes = 100000,
                                      .threads = 1};
    struct parquet *p = start(s, &o);
    struct err err = ERR_INIT;
    char song[400];
    int64_t plays[1000];

    for (int i = 0; i < 300; i++) {
        int len = snprintf(song, sizeof song, "%0*d", 1 + i % 300, i);
        size_t days = 1 + (size_t)(i * 37 % 900), done = 0;
        for (size_t k = 0; k < days; k++)
            plays[k] = (int64_t)k * i;
        while (done < days) {
            uint64_t step = parquet_room(p, (uint64_t)len + 8);
            assert_true(step > 0);
            step = step < most ? step : most;
            step = step < days - done ? step : days - done;
            assert_int_equal(parquet_put_bytes(p, 0, song, (size_t)len, step, &err), 0);
            assert_int_equal(parquet_put_int64(p, 1, plays + done, step, &err), 0);
            assert_int_equal(parquet_rows(p, step, (uint64_t)len + 8, &err), 0);
            done += step;
        }
    }
    assert_int_equal(parquet_close_free(p, NULL, &err), 0);
}

static void how_rows_were_put_in_does_not_show(void **state)
{
    struct sink one = {.room = 0}, many = {.room = 0};

    (void)state;
    write_songs(&one, 1);
    for (size_t most = 2; most < 2000; most = most * 3 + 1) {
        write_songs(&many, most);
        assert_int_equal(one.out.len, many.out.len);
        assert_memory_equal(one.out.data, many.out.data, one.out.len);
        buf_release(&many.out);
    }
    buf_release(&one.out);
}

static void write_large(struct sink *s, const char *bytes, size_t len, size_t piece)
{
    struct parquet_options o = {.columns = columns + BYTES, .column_count = 1, .threads = 2};
    struct parquet *p = start(s, &o);
    struct err err = ERR_INIT;

    for (int i = 0; i < 3; i++) {
        if (piece == 0) {
            assert_int_equal(parquet_put_bytes(p, 0, bytes, len, 1, &err), 0);
        } else {
            assert_int_equal(parquet_begin_large(p, 0, len, &err), 0);
            for (size_t at = 0; at < len; at += piece)
                assert_int_equal(
                    parquet_add_large(p, bytes + at, len - at < piece ? len - at : piece, &err),
                    0);
            assert_int_equal(parquet_end_large(p, &err), 0);
        }
        assert_int_equal(parquet_put_bytes(p, 0, "small", 5, 1, &err), 0);
        assert_int_equal(parquet_rows(p, 2, len + 5, &err), 0);
    }
    assert_int_equal(parquet_close_free(p, NULL, &err), 0);
}

static void how_a_large_value_came_does_not_show(void **state)
{
    static const size_t lens[] = {0, 1, 262144, 1048575, 1048576, 1048577, 5000001};
    static const size_t pieces[] = {77777, 262144, 1048576, 9000000};
    char *bytes = malloc(5000001);

    (void)state;
    for (size_t i = 0; i < 5000001; i++)
        bytes[i] = (char)(i * i >> 7);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        struct sink whole = {.room = 0}, cut = {.room = 0};
        write_large(&whole, bytes, lens[i], 0);
        for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
            write_large(&cut, bytes, lens[i], pieces[k]);
            assert_int_equal(whole.out.len, cut.out.len);
            assert_memory_equal(whole.out.data, cut.out.data, cut.out.len);
            buf_release(&cut.out);
        }
        buf_release(&whole.out);
    }
    free(bytes);
}

/* -- trouble -- */

static void a_full_disk_is_told_wherever_it_happens(void **state)
{
    struct sink s = {.room = 0};
    struct err err = ERR_INIT;
    const struct parquet_options o = {.threads = 2, .group_rows = 500};

    (void)state;
    assert_int_equal(write_table(&s, &o, 3000, NULL, &err), 0);
    size_t len = s.out.len;
    buf_release(&s.out);
    for (size_t room = 4; room < len; room += 997) {
        s.room = room;
        err = (struct err)ERR_INIT;
        assert_int_equal(write_table(&s, &o, 3000, NULL, &err), -E_NO_SPACE);
        assert_string_equal(err.text, "the disk is full");
        buf_release(&s.out);
    }
}

static void a_missing_folder_for_large_groups_is_told(void **state)
{
    struct buf out = BUF_INIT;
    struct sink s = {.out = out};
    struct parquet *p = NULL;
    struct err err = ERR_INIT;
    const struct parquet_options o = {
        .columns = columns + BYTES, .column_count = 1, .temp_dir = "/nowhere at all"};
    unsigned char *noise = malloc(9000000);
    uint64_t x = 88172645463325252;

    (void)state;
    for (size_t i = 0; i < 9000000; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
        noise[i] = (unsigned char)(x >> 56);
    }
    assert_int_equal(parquet_open(&o, &(struct parquet_sink){take, &s}, &p, &err), 0);
    assert_int_equal(parquet_put_bytes(p, 0, noise, 9000000, 1, &err), -E_IO);
    assert_non_null(strstr(err.text, "/nowhere at all"));
    parquet_abort_free(p);
    buf_release(&s.out);
    free(noise);
}

static void what_a_column_cannot_hold_is_refused(void **state)
{
    static const struct parquet_column decimals[] = {{"sum", PARQUET_DECIMAL38, false}};
    const struct parquet_options o = {.columns = decimals, .column_count = 1};
    struct sink s = {.room = 0};
    struct err err = ERR_INIT;
    struct parquet *p = start(&s, NULL);
    __int128 n = 1;

    (void)state;
    assert_int_equal(parquet_put_bytes(p, NAME, "\xFF", 1, 1, &err), -E_BAD_INPUT);
    assert_non_null(strstr(err.text, "'name'"));
    assert_int_equal(parquet_begin_large(p, BYTES, (uint64_t)INT32_MAX + 1, &err), -E_TOO_BIG);
    assert_non_null(strstr(err.text, "'bytes'"));
    parquet_abort_free(p);
    buf_release(&s.out);

    for (int i = 0; i < 38; i++)
        n *= 10;
    for (int sign = -1; sign <= 1; sign += 2) {
        __int128 most = sign * (n - 1), more = sign * n;
        p = start(&s, &o);
        assert_int_equal(parquet_put_decimals(p, 0, &most, 1, &err), 0);
        assert_int_equal(parquet_put_decimals(p, 0, &more, 1, &err), -E_BAD_INPUT);
        assert_non_null(strstr(err.text, "38 digits"));
        parquet_abort_free(p);
        buf_release(&s.out);
    }
    parquet_abort_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_and_the_footer_are_whole),
        cmocka_unit_test(bounds_and_order_are_told),
        cmocka_unit_test(no_rows_are_a_file_too),
        cmocka_unit_test(a_dictionary_that_grows_too_large_gives_way_to_plain_pages),
        cmocka_unit_test(threads_do_not_show),
        cmocka_unit_test(how_rows_were_put_in_does_not_show),
        cmocka_unit_test(how_a_large_value_came_does_not_show),
        cmocka_unit_test(a_full_disk_is_told_wherever_it_happens),
        cmocka_unit_test(a_missing_folder_for_large_groups_is_told),
        cmocka_unit_test(what_a_column_cannot_hold_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
