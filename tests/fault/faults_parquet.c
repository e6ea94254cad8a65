/* faults_parquet.c - the Parquet writer while memory, the disk, descriptors and threads fail:
 * it writes the same file as ever or none, and leaves nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "parquet.h"

enum { ROWS = 3000, LARGE = 5000000 };

struct writing {
    int out;
    unsigned threads;
    const char *noise; /* LARGE bytes */
    off_t size;        /* of a good file; 0 until there was one */
    int code;          /* of one that fails */
};

static int put_rows(struct parquet *p, const struct writing *w, struct err *err)
{
    char name[32];
    int rc = 0;

    for (int64_t i = 0; rc == 0 && i < ROWS; i++) {
        size_t len = (size_t)snprintf(name, sizeof name, "name %d", (int)i % 40);
        size_t size = i == ROWS / 2 ? LARGE : (size_t)(i % 100);
        rc = parquet_put_bytes(p, 0, name, len, 1, err);
        if (rc == 0)
            rc = parquet_put_bytes(p, 1, w->noise, size, 1, err);
        if (rc == 0)
            rc = i % 2 ? parquet_put_int64(p, 2, &i, 1, err) : parquet_put_null(p, 2, 1, err);
        if (rc == 0)
            rc = parquet_rows(p, 1, len + size + 8, err);
    }
    return rc;
}

static int run(void *arg, struct err *err)
{
    static const struct parquet_column columns[] = {{"name", PARQUET_STRING, false},
                                                    {"content", PARQUET_BINARY, false},
                                                    {"number", PARQUET_INT64, true}};
    const struct writing *w = arg;
    const struct parquet_sink sink = parquet_fd_sink(&w->out);
    const struct parquet_options options = {.columns = columns,
                                            .column_count = 3,
                                            .group_rows = 1000,
                                            .threads = w->threads,
                                            .temp_dir = faults_temp_dir()};
    struct parquet *p = NULL;
    int rc = parquet_open(&options, &sink, &p, err);

    if (rc)
        return rc;
    rc = put_rows(p, w, err);
    if (rc == 0)
        return parquet_close_free(p, NULL, err);
    parquet_abort_free(p);
    return rc;
}

static void check(void *arg, int rc)
{
    struct writing *w = arg;
    off_t size = lseek(w->out, 0, SEEK_END);

    if (rc)
        assert_int_equal(rc, w->code);
    else if (w->size == 0)
        w->size = size;
    else
        assert_int_equal(size, w->size);
    assert_int_equal(ftruncate(w->out, 0), 0);
    assert_int_equal(lseek(w->out, 0, SEEK_SET), 0);
}

static void torture(unsigned threads)
{
    static const struct {
        enum fault fault;
        int code;
    } all[] = {
        {FAULT_MEMORY, -E_NO_MEMORY}, {FAULT_WRITE, -E_NO_SPACE}, {FAULT_READ, -E_IO},
        {FAULT_OPEN, -E_IO},          {FAULT_THREAD, 0},
    };
    char *noise = malloc(LARGE);
    uint64_t x = 1;

    assert_non_null(noise);
    for (size_t i = 0; i < LARGE; i++) {
        x = x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        noise[i] = (char)(x >> 56);
    }
    struct writing w = {
        .out = memfd_create("out", MFD_CLOEXEC), .threads = threads, .noise = noise};
    const struct faults_scenario s = {.name = threads > 1 ? "parquet, threads" : "parquet",
                                      .run = run,
                                      .check = check,
                                      .arg = &w,
                                      .limit = 40};
    assert_true(w.out >= 0);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        w.code = all[i].code;
        faults_torture(&s, 1U << all[i].fault);
    }
    close(w.out);
    free(noise);
}

static void one_thread_writes_the_same_file_or_none(void **state)
{
    (void)state;
    torture(1);
}

static void three_threads_write_the_same_file_or_none(void **state)
{
    (void)state;
    torture(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_writes_the_same_file_or_none),
        cmocka_unit_test(three_threads_write_the_same_file_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
