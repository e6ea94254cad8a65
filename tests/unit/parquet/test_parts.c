/* The encodings one by one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dict.h"
#include "plain.h"
#include "rle.h"
#include "spool.h"
#include "stats.h"
#include "thrift.h"
#include "utf8.h"

static uint64_t seed = 1;

static uint64_t below(uint64_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (seed >> 33) % limit;
}

static void assert_bytes(const struct buf *b, const char *bytes, size_t len)
{
    assert_true(buf_ok(b));
    assert_int_equal(b->len, len);
    assert_memory_equal(b->data, bytes, len);
}

/* -- thrift -- */

static void structs_look_as_the_compact_protocol_says(void **state)
{
    struct buf out = BUF_INIT;
    struct thrift t;

    (void)state;
    thrift_begin(&t, &out);
    thrift_i32(&t, 1, -1);
    thrift_i64(&t, 2, 300);
    thrift_bool(&t, 4, true);
    thrift_bool(&t, 5, false);
    thrift_text(&t, 25, "hi");
    thrift_struct(&t, 26);
    thrift_i16(&t, 1, 2);
    thrift_end(&t);
    thrift_list(&t, 27, THRIFT_I32, 2);
    thrift_item_i32(&t, 1);
    thrift_item_i32(&t, -2);
    thrift_end(&t);
    static const char expected[] = "\x15\x01"         /* 1: -1 */
                                   "\x16\xD8\x04"     /* 2: 300 */
                                   "\x21\x12"         /* 4, 5 */
                                   "\x08\x32\x02hi"   /* 25, too far for a step */
                                   "\x1C\x14\x04\x00" /* 26: struct */
                                   "\x19\x25\x02\x03" /* 27: list */
                                   "\x00";
    assert_bytes(&out, expected, sizeof expected - 1);
    buf_release(&out);
}

static void long_lists_and_large_numbers_have_longer_forms(void **state)
{
    struct buf out = BUF_INIT;
    struct thrift t;

    (void)state;
    thrift_begin(&t, &out);
    thrift_list(&t, 1, THRIFT_STRUCT, 15);
    thrift_i64(&t, 2, INT64_MIN);
    thrift_end(&t);
    static const char expected[] = "\x19\xFC\x0F\x16\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01";
    assert_bytes(&out, expected, sizeof expected);
    buf_release(&out);
}

/* -- runs and bit packing -- */

/* Reads the form again, by its description and not by our writer. */
static void assert_decodes(const struct buf *b, const uint32_t *numbers, size_t count,
                           unsigned width)
{
    const unsigned char *at = (const unsigned char *)b->data, *end = at + b->len;
    size_t got = 0;

    while (got < count) {
        uint64_t head = 0;
        for (unsigned shift = 0;; shift += 7) {
            assert_true(at < end);
            head |= (uint64_t)(*at & 0x7F) << shift;
            if (*at++ < 0x80)
                break;
        }
        if (head & 1) {
            size_t many = (size_t)(head >> 1) * 8;
            for (size_t i = 0; i < many; i++) {
                uint32_t n = 0;
                for (unsigned bit = 0; bit < width; bit++) {
                    size_t place = i * width + bit;
                    n |= (uint32_t)(at[place / 8] >> place % 8 & 1) << bit;
                }
                assert_int_equal(n, got + i < count ? numbers[got + i] : 0);
            }
            at += many * width / 8;
            got += many;
            continue;
        }
        uint32_t n = 0;
        for (unsigned bits = 0; bits < width; bits += 8)
            n |= (uint32_t)*at++ << bits;
        assert_true(head >> 1 > 0 && got + (head >> 1) <= count);
        for (uint64_t i = 0; i < head >> 1; i++)
            assert_int_equal(n, numbers[got++]);
    }
    assert_ptr_equal(at, end);
}

static void any_numbers_come_back(void **state)
{
    enum { MOST = 3000 };
    uint32_t numbers[MOST];

    (void)state;
    for (int round = 0; round < 2000; round++) {
        unsigned width = 1 + (unsigned)below(32);
        uint64_t limit = UINT64_C(1) << width;
        size_t count = (size_t)below(round % 10 ? 60 : MOST), run = 0;
        for (size_t i = 0; i<count; i++, run -= run> 0) {
            if (run == 0) {
                numbers[i] = (uint32_t)below(limit);
                run = 1 + (size_t)below(round % 3 ? 3 : 40);
            } else {
                numbers[i] = numbers[i - 1];
            }
        }
        struct buf out = BUF_INIT;
        rle_encode(&out, numbers, count, width);
        assert_true(buf_ok(&out));
        assert_decodes(&out, numbers, count, width);
        buf_release(&out);
    }
}

static void a_long_run_takes_a_few_bytes(void **state)
{
    static uint32_t numbers[100000];
    struct buf out = BUF_INIT;

    (void)state;
    rle_encode(&out, numbers, 100000, 17);
    assert_in_range(out.len, 1, 6);
    buf_release(&out);
    assert_int_equal(rle_width(0), 1);
    assert_int_equal(rle_width(1), 1);
    assert_int_equal(rle_width(2), 2);
    assert_int_equal(rle_width(255), 8);
    assert_int_equal(rle_width(256), 9);
    assert_int_equal(rle_width(UINT32_MAX), 32);
}

