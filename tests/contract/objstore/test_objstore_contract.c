/* test_objstore_contract.c - what every object store must do, run against each
 * implementation in the table below. A case sees only objstore.h, except where it plays the
 * part of an accident (a crash, a planted symlink, a full disk). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "container.h"
#include "fs.h"
#include "http_client.h"
#include "objstore.h"
#include "sha256.h"

/* "file:DIR/store" for a fresh directory. */
static void make_local_url(char *url, size_t size, const char *dir)
{
    snprintf(url, size, "file:%s/store", dir);
}

/* "azure:CONTAINER" for a fresh container. */
static void make_azure_url(char *url, size_t size, const char *dir)
{
    static int number;

    (void)dir;
    snprintf(url, size, "azure:objects-%d-%d", (int)getpid(), ++number);
}

/* Accidents that play in the folder of a store are for the ones that have a folder. */
static const struct implementation {
    const char *name, *needs; /* a variable of the environment, its connection */
    void (*make_url)(char *url, size_t size, const char *dir);
    bool is_folder;
} implementations[] = {
    {"local", NULL, make_local_url, true},
    {"azure", "TEST_AZURE_STORAGE_CONNECTION_STRING", make_azure_url, false},
};

struct world {
    const struct implementation *implementation;
    char dir[64];   /* temporary, outside of the store */
    char root[128]; /* of the store */
    char url[256];
    struct objstore *store;
    struct err err;
};

static const char *path_in(const char *dir, const char *name)
{
    static char path[512];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char url[256];

    assert_non_null(w);
    w->implementation = *state;
    snprintf(w->dir, sizeof w->dir, "/tmp/segue-objstore-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->root, sizeof w->root, "%s/store", w->dir);
    w->implementation->make_url(url, sizeof url, w->dir);
    const char *needs = w->implementation->needs;
    if (objstore_open_on(url, needs ? getenv(needs) : NULL, &w->store, &w->err))
        fail_msg("%s", w->err.text);
    snprintf(w->url, sizeof w->url, "%s", url);
    *state = w;
    return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void remove_container(const struct world *w)
{
    struct container_store *containers = NULL;
    struct container *c = NULL;
    const char *needs = w->implementation->needs;

    if (!needs)
        return;
    assert_int_equal(container_store_open(NULL, getenv(needs), &containers, NULL), 0);
    assert_int_equal(container_open(containers, strchr(w->url, ':') + 1, &c, NULL), 0);
    assert_int_equal(container_remove(c, NULL), 0);
    container_close(c);
    container_store_close(containers);
}

static int teardown(void **state)
{
    struct world *w = *state;

    objstore_close(w->store);
    remove_tree(w->dir);
    remove_container(w);
    free(w);
    return 0;
}

/* --- helpers --- */

static void put_text(struct world *w, const char *key, const char *text, struct artifact *ret)
{
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(w->store, key, &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, text, strlen(text), &w->err), 0);
    assert_int_equal(objstore_put_commit_free(p, ret ? ret : &a, &w->err), 0);
}

static void assert_holds(struct world *w, const char *key, const char *text)
{
    char got[256] = "";
    uint64_t size = 0;
    int fd = -1;

    assert_int_equal(objstore_get(w->store, key, &fd, &size, &w->err), 0);
    assert_int_equal(size, strlen(text));
    assert_int_equal(read(fd, got, sizeof got - 1), (ssize_t)strlen(text));
    assert_string_equal(got, text);
    close(fd);
}

static void assert_absent(struct world *w, const char *key)
{
    uint64_t size;
    int fd;

    assert_int_equal(objstore_get(w->store, key, &fd, &size, &w->err), -E_NOT_FOUND);
}

static int count_visits(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    (void)key, (void)size;
    assert_true(age_ms >= 0 && age_ms < 3600 * 1000);
    ++*(int *)arg;
    return 0;
}

static int count_listed(struct world *w, const char *prefix)
{
    int count = 0;

    assert_int_equal(objstore_list(w->store, prefix, count_visits, &count, &w->err), 0);
    return count;
}

static int files_seen;

static int count_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path, (void)st, (void)ftw;
    files_seen += type != FTW_D && type != FTW_DP;
    return 0;
}

/* Files of any kind under the store's root, unfinished ones too. */
static int count_files(const struct world *w)
{
    files_seen = 0;
    if (!w->implementation->is_folder)
        return count_listed((struct world *)(uintptr_t)w, "");
    nftw(w->root, count_file, 16, FTW_PHYS);
    return files_seen;
}

