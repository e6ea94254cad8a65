/* test_objstore_faults.c - the local object store while the disk misbehaves. fsync, write,
 * close, renameat2 and sync_file_range go through the wrappers below, which fail one call
 * chosen by number. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "objstore.h"

/* The failing call: the nth from now (1 is the next), 0 for none. */
struct fault {
    int nth, errnum, calls;
};

static struct fault on_fsync, on_write, on_close, on_rename, on_begin;
static bool dies_at_fsync;
static char order[16]; /* of the calls: f, d: fsync of a file, a directory; r: rename */

static void note(char call)
{
    size_t len = strlen(order);

    if (len + 1 < sizeof order)
        order[len] = call;
}

static bool strikes(struct fault *f)
{
    f->calls++;
    if (f->nth == 0 || --f->nth != 0)
        return false;
    errno = f->errnum;
    return true;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

int __real_sync_file_range(int fd, off_t at, off_t len, unsigned flags);
int __wrap_sync_file_range(int fd, off_t at, off_t len, unsigned flags);

int __wrap_sync_file_range(int fd, off_t at, off_t len, unsigned flags)
{
    return strikes(&on_begin) ? -1 : __real_sync_file_range(fd, at, len, flags);
}

int __wrap_fsync(int fd)
{
    struct stat st;

    if (dies_at_fsync)
        _exit(0);
    note(fstat(fd, &st) == 0 && S_ISDIR(st.st_mode) ? 'd' : 'f');
    return strikes(&on_fsync) ? -1 : __real_fsync(fd);
}

/* A disk that fills up takes half of the bytes first. */
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    if (on_write.nth == 2 && len > 1)
        len /= 2;
    return strikes(&on_write) ? -1 : __real_write(fd, bytes, len);
}

int __wrap_close(int fd)
{
    bool failing = strikes(&on_close);
    int rc = __real_close(fd); /* as the kernel does: closed, even when it reports an error */

    errno = failing ? on_close.errnum : errno;
    return failing ? -1 : rc;
}

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    note('r');
    return strikes(&on_rename) ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

static char dir[64];
static struct objstore *store;

static int setup(void **state)
{
    char url[128];

    (void)state;
    on_fsync = on_write = on_close = on_rename = on_begin = (struct fault){0, 0, 0};
    snprintf(dir, sizeof dir, "/tmp/segue-faults-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(url, sizeof url, "file:%s", dir);
    assert_int_equal(objstore_open(url, &store, NULL), 0);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"raw_data/a", "raw_data/a.part", "raw_data",
                                        "processed_data", ".tmp"};
    char path[128];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        remove(path);
    }
    objstore_close(store);
    return rmdir(dir);
}

static bool is_there(const char *name)
{
    char path[128];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static struct objstore_put *begin(void)
{
    struct objstore_put *p = NULL;

    assert_int_equal(objstore_put_begin(store, "raw_data/a", &p, NULL), 0);
    assert_int_equal(objstore_put_write(p, "hello", 5, NULL), 0);
    return p;
}

/* Commits, expects `code`, and that neither the object nor its part is left. */
static void commit_fails(struct objstore_put *p, int code)
{
    struct artifact a;
    struct err err = ERR_INIT;

    assert_int_equal(objstore_put_commit_free(p, &a, &err), code);
    assert_non_null(strstr(err.text, "a"));
    assert_false(is_there("raw_data/a"));
    assert_false(is_there("raw_data/a.part"));
}

static void a_failed_fsync_of_the_file_gives_it_up_without_a_second_try(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_fsync = (struct fault){1, EIO, 0};
    commit_fails(p, -E_IO);
    assert_int_equal(on_fsync.calls, 1);
}

static void a_failed_fsync_of_the_directory_takes_the_object_back(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_fsync = (struct fault){2, EIO, 0};
    commit_fails(p, -E_IO);
    assert_int_equal(on_fsync.calls, 2);
}

static void an_object_is_named_synced_and_its_name_synced_in_this_order(void **state)
{
    struct objstore_put *p = begin();
    struct artifact a;

    (void)state;
    memset(order, 0, sizeof order);
    assert_int_equal(objstore_put_commit_free(p, &a, NULL), 0);
    assert_string_equal(order, "rfd");
    assert_true(is_there("raw_data/a"));
}

static void put_in(const char *key, const char *expected)
{
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(store, key, &p, NULL), 0);
    memset(order, 0, sizeof order);
    assert_int_equal(objstore_put_commit_free(p, &a, NULL), 0);
    assert_string_equal(order, expected);
}

