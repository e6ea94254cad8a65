/* Spill files have no name by the time the first byte is in them, so that nothing can stay
 * behind whatever ends the process - also where the file system knows no nameless files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "buf.h"
#include "csv_run.h"

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
ssize_t __real_pwrite(int fd, const void *bytes, size_t len, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at);

static char dir[] = "/tmp/segue-csv-spill-XXXXXX";
static int nameless_error;                  /* 0: the file system knows nameless files */
static atomic_uint refused, written, named; /* opens, writes, names seen at a write */

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;

    va_start(args, flags);
    mode_t mode =
        (flags & O_TMPFILE) == O_TMPFILE || flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if ((flags & O_TMPFILE) == O_TMPFILE && nameless_error) {
        refused++;
        errno = nameless_error;
        return -1;
    }
    return __real_open(path, flags, mode);
}

static unsigned names_in_dir(void)
{
    DIR *d = opendir(dir);
    unsigned count = 0;

    for (struct dirent *e; d && (e = readdir(d));)
        count += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return d ? count : 1;
}

ssize_t __wrap_pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    struct stat st;

    written++;
    if (fstat(fd, &st) != 0 || st.st_nlink != 0)
        named++;
    return __real_pwrite(fd, bytes, len, at);
}

static struct csv_result run(unsigned threads)
{
    struct csv_plan plan = csv_tiny_plan(threads, 300, 5000);
    struct buf b = BUF_INIT;
    struct csv_result r;

    buf_append_str(&b, "Song,Date,Number of Plays\n");
    for (unsigned i = 0; i < 2000; i++)
        buf_printf(&b, "song %u,2024-01-%02u,%u\n", i * 7919 % 997, i % 28 + 1, i);
    assert_true(buf_ok(&b));
    refused = written = named = 0;
    csv_run(
        &(struct csv_case){
            .data = b.data, .len = b.len, .plan = &plan, .options.temp_dir = dir},
        &r);
    buf_release(&b);
    return r;
}

static void no_byte_is_written_to_a_file_that_has_a_name(void **state)
{
    static const int errors[] = {0, EOPNOTSUPP, EISDIR, EINVAL};
    char *first = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        for (unsigned threads = 1; threads < 8; threads += 6) {
            nameless_error = errors[i];
            struct csv_result r = run(threads);
            nameless_error = 0;
            assert_int_equal(r.rc, 0);
            assert_true(r.stats.spilled_runs > 9);
            assert_true(written > 9);
            assert_int_equal(named, 0);
            assert_int_equal(refused > 0, errors[i] != 0);
            assert_int_equal(names_in_dir(), 0);
            if (!first)
                first = strdup(r.out);
            assert_string_equal(r.out, first);
            csv_result_release(&r);
        }
    free(first);
}

static void a_folder_that_takes_no_file_is_an_error_that_names_it(void **state)
{
    static const struct {
        int error, code;
    } cases[] = {
        {ENOSPC, -E_NO_SPACE}, {EDQUOT, -E_NO_SPACE}, {EACCES, -E_IO}, {EMFILE, -E_IO}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        nameless_error = cases[i].error;
        struct csv_result r = run(2);
        nameless_error = 0;
        assert_int_equal(r.rc, cases[i].code);
        assert_non_null(strstr(r.err.text, dir));
        assert_int_equal(names_in_dir(), 0);
        csv_result_release(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_byte_is_written_to_a_file_that_has_a_name),
        cmocka_unit_test(a_folder_that_takes_no_file_is_an_error_that_names_it),
    };

    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(dir);
    return failed;
}
