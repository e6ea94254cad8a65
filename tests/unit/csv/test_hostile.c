/* Generated files, each kind of trouble at every place it can be: block boundaries, the 64
 * bytes of a scanner's step, every byte of a compressed stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <zlib.h>
#include <zstd.h>

#include "buf.h"
#include "csv_run.h"
#include "scan.h"

#define HEADER "Song,Date,Number of Plays\n"

static void expect_totals(const struct csv_case *c, const char *due)
{
    struct csv_result r;

    csv_run(c, &r);
    if (r.rc != 0)
        fail_msg("%s", r.err.text);
    assert_string_equal(r.out, due);
    csv_result_release(&r);
}

static void expect_error(const struct csv_case *c, const char *part)
{
    struct csv_result r;

    csv_run(c, &r);
    assert_int_equal(r.rc, -E_BAD_INPUT);
    if (!strstr(r.err.text, part))
        fail_msg("\"%s\" does not say \"%s\"", r.err.text, part);
    csv_result_release(&r);
}

/* A row of `len` bytes, so that the next one starts where it is wanted. */
static void append_row(struct buf *b, char letter, size_t len, unsigned plays)
{
    char song[200];
    size_t song_len = len - strlen(",2024-01-01,1\n");

    assert_true(song_len < sizeof song);
    memset(song, letter, song_len);
    buf_printf(b, "%.*s,2024-01-01,%u\n", (int)song_len, song, plays);
}

/* Rows whose quotes open, close and double, and hold every kind of line end. */
#define QUOTED                                                                                 \
    "\"a,\"\"\n\"\"\",2024-01-02,1\r\n\"\r\",2024-01-02,2\r\"\"\"\",\"2024-01-02\",\"3\"\n"
#define QUOTED_TOTALS                                                                          \
    "\"\r\",2024-01-02,2\n\"\"\"\",2024-01-02,3\n\"a,\"\"\n\"\"\",2024-01-02,1\n"

static void quotes_open_and_close_at_every_offset_of_a_scanners_step(void **state)
{
    static const size_t blocks[] = {3, 64, 100, 1 << 16};

    (void)state;
    for (size_t before = 20; before < 20 + 2 * 64; before++) {
        struct buf b = BUF_INIT, due = BUF_INIT;
        buf_append_str(&b, HEADER);
        append_row(&b, 'p', before, 1);
        buf_append_str(&b, QUOTED);
        append_row(&b, 'q', 40, 1); /* behind them all is plain again */
        buf_append_str(&due, HEADER QUOTED_TOTALS);
        append_row(&due, 'p', before, 1);
        append_row(&due, 'q', 40, 1);
        assert_true(buf_ok(&b) && buf_ok(&due));
        for (const struct scanner *s = scanners; s->name; s++)
            for (size_t i = 0; s->runs_here() && i < sizeof blocks / sizeof *blocks; i++) {
                unsigned threads = 1 + (unsigned)(before + i) % 3;
                struct csv_plan plan = csv_tiny_plan(threads, blocks[i], 1 << 20);
                plan.scanner = s;
                expect_totals(&(struct csv_case){.data = b.data, .len = b.len, .plan = &plan},
                              due.data);
            }
        buf_release(&b);
        buf_release(&due);
    }
}

/* The blocks people have, not only those of the tests: each byte of the quoted rows comes to
 * lie at the boundary between the first two. */
static void quotes_open_and_close_at_every_offset_of_the_usual_block_boundary(void **state)
{
    struct csv_options options = {.threads = 2};
    struct csv_plan plan;

    (void)state;
    csv_plan_make(&options, &plan);
    for (size_t before = 0; before < sizeof QUOTED + 4; before++) {
        struct buf b = BUF_INIT, due = BUF_INIT;
        size_t rest = plan.block_bytes - strlen(HEADER) - before;
        unsigned rows = 0;
        buf_append_str(&b, HEADER);
        for (; rest >= 128; rest -= 64, rows++)
            append_row(&b, 'p', 64, 1);
        append_row(&b, 'q', rest, 1);
        buf_append_str(&b, QUOTED);
        buf_append_str(&due, HEADER QUOTED_TOTALS);
        append_row(&due, 'p', 64, rows);
        append_row(&due, 'q', rest, 1);
        assert_true(buf_ok(&b) && buf_ok(&due));
        expect_totals(&(struct csv_case){.data = b.data, .len = b.len, .plan = &plan},
                      due.data);
        buf_release(&b);
        buf_release(&due);
    }
}