/* -- dictionary -- */

static void values_are_numbered_as_they_come(void **state)
{
    enum { VALUES = 20000 };
    char text[32];
    bool is_new;

    (void)state;
    for (int seeded = 0; seeded < 2; seeded++) {
        struct dict d;
        dict_init(&d, 0, 1 << 20, seeded ? 0x123456789 : 0);
        for (int pass = 0; pass < 2; pass++)
            for (int i = 0; i < VALUES; i++) {
                int len = snprintf(text, sizeof text, "%d", i * 7);
                assert_int_equal(dict_number(&d, text, (size_t)len, &is_new), i);
                assert_int_equal(is_new, pass == 0);
            }
        assert_int_equal(d.count, VALUES);
        size_t len;
        const char *value = dict_value(&d, 100, &len);
        assert_int_equal(len, 3);
        assert_memory_equal(value, "700", 3);
        assert_memory_equal(d.values.data,
                            "\1\0\0\0"
                            "0\1\0\0\0"
                            "7\2\0\0\0"
                            "14",
                            16);
        dict_release(&d);
    }
}

static void a_full_dictionary_takes_what_it_knows_only(void **state)
{
    struct dict d;
    bool is_new;

    (void)state;
    dict_init(&d, 0, 20, 1);
    assert_int_equal(dict_number(&d, "", 0, &is_new), 0);
    assert_int_equal(dict_number(&d, "abcdef", 6, &is_new), 1);
    assert_int_equal(dict_number(&d, "abc", 3, &is_new), DICT_FULL);
    assert_int_equal(dict_number(&d, "ab", 2, &is_new), 2);
    assert_int_equal(dict_number(&d, "", 0, &is_new), 0);
    assert_false(is_new);
    assert_int_equal(dict_number(&d, "abcdef", 6, &is_new), 1);
    dict_clear(&d);
    assert_int_equal(dict_number(&d, "abc", 3, &is_new), 0);
    dict_release(&d);
}

static void numbers_are_told_apart_by_all_their_bytes(void **state)
{
    static const size_t widths[] = {4, 8, 16};

    (void)state;
    for (size_t w = 0; w < 3; w++) {
        struct dict d;
        char bytes[16];
        bool is_new;
        dict_init(&d, widths[w], 1 << 20, 7);
        for (size_t i = 0; i < widths[w]; i++) {
            memset(bytes, 0, sizeof bytes);
            bytes[i] = 1;
            assert_int_equal(dict_number(&d, bytes, widths[w], &is_new), i);
        }
        assert_int_equal(d.values.len, widths[w] * widths[w]);
        dict_release(&d);
    }
}

/* -- statistics -- */

static void assert_bound(const struct stats_bound *b, const char *bytes, size_t len, bool exact)
{
    assert_int_equal(b->len, len);
    assert_memory_equal(b->bytes, bytes, len);
    assert_int_equal(b->exact, exact);
}

static void short_strings_are_exact_bounds(void **state)
{
    struct stats s;
    struct stats_bound b;

    (void)state;
    stats_init(&s, PARQUET_STRING);
    assert_false(stats_least(&s, &b) || stats_most(&s, &b));
    stats_add_bytes(&s, "b", 1);
    stats_add_bytes(&s, "", 0);
    stats_add_bytes(&s, "b\0", 2);
    stats_add_bytes(&s, "a\xC3\xBF", 3);
    assert_true(stats_least(&s, &b));
    assert_bound(&b, "", 0, true);
    assert_true(stats_most(&s, &b));
    assert_bound(&b, "b\0", 2, true);
}

static void long_strings_are_cut_and_the_greatest_is_raised(void **state)
{
    char text[100];
    struct stats s;
    struct stats_bound b;

    (void)state;
    memset(text, 'm', sizeof text);
    stats_init(&s, PARQUET_BINARY);
    stats_add_bytes(&s, text, sizeof text);
    assert_true(stats_least(&s, &b));
    assert_bound(&b, text, STATS_BYTES, false);
    assert_true(stats_most(&s, &b));
    text[STATS_BYTES - 1] = 'n';
    assert_bound(&b, text, STATS_BYTES, false);

    text[STATS_BYTES - 1] = 'm'; /* the cut string itself: the least, but not the greatest */
    stats_add_bytes(&s, text, STATS_BYTES);
    assert_true(stats_least(&s, &b) && b.exact);
    assert_true(stats_most(&s, &b) && !b.exact);

    memset(text, 0xFF, sizeof text);
    stats_add_bytes(&s, text, sizeof text);
    assert_false(stats_most(&s, &b)); /* nothing is greater */
    memcpy(text, "a", 1);
    stats_init(&s, PARQUET_BINARY);
    stats_add_bytes(&s, text, sizeof text);
    assert_true(stats_most(&s, &b));
    assert_bound(&b, "b", 1, false);
}

