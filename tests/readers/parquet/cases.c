/* cases.c - writes one Parquet file and, beside it, what readers must find in it.
 *
 *   parquet_cases NAME SEED FILE EXPECTED [THREADS]
 *   parquet_cases list
 *
 * EXPECTED has a line per row, cells separated by tabs: `-` for NULL, numbers in decimal (a
 * date: days since 1970), byte strings as LENGTH:HEX, or LENGTH:SHA256 past 32 bytes. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expect.h"
#include "parquet.h"
#include "sha256.h"

enum { COLUMNS_MAX = 8, MIB = 1024 * 1024 };

struct out {
    struct parquet *parquet;
    FILE *file, *expected;
    const struct parquet_column *columns;
    size_t column_count, at; /* `at`: the column whose turn it is */
    uint64_t row_bytes, seed;
    unsigned threads;
};

static struct err err;

static void check(int rc)
{
    expect_ok(rc, &err);
}

/* xorshift64*: the same numbers everywhere. */
static uint64_t random64(struct out *o)
{
    o->seed ^= o->seed >> 12;
    o->seed ^= o->seed << 25;
    o->seed ^= o->seed >> 27;
    return o->seed * UINT64_C(2685821657736338717);
}

static uint64_t below(struct out *o, uint64_t limit)
{
    return random64(o) % limit;
}

static int to_file(void *arg, const void *bytes, size_t len, struct err *ret)
{
    return fwrite(bytes, 1, len, arg) == len ? 0 : err_set(ret, -E_IO, "cannot write");
}

static void begin(struct out *o, const struct parquet_column *columns, size_t count,
                  uint64_t group_rows, uint64_t group_bytes)
{
    struct parquet_options options = {.columns = columns,
                                      .column_count = count,
                                      .group_rows = group_rows,
                                      .group_bytes = group_bytes,
                                      .threads = o->threads,
                                      .temp_dir = "/tmp"};

    o->columns = columns;
    o->column_count = count;
    check(parquet_open(&options, &(struct parquet_sink){to_file, o->file}, &o->parquet, &err));
}

static void next(struct out *o, uint64_t bytes)
{
    o->row_bytes += bytes;
    o->at++;
    if (o->at < o->column_count) {
        fputc('\t', o->expected);
        return;
    }
    fputc('\n', o->expected);
    check(parquet_rows(o->parquet, 1, o->row_bytes, &err));
    o->at = o->row_bytes = 0;
}

static void put(struct out *o, const void *bytes, size_t len)
{
    expect_bytes(o->expected, bytes, len);
    check(parquet_put_bytes(o->parquet, o->at, bytes, len, 1, &err));
    next(o, len);
}

static void put_text(struct out *o, const char *text)
{
    put(o, text, strlen(text));
}

/* In pieces of odd sizes. */
static void put_large(struct out *o, const char *bytes, size_t len)
{
    expect_bytes(o->expected, bytes, len);
    check(parquet_begin_large(o->parquet, o->at, len, &err));
    for (size_t done = 0; done < len;) {
        size_t step = 1 + (size_t)below(o, 700000);
        step = step < len - done ? step : len - done;
        check(parquet_add_large(o->parquet, bytes + done, step, &err));
        done += step;
    }
    check(parquet_end_large(o->parquet, &err));
    next(o, len);
}

static void put_number(struct out *o, __int128 n)
{
    int64_t whole = (int64_t)n;
    int32_t day = (int32_t)n;

    expect_number(o->expected, n);
    switch (o->columns[o->at].type) {
    case PARQUET_INT64:
        check(parquet_put_int64(o->parquet, o->at, &whole, 1, &err));
        break;
    case PARQUET_DATE:
        check(parquet_put_dates(o->parquet, o->at, &day, 1, &err));
        break;
    case PARQUET_DECIMAL38:
        check(parquet_put_decimals(o->parquet, o->at, &n, 1, &err));
        break;
    case PARQUET_STRING:
    case PARQUET_BINARY:
    case PARQUET_TYPE__COUNT:
        abort();
    }
    next(o, 8);
}

static void put_null(struct out *o)
{
    fputc('-', o->expected);
    check(parquet_put_null(o->parquet, o->at, 1, &err));
    next(o, 0);
}

/* -- cases -- */