/* A put whose process dies in the middle, two hours ago. */
static void leave_orphan(struct world *w, const char *key)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        struct objstore_put *p = NULL;
        bool ok = objstore_put_begin(w->store, key, &p, NULL) == 0 &&
                  objstore_put_write(p, "half", 4, NULL) == 0;
        _exit(ok ? 0 : 1);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void set_age_s(const char *path, time_t age_s)
{
    struct timespec times[2] = {{time(NULL) - age_s, 0}, {time(NULL) - age_s, 0}};

    assert_int_equal(utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW), 0);
}

/* --- whole or nothing --- */

static void a_committed_object_can_be_read_back(void **state)
{
    struct world *w = *state;
    struct artifact a;

    put_text(w, "raw_data/a.csv", "one two", &a);
    assert_string_equal(a.key, "raw_data/a.csv");
    assert_int_equal(a.size, 7);
    assert_holds(w, "raw_data/a.csv", "one two");
    assert_int_equal(count_files(w), 1);
}

static void an_object_is_not_there_before_its_commit(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "x", 1, &w->err), 0);
    assert_absent(w, "raw_data/a");
    assert_int_equal(count_listed(w, ""), 0);
    assert_int_equal(objstore_put_commit_free(p, &a, &w->err), 0);
    assert_holds(w, "raw_data/a", "x");
}

/* -- published objects -- */

enum { MANY = 40 }; /* more than are synced in one go */

struct lost {
    size_t count;
    size_t numbers[MANY];
    int code;
};

static void note_lost(size_t number, const struct err *why, void *arg)
{
    struct lost *l = arg;

    assert_true(why->text[0]);
    l->numbers[l->count++] = number;
    l->code = why->code;
}

static void publish_text(struct world *w, const char *key, const char *text,
                         struct artifact *ret)
{
    struct objstore_put *p = NULL;

    assert_int_equal(objstore_put_begin(w->store, key, &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, text, strlen(text), &w->err), 0);
    assert_int_equal(objstore_put_publish_free(p, ret, &w->err), 0);
}

static void a_published_object_is_whole_before_and_after_its_sync(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {"raw_data/p"};
    struct artifact told, seen;
    struct lost lost = {0};

    publish_text(w, keys[0], "hello", &told);
    assert_string_equal(told.key, keys[0]);
    assert_int_equal(objstore_stat(w->store, keys[0], true, &seen, &w->err), 0);
    assert_int_equal(seen.size, told.size);
    assert_string_equal(seen.sha256, told.sha256);
    objstore_sync(w->store, keys, 1, note_lost, &lost);
    objstore_sync(w->store, keys, 1, note_lost, &lost); /* it may be durable already */
    assert_int_equal(lost.count, 0);
    assert_int_equal(objstore_stat(w->store, keys[0], true, &seen, &w->err), 0);
}

static void a_publish_never_replaces_what_came_in_between(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/p", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "late", 4, &w->err), 0);
    int fd = open(path_in(w->root, "raw_data/p"), O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(objstore_put_publish_free(p, &a, &w->err), -E_EXISTS);
    assert_int_equal(objstore_stat(w->store, "raw_data/p", false, &a, &w->err), 0);
    assert_int_equal(a.size, 0);
}

static void many_are_synced_at_once_in_several_folders(void **state)
{
    struct world *w = *state;
    char keys[MANY][64];
    const char *list[MANY];
    struct artifact a;
    struct lost lost = {0};

    for (int i = 0; i < MANY; i++) {
        snprintf(keys[i], sizeof keys[i], "processed_data/%02d/many%d", i % 7, i);
        list[i] = keys[i];
        publish_text(w, keys[i], "x", &a);
    }
    objstore_sync(w->store, list, MANY, note_lost, &lost);
    assert_int_equal(lost.count, 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(objstore_stat(w->store, keys[i], false, &a, &w->err), 0);
}

static void what_is_not_there_is_lost_and_the_others_are_not(void **state)
{
    struct world *w = *state;
    static const char *const keys[] = {"raw_data/gone", "raw_data/p", "nowhere/at/all", "",
                                       "raw_data"};
    struct artifact a;
    struct lost lost = {0};

    publish_text(w, "raw_data/p", "hello", &a);
    objstore_sync(w->store, keys, 5, note_lost, &lost);
    assert_int_equal(lost.count, 4);
    assert_int_equal(lost.numbers[0], 0);
    assert_int_equal(lost.numbers[1], 2);
    assert_int_equal(lost.numbers[2], 3);
    assert_int_equal(lost.numbers[3], 4);
    assert_int_equal(objstore_stat(w->store, "raw_data/p", false, &a, &w->err), 0);
}

static void an_aborted_put_leaves_nothing(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "x", 1, &w->err), 0);
    objstore_put_abort_free(p);
    objstore_put_abort_free(NULL);
    assert_absent(w, "raw_data/a");
    assert_int_equal(count_files(w), 0);
    put_text(w, "raw_data/a", "again", NULL);
}

