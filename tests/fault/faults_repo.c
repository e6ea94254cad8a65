/* faults_repo.c - the folder of a repository, its archive and the key of secrets while any one
 * call, or all from one on, fail: whole or not there, and nothing left beside. */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "folder.h"
#include "fs.h"
#include "seal.h"
#include "tree.h"

#define TASK "01890a5d-ac96-774b-bcce-b302099a8057"

static char dir[128];

static int give(const struct repo_sink *sink, const char *path, struct err *err)
{
    int rc = sink->begin(sink->arg, path, 5, err);

    if (!rc)
        rc = sink->write(sink->arg, "hello", 5, err);
    return rc ? rc : sink->end(sink->arg, err);
}

static int make_folder(void *arg, struct err *err)
{
    struct folder *f = NULL;
    int rc = folder_begin(dir, TASK, 2, &f, err);

    (void)arg;
    if (rc)
        return rc;
    const struct repo_sink sink = folder_sink(f);
    rc = give(&sink, "a/b/c", err);
    if (!rc)
        rc = give(&sink, "d", err);
    if (rc) {
        folder_abort_free(f);
        return rc;
    }
    return folder_commit_free(f, "o-r", "{}", err);
}

static bool exists(const char *path)
{
    char full[512];
    struct stat st;

    snprintf(full, sizeof full, "%s/%s", dir, path);
    return lstat(full, &st) == 0;
}

static void erase_outputs(void)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(tree_erase(fd, TREE_FOLDER, NULL), 0);
    close(fd);
}

/* After a failure the folder may be there only when even removing it was made to fail, and then
 * without its name, or whole. */
static void check_folder(void *arg, int rc)
{
    (void)arg;
    if (rc == 0 || exists("outputs/" TASK "/2/o-r")) {
        assert_true(exists("outputs/" TASK "/2/o-r/a/b/c"));
        assert_true(exists("outputs/" TASK "/2/o-r/d"));
        assert_true(exists("outputs/" TASK "/2/o-r.json"));
    }
    if (rc == 0)
        assert_false(exists("outputs/" TASK "/2/.work"));
    erase_outputs();
    assert_int_equal(make_folder(NULL, NULL), 0); /* and it works again */
    erase_outputs();
}

static void test_a_folder_is_whole_or_has_no_name_whatever_fails(void **state)
{
    const struct faults_scenario s = {
        .name = "folder", .run = make_folder, .check = check_folder};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY);
}

static int fetch_key(void *arg, struct err *err)
{
    struct seal_key *key = arg;

    return seal_key_of_file(dir, key, err);
}

static void check_key(void *arg, int rc)
{
    struct seal_key *before = arg, after;
    DIR *d = opendir(dir);
    const struct dirent *entry;

    assert_int_equal(seal_key_of_file(dir, &after, NULL), 0);
    if (rc == 0)
        assert_memory_equal(before, &after, sizeof after);
    while ((entry = readdir(d)) != NULL) {
        if (entry->d_name[0] == '.' && strlen(entry->d_name) > 2)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    closedir(d);
}

static void test_a_key_that_was_given_out_is_the_one_in_the_file(void **state)
{
    struct seal_key key;
    const struct faults_scenario s = {
        .name = "key", .run = fetch_key, .check = check_key, .arg = &key};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY);
}

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "%s/segue-faults-repo-XXXXXX", faults_temp_dir());
    return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    erase_outputs();
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_folder_is_whole_or_has_no_name_whatever_fails,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_key_that_was_given_out_is_the_one_in_the_file,
                                        setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