static const struct parquet_column all[] = {
    {"text", PARQUET_STRING, false},       {"bytes", PARQUET_BINARY, false},
    {"int", PARQUET_INT64, false},         {"date", PARQUET_DATE, false},
    {"decimal", PARQUET_DECIMAL38, false}, {"text?", PARQUET_STRING, true},
    {"bytes?", PARQUET_BINARY, true},      {"int?", PARQUET_INT64, true},
};

static const struct parquet_column files[] = {
    {"name", PARQUET_STRING, false},  {"content", PARQUET_BINARY, false},
    {"size", PARQUET_INT64, false},   {"sha256", PARQUET_STRING, false},
    {"commit", PARQUET_STRING, true},
};
enum { ALL = sizeof all / sizeof *all, FILES = sizeof files / sizeof *files };

static void zero_rows(struct out *o)
{
    begin(o, all, ALL, 0, 0);
}

static __int128 decimal_most(void)
{
    __int128 n = 1;

    for (int i = 0; i < 38; i++)
        n *= 10;
    return n - 1;
}

static void put_all(struct out *o, const char *text, const void *bytes, size_t len,
                    __int128 number, __int128 decimal, int32_t day, bool null)
{
    put_text(o, text);
    put(o, bytes, len);
    put_number(o, number);
    put_number(o, day);
    put_number(o, decimal);
    if (null) {
        put_null(o);
        put_null(o);
        put_null(o);
        return;
    }
    put_text(o, text);
    put(o, bytes, len);
    put_number(o, number);
}

enum { DAY_FIRST = -719162, DAY_LAST = 2932896 }; /* 0001-01-01, 9999-12-31 */

static void extremes(struct out *o)
{
    const __int128 most = decimal_most();

    begin(o, all, ALL, 0, 0);
    put_all(o, "", "", 0, INT64_MIN, -most, DAY_FIRST, false);
    put_all(o, "a", "\0", 1, INT64_MAX, most, DAY_LAST, true);
    put_all(o, "\xF4\x8F\xBF\xBF", "\xFF\xFE\x00\x80", 4, 0, 0, 0, false);
    put_all(o, "\xED\x9F\xBF\xEE\x80\x80", "\r\n\t\"',", 6, -1, -1, -1, true);
    put_all(o, "\xC2\x80 e\xCC\x81 \xF0\x9F\x8E\xB5", "\xED\xA0\x80", 3, 1, 1, 1, false);
    put_all(o, "../../etc/passwd", "PAR1", 4, INT64_C(1) << 53, ((__int128)1 << 64) - 1, 19723,
            true);
}

static void one_row(struct out *o)
{
    begin(o, all, ALL, 0, 0);
    put_all(o, "only", "one", 3, 1, 1, 1, false);
}

static void only_nulls(struct out *o)
{
    static const struct parquet_column columns[] = {{"a", PARQUET_STRING, true},
                                                    {"b", PARQUET_BINARY, true},
                                                    {"c", PARQUET_INT64, true},
                                                    {"d", PARQUET_DATE, true},
                                                    {"e", PARQUET_DECIMAL38, true}};
    begin(o, columns, 5, 40000, 0);
    for (int i = 0; i < 5 * 100000; i++)
        put_null(o);
}

/* The bytes at i of a text that goes on without repeating itself soon. */
static void fill(struct out *o, char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)(random64(o) >> 56);
}

static void put_file(struct out *o, const char *name, const char *content, size_t len,
                     const char *commit)
{
    char hex[SHA256_TEXT_MAX];

    check(sha256_hex(content, len, hex, &err));
    put_text(o, name);
    put(o, content, len);
    put_number(o, (__int128)len);
    put_text(o, hex);
    if (commit)
        put_text(o, commit);
    else
        put_null(o);
}