/* Whatever stands where a text is cut: the bounds are text and hold. */
static void bounds_of_cut_text_are_text(void **state)
{
    static const char *const ends[] = {"\x7F",
                                       "\xC2\x80",
                                       "\xDF\xBF",
                                       "\xE0\xA0\x80",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xEF\xBF\xBF",
                                       "\xF0\x9F\x8E\xB5",
                                       "\xF3\xBF\xBF\xBF",
                                       "\xF4\x8F\xBF\xBF"};

    (void)state;
    for (size_t i = 0; i < 10 * 10 * 8; i++) {
        const char *one = ends[i % 10], *two = ends[i / 10 % 10];
        size_t len = STATS_BYTES - i / 100;
        char text[100];
        struct stats s;
        struct stats_bound b;
        memset(text, i % 3 ? 'x' : 0x7F, sizeof text);
        memcpy(text + len - 4, one, strlen(one));
        memcpy(text + len - 4 + strlen(one), two, strlen(two));
        memcpy(text + len - 4 + strlen(one) + strlen(two), two, strlen(two));
        assert_true(utf8_is_valid(text, sizeof text));
        stats_init(&s, PARQUET_STRING);
        stats_add_bytes(&s, text, sizeof text);
        assert_true(stats_least(&s, &b));
        assert_true(utf8_is_valid((char *)b.bytes, b.len));
        assert_memory_equal(text, b.bytes, b.len);
        if (!stats_most(&s, &b))
            continue; /* nothing of that length is greater */
        assert_false(b.exact);
        assert_true(utf8_is_valid((char *)b.bytes, b.len));
        assert_true(memcmp(b.bytes, text, b.len) > 0);
    }
}

static void numbers_are_bounds_in_their_own_order(void **state)
{
    struct stats s;
    struct stats_bound b;

    (void)state;
    stats_init(&s, PARQUET_DECIMAL38);
    stats_add_number(&s, 1);
    stats_add_number(&s, -2);
    assert_true(stats_least(&s, &b));
    assert_bound(&b, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFE", 16,
                 true);
    assert_true(stats_most(&s, &b));
    assert_bound(&b, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16, true);
    stats_init(&s, PARQUET_DATE);
    stats_add_number(&s, -1);
    assert_true(stats_least(&s, &b));
    assert_bound(&b, "\xFF\xFF\xFF\xFF", 4, true);
}

/* -- spool -- */

static int collect(void *arg, const void *bytes, size_t len, struct err *err)
{
    (void)err;
    buf_append(arg, bytes, len);
    return 0;
}

static void bytes_come_back_with_what_was_inserted(void **state)
{
    struct spool s;
    struct err err = ERR_INIT;

    (void)state;
    spool_init(&s, "/tmp", 1000);
    for (int round = 0; round < 300; round++) {
        struct buf expected = BUF_INIT, got = BUF_INIT;
        char bytes[3000];
        bool large = round % 2;
        for (uint64_t i = below(20); i > 0; i--) {
            size_t len = (size_t)below(large ? sizeof bytes : 60);
            uint64_t place = spool_place(&s);
            memset(bytes, (int)('a' + i), len);
            if (i % 4 == 0)
                buf_append_str(&expected, "<head>");
            buf_append(&expected, bytes, len);
            assert_int_equal(spool_append(&s, bytes, len, &err), 0);
            if (i % 4 == 0)
                assert_int_equal(spool_insert(&s, place, "<head>", 6, &err), 0);
        }
        assert_int_equal(spool_size(&s), expected.len);
        assert_int_equal(spool_copy(&s, &(struct parquet_sink){collect, &got}, &err), 0);
        assert_bytes(&got, expected.data, expected.len);
        spool_clear(&s);
        assert_int_equal(spool_size(&s), 0);
        buf_release(&expected);
        buf_release(&got);
    }
    spool_release(&s);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    struct spool s;
    struct err err = ERR_INIT;

    (void)state;
    spool_init(&s, "/nowhere at all", 4);
    assert_int_equal(spool_append(&s, "1234", 4, &err), 0);
    assert_int_equal(spool_append(&s, "5", 1, &err), -E_IO);
    assert_non_null(strstr(err.text, "/nowhere at all"));
    spool_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(structs_look_as_the_compact_protocol_says),
        cmocka_unit_test(long_lists_and_large_numbers_have_longer_forms),
        cmocka_unit_test(any_numbers_come_back),
        cmocka_unit_test(a_long_run_takes_a_few_bytes),
        cmocka_unit_test(values_are_numbered_as_they_come),
        cmocka_unit_test(a_full_dictionary_takes_what_it_knows_only),
        cmocka_unit_test(numbers_are_told_apart_by_all_their_bytes),
        cmocka_unit_test(short_strings_are_exact_bounds),
        cmocka_unit_test(long_strings_are_cut_and_the_greatest_is_raised),
        cmocka_unit_test(bounds_of_cut_text_are_text),
        cmocka_unit_test(numbers_are_bounds_in_their_own_order),
        cmocka_unit_test(bytes_come_back_with_what_was_inserted),
        cmocka_unit_test(a_folder_that_is_not_there_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
