/* test_container_contract.c - what containers of blobs must do, wherever they are kept. A case
 * sees only container.h, except where it plays the part of an accident. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "container.h"
#include "http_client.h"
#include "sha256.h"

enum { SKIPPED = 77 };

static bool is_azure(void)
{
    return strcmp(CONTAINER_BACKEND, "azure") == 0;
}

struct world {
    char dir[64];
    struct objstore *objects;
    struct container_store *store;
    struct container *c; /* which is there */
    struct err err;
};

/* --- helpers --- */

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    static int number;
    const char *azure = is_azure() ? getenv("TEST_AZURE_STORAGE_CONNECTION_STRING") : NULL;
    char url[128], name[CONTAINER_NAME_MAX];
    bool existed = true;

    assert_non_null(w);
    snprintf(w->dir, sizeof w->dir, "/tmp/segue-container-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(url, sizeof url, "file:%s/store", w->dir);
    assert_int_equal(objstore_open(url, &w->objects, &w->err), 0);
    assert_int_equal(container_store_open(w->objects, azure, &w->store, &w->err), 0);
    assert_string_equal(container_store_kind(w->store), CONTAINER_BACKEND);
    snprintf(name, sizeof name, "box-%d-%d", (int)getpid(), ++number);
    assert_int_equal(container_open(w->store, name, &w->c, &w->err), 0);
    if (container_ensure(w->c, &existed, &w->err))
        fail_msg("%s", w->err.text);
    assert_string_equal(container_name(w->c), name);
    assert_false(existed);
    *state = w;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    struct world *w = *state;

    container_remove(w->c, NULL);
    container_close(w->c);
    container_store_close(w->store);
    objstore_close(w->objects);
    nftw(w->dir, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(w);
    return 0;
}

static void put(struct world *w, const char *name, const char *text)
{
    struct container_put *p = NULL;
    struct blob blob;

    if (container_put_begin(w->c, name, &p, &w->err) ||
        container_put_write(p, text, strlen(text), &w->err) ||
        container_put_commit_free(p, &blob, &w->err))
        fail_msg("%s", w->err.text);
    assert_string_equal(blob.name, name);
    assert_int_equal(blob.size, strlen(text));
}

static void assert_holds(struct world *w, const char *name, const char *text)
{
    struct blob_reader *r = NULL;
    struct blob blob;
    char got[256] = "", digest[SHA256_TEXT_MAX];
    size_t len = 0, piece = 1;

    if (container_get(w->c, name, &r, &blob, &w->err))
        fail_msg("%s", w->err.text);
    assert_string_equal(blob.name, name);
    assert_int_equal(blob.size, strlen(text));
    assert_int_equal(sha256_hex(text, strlen(text), digest, NULL), 0);
    assert_string_equal(blob.sha256, digest);
    while (piece > 0) {
        assert_int_equal(blob_read(r, got + len, 3, &piece, &w->err), 0);
        len += piece;
        assert_true(len < sizeof got - 3);
    }
    blob_close(r);
    got[len] = '\0';
    assert_string_equal(got, text);
}

static void assert_absent(struct world *w, const char *name)
{
    struct blob_reader *r = NULL;
    struct blob blob;

    assert_int_equal(container_stat(w->c, name, &blob, &w->err), -E_NOT_FOUND);
    assert_int_equal(container_get(w->c, name, &r, NULL, &w->err), -E_NOT_FOUND);
    assert_null(r);
}

/* The names of a list, each with a '|' behind it. */
static const char *listed(struct world *w, const char *prefix)
{
    static char names[16384];
    struct container_list *l = NULL;
    const struct blob *b = NULL;
    size_t len = 0;

    names[0] = '\0';
    if (container_list_begin(w->c, prefix, &l, &w->err))
        fail_msg("%s", w->err.text);
    for (;;) {
        assert_int_equal(container_list_next(l, &b, &w->err), 0);
        if (!b)
            break;
        len += (size_t)snprintf(names + len, sizeof names - len, "%s|", b->name);
        assert_true(len < sizeof names);
    }
    container_list_free(l);
    return names;
}

static int open_temp(const void *bytes, size_t len)
{
    char path[] = "/tmp/segue-blob-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, bytes, len), (ssize_t)len);
    return fd;
}

/* --- containers --- */

static void a_container_is_made_once_and_removed_with_all_it_holds(void **state)
{
    struct world *w = *state;
    bool existed = false;

    assert_int_equal(container_ensure(w->c, &existed, &w->err), 0);
    assert_true(existed);
    put(w, "a", "x");
    assert_int_equal(container_exists(w->c, &w->err), 0);
    assert_int_equal(container_remove(w->c, &w->err), 0);
    assert_int_equal(container_exists(w->c, &w->err), -E_NOT_FOUND);
    assert_absent(w, "a");
    assert_int_equal(container_remove(w->c, &w->err), 0);
}

static void without_its_container_nothing_is_put_or_listed(void **state)
{
    struct world *w = *state;
    struct container *none = NULL;
    struct container_put *p = NULL;
    struct container_list *l = NULL;
    struct blob blob;
    char commit[CONTAINER_COMMIT_MAX];

    assert_int_equal(container_open(w->store, "none-of-it", &none, &w->err), 0);
    int rc = container_put_begin(none, "a", &p, &w->err);
    if (!rc)
        rc = container_put_commit_free(p, NULL, &w->err);
    assert_int_equal(rc, -E_NOT_FOUND);
    assert_non_null(strstr(w->err.text, "none"));
    assert_int_equal(container_list_begin(none, "", &l, &w->err), -E_NOT_FOUND);
    assert_null(l);
    assert_int_equal(container_stat(none, "a", &blob, &w->err), -E_NOT_FOUND);
    assert_int_equal(container_delete(none, "a", &w->err), -E_NOT_FOUND);
    assert_int_equal(container_commit(none, commit, &w->err), -E_NOT_FOUND);
    assert_int_equal(container_set_commit(none, "x", &w->err), -E_NOT_FOUND);
    assert_int_equal(container_exists(none, &w->err), -E_NOT_FOUND);
    container_close(none);
}

static void names_that_are_none_are_refused(void **state)
{
    struct world *w = *state;
    static const char *const bad[] = {"", "A", "a_b", "a/b", "..", "-a", "a-", "a--b", "a.b"};
    struct container *c = NULL;
    struct container_put *p = NULL;
    char name[BLOB_NAME_MAX + 1];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(container_open(w->store, bad[i], &c, &w->err), -E_BAD_VALUE);
    assert_null(c);
    assert_int_equal(container_put_begin(w->c, "", &p, &w->err), -E_BAD_VALUE);
    memset(name, 'n', sizeof name);
    name[BLOB_NAME_MAX] = '\0';
    assert_int_equal(container_put_begin(w->c, name, &p, &w->err), -E_BAD_VALUE);
}

static void the_commit_is_kept_and_can_be_replaced(void **state)
{
    struct world *w = *state;
    char commit[CONTAINER_COMMIT_MAX];
    bool existed;

    assert_int_equal(container_commit(w->c, commit, &w->err), 0);
    assert_string_equal(commit, "");
    assert_int_equal(container_set_commit(w->c, "0123abc", &w->err), 0);
    assert_int_equal(container_ensure(w->c, &existed, &w->err), 0);
    assert_int_equal(container_commit(w->c, commit, &w->err), 0);
    assert_string_equal(commit, "0123abc");
    assert_int_equal(container_set_commit(w->c, "", &w->err), 0);
    assert_int_equal(container_commit(w->c, commit, &w->err), 0);
    assert_string_equal(commit, "");
    assert_int_equal(container_set_commit(w->c, "a\nb", &w->err), -E_BAD_VALUE);
}

static void a_healthy_store_says_so(void **state)
{
    struct world *w = *state;

    assert_int_equal(container_store_check(w->store, &w->err), 0);
}

/* --- blobs --- */

static void a_blob_is_read_back_whole(void **state)
{
    struct world *w = *state;

    put(w, "README.md", "hello world");
    put(w, "empty", "");
    assert_holds(w, "README.md", "hello world");
    assert_holds(w, "empty", "");
    assert_absent(w, "readme.md");
    assert_int_equal(container_flush(w->c, &w->err), 0);
}

static void a_blob_replaces_the_older_one(void **state)
{
    struct world *w = *state;

    put(w, "a", "first");
    put(w, "a", "second");
    assert_holds(w, "a", "second");
    assert_string_equal(listed(w, ""), "a|");
}

static void a_blob_is_not_there_before_its_commit(void **state)
{
    struct world *w = *state;
    struct container_put *p = NULL;

    put(w, "old", "before");
    assert_int_equal(container_put_begin(w->c, "a", &p, &w->err), 0);
    assert_int_equal(container_put_write(p, "x", 1, &w->err), 0);
    assert_absent(w, "a");
    assert_string_equal(listed(w, ""), "old|");
    container_put_abort_free(p);
    container_put_abort_free(NULL);
    assert_int_equal(container_put_begin(w->c, "old", &p, &w->err), 0);
    assert_int_equal(container_put_write(p, "x", 1, &w->err), 0);
    assert_holds(w, "old", "before");
    container_put_abort_free(p);
    assert_absent(w, "a");
}

static void a_writer_that_is_killed_leaves_the_older_blob(void **state)
{
    struct world *w = *state;
    int status;

    put(w, "old", "before");
    pid_t child = fork();
    if (child == 0) {
        struct container_put *p = NULL;
        if (container_put_begin(w->c, "old", &p, NULL) == 0 &&
            container_put_write(p, "half", 4, NULL) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_holds(w, "old", "before");
    assert_string_equal(listed(w, ""), "old|");
}

static void a_file_goes_in_with_its_digest_and_keeps_its_offset(void **state)
{
    struct world *w = *state;
    struct blob blob;
    int fd = open_temp("file text", 9);

    assert_int_equal(lseek(fd, 4, SEEK_SET), 4);
    assert_int_equal(container_put_file(w->c, "dir/file", fd, &blob, &w->err), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 4);
    assert_int_equal(blob.size, 9);
    assert_int_equal(strlen(blob.sha256), 64);
    assert_int_equal(container_put_file(w->c, "dir/file", fd, NULL, &w->err), 0);
    close(fd);
    assert_holds(w, "dir/file", "file text");
    fd = open("/tmp", O_RDONLY | O_DIRECTORY);
    assert_int_equal(container_put_file(w->c, "x", fd, &blob, &w->err), -E_BAD_VALUE);
    close(fd);
}

static void a_deleted_blob_is_gone_and_may_be_deleted_again(void **state)
{
    struct world *w = *state;

    put(w, "a", "x");
    put(w, "b", "x");
    assert_int_equal(container_delete(w->c, "a", &w->err), 0);
    assert_absent(w, "a");
    assert_int_equal(container_delete(w->c, "a", &w->err), 0);
    assert_int_equal(container_delete(w->c, "never", &w->err), 0);
    assert_string_equal(listed(w, ""), "b|");
}

/* Bytes that no two blocks share, told by a few numbers. */
static void fill(unsigned char *to, size_t len, uint32_t seed)
{
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1664525 + 1013904223;
        to[i] = (unsigned char)(seed >> 24);
    }
}

static void assert_content(struct world *w, const char *name, const unsigned char *bytes,
                           size_t len)
{
    struct blob_reader *r = NULL;
    static unsigned char piece[100003];
    size_t at = 0, got = 1;

    assert_int_equal(container_get(w->c, name, &r, NULL, &w->err), 0);
    while (got > 0) {
        if (blob_read(r, piece, sizeof piece, &got, &w->err))
            fail_msg("%s", w->err.text);
        assert_true(at + got <= len);
        assert_memory_equal(piece, bytes + at, got);
        at += got;
    }
    assert_int_equal(at, len);
    blob_close(r);
}

static void large_blobs_come_back_byte_for_byte(void **state)
{
    static const size_t sizes[] = {(4 << 20) - 1, 4 << 20, (4 << 20) + 1, (13 << 20) + 5};
    struct world *w = *state;
    struct container_put *p;
    struct blob as_file, as_stream;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *bytes = malloc(sizes[i]);
        assert_non_null(bytes);
        fill(bytes, sizes[i], (uint32_t)i);
        int fd = open_temp(bytes, sizes[i]);
        if (container_put_file(w->c, "file", fd, &as_file, &w->err))
            fail_msg("%s", w->err.text);
        close(fd);
        assert_content(w, "file", bytes, sizes[i]);

        assert_int_equal(container_put_begin(w->c, "stream", &p, &w->err), 0);
        for (size_t at = 0; at < sizes[i]; at += 77777) {
            size_t some = sizes[i] - at < 77777 ? sizes[i] - at : 77777;
            assert_int_equal(container_put_write(p, bytes + at, some, &w->err), 0);
        }
        if (container_put_commit_free(p, &as_stream, &w->err))
            fail_msg("%s", w->err.text);
        assert_content(w, "stream", bytes, sizes[i]);
        assert_string_equal(as_file.sha256, as_stream.sha256);
        assert_int_equal(as_stream.size, sizes[i]);
        free(bytes);
    }
}

/* Names that a file system or a URL would mix up, change or follow. In the order of bytes. */
static const char *const odd_names[] = {
    "\x01\x02",
    " ",
    " a",
    "%2e%2e/%2e%2e/x",
    "%5C",
    "%zz",
    "&<>\"'",
    "-rf",
    ".",
    "..",
    "../../../../etc/passwd",
    "./a",
    ".git/config",
    "/abs",
    "//",
    "A",
    "C:\\x",
    "a",
    "a b+c",
    "a.",
    "a/",
    "a/../../b",
    "a//b",
    "a/b",
    "a?b#c",
    "a\n",
    "a\nb",
    "a\\b",
    "aux",
    "blobs",
    "info",
    "x.part",
    "~",
    "\xc3\xa9",
    "\xc3\xa9\xff\xfe",
    "\xe2\x80\xaegnp.exe",
    "\xef\xbf\xbf",
    "\xf0\x9f\x98\x80",
    "\xff",
};

enum { ODD_NAMES = sizeof odd_names / sizeof odd_names[0] };

static void odd_names_stay_apart_and_inside(void **state)
{
    struct world *w = *state;
    char text[32];

    for (size_t i = 0; i < ODD_NAMES; i++) {
        snprintf(text, sizeof text, "content %zu", i);
        put(w, odd_names[i], text);
    }
    for (size_t i = 0; i < ODD_NAMES; i++) {
        snprintf(text, sizeof text, "content %zu", i);
        assert_holds(w, odd_names[i], text);
    }
    assert_int_not_equal(access("/abs", F_OK), 0);
}

static void odd_names_are_listed_as_they_are(void **state)
{
    struct world *w = *state;
    struct container_list *l = NULL;
    const struct blob *b = NULL;
    bool seen[ODD_NAMES] = {false};
    size_t count = 0;

    for (size_t i = 0; i < ODD_NAMES; i++)
        put(w, odd_names[i], "x");
    assert_int_equal(container_list_begin(w->c, "", &l, &w->err), 0);
    while (container_list_next(l, &b, &w->err) == 0 && b) {
        for (size_t i = 0; i < ODD_NAMES; i++) {
            if (strcmp(odd_names[i], b->name) == 0 && !seen[i]) {
                seen[i] = true;
                count++;
            }
        }
    }
    container_list_free(l);
    assert_int_equal(count, ODD_NAMES);
}

static void long_names_work_up_to_the_limit(void **state)
{
    struct world *w = *state;
    char name[1025];

    memset(name, 'n', 1024);
    name[1024] = '\0';
    for (size_t i = 200; i < 1000; i += 200)
        name[i] = '/';
    put(w, name, "long");
    assert_holds(w, name, "long");
    memset(name, 'm', 255);
    name[255] = '\0';
    put(w, name, "segment");
    assert_holds(w, name, "segment");
}

/* --- lists --- */

static void a_list_is_sorted_and_keeps_to_its_prefix(void **state)
{
    struct world *w = *state;

    assert_string_equal(listed(w, ""), "");
    put(w, "b", "x");
    put(w, "a/c", "x");
    put(w, "a.b", "x");
    put(w, "a", "x");
    put(w, "B", "x");
    assert_string_equal(listed(w, ""), "B|a|a.b|a/c|b|");
    assert_string_equal(listed(w, "a"), "a|a.b|a/c|");
    assert_string_equal(listed(w, "a/"), "a/c|");
    assert_string_equal(listed(w, "c"), "");
}

static void a_long_list_holds_everything_once_with_size_and_digest(void **state)
{
    struct world *w = *state;
    struct container_list *l = NULL;
    const struct blob *b = NULL;
    char name[64], last[BLOB_NAME_MAX] = "", digest[SHA256_TEXT_MAX];
    int count = 0;

    assert_int_equal(sha256_hex("x", 1, digest, NULL), 0);
    const int many = is_azure() ? 1100 : 3000; /* more than a page */

    for (int i = 0; i < many; i++) {
        snprintf(name, sizeof name, "dir%d/file-%05d", i % 7, i);
        put(w, name, "x");
    }
    assert_int_equal(container_list_begin(w->c, "", &l, &w->err), 0);
    while (container_list_next(l, &b, &w->err) == 0 && b) {
        assert_true(strcmp(last, b->name) < 0);
        assert_int_equal(b->size, 1);
        assert_string_equal(b->sha256, digest);
        memcpy(last, b->name, strlen(b->name) + 1);
        count++;
    }
    container_list_free(l);
    assert_int_equal(count, many);
}

/* --- accidents of the disk --- */

static void a_reader_of_a_replaced_blob_goes_on_with_the_older_one(void **state)
{
    struct world *w = *state;
    struct blob_reader *r = NULL;
    char got[16] = "";
    size_t len;

    put(w, "a", "first");
    assert_int_equal(container_get(w->c, "a", &r, NULL, &w->err), 0);
    put(w, "a", "second");
    assert_int_equal(blob_read(r, got, sizeof got - 1, &len, &w->err), 0);
    assert_string_equal(got, "first");
    assert_int_equal(blob_read(r, got, sizeof got - 1, &len, &w->err), 0);
    assert_int_equal(len, 0);
    blob_close(r);
}

static char only_blob[512];

static int find_blob(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    if (type == FTW_F && strstr(path, "/blobs/"))
        snprintf(only_blob, sizeof only_blob, "%s", path);
    return 0;
}

static const char *file_of_only_blob(struct world *w)
{
    only_blob[0] = '\0';
    nftw(w->dir, find_blob, 16, FTW_PHYS);
    assert_true(only_blob[0] != '\0');
    return only_blob;
}

static void a_file_that_a_power_loss_cut_is_no_blob(void **state)
{
    struct world *w = *state;

    put(w, "a", "some content");
    for (off_t size = 60; size >= 0; size -= 20) {
        assert_int_equal(truncate(file_of_only_blob(w), size), 0);
        assert_absent(w, "a");
        assert_string_equal(listed(w, ""), "");
    }
    put(w, "a", "again");
    assert_holds(w, "a", "again");
}

static void a_damaged_blob_is_told_at_its_end(void **state)
{
    struct world *w = *state;
    struct blob_reader *r = NULL;
    char got[64];
    size_t len = 0;

    put(w, "a", "some content");
    int fd = open(file_of_only_blob(w), O_WRONLY);
    assert_int_equal(pwrite(fd, "S", 1, 0), 1);
    close(fd);
    assert_int_equal(container_get(w->c, "a", &r, NULL, &w->err), 0);
    assert_int_equal(blob_read(r, got, sizeof got, &len, &w->err), 0);
    assert_int_equal(len, 12);
    assert_int_equal(blob_read(r, got, sizeof got, &len, &w->err), -E_CORRUPT);
    blob_close(r);
}

static int files_seen;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)ftw;
    files_seen += type == FTW_F && strstr(path, "/blobs/");
    return 0;
}