static void large(struct out *o)
{
    static const size_t sizes[] = {MIB - 1, MIB, MIB + 1, 256 * 1024, 2 * MIB, 100 * MIB, 3, 0};
    static const struct parquet_column columns[] = {{"required", PARQUET_BINARY, false},
                                                    {"optional", PARQUET_BINARY, true},
                                                    {"text", PARQUET_STRING, false}};
    char *bytes = malloc(100 * MIB);

    if (!bytes)
        exit(1);
    fill(o, bytes, 60 * MIB); /* what is not filled compresses well */
    memset(bytes + 60 * MIB, 'x', 40 * MIB);
    begin(o, columns, 3, 0, 16 * MIB);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        put_large(o, bytes, sizes[i]);
        if (i % 3 == 2)
            put_null(o);
        else
            put(o, bytes + i, sizes[i] / 2);
        put(o, bytes + 60 * MIB, sizes[i] / 5);
    }
    free(bytes);
}

static void many_files(struct out *o)
{
    char name[64], content[64];

    begin(o, files, FILES, 0, 0);
    for (unsigned i = 0; i < 1000000; i++) {
        snprintf(name, sizeof name, "src/module_%u/file%u.c", i / 1000, i);
        size_t len = (size_t)snprintf(content, sizeof content, "int f%u(void);\n", i);
        put_file(o, name, content, i % 10 ? len : 0, i % 2 ? NULL : "0123456789abcdef");
    }
}