static void an_empty_object_is_an_object(void **state)
{
    struct world *w = *state;
    struct artifact a;

    put_text(w, "raw_data/empty", "", &a);
    assert_int_equal(a.size, 0);
    assert_string_equal(a.sha256,
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_holds(w, "raw_data/empty", "");
}

static void a_taken_key_is_refused_and_keeps_its_object(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;

    put_text(w, "raw_data/a", "first", NULL);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), -E_EXISTS);
    assert_non_null(strstr(w->err.text, "raw_data/a"));
    assert_holds(w, "raw_data/a", "first");
    assert_int_equal(count_files(w), 1);
}

static void of_two_puts_at_once_one_wins(void **state)
{
    struct world *w = *state;
    struct objstore_put *first = NULL, *second = NULL;
    struct artifact a;
    int won = 0;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &first, &w->err), 0);
    int rc = objstore_put_begin(w->store, "raw_data/a", &second, &w->err);
    assert_true(rc == 0 || rc == -E_EXISTS);
    assert_int_equal(objstore_put_write(first, "first", 5, &w->err), 0);
    if (rc == 0) {
        rc = objstore_put_commit_free(second, &a, &w->err);
        won += rc == 0;
    }
    rc = objstore_put_commit_free(first, &a, &w->err);
    assert_true(rc == 0 || rc == -E_EXISTS);
    won += rc == 0;
    assert_int_equal(won, 1);
    assert_int_equal(count_files(w), 1);
}

static void a_commit_never_replaces_what_came_in_between(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "late", 4, &w->err), 0);
    if (w->implementation->is_folder) {
        int fd = open(path_in(w->root, "raw_data/a"), O_WRONLY | O_CREAT | O_EXCL, 0600);
        assert_int_equal(write(fd, "early", 5), 5);
        close(fd);
    } else {
        put_text(w, "raw_data/a", "early", NULL);
    }
    assert_int_equal(objstore_put_commit_free(p, &a, &w->err), -E_EXISTS);
    assert_holds(w, "raw_data/a", "early");
    assert_int_equal(count_files(w), 1);
}

/* --- digests --- */