/* One that was removed and made again is another one: its name is as new as the first's was. */
static void a_directory_is_made_durable_once_and_again_when_it_is_another(void **state)
{
    (void)state;
    put_in("processed_data/d/a", "rfdd");
    put_in("processed_data/d/b", "rfd");
    assert_int_equal(objstore_delete(store, "processed_data/d/a", NULL), 0);
    assert_int_equal(objstore_delete(store, "processed_data/d/b", NULL), 0);
    put_in("processed_data/d/a", "rfdd");
    assert_int_equal(objstore_delete(store, "processed_data/d/a", NULL), 0);
}

static void a_directory_whose_name_could_not_be_synced_is_synced_by_the_next(void **state)
{
    struct objstore_put *p = NULL;
    struct artifact a;

    (void)state;
    assert_int_equal(objstore_put_begin(store, "processed_data/d/a", &p, NULL), 0);
    on_fsync = (struct fault){3, EIO, 0}; /* the file, its directory, the one above */
    assert_int_equal(objstore_put_commit_free(p, &a, NULL), -E_IO);
    assert_false(is_there("processed_data/d/a"));
    put_in("processed_data/d/b", "rfdd");
    assert_int_equal(objstore_delete(store, "processed_data/d/b", NULL), 0);
}

/* The power goes between the name and the sync: some of the bytes are lost. Nobody has been
 * told of the key, so what the sweep finds is one file more that nobody names. */
static void what_a_cut_leaves_was_told_to_nobody_and_can_be_swept(void **state)
{
    char path[128];
    int status;
    bool removed = false;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (child == 0) {
        struct objstore_put *p = begin();
        struct artifact a;
        dies_at_fsync = true;
        objstore_put_commit_free(p, &a, NULL);
        _exit(1); /* it has returned */
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    snprintf(path, sizeof path, "%s/raw_data/a", dir);
    assert_int_equal(truncate(path, 2), 0);
    assert_false(is_there("raw_data/a.part"));
    assert_int_equal(objstore_sweep_object(store, "raw_data/a", 0, &removed, NULL), 0);
    assert_true(removed);
    assert_false(is_there("raw_data/a"));
}

/* --- published objects --- */

static const char *const two[] = {"raw_data/a", "raw_data/b"};
static int lost[4], lost_count;

static void note_lost(size_t number, const struct err *why, void *arg)
{
    (void)arg;
    assert_int_equal(why->code, -E_IO);
    assert_int_not_equal(why->text[0], 0);
    lost[lost_count++] = (int)number;
}

static void publish(const char *key, size_t size)
{
    struct objstore_put *p = NULL;
    struct artifact a;
    char *bytes = calloc(1, size);

    assert_non_null(bytes);
    assert_int_equal(objstore_put_begin(store, key, &p, NULL), 0);
    assert_int_equal(objstore_put_write(p, bytes, size, NULL), 0);
    memset(order, 0, sizeof order);
    assert_int_equal(objstore_put_publish_free(p, &a, NULL), 0);
    assert_int_equal(a.size, size);
    free(bytes);
}

static void sync_two(void)
{
    memset(order, 0, sizeof order);
    lost_count = 0;
    on_fsync.calls = 0;
    objstore_sync(store, two, 2, note_lost, NULL);
}

static void published_objects_share_the_sync_of_their_directory(void **state)
{
    (void)state;
    publish(two[0], 5);
    assert_string_equal(order, "r"); /* nobody has waited for the disk */
    publish(two[1], 5);
    sync_two();
    assert_string_equal(order, "ffd");
    assert_int_equal(lost_count, 0);
    assert_int_equal(objstore_delete(store, two[1], NULL), 0);
}

static void a_large_one_is_durable_at_once(void **state)
{
    (void)state;
    publish(two[0], 256 << 10);
    assert_string_equal(order, "r");
    publish(two[1], (256 << 10) + 1);
    assert_string_equal(order, "rfd");
    sync_two();
    assert_string_equal(order, "fd");
    assert_int_equal(objstore_delete(store, two[1], NULL), 0);
}

static void one_whose_sync_fails_is_removed_and_tried_once(void **state)
{
    (void)state;
    publish(two[0], 5);
    publish(two[1], 5);
    on_fsync.nth = 1;
    on_fsync.errnum = EIO;
    sync_two();
    assert_string_equal(order, "ffd");
    assert_int_equal(lost_count, 1);
    assert_int_equal(lost[0], 0);
    assert_false(is_there(two[0]));
    assert_true(is_there(two[1]));
    assert_int_equal(objstore_delete(store, two[1], NULL), 0);
}

static void a_directory_whose_sync_fails_takes_all_in_it_along(void **state)
{
    (void)state;
    publish(two[0], 5);
    publish(two[1], 5);
    on_fsync.nth = 3;
    on_fsync.errnum = EIO;
    sync_two();
    assert_string_equal(order, "ffd");
    assert_int_equal(lost_count, 2);
    assert_false(is_there(two[0]));
    assert_false(is_there(two[1]));
}

/* Some file systems, and some sandboxes, do not have the call; a disk that refuses to begin has
 * lost the bytes. */
static void a_publish_that_the_disk_does_not_begin_fails(void **state)
{
    static const int harmless[] = {ENOSYS, EINVAL, ESPIPE, EOPNOTSUPP, EPERM};
    struct artifact a;

    (void)state;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        on_begin = (struct fault){1, harmless[i], 0};
        assert_int_equal(objstore_put_publish_free(begin(), &a, NULL), 0);
        assert_int_equal(objstore_delete(store, "raw_data/a", NULL), 0);
    }
    on_begin = (struct fault){1, ENOSPC, 0};
    assert_int_equal(objstore_put_publish_free(begin(), &a, NULL), -E_NO_SPACE);
    assert_false(is_there("raw_data/a"));
}