/* Two megabytes of quotes, commas and line ends: in the song and in a column nobody reads. */
static void a_quoted_field_of_two_megabytes_is_exact_at_any_thread_count(void **state)
{
    static const char piece[] = "x,\"\"\r\ny\n";
    static const char start[] = HEADER "short,2024-01-01,2\n\"x,\"\"\r\ny\n";
    struct buf b = BUF_INIT;

    (void)state;
    buf_append_str(&b, "Note,Song,Date,Number of Plays\n");
    for (int column = 0; column < 2; column++) {
        buf_append_str(&b, column ? "n,\"" : "\"");
        for (size_t i = 0; i < (2 << 20) / (sizeof piece - 1); i++)
            buf_append_str(&b, piece);
        buf_append_str(&b, column ? "\",2024-01-01,1\n" : "\",short,2024-01-01,1\n");
    }
    buf_append_str(&b, "n,short,2024-01-01,1\nn,short,2024-01-0,1\n");
    assert_true(buf_ok(&b));
    size_t line = 2 + 2 * 2 * ((2 << 20) / (sizeof piece - 1)) + 3;
    char reject[80];
    snprintf(reject, sizeof reject, "line,column,reason,excerpt\n%zu,Date,bad_date,2024-01-0\n",
             line);
    for (unsigned threads = 1; threads < 8; threads += 3) {
        struct csv_case c = {.data = b.data, .len = b.len};
        struct csv_result r;
        c.options = (struct csv_options){
            .threads = threads, .memory_bytes = 16 << 20, .skip_bad_rows = true};
        csv_run(&c, &r);
        assert_int_equal(r.rc, 0);
        assert_int_equal(r.stats.groups, 2);
        assert_memory_equal(r.out, start, sizeof start - 1);
        assert_string_equal(r.rejects, reject);
        csv_result_release(&r);
    }
    buf_release(&b);
}

static const char text[] =
    HEADER "\"a\r\n\"\"b\",2024-01-01,1\nb,2024-01-01,2\r\nc,2024-01-01,3";
static const char totals[] =
    HEADER "\"a\r\n\"\"b\",2024-01-01,1\nb,2024-01-01,2\nc,2024-01-01,3\n";

/* Wherever a transfer broke off, it is told; never half a result. */
static void a_compressed_file_may_be_cut_off_at_no_byte(void **state)
{
    static const char *const says[] = {"", "the gzip data", "the zstd data"};

    (void)state;
    for (enum csv_packing packing = CSV_GZIP; packing <= CSV_ZSTD; packing++) {
        size_t len;
        char *packed = csv_pack(packing, text, sizeof text - 1, &len);
        unsigned not_told = 0;
        for (size_t to = 4; to < len; to++)
            for (unsigned threads = 1; threads < 8; threads += 6) {
                struct csv_plan plan = csv_tiny_plan(threads, 16 + to % 50, 1);
                struct csv_case c = {.data = packed,
                                     .len = to,
                                     .plan = &plan,
                                     .options.skip_bad_rows = to % 2,
                                     .pipe_chunk = to % 3};
                struct csv_result r;
                csv_run(&c, &r);
                not_told += r.rc != -E_BAD_INPUT || !strstr(r.err.text, says[packing]);
                csv_result_release(&r);
            }
        /* between the two members, which is half the text and looks like a whole file */
        assert_int_equal(not_told, 2);
        free(packed);
    }
}