static void digests_are_those_of_the_standard(void **state)
{
    static const struct {
        const char *text, *hex;
    } cases[] = {
        {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
        {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
         "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    };
    struct world *w = *state;
    struct artifact a;
    char hex[SHA256_TEXT_MAX], key[32];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        snprintf(key, sizeof key, "raw_data/%zu", i);
        put_text(w, key, cases[i].text, &a);
        assert_string_equal(a.sha256, cases[i].hex);
        assert_int_equal(sha256_hex(cases[i].text, strlen(cases[i].text), hex, &w->err), 0);
        assert_string_equal(hex, cases[i].hex);
        memset(&a, 0, sizeof a);
        assert_int_equal(objstore_stat(w->store, key, true, &a, &w->err), 0);
        assert_string_equal(a.sha256, cases[i].hex);
        assert_string_equal(a.key, key);
    }
}

static void writing_to_the_fd_equals_writing_by_calls(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact by_fd, by_call;
    const size_t big = 300000; /* larger than one read of the hash */
    char *bytes = malloc(big);

    assert_non_null(bytes);
    for (size_t i = 0; i < big; i++)
        bytes[i] = (char)(i * 7 + i / 251);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/fd", &p, &w->err), 0);
    assert_int_equal(fs_write_all(objstore_put_fd(p), bytes, big, "test", &w->err), 0);
    assert_int_equal(objstore_put_commit_free(p, &by_fd, &w->err), 0);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/call", &p, &w->err), 0);
    for (size_t at = 0; at < big; at += 1000)
        assert_int_equal(objstore_put_write(p, bytes + at, 1000, &w->err), 0);
    assert_int_equal(objstore_put_commit_free(p, &by_call, &w->err), 0);
    assert_string_equal(by_fd.sha256, by_call.sha256);
    assert_int_equal(by_fd.size, big);
    assert_int_equal(by_call.size, big);
    free(bytes);
}

static void stat_without_digest_tells_the_size_only(void **state)
{
    struct world *w = *state;
    struct artifact a;

    put_text(w, "raw_data/a", "12345", NULL);
    assert_int_equal(objstore_stat(w->store, "raw_data/a", false, &a, &w->err), 0);
    assert_int_equal(a.size, 5);
    assert_string_equal(a.sha256, "");
    assert_int_equal(objstore_stat(w->store, "raw_data/b", false, &a, &w->err), -E_NOT_FOUND);
}

/* --- keys --- */

static void assert_refused(struct world *w, const char *key)
{
    struct objstore_put *p = NULL;
    struct artifact a;
    uint64_t size;
    int fd;

    w->err.text[0] = '\0';
    assert_int_equal(objstore_put_begin(w->store, key, &p, &w->err), -E_BAD_VALUE);
    assert_true(w->err.text[0] != '\0');
    assert_int_equal(objstore_get(w->store, key, &fd, &size, &w->err), -E_BAD_VALUE);
    assert_int_equal(objstore_stat(w->store, key, false, &a, &w->err), -E_BAD_VALUE);
    assert_int_equal(objstore_delete(w->store, key, &w->err), -E_BAD_VALUE);
}

static void keys_that_are_no_keys_are_refused_everywhere(void **state)
{
    static const char *const bad[] = {
        "",
        "/etc/passwd",
        "..",
        "../x",
        "raw_data/../../x",
        "raw_data/..",
        "./raw_data/x",
        "raw_data/./x",
        "raw_data//x",
        "raw_data/",
        "raw_data/x/",
        "raw_data/x.part",
        "raw_data/x.part/y",
        "raw_data/.hidden",
        ".tmp/x",
        "raw_data/a b",
        "raw_data/a\nb",
        "raw_data/a\001b",
        "raw_data/a\\b",
        "raw_data/a:b",
        "raw_data/a%2e",
        "raw_data/\xC3\xA9",
        "segue.db", /* what lies in the root itself is no object */
        "raw_data",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_refused(*state, bad[i]);
    assert_refused(*state, NULL);
}

static void long_keys_work_up_to_the_limit_and_not_beyond(void **state)
{
    struct world *w = *state;
    char key[300];

    memset(key, 'k', sizeof key);
    memcpy(key, "r/", 2);
    key[2 + 250] = '\0'; /* the longest segment */
    put_text(w, key, "x", NULL);
    assert_holds(w, key, "x");
    key[2 + 250] = 'k';
    key[2 + 251] = '\0';
    assert_refused(w, key);

    memset(key, 'k', sizeof key);
    for (int i = 1; i < 255; i += 2)
        key[i] = '/';
    key[255] = '\0'; /* the longest key, with the most segments */
    put_text(w, key, "y", NULL);
    assert_holds(w, key, "y");
    assert_int_equal(count_listed(w, "k/k/"), 1);
    key[255] = 'k';
    key[256] = '\0';
    assert_refused(w, key);
}

static void a_symlink_inside_the_root_leads_nowhere(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    char outside[128];
    uint64_t size;
    int fd, out_fd;

    snprintf(outside, sizeof outside, "%s/outside", w->dir);
    assert_int_equal(mkdir(outside, 0700), 0);
    out_fd = open(path_in(outside, "secret"), O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(out_fd, "secret", 6), 6);
    close(out_fd);
    assert_int_equal(symlink(outside, path_in(w->root, "raw_data/dir")), 0);
    assert_int_equal(symlink("../../outside/secret", path_in(w->root, "raw_data/file")), 0);

    assert_int_equal(objstore_get(w->store, "raw_data/dir/secret", &fd, &size, &w->err),
                     -E_BAD_VALUE);
    assert_int_equal(objstore_get(w->store, "raw_data/file", &fd, &size, &w->err),
                     -E_BAD_VALUE);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/dir/new", &p, &w->err),
                     -E_BAD_VALUE);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/dir/sub/new", &p, &w->err),
                     -E_BAD_VALUE);
    assert_int_not_equal(access(path_in(outside, "sub"), F_OK), 0);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/file", &p, &w->err), -E_EXISTS);
    assert_int_equal(objstore_delete(w->store, "raw_data/dir/secret", &w->err), -E_BAD_VALUE);
    assert_int_equal(access(path_in(outside, "secret"), F_OK), 0);
    assert_int_equal(count_listed(w, ""), 0);
}

static void an_object_is_no_folder_and_a_folder_no_object(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;

    put_text(w, "raw_data/a/b", "x", NULL);
    assert_absent(w, "raw_data/a");
    assert_absent(w, "raw_data/a/b/c");
    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), -E_EXISTS);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/a/b/c", &p, &w->err), -E_EXISTS);
}