static void a_publish_whose_close_fails_gives_the_file_up(void **state)
{
    struct objstore_put *p = begin();
    struct artifact a;

    (void)state;
    on_close = (struct fault){1, EDQUOT, 0};
    assert_int_equal(objstore_put_publish_free(p, &a, NULL), -E_NO_SPACE);
    assert_false(is_there("raw_data/a"));
    assert_false(is_there("raw_data/a.part"));
}

static void a_failed_close_gives_the_file_up(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_close = (struct fault){1, EDQUOT, 0};
    commit_fails(p, -E_NO_SPACE);
}

static void a_failed_rename_gives_the_file_up(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_rename = (struct fault){1, EIO, 0};
    commit_fails(p, -E_IO);
}

static void a_file_system_without_noreplace_gets_a_hard_link(void **state)
{
    struct objstore_put *p = begin();
    struct artifact a;

    (void)state;
    on_rename = (struct fault){1, EINVAL, 0};
    assert_int_equal(objstore_put_commit_free(p, &a, NULL), 0);
    assert_true(is_there("raw_data/a"));
    assert_false(is_there("raw_data/a.part"));
}

static void a_put_with_a_failed_write_cannot_be_committed(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_write = (struct fault){2, ENOSPC, 0};
    assert_int_equal(objstore_put_write(p, "world", 5, NULL), -E_NO_SPACE);
    commit_fails(p, -E_IO);
}

static void an_aborted_put_with_a_failed_write_leaves_nothing(void **state)
{
    struct objstore_put *p = begin();

    (void)state;
    on_write = (struct fault){1, EIO, 0};
    assert_int_equal(objstore_put_write(p, "world", 5, NULL), -E_IO);
    objstore_put_abort_free(p);
    assert_false(is_there("raw_data/a.part"));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest cases[] = {
        CASE(a_failed_fsync_of_the_file_gives_it_up_without_a_second_try),
        CASE(a_failed_fsync_of_the_directory_takes_the_object_back),
        CASE(an_object_is_named_synced_and_its_name_synced_in_this_order),
        CASE(a_directory_is_made_durable_once_and_again_when_it_is_another),
        CASE(a_directory_whose_name_could_not_be_synced_is_synced_by_the_next),
        CASE(what_a_cut_leaves_was_told_to_nobody_and_can_be_swept),
        CASE(published_objects_share_the_sync_of_their_directory),
        CASE(a_large_one_is_durable_at_once),
        CASE(one_whose_sync_fails_is_removed_and_tried_once),
        CASE(a_directory_whose_sync_fails_takes_all_in_it_along),
        CASE(a_publish_that_the_disk_does_not_begin_fails),
        CASE(a_publish_whose_close_fails_gives_the_file_up),
        CASE(a_failed_close_gives_the_file_up),
        CASE(a_failed_rename_gives_the_file_up),
        CASE(a_file_system_without_noreplace_gets_a_hard_link),
        CASE(a_put_with_a_failed_write_cannot_be_committed),
        CASE(an_aborted_put_with_a_failed_write_leaves_nothing),
    };

    return cmocka_run_group_tests(cases, NULL, NULL);
}
