/* Secrets that are kept encrypted, and results that are folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fs.h"
#include "seal.h"
#include "tree.h"

#define TASK  "01890a5d-ac96-774b-bcce-b302099a8057"
#define OTHER "01890a5d-ac96-774b-bcce-b302099a8058"

static struct err err;
static char dir[64];
static struct objstore *store;

static int open_store(void **state)
{
    char url[96];

    (void)state;
    snprintf(dir, sizeof dir, "/tmp/segue-tree-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(url, sizeof url, "file:%s", dir);
    return objstore_open(url, &store, &err);
}

static int close_store(void **state)
{
    int fd = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    objstore_close(store);
    tree_erase(fd, strrchr(dir, '/') + 1, NULL);
    return close(fd);
}

/* --- seals --- */

static void test_a_sealed_text_opens_with_its_key_and_context_only(void **state)
{
    struct seal_key key, other;

    (void)state;
    assert_int_equal(seal_key_of("a password of mine", &key, &err), 0);
    assert_int_equal(seal_key_of("another one", &other, &err), 0);
    char *sealed = seal_text(&key, "repo_download", "s3cret", &err);
    char *again = seal_text(&key, "repo_download", "s3cret", &err);
    assert_non_null(sealed);
    assert_true(seal_is_sealed(sealed));
    assert_null(strstr(sealed, "s3cret"));
    assert_string_not_equal(sealed, again); /* the same secret twice does not show */
    char *plain = seal_open(&key, "repo_download", sealed, &err);
    assert_string_equal(plain, "s3cret");
    assert_null(seal_open(&other, "repo_download", sealed, &err));
    assert_int_equal(err.code, -E_BAD_VALUE);
    assert_null(seal_open(&key, "http_call", sealed, &err));
    for (size_t at = sizeof SEAL_PREFIX - 1; sealed[at]; at++) { /* no bit of it may change */
        char was = sealed[at];
        sealed[at] = was == '0' ? '1' : '0';
        assert_null(seal_open(&key, "repo_download", sealed, &err));
        sealed[at] = was;
    }
    sealed[strlen(sealed) - 2] = '\0';
    assert_null(seal_open(&key, "repo_download", sealed, &err));
    assert_null(seal_open(&key, "repo_download", SEAL_PREFIX, &err));
    assert_null(seal_open(&key, "repo_download", "s3cret", &err));
    free(sealed);
    free(again);
    free(plain);
}

static void test_an_empty_secret_is_one_too(void **state)
{
    struct seal_key key;

    (void)state;
    assert_int_equal(seal_key_of("a password of mine", &key, &err), 0);
    char *sealed = seal_text(&key, "x", "", &err);
    char *plain = seal_open(&key, "x", sealed, &err);
    assert_string_equal(plain, "");
    free(sealed);
    free(plain);
}

/* Several task managers may start at once on one store. */
static void test_all_who_come_at_once_get_the_same_key_from_the_file(void **state)
{
    enum { COUNT = 8 };
    struct seal_key mine, first;
    struct stat st;
    char path[96];
    int pipes[2];

    (void)state;
    assert_int_equal(pipe(pipes), 0);
    for (int i = 0; i < COUNT; i++) {
        if (fork() == 0) {
            struct seal_key key;
            int rc = seal_key_of_file(dir, &key, &err);
            _exit(rc || write(pipes[1], key.bytes, sizeof key.bytes) != sizeof key.bytes);
        }
    }
    for (int i = 0; i < COUNT; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
    }
    assert_int_equal(seal_key_of_file(dir, &first, &err), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(read(pipes[0], mine.bytes, sizeof mine.bytes), sizeof mine.bytes);
        assert_memory_equal(mine.bytes, first.bytes, sizeof mine.bytes);
    }
    close(pipes[0]);
    close(pipes[1]);
    snprintf(path, sizeof path, "%s/.secret-key", dir);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(truncate(path, 10), 0);
    assert_int_equal(seal_key_of_file(dir, &first, &err), -E_CORRUPT);
}

/* --- trees --- */

