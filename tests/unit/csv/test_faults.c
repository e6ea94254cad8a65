/* The engine while the disk is full or memory is short: the linker puts the test in front of
 * the calls that can fail. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "csv_run.h"

ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __real_pread(int fd, void *bytes, size_t len, off_t at);
ssize_t __real_write(int fd, const void *bytes, size_t len);
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t at);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);

/* Calls left until one fails; negative: none does. */
static atomic_long pwrites = -1, preads = -1, allocations = -1;
static atomic_int write_fails_at_fd = -1, fault = ENOSPC;

static bool due(atomic_long *left)
{
    return atomic_load(left) >= 0 && atomic_fetch_sub(left, 1) == 0;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    if (due(&pwrites)) {
        errno = fault;
        return -1;
    }
    /* short writes are part of the bargain */
    return __real_pwrite(fd, bytes, len > 3 ? len / 2 : len, at);
}

ssize_t __wrap_pread(int fd, void *bytes, size_t len, off_t at)
{
    if (due(&preads)) {
        errno = EIO;
        return -1;
    }
    return __real_pread(fd, bytes, len > 3 ? len / 2 : len, at);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (fd == write_fails_at_fd) {
        errno = fault;
        return -1;
    }
    return __real_write(fd, bytes, len);
}

void *__wrap_malloc(size_t size)
{
    return due(&allocations) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return due(&allocations) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return due(&allocations) ? NULL : __real_realloc(old, size);
}

static char dir[] = "/tmp/segue-csv-faults-XXXXXX";

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

static struct csv_result run(const struct buf *text, unsigned threads, int out_fd)
{
    struct csv_plan plan = csv_tiny_plan(threads, 300, 20000);
    struct csv_case c = {.data = text->data,
                         .len = text->len,
                         .plan = &plan,
                         .out_fd = out_fd,
                         .options = {.temp_dir = dir, .skip_bad_rows = true}};
    struct csv_result r;

    csv_run(&c, &r);
    return r;
}

static void make_text(struct buf *b)
{
    buf_append_str(b, "Song,Date,Number of Plays\n");
    for (unsigned i = 0; i < 3000; i++)
        buf_printf(b, "\"song \"\"%u\"\"\",2024-01-%02u,%u\n", i * 7919 % 997, i % 30, i);
    assert_true(buf_ok(b));
}

static void a_full_disk_while_spilling_is_no_space_and_leaves_nothing(void **state)
{
    struct buf b = BUF_INIT;
    bool failed = true;

    (void)state;
    make_text(&b);
    for (long n = 0; failed; n = n * 3 / 2 + 1) {
        fault = n % 2 ? ENOSPC : EDQUOT;
        pwrites = n;
        struct csv_result r = run(&b, 1 + (unsigned)(n % 3), 0);
        failed = pwrites == -1 && r.rc != 0;
        pwrites = -1;
        if (failed) {
            assert_int_equal(r.rc, -E_NO_SPACE);
            assert_non_null(strstr(r.err.text, "write a temporary file"));
        } else {
            assert_int_equal(r.rc, 0);
        }
        assert_int_equal(entries_of_dir(), 0);
        csv_result_release(&r);
    }
    buf_release(&b);
}

static void a_read_error_of_a_run_is_an_io_error(void **state)
{
    struct buf b = BUF_INIT;

    (void)state;
    make_text(&b);
    preads = 20;
    struct csv_result r = run(&b, 2, 0);
    preads = -1;
    assert_int_equal(r.rc, -E_IO);
    csv_result_release(&r);
    buf_release(&b);
}

static void a_full_disk_under_the_output_is_no_space(void **state)
{
    struct buf b = BUF_INIT;
    FILE *out = tmpfile();

    (void)state;
    assert_non_null(out);
    make_text(&b);
    fault = ENOSPC;
    write_fails_at_fd = fileno(out);
    struct csv_result r = run(&b, 2, fileno(out));
    write_fails_at_fd = -1;
    assert_int_equal(r.rc, -E_NO_SPACE);
    csv_result_release(&r);
    fclose(out);
    buf_release(&b);
}

static void a_missing_temporary_directory_is_an_io_error(void **state)
{
    struct buf b = BUF_INIT;
    struct csv_plan plan = csv_tiny_plan(2, 300, 1);
    struct csv_case c = {.plan = &plan, .options.temp_dir = "/nonexistent/place"};
    struct csv_result r;

    (void)state;
    make_text(&b);
    c.data = b.data;
    c.len = b.len;
    c.options.skip_bad_rows = true;
    csv_run(&c, &r);
    assert_int_equal(r.rc, -E_IO);
    assert_non_null(strstr(r.err.text, "/nonexistent/place"));
    csv_result_release(&r);
    buf_release(&b);
}

static void every_allocation_that_fails_is_an_error_and_never_a_crash(void **state)
{
    struct buf b = BUF_INIT;
    unsigned failures = 0;

    (void)state;
    make_text(&b);
    for (unsigned threads = 1; threads < 4; threads += 2)
        for (long n = 0, survived = 0; survived < 3 && n < 3000; n += 1 + n / 40) {
            allocations = n;
            struct csv_result r = {0};
            r = run(&b, threads, 0);
            bool spent = allocations < 0;
            allocations = -1;
            assert_true(r.rc == 0 || r.rc == -E_NO_MEMORY);
            failures += r.rc != 0;
            survived += !spent;
            csv_result_release(&r);
        }
    assert_true(failures > 20);
    assert_int_equal(entries_of_dir(), 0);
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_while_spilling_is_no_space_and_leaves_nothing),
        cmocka_unit_test(a_read_error_of_a_run_is_an_io_error),
        cmocka_unit_test(a_full_disk_under_the_output_is_no_space),
        cmocka_unit_test(a_missing_temporary_directory_is_an_io_error),
        cmocka_unit_test(every_allocation_that_fails_is_an_error_and_never_a_crash),
    };

    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