static size_t append_gzip(char *to, const char *data, size_t len, const char *name)
{
    z_stream z = {0};
    gz_header header = {.name = (unsigned char *)(uintptr_t)name,
                        .extra = (unsigned char *)(uintptr_t)name,
                        .extra_len = 5,
                        .comment = (unsigned char *)(uintptr_t)name,
                        .hcrc = 1};

    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflateSetHeader(&z, &header), Z_OK);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)len;
    z.next_out = (unsigned char *)to;
    z.avail_out = 4096;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    size_t size = 4096 - z.avail_out;
    deflateEnd(&z);
    return size;
}

static size_t append_zstd(char *to, const char *data, size_t len, const char *name)
{
    ZSTD_CCtx *cctx = ZSTD_createCCtx();

    assert_non_null(cctx);
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_checksumFlag, 1);
    ZSTD_CCtx_setParameter(cctx, ZSTD_c_contentSizeFlag, 0);
    size_t size = ZSTD_compress2(cctx, to, 4096, data, len);
    assert_false(ZSTD_isError(size));
    ZSTD_freeCCtx(cctx);
    memcpy(to + size, "\x50\x2A\x4D\x18\x05\0\0\0", 8); /* a frame to be passed over */
    memcpy(to + size + 8, name, 5);
    return size + 13;
}

/* One member for each byte, some of nothing, with all that their headers may hold. */
static void many_members_read_as_one_file(void **state)
{
    static size_t (*const append[])(char *, const char *, size_t, const char *) = {append_gzip,
                                                                                   append_zstd};

    (void)state;
    for (size_t kind = 0; kind < 2; kind++) {
        char *packed = malloc(sizeof text * 2 * 200 + 8192);
        size_t len = 0;
        assert_non_null(packed);
        for (size_t i = 0; i < sizeof text - 1; i++) {
            len += append[kind](packed + len, text + i, 1, "plays");
            if (i % 3 == 0)
                len += append[kind](packed + len, "", 0, "plays");
        }
        for (size_t chunk = 0; chunk < 200; chunk = chunk * 3 + 1) {
            struct csv_plan plan = csv_tiny_plan(1 + (unsigned)chunk % 4, 16, 3000);
            expect_totals(
                &(struct csv_case){
                    .data = packed, .len = len, .plan = &plan, .pipe_chunk = chunk},
                totals);
        }
        free(packed);
    }
}

/* A header and nothing but line ends: some 30 MB that take 30 kB. */
static void a_bomb_ends_at_the_cap_through_a_pipe_and_with_many_threads(void **state)
{
    size_t size = 30 << 20, len;
    char *bomb = malloc(size);

    (void)state;
    assert_non_null(bomb);
    memset(bomb, '\n', size);
    memcpy(bomb, HEADER, strlen(HEADER));
    for (enum csv_packing packing = CSV_GZIP; packing <= CSV_ZSTD; packing++) {
        char *packed = csv_pack(packing, bomb, size, &len);
        assert_true(len < size / 500);
        for (unsigned threads = 1; threads < 8; threads += 3)
            expect_error(&(struct csv_case){.data = packed,
                                            .len = len,
                                            .pipe_chunk = threads == 4 ? 0 : 1000,
                                            .options = {.threads = threads,
                                                        .skip_bad_rows = threads > 1,
                                                        .max_inflated_bytes = 1 << 20}},
                         "inflates to more than the allowed 1048576 bytes");
        free(packed);
    }
    free(bomb);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_open_and_close_at_every_offset_of_a_scanners_step),
        cmocka_unit_test(quotes_open_and_close_at_every_offset_of_the_usual_block_boundary),
        cmocka_unit_test(a_quoted_field_of_two_megabytes_is_exact_at_any_thread_count),
        cmocka_unit_test(a_compressed_file_may_be_cut_off_at_no_byte),
        cmocka_unit_test(many_members_read_as_one_file),
        cmocka_unit_test(a_bomb_ends_at_the_cap_through_a_pipe_and_with_many_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