static void a_full_disk_is_told_and_leaves_the_older_blob(void **state)
{
    static char block[1 << 16];
    struct world *w = *state;
    struct container *c = NULL, *usual = w->c;
    struct container_put *p = NULL;
    char root[80];
    bool existed;
    int rc = 0;

    snprintf(root, sizeof root, "%s/store", w->dir);
    if (mount("tmpfs", root, "tmpfs", 0, "size=1m") != 0) {
        print_message("skipped: a small file system takes the right to mount\n");
        skip();
    }
    assert_int_equal(container_open(w->store, "full", &c, &w->err), 0);
    assert_int_equal(container_ensure(c, &existed, &w->err), 0);
    w->c = c;
    put(w, "a", "before");
    assert_int_equal(container_put_begin(c, "a", &p, &w->err), 0);
    for (int i = 0; i < 64 && rc == 0; i++)
        rc = container_put_write(p, block, sizeof block, &w->err);
    assert_int_equal(rc, -E_NO_SPACE);
    assert_int_not_equal(container_put_commit_free(p, NULL, &w->err), 0);
    assert_holds(w, "a", "before");
    files_seen = 0;
    nftw(root, count_file, 16, FTW_PHYS);
    assert_int_equal(files_seen, 1);
    container_close(c);
    w->c = usual;
}