static void make_file(const char *path)
{
    char full[512];

    snprintf(full, sizeof full, "%s/%s", dir, path);
    *strrchr(full, '/') = '\0';
    assert_int_equal(fs_make_dirs(full, &err), 0);
    full[strlen(full)] = '/';
    int fd = open(full, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    close(fd);
}

static bool exists(const char *path)
{
    char full[512];
    struct stat st;

    snprintf(full, sizeof full, "%s/%s", dir, path);
    return lstat(full, &st) == 0;
}

struct seen {
    char keys[8][ARTIFACT_KEY_MAX];
    int attempts[8], count;
};

static int see(const char *key, const char *task_id, int attempt, int64_t age_ms, void *arg)
{
    struct seen *s = arg;

    assert_true(id_is_valid(task_id));
    assert_true(age_ms >= 0 && age_ms < 60000);
    snprintf(s->keys[s->count], sizeof s->keys[0], "%s", key);
    s->attempts[s->count++] = attempt;
    return 0;
}

static bool has(const struct seen *s, const char *key)
{
    for (int i = 0; i < s->count; i++) {
        if (strcmp(s->keys[i], key) == 0)
            return true;
    }
    return false;
}

static void test_trees_are_listed_with_their_keys(void **state)
{
    struct seen all = {.count = 0}, one = {.count = 0};

    (void)state;
    assert_int_equal(tree_list(store, NULL, see, &all, &err), 0);
    assert_int_equal(all.count, 0);
    make_file("outputs/" TASK "/1/o-r/README");
    make_file("outputs/" TASK "/1/o-r.json");
    make_file("outputs/" TASK "/2/.work/files/x");
    make_file("outputs/" OTHER "/10/with space/x");
    make_file("outputs/" OTHER "/x/y/z");
    make_file("outputs/mine/1/x/y");
    make_file("outputs/" OTHER "/note");
    assert_int_equal(tree_list(store, NULL, see, &all, &err), 0);
    assert_int_equal(all.count, 3);
    assert_true(has(&all, "outputs/" TASK "/1/o-r"));
    assert_true(has(&all, "outputs/" TASK "/2/-"));
    assert_true(has(&all, "outputs/" OTHER "/10/-"));
    assert_int_equal(tree_list(store, TASK, see, &one, &err), 0);
    assert_int_equal(one.count, 2);
}

static void test_a_tree_goes_as_a_whole_and_no_link_is_followed(void **state)
{
    char link[512];
    bool gone = false;

    (void)state;
    make_file("keep/me");
    make_file("outputs/" TASK "/1/o-r/a/b/c");
    make_file("outputs/" TASK "/2/o-r/x");
    snprintf(link, sizeof link, "%s/outputs/" TASK "/1/o-r/link", dir);
    assert_int_equal(symlink("../../../../keep", link), 0);
    assert_int_equal(tree_sweep(store, TASK, 1, 60000, &gone, &err), 0);
    assert_false(gone); /* too young */
    assert_int_equal(tree_sweep(store, TASK, 1, 0, &gone, &err), 0);
    assert_true(gone);
    assert_false(exists("outputs/" TASK "/1"));
    assert_true(exists("outputs/" TASK "/2/o-r/x"));
    assert_true(exists("keep/me"));
    assert_int_equal(tree_sweep(store, TASK, 1, 0, &gone, &err), 0);
    assert_false(gone);
    assert_int_equal(tree_sweep(store, TASK, 2, 0, &gone, &err), 0);
    assert_false(exists("outputs/" TASK));
}

static void test_the_sweep_of_unfinished_files_leaves_trees_alone(void **state)
{
    uint64_t removed = 0;
    char empty[128];

    (void)state;
    make_file("outputs/" TASK "/1/o-r/x.part");
    make_file("raw_data/x.part");
    snprintf(empty, sizeof empty, "%s/outputs/" TASK "/1/o-r/empty", dir);
    assert_int_equal(mkdir(empty, 0700), 0);
    assert_int_equal(objstore_sweep_parts(store, 0, &removed, &err), 0);
    assert_int_equal(removed, 1);
    assert_true(exists("outputs/" TASK "/1/o-r/x.part"));
    assert_true(exists("outputs/" TASK "/1/o-r/empty"));
    assert_false(exists("raw_data/x.part"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_sealed_text_opens_with_its_key_and_context_only),
        cmocka_unit_test(test_an_empty_secret_is_one_too),
        cmocka_unit_test_setup_teardown(
            test_all_who_come_at_once_get_the_same_key_from_the_file, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_trees_are_listed_with_their_keys, open_store,
                                        close_store),
        cmocka_unit_test_setup_teardown(test_a_tree_goes_as_a_whole_and_no_link_is_followed,
                                        open_store, close_store),
        cmocka_unit_test_setup_teardown(test_the_sweep_of_unfinished_files_leaves_trees_alone,
                                        open_store, close_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