static void a_fifo_in_the_root_does_not_hang_a_reader(void **state)
{
    struct world *w = *state;

    assert_int_equal(mkfifo(path_in(w->root, "raw_data/fifo"), 0600), 0);
    assert_absent(w, "raw_data/fifo");
}

/* --- delete, list, sweep --- */

static void deleting_takes_the_object_and_its_empty_folders(void **state)
{
    struct world *w = *state;

    put_text(w, "processed_data/t/1/out.csv", "x", NULL);
    put_text(w, "processed_data/t/2/out.csv", "y", NULL);
    assert_int_equal(objstore_delete(w->store, "processed_data/t/1/out.csv", &w->err), 0);
    assert_absent(w, "processed_data/t/1/out.csv");
    assert_holds(w, "processed_data/t/2/out.csv", "y");
    assert_int_not_equal(access(path_in(w->root, "processed_data/t/1"), F_OK), 0);
    assert_int_equal(objstore_delete(w->store, "processed_data/t/2/out.csv", &w->err), 0);
    assert_int_not_equal(access(path_in(w->root, "processed_data/t"), F_OK), 0);
    assert_int_equal(access(path_in(w->root, "processed_data"), F_OK) == 0,
                     w->implementation->is_folder);
    assert_int_equal(objstore_delete(w->store, "processed_data/t/2/out.csv", &w->err), 0);
}

static void a_list_holds_the_objects_with_the_prefix_and_nothing_else(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;

    put_text(w, "raw_data/ab", "x", NULL);
    put_text(w, "raw_data/ac", "x", NULL);
    put_text(w, "raw_data/b/c/d", "x", NULL);
    put_text(w, "processed_data/a", "x", NULL);
    assert_int_equal(objstore_put_begin(w->store, "raw_data/ad", &p, &w->err), 0);
    close(open(path_in(w->root, "raw_data/not a key"), O_WRONLY | O_CREAT, 0600));
    close(open(path_in(w->root, "segue.db"), O_WRONLY | O_CREAT, 0600));

    assert_int_equal(count_listed(w, ""), 4);
    assert_int_equal(count_listed(w, "raw_data/"), 3);
    assert_int_equal(count_listed(w, "raw_data"), 3);
    assert_int_equal(count_listed(w, "raw_data/a"), 2);
    assert_int_equal(count_listed(w, "raw_data/b"), 1);
    assert_int_equal(count_listed(w, "raw_data/b/c/"), 1);
    assert_int_equal(count_listed(w, "none/"), 0);
    objstore_put_abort_free(p);
}

static int stop_at_once(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    (void)key, (void)size, (void)age_ms;
    ++*(int *)arg;
    return 7;
}

static void a_visit_can_end_the_walk(void **state)
{
    struct world *w = *state;
    int visits = 0;

    put_text(w, "raw_data/a", "x", NULL);
    put_text(w, "raw_data/b/c", "x", NULL);
    assert_int_equal(objstore_list(w->store, "", stop_at_once, &visits, &w->err), 7);
    assert_int_equal(visits, 1);
}

static int delete_it(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    (void)size, (void)age_ms;
    return objstore_delete(arg, key, NULL);
}

static void a_visit_may_delete_what_it_sees(void **state)
{
    struct world *w = *state;

    for (int i = 0; i < 50; i++) {
        char key[32];
        snprintf(key, sizeof key, "raw_data/%d/x", i);
        put_text(w, key, "x", NULL);
    }
    assert_int_equal(objstore_list(w->store, "raw_data/", delete_it, w->store, &w->err), 0);
    assert_int_equal(count_listed(w, ""), 0);
}