static void odd_names(struct out *o)
{
    static const char *const names[] = {" ",
                                        ".",
                                        "..",
                                        "a/../b",
                                        "CON",
                                        "a\tb",
                                        "a\nb",
                                        "a\\b",
                                        "\xE2\x80\xAE",
                                        "%00",
                                        "-rf",
                                        "'; DROP TABLE x; --",
                                        "\"",
                                        "\xEF\xBB\xBFname",
                                        "\x01",
                                        "a/b/c/d/e/f",
                                        "\xC3\xA9",
                                        "e\xCC\x81"};
    char long_name[3000];

    begin(o, files, FILES, 0, 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        put_file(o, names[i], "\0\0\0", i % 4, names[i]);
    memset(long_name, 'n', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = '\0';
    put_file(o, long_name, "", 0, NULL);
    put(o, "\0nul\0", 5);
    put(o, "", 0);
    put_number(o, 0);
    put(o, "\0", 1);
    put(o, "\0\0", 2);
}

/* At first few values, then only new ones: a dictionary that is kept, and PLAIN pages behind
 * it. */
static void overflow(struct out *o)
{
    static const struct parquet_column columns[] = {{"text", PARQUET_STRING, false},
                                                    {"text?", PARQUET_STRING, true},
                                                    {"int", PARQUET_INT64, false}};
    char text[64];

    begin(o, columns, 3, 1000000, 0);
    for (unsigned i = 0; i < 500000; i++) {
        unsigned value = i < 300000 ? i % 1000 : i;
        snprintf(text, sizeof text, "a value that takes a little room %u", value);
        put_text(o, text);
        if (i % 7 == 0)
            put_null(o);
        else
            put_text(o, text);
        put_number(o, value);
    }
}

static void distinct(struct out *o)
{
    static const struct parquet_column columns[] = {{"text", PARQUET_STRING, false},
                                                    {"text?", PARQUET_STRING, true},
                                                    {"int", PARQUET_INT64, false},
                                                    {"decimal?", PARQUET_DECIMAL38, true}};
    char text[64];

    begin(o, columns, 4, 50000, 0);
    for (unsigned i = 0; i < 120000; i++) {
        snprintf(text, sizeof text, "%016" PRIx64, random64(o));
        put_text(o, text);
        if (i % 3)
            put_text(o, text);
        else
            put_null(o);
        put_number(o, (int64_t)random64(o));
        if (i % 5)
            put_number(o, (__int128)random64(o) * (int64_t)(random64(o) >> 2));
        else
            put_null(o);
    }
}

static void groups(struct out *o)
{
    char text[32];

    begin(o, files, FILES, 1000, 20000);
    for (unsigned i = 0; i < 12345; i++) {
        snprintf(text, sizeof text, "f%u", i);
        put_file(o, text, text, i % 1500 == 0 ? 2 : strlen(text), i % 3 ? text : NULL);
    }
}

/* -- random tables -- */

static bool is_bytes(enum parquet_type type)
{
    return type == PARQUET_STRING || type == PARQUET_BINARY;
}

enum shape { CONSTANT, FEW, RUNS, UNIQUE, LONG, SHAPES };

static void put_random(struct out *o, enum shape shape, unsigned row)
{
    uint64_t pick = shape == CONSTANT ? 7
                    : shape == FEW    ? below(o, 1 + row % 40)
                    : shape == RUNS   ? row / 37
                                      : random64(o);
    char bytes[6000];

    if (is_bytes(o->columns[o->at].type)) {
        size_t len = shape == LONG ? (size_t)below(o, sizeof bytes) : (size_t)(pick % 30);
        for (size_t i = 0; i < len; i++)
            bytes[i] = (char)(pick >> i % 57 & 0x7F);
        if (o->columns[o->at].type == PARQUET_BINARY && len > 0)
            bytes[len / 2] = (char)pick;
        put(o, bytes, len);
        return;
    }
    switch (o->columns[o->at].type) {
    case PARQUET_DATE:
        put_number(o, DAY_FIRST + (int64_t)(pick % (DAY_LAST - DAY_FIRST + 1)));
        return;
    case PARQUET_DECIMAL38:
        put_number(o, ((__int128)(int64_t)pick * (int64_t)(pick >> 4)) % decimal_most());
        return;
    case PARQUET_INT64:
    case PARQUET_STRING:
    case PARQUET_BINARY:
    case PARQUET_TYPE__COUNT:
        put_number(o, (int64_t)pick);
    }
}

static void random_table(struct out *o)
{
    static const char *const names[COLUMNS_MAX] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct parquet_column columns[COLUMNS_MAX];
    enum shape shapes[COLUMNS_MAX];
    size_t count = 1 + (size_t)below(o, COLUMNS_MAX);
    unsigned nulls[COLUMNS_MAX], rows = (unsigned)below(o, 1U << below(o, 17));

    for (size_t i = 0; i < count; i++) {
        columns[i] = (struct parquet_column){
            names[i], (enum parquet_type)below(o, PARQUET_TYPE__COUNT), below(o, 2)};
        shapes[i] = (enum shape)below(o, rows > 20000 ? LONG : SHAPES);
        nulls[i] = (unsigned)below(o, 4);
    }
    o->threads = 1 + (unsigned)below(o, 4);
    /* some row groups, not one for every row */
    begin(o, columns, count, 1 + rows / 50 + below(o, 1U << below(o, 18)), 0);
    for (unsigned row = 0; row < rows; row++)
        for (size_t i = 0; i < count; i++) {
            if (columns[i].optional && below(o, 4) < nulls[i])
                put_null(o);
            else
                put_random(o, shapes[i], row);
        }
    if (rows == 0)
        o->at = 0;
    check(parquet_close_free(o->parquet, NULL, &err));
    o->parquet = NULL; /* the columns end here */
}

static const struct {
    const char *name;
    void (*write)(struct out *o);
} cases[] = {
    {"zero_rows", zero_rows},   {"one_row", one_row},     {"extremes", extremes},
    {"only_nulls", only_nulls}, {"odd_names", odd_names}, {"overflow", overflow},
    {"distinct", distinct},     {"groups", groups},       {"large", large},
    {"many_files", many_files}, {"random", random_table},
};
enum { CASES = sizeof cases / sizeof *cases };

int main(int argc, char **argv)
{
    struct out o = {.threads = 1};
    size_t which = 0;

    if (argc == 2 && strcmp(argv[1], "list") == 0) {
        for (size_t i = 0; i < CASES; i++)
            puts(cases[i].name);
        return 0;
    }
    while (argc >= 5 && which < CASES && strcmp(cases[which].name, argv[1]) != 0)
        which++;
    if (argc < 5 || which == CASES) {
        fprintf(stderr, "usage: parquet_cases list | NAME SEED FILE EXPECTED [THREADS]\n");
        return 2;
    }
    o.seed = strtoull(argv[2], NULL, 10) * UINT64_C(0x9E3779B97F4A7C15) + 1;
    o.threads = argc > 5 ? (unsigned)strtoul(argv[5], NULL, 10) : 1;
    o.file = fopen(argv[3], "wb");
    o.expected = fopen(argv[4], "wb");
    if (!o.file || !o.expected) {
        perror("parquet_cases");
        return 1;
    }
    cases[which].write(&o);
    if (o.parquet)
        check(parquet_close_free(o.parquet, NULL, &err));
    return fclose(o.file) || fclose(o.expected) ? 1 : 0;
}
