/* faults_csv.c - the aggregation engine while memory, the disk for spilled runs and the output,
 * descriptors and threads fail, one call or all from one on. */
#include <dirent.h>
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

#include "buf.h"
#include "csv_run.h"
#include "faults.h"

enum { ROWS = 1500, BLOCK_BYTES = 300, TABLE_BYTES = 20000 };

static char dir[64];

struct engine {
    struct csv_plan plan;
    int in, out, rejects;
    char *expected; /* of out; NULL until the first good run */
    size_t expected_len;
    int code; /* of a run that fails */
};

static void make_text(struct buf *b)
{
    buf_append_str(b, "Song,Date,Number of Plays\n");
    for (unsigned i = 0; i < ROWS; i++)
        buf_printf(b, "\"song \"\"%u\"\"\",2024-01-%02u,%u\n", i * 7919 % 997, i % 30, i);
    assert_true(buf_ok(b));
}

static int run(void *arg, struct err *err)
{
    const struct engine *e = arg;
    struct csv_stats stats;
    const struct csv_options options = {.temp_dir = dir, .skip_bad_rows = true};
    int rc = csv_aggregate_planned(e->in, e->out, e->rejects, &options, &e->plan, &stats, err);

    if (!rc) {
        assert_int_equal(stats.rows_in, ROWS);
        assert_int_equal(stats.rows_summed + stats.rows_rejected, ROWS);
    }
    return rc;
}

static unsigned entries_of_dir(void)
{
    DIR *d = opendir(dir);
    unsigned count = 0;

    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        count += e->d_name[0] != '.';
    closedir(d);
    return count;
}

static char *content(int fd, size_t *ret_len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);

    assert_true(size >= 0 && text);
    assert_int_equal(pread(fd, text, (size_t)size, 0), size);
    text[size] = '\0';
    *ret_len = (size_t)size;
    return text;
}

/* The result is the same as ever or there is none, and no run is left on the disk. */
static void check(void *arg, int rc)
{
    struct engine *e = arg;
    size_t len;

    assert_int_equal(entries_of_dir(), 0);
    if (rc) {
        assert_int_equal(rc, e->code);
    } else {
        char *text = content(e->out, &len);
        if (!e->expected) {
            e->expected = text;
            e->expected_len = len;
        } else {
            assert_int_equal(len, e->expected_len);
            assert_memory_equal(text, e->expected, len);
            free(text);
        }
    }
    for (int i = 0; i < 3; i++) {
        int fd = i == 0 ? e->in : i == 1 ? e->out : e->rejects;
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_true(i == 0 || ftruncate(fd, 0) == 0);
    }
}

static void torture(unsigned threads)
{
    static const struct {
        enum fault fault;
        int code;
    } all[] = {
        {FAULT_MEMORY, -E_NO_MEMORY}, {FAULT_WRITE, -E_NO_SPACE},   {FAULT_READ, -E_IO},
        {FAULT_OPEN, -E_IO},          {FAULT_THREAD, -E_NO_MEMORY},
    };
    struct engine e = {.plan = csv_tiny_plan(threads, BLOCK_BYTES, TABLE_BYTES),
                       .in = memfd_create("in", MFD_CLOEXEC),
                       .out = memfd_create("out", MFD_CLOEXEC),
                       .rejects = memfd_create("rejects", MFD_CLOEXEC)};
    const struct faults_scenario s = {.name = threads > 1 ? "csv, threads" : "csv",
                                      .run = run,
                                      .check = check,
                                      .arg = &e,
                                      .limit = 20};
    struct buf text = BUF_INIT;

    assert_true(e.in >= 0 && e.out >= 0 && e.rejects >= 0);
    make_text(&text);
    assert_int_equal(write(e.in, text.data, text.len), text.len);
    assert_int_equal(lseek(e.in, 0, SEEK_SET), 0);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        e.code = all[i].code;
        faults_torture(&s, 1U << all[i].fault);
    }
    buf_release(&text);
    free(e.expected);
    close(e.in);
    close(e.out);
    close(e.rejects);
}

static void one_thread_gives_the_same_result_or_none(void **state)
{
    (void)state;
    torture(1);
}

static void three_threads_give_the_same_result_or_none(void **state)
{
    (void)state;
    torture(3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_thread_gives_the_same_result_or_none),
        cmocka_unit_test(three_threads_give_the_same_result_or_none),
    };

    snprintf(dir, sizeof dir, "%s/segue-faults-csv-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