static void the_sweep_takes_old_orphans_only(void **state)
{
    struct world *w = *state;
    struct objstore_put *live = NULL;
    struct artifact a;
    uint64_t removed = 99;

    leave_orphan(w, "raw_data/old/x");
    leave_orphan(w, "raw_data/young");
    assert_int_equal(objstore_put_begin(w->store, "raw_data/slow", &live, &w->err), 0);
    assert_int_equal(objstore_put_write(live, "slow", 4, &w->err), 0);
    put_text(w, "raw_data/done", "x", NULL);
    set_age_s(path_in(w->root, "raw_data/old/x.part"), 7200);
    set_age_s(path_in(w->root, "raw_data/slow.part"), 7200);
    set_age_s(path_in(w->root, "raw_data/done"), 7200);

    assert_int_equal(objstore_sweep_parts(w->store, 3600 * 1000, &removed, &w->err), 0);
    assert_int_equal(removed, 1);
    assert_int_equal(count_files(w), 3);
    assert_int_equal(objstore_put_commit_free(live, &a, &w->err), 0);
    assert_holds(w, "raw_data/slow", "slow");
    put_text(w, "raw_data/old/x", "whole", NULL);
}

static void a_held_object_is_not_swept_until_it_is_let_go(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact a;
    bool removed = true;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/new/x", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "x", 1, &w->err), 0);
    int hold = objstore_put_hold(p);
    assert_true(hold >= 0);
    assert_int_equal(objstore_put_commit_free(p, &a, &w->err), 0);
    assert_int_equal(objstore_sweep_object(w->store, a.key, 0, &removed, &w->err), 0);
    assert_false(removed);
    assert_holds(w, "raw_data/new/x", "x");
    close(hold);
    assert_int_equal(objstore_sweep_object(w->store, a.key, 3600000, &removed, &w->err), 0);
    assert_false(removed); /* too young */
    assert_int_equal(objstore_sweep_object(w->store, a.key, 0, &removed, &w->err), 0);
    assert_true(removed);
    assert_absent(w, "raw_data/new/x");
    assert_int_equal(access(path_in(w->root, "raw_data/new"), F_OK), -1); /* the folder too */
    assert_int_equal(objstore_sweep_object(w->store, a.key, 0, &removed, &w->err), 0);
    assert_false(removed); /* it is gone already */
    assert_int_equal(objstore_sweep_object(w->store, "../x", 0, &removed, &w->err),
                     -E_BAD_VALUE);
}

static void old_empty_folders_go_with_the_parts_and_others_stay(void **state)
{
    struct world *w = *state;
    uint64_t removed;

    put_text(w, "processed_data/full/1/x", "x", NULL);
    assert_int_equal(mkdir(path_in(w->root, "processed_data/full/2"), 0700), 0);
    assert_int_equal(mkdir(path_in(w->root, "processed_data/old"), 0700), 0);
    assert_int_equal(mkdir(path_in(w->root, "processed_data/old/1"), 0700), 0);
    assert_int_equal(mkdir(path_in(w->root, "processed_data/young"), 0700), 0);
    set_age_s(path_in(w->root, "processed_data/full/1"), 7200);
    set_age_s(path_in(w->root, "processed_data/full/2"), 7200);
    set_age_s(path_in(w->root, "processed_data/old/1"), 7200);
    set_age_s(path_in(w->root, "processed_data/old"), 7200);
    set_age_s(path_in(w->root, "raw_data"), 7200);

    assert_int_equal(objstore_sweep_parts(w->store, 3600 * 1000, &removed, &w->err), 0);
    assert_int_equal(removed, 0);
    assert_int_equal(access(path_in(w->root, "processed_data/full/2"), F_OK), -1);
    assert_int_equal(access(path_in(w->root, "processed_data/old"), F_OK), -1);
    assert_int_equal(access(path_in(w->root, "processed_data/young"), F_OK), 0);
    assert_int_equal(access(path_in(w->root, "raw_data"), F_OK), 0);
    assert_holds(w, "processed_data/full/1/x", "x");
}

enum { WRITERS = 2, WRITES = 200, WRITES_AFAR = 20 };

struct busy_writer {
    struct objstore *store;
    int number, writes;
    atomic_bool is_done;
    int rc;
    struct err err;
};

/* Makes objects in folders of their own and deletes them with their folders. */
static void *write_and_delete(void *arg)
{
    struct busy_writer *b = arg;

    for (int i = 0; i < b->writes && !b->rc; i++) {
        struct objstore_put *p = NULL;
        struct artifact a;
        char key[64];
        snprintf(key, sizeof key, "processed_data/%d-%d/1/x", b->number, i % 7);
        b->rc = objstore_put_begin(b->store, key, &p, &b->err);
        if (!b->rc)
            b->rc = objstore_put_write(p, "x", 1, &b->err);
        if (b->rc)
            objstore_put_abort_free(p);
        else
            b->rc = objstore_put_commit_free(p, &a, &b->err);
        if (!b->rc)
            b->rc = objstore_delete(b->store, key, &b->err);
    }
    atomic_store(&b->is_done, true);
    return NULL;
}