static int unmount_and_teardown(void **state)
{
    struct world *w = *state;
    char root[80];

    snprintf(root, sizeof root, "%s/store", w->dir);
    umount2(root, MNT_DETACH);
    return teardown(state);
}

static void the_sweep_of_the_store_takes_orphans_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct container_put *live = NULL;
    uint64_t removed = 0;
    int status;

    pid_t child = fork();
    if (child == 0) {
        struct container_put *p = NULL;
        _exit(container_put_begin(w->c, "orphan", &p, NULL) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(container_put_begin(w->c, "live", &live, &w->err), 0);
    assert_int_equal(objstore_sweep_parts(w->objects, 0, &removed, &w->err), 0);
    assert_int_equal(removed, 1);
    assert_int_equal(container_put_commit_free(live, NULL, &w->err), 0);
    assert_holds(w, "live", "");
    assert_int_equal(container_delete(w->c, "live", &w->err), 0);
    assert_int_equal(objstore_sweep_parts(w->objects, 0, &removed, &w->err), 0);
    assert_int_equal(container_exists(w->c, &w->err), 0); /* empty, but there */
    put(w, "live", "again");
}

static bool is_there(void)
{
    const char *all = getenv("SEGUE_TEST_REQUIRE_ALL");

    if (!is_azure() || getenv("TEST_AZURE_STORAGE_CONNECTION_STRING"))
        return true;
    printf("skipped: TEST_AZURE_STORAGE_CONNECTION_STRING is not set\n");
    exit(all && strcmp(all, "1") == 0 ? 1 : SKIPPED);
}

int main(void)
{
    static const struct CMUnitTest everywhere[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        CASE(a_container_is_made_once_and_removed_with_all_it_holds),
        CASE(without_its_container_nothing_is_put_or_listed),
        CASE(names_that_are_none_are_refused),
        CASE(the_commit_is_kept_and_can_be_replaced),
        CASE(a_healthy_store_says_so),
        CASE(a_blob_is_read_back_whole),
        CASE(a_blob_replaces_the_older_one),
        CASE(a_blob_is_not_there_before_its_commit),
        CASE(a_writer_that_is_killed_leaves_the_older_blob),
        CASE(a_file_goes_in_with_its_digest_and_keeps_its_offset),
        CASE(large_blobs_come_back_byte_for_byte),
        CASE(a_deleted_blob_is_gone_and_may_be_deleted_again),
        CASE(odd_names_stay_apart_and_inside),
        CASE(odd_names_are_listed_as_they_are),
        CASE(long_names_work_up_to_the_limit),
        CASE(a_list_is_sorted_and_keeps_to_its_prefix),
        CASE(a_long_list_holds_everything_once_with_size_and_digest),
    };
    static const struct CMUnitTest on_a_disk[] = {
        CASE(a_reader_of_a_replaced_blob_goes_on_with_the_older_one),
        CASE(a_file_that_a_power_loss_cut_is_no_blob),
        CASE(a_damaged_blob_is_told_at_its_end),
        CASE(the_sweep_of_the_store_takes_orphans_and_nothing_else),
        cmocka_unit_test_setup_teardown(a_full_disk_is_told_and_leaves_the_older_blob, setup,
                                        unmount_and_teardown),
    };
    int failed = is_there() && http_client_global_init(NULL) == 0 ? 0 : 1;

    failed += cmocka_run_group_tests(everywhere, NULL, NULL);
    if (!is_azure())
        failed += cmocka_run_group_tests(on_a_disk, NULL, NULL);
    return failed;
}
