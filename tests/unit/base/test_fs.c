/* test_fs.c - paths that try to escape, and files read and written whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"

static char dir[64];
static int root_fd = -1;

static const char *in_dir(const char *name)
{
    static char path[256];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/segue-fs-XXXXXX");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(mkdir(in_dir("root"), 0700), 0);
    assert_int_equal(mkdir(in_dir("outside"), 0700), 0);
    root_fd = fs_open_dir(in_dir("root"), NULL);
    assert_true(root_fd >= 0);
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    close(root_fd);
    return nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void no_path_leads_out_of_the_directory(void **state)
{
    static const char *const escapes[] = {
        "../outside/x",
        "/etc/passwd",
        "a/../../outside",
        "link/x",
        "file_link",
        "abs_link/x",
        "/proc/self/root/etc/passwd",
    };
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(mkdir(in_dir("root/a"), 0700), 0);
    assert_int_equal(symlink("../outside", in_dir("root/link")), 0);
    assert_int_equal(symlink("/tmp", in_dir("root/abs_link")), 0);
    assert_int_equal(symlink("../outside/x", in_dir("root/file_link")), 0);
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        assert_int_equal(fs_open_beneath(root_fd, escapes[i], O_RDONLY, 0, &err), -E_BAD_VALUE);
        assert_non_null(strstr(err.text, escapes[i]));
        assert_int_equal(fs_open_beneath(root_fd, escapes[i], O_WRONLY | O_CREAT, 0600, &err),
                         -E_BAD_VALUE);
    }
    assert_int_not_equal(access(in_dir("outside/x"), F_OK), 0);
}

static void no_directory_is_made_outside(void **state)
{
    static const char *const escapes[] = {"../outside/x", "link/x", "link/x/y", "/tmp/segue-x",
                                          "a/../../outside/x"};

    (void)state;
    assert_int_equal(symlink("../outside", in_dir("root/link")), 0);
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++)
        assert_int_equal(fs_make_dirs_beneath(root_fd, escapes[i], NULL), -E_BAD_VALUE);
    assert_int_not_equal(access(in_dir("outside/x"), F_OK), 0);
}

static void directories_are_made_with_their_parents(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    assert_int_equal(fs_make_dirs(in_dir("one/two//three/"), &err), 0);
    assert_int_equal(fs_make_dirs(in_dir("one/two/three"), &err), 0);
    assert_int_equal(access(in_dir("one/two/three"), F_OK), 0);
    assert_int_equal(fs_make_dirs_beneath(root_fd, "a/b//c/", &err), 0);
    assert_int_equal(fs_make_dirs_beneath(root_fd, "a/b/c", &err), 0);
    assert_int_equal(fs_make_dirs_beneath(root_fd, "./a/d", &err), 0);
    assert_int_equal(access(in_dir("root/a/b/c"), F_OK), 0);
    assert_int_equal(access(in_dir("root/a/d"), F_OK), 0);
}

static void a_file_in_the_way_of_a_directory_is_named(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    close(open(in_dir("root/file"), O_WRONLY | O_CREAT, 0600));
    assert_int_equal(fs_make_dirs_beneath(root_fd, "file/x", &err), -E_EXISTS);
    assert_non_null(strstr(err.text, "file"));
    assert_int_equal(fs_make_dirs(in_dir("root/file"), &err), -E_EXISTS);
}

static void opening_what_is_not_there_or_taken_says_so(void **state)
{
    (void)state;
    assert_int_equal(fs_open_beneath(root_fd, "no", O_RDONLY, 0, NULL), -E_NOT_FOUND);
    int fd = fs_open_beneath(root_fd, "f", O_WRONLY | O_CREAT | O_EXCL, 0600, NULL);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    assert_int_equal(fs_open_beneath(root_fd, "f", O_WRONLY | O_CREAT | O_EXCL, 0600, NULL),
                     -E_EXISTS);
    assert_int_equal(fs_open_dir(in_dir("no"), NULL), -E_NOT_FOUND);
}

enum { MUCH = 1 << 20 }; /* more than a pipe holds */

static void *drain(void *arg)
{
    static char block[4096];
    ssize_t got;
    size_t sum = 0;

    while ((got = read(*(int *)arg, block, sizeof block)) > 0)
        sum += (size_t)got;
    return (void *)sum;
}

static void write_all_goes_on_after_short_writes(void **state)
{
    char *bytes = calloc(1, MUCH);
    int ends[2];
    pthread_t reader;
    void *sum = NULL;

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pthread_create(&reader, NULL, drain, &ends[0]), 0);
    assert_int_equal(fs_write_all(ends[1], bytes, MUCH, "pipe", NULL), 0);
    close(ends[1]);
    pthread_join(reader, &sum);
    assert_int_equal((size_t)sum, MUCH);
    close(ends[0]);
    free(bytes);
}

static void write_all_tells_a_full_disk_from_other_failures(void **state)
{
    struct err err = ERR_INIT;

    (void)state;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(full >= 0);
    assert_int_equal(fs_write_all(full, "x", 1, "f", &err), -E_NO_SPACE);
    assert_non_null(strstr(err.text, "'f'"));
    close(full);
    assert_int_equal(fs_write_all(-1, "x", 1, "f", &err), -E_IO);
}

static void small_files_are_read_up_to_their_limit(void **state)
{
    char *text = NULL;
    struct err err = ERR_INIT;

    (void)state;
    int fd = open(in_dir("f"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "12345", 5), 5);
    close(fd);
    assert_int_equal(fs_read_small(in_dir("f"), 5, &text, &err), 0);
    assert_string_equal(text, "12345");
    free(text);
    assert_int_equal(fs_read_small(in_dir("f"), 4, &text, &err), -E_TOO_BIG);
    assert_int_equal(fs_read_small(in_dir("no"), 4, &text, &err), -E_NOT_FOUND);
    assert_int_equal(fs_read_small(dir, 4, &text, &err), -E_IO);
}

static void the_parent_can_be_synced_and_free_space_read(void **state)
{
    uint64_t bytes = 0;

    (void)state;
    assert_int_equal(fs_make_dirs_beneath(root_fd, "a/b", NULL), 0);
    assert_int_equal(fs_sync_parent(root_fd, "a/b", NULL), 0);
    assert_int_equal(fs_sync_parent(root_fd, "a", NULL), 0);
    assert_int_equal(fs_sync_parent(root_fd, "no/x", NULL), -E_NOT_FOUND);
    assert_int_equal(fs_free_bytes(root_fd, &bytes, NULL), 0);
    assert_true(bytes > 0);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(no_path_leads_out_of_the_directory),
        CASE(no_directory_is_made_outside),
        CASE(directories_are_made_with_their_parents),
        CASE(a_file_in_the_way_of_a_directory_is_named),
        CASE(opening_what_is_not_there_or_taken_says_so),
        CASE(write_all_goes_on_after_short_writes),
        CASE(write_all_tells_a_full_disk_from_other_failures),
        CASE(small_files_are_read_up_to_their_limit),
        CASE(the_parent_can_be_synced_and_free_space_read),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