static int see_it(const char *key, uint64_t size, int64_t age_ms, void *arg)
{
    (void)key, (void)size, (void)age_ms, (void)arg;
    return 0;
}

static void walks_and_busy_writers_do_not_disturb_each_other(void **state)
{
    struct world *w = *state;
    struct busy_writer writers[WRITERS];
    pthread_t threads[WRITERS];
    uint64_t removed;

    for (int i = 0; i < WRITERS; i++) {
        writers[i] =
            (struct busy_writer){.store = w->store,
                                 .number = i,
                                 .writes = w->implementation->is_folder ? WRITES : WRITES_AFAR};
        assert_int_equal(pthread_create(&threads[i], NULL, write_and_delete, &writers[i]), 0);
    }
    for (int i = 0; i < WRITERS; i++) {
        while (!atomic_load(&writers[i].is_done)) {
            if (objstore_sweep_parts(w->store, 1000, &removed, &w->err) ||
                objstore_list(w->store, "processed_data/", see_it, NULL, &w->err))
                fail_msg("%s", w->err.text);
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        if (writers[i].rc)
            fail_msg("%s", writers[i].err.text);
    }
}

static void an_orphan_never_becomes_an_object(void **state)
{
    struct world *w = *state;

    leave_orphan(w, "raw_data/x");
    assert_absent(w, "raw_data/x");
    assert_int_equal(count_listed(w, ""), 0);
}

/* --- accidents --- */

static void a_deleted_root_is_made_again_by_the_next_put(void **state)
{
    struct world *w = *state;
    uint64_t bytes;

    put_text(w, "raw_data/a", "x", NULL);
    remove_tree(w->root);
    assert_absent(w, "raw_data/a");
    assert_int_equal(count_listed(w, ""), 0);
    assert_int_equal(objstore_delete(w->store, "raw_data/a", &w->err), 0);
    assert_int_equal(objstore_free_bytes(w->store, &bytes, &w->err), -E_NOT_FOUND);
    put_text(w, "raw_data/deep/er/a", "again", NULL);
    assert_holds(w, "raw_data/deep/er/a", "again");
    assert_int_equal(objstore_free_bytes(w->store, &bytes, &w->err), 0);
    assert_true(bytes > 0);
}

static void a_root_deleted_during_a_put_fails_its_commit(void **state)
{
    struct world *w = *state;
    struct objstore_put *p = NULL;
    struct artifact a;

    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), 0);
    assert_int_equal(objstore_put_write(p, "x", 1, &w->err), 0);
    remove_tree(w->root);
    assert_int_equal(objstore_put_commit_free(p, &a, &w->err), -E_IO);
    put_text(w, "raw_data/a", "x", NULL);
}

static void the_temp_dir_is_there_and_holds_no_objects(void **state)
{
    struct world *w = *state;
    struct stat st;
    const char *temp = objstore_temp_dir(w->store);

    assert_int_equal(stat(temp, &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    close(open(path_in(temp, "spill"), O_WRONLY | O_CREAT, 0600));
    assert_int_equal(count_listed(w, ""), 0);
    unlink(path_in(temp, "spill"));
    remove_tree(w->root);
    assert_int_equal(stat(objstore_temp_dir(w->store), &st), 0);
}

static void a_full_disk_is_told_and_leaves_no_file(void **state)
{
    struct world *w = *state;
    static char block[1 << 16];
    struct objstore_put *p = NULL;
    struct artifact a;
    int rc = 0;

    if (mount("tmpfs", w->root, "tmpfs", 0, "size=1m") != 0) {
        print_message("skipped: a small file system takes the right to mount (%s)\n",
                      strerror(errno));
        skip();
    }
    assert_int_equal(objstore_put_begin(w->store, "raw_data/a", &p, &w->err), 0);
    for (int i = 0; i < 64 && rc == 0; i++)
        rc = objstore_put_write(p, block, sizeof block, &w->err);
    assert_int_equal(rc, -E_NO_SPACE);
    assert_int_not_equal(objstore_put_commit_free(p, &a, &w->err), 0);
    assert_absent(w, "raw_data/a");
    assert_int_equal(count_files(w), 0);
    put_text(w, "raw_data/b", "there is room again", NULL);
    assert_int_equal(umount(w->root), 0);
}

static int unmount_and_teardown(void **state)
{
    struct world *w = *state;

    umount2(w->root, MNT_DETACH);
    return teardown(state);
}

static void wrong_urls_are_refused_with_a_sentence(void **state)
{
    static const char *const bad[] = {
        "",      "file",   "file:",   "ftp:x",    "files:x",  "file://host/x",
        "azure", "azure:", "azure:A", "azure:ab", "azure:abc"};
    struct objstore *s = NULL;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        err.text[0] = '\0';
        assert_int_equal(objstore_open(bad[i], &s, &err), -E_BAD_VALUE);
        assert_true(err.text[0] != '\0');
    }
    assert_null(s);
    objstore_close(NULL);
    assert_int_not_equal(objstore_open("file:/dev/null/x", &s, &err), 0);
}

#define CASE(name)                                                                             \
    {                                                                                          \
#name, name, setup, teardown, NULL                                                     \
    }

/* False: it is passed over, or may not be. */
static bool is_there(const struct implementation *i, int *ret_failed)
{
    const char *all = getenv("SEGUE_TEST_REQUIRE_ALL");

    if (!i->needs || getenv(i->needs))
        return true;
    print_message("skipped: %s is not set\n", i->needs);
    *ret_failed += all && strcmp(all, "1") == 0;
    return false;
}

static int run(struct CMUnitTest *cases, size_t count, const struct implementation *i)
{
    for (size_t c = 0; c < count; c++)
        cases[c].initial_state = (void *)(uintptr_t)i;
    return _cmocka_run_group_tests(i->name, cases, count, NULL, NULL);
}

int main(void)
{
    struct CMUnitTest everywhere[] = {
        CASE(a_committed_object_can_be_read_back),
        CASE(an_object_is_not_there_before_its_commit),
        CASE(a_published_object_is_whole_before_and_after_its_sync),
        CASE(many_are_synced_at_once_in_several_folders),
        CASE(an_aborted_put_leaves_nothing),
        CASE(an_empty_object_is_an_object),
        CASE(a_taken_key_is_refused_and_keeps_its_object),
        CASE(of_two_puts_at_once_one_wins),
        CASE(a_commit_never_replaces_what_came_in_between),
        CASE(digests_are_those_of_the_standard),
        CASE(writing_to_the_fd_equals_writing_by_calls),
        CASE(stat_without_digest_tells_the_size_only),
        CASE(keys_that_are_no_keys_are_refused_everywhere),
        CASE(long_keys_work_up_to_the_limit_and_not_beyond),
        CASE(deleting_takes_the_object_and_its_empty_folders),
        CASE(a_list_holds_the_objects_with_the_prefix_and_nothing_else),
        CASE(a_visit_can_end_the_walk),
        CASE(a_visit_may_delete_what_it_sees),
        CASE(a_held_object_is_not_swept_until_it_is_let_go),
        CASE(walks_and_busy_writers_do_not_disturb_each_other),
        CASE(an_orphan_never_becomes_an_object),
        CASE(the_temp_dir_is_there_and_holds_no_objects),
        CASE(wrong_urls_are_refused_with_a_sentence),
    };
    struct CMUnitTest in_a_folder[] = {
        CASE(what_is_not_there_is_lost_and_the_others_are_not),
        CASE(a_publish_never_replaces_what_came_in_between),
        CASE(a_symlink_inside_the_root_leads_nowhere),
        CASE(an_object_is_no_folder_and_a_folder_no_object),
        CASE(a_fifo_in_the_root_does_not_hang_a_reader),
        CASE(the_sweep_takes_old_orphans_only),
        CASE(old_empty_folders_go_with_the_parts_and_others_stay),
        CASE(a_deleted_root_is_made_again_by_the_next_put),
        CASE(a_root_deleted_during_a_put_fails_its_commit),
        {"a_full_disk_is_told_and_leaves_no_file", a_full_disk_is_told_and_leaves_no_file,
         setup, unmount_and_teardown, NULL},
    };
    int failed = http_client_global_init(NULL) == 0 ? 0 : 1;

    for (size_t k = 0; k < sizeof implementations / sizeof implementations[0]; k++) {
        const struct implementation *i = &implementations[k];
        if (!is_there(i, &failed))
            continue;
        print_message("object store: %s\n", i->name);
        failed += run(everywhere, sizeof everywhere / sizeof everywhere[0], i);
        if (i->is_folder)
            failed += run(in_a_folder, sizeof in_a_folder / sizeof in_a_folder[0], i);
    }
    return failed;
}
