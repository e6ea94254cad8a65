/* faults_objstore.c - the local object store while any one call, or all from one on, fail. */
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "faults.h"
#include "objstore.h"

static char dir[64];
static char url[96];
static int number; /* each run writes an object of its own */
static char key[64], other[64], third[64];

static int count_one(const char *name, uint64_t size, int64_t age_ms, void *arg)
{
    (void)name;
    (void)size;
    (void)age_ms;
    ++*(int *)arg;
    return 0;
}

static int put(struct objstore *s, const char *name, const char *text, struct artifact *ret,
               struct err *err)
{
    struct objstore_put *p = NULL;
    int rc = objstore_put_begin(s, name, &p, err);

    if (!rc)
        rc = objstore_put_write(p, text, strlen(text), err);
    if (rc) {
        objstore_put_abort_free(p);
        return rc;
    }
    return objstore_put_commit_free(p, ret, err);
}

/* As a job does it: bytes to the descriptor, hashed by the commit. */
static int put_by_fd(struct objstore *s, struct artifact *ret, struct err *err)
{
    struct objstore_put *p = NULL;
    int rc = objstore_put_begin(s, other, &p, err);

    if (rc)
        return rc;
    if (write(objstore_put_fd(p), "by fd", 5) != 5) {
        objstore_put_abort_free(p);
        return err_set(err, -E_NO_SPACE, "write by the test");
    }
    return objstore_put_commit_free(p, ret, err);
}

static void keep_first(size_t lost, const struct err *why, void *arg)
{
    struct err *kept = arg;

    assert_int_equal(lost, 0);
    if (!kept->code)
        *kept = *why;
}

/* In the two steps of a slot and its worker. */
static int publish_and_sync(struct objstore *s, struct err *err)
{
    const char *const keys[] = {third};
    struct objstore_put *p = NULL;
    struct artifact a;
    struct err why = ERR_INIT;
    int rc = objstore_put_begin(s, third, &p, err);

    if (!rc)
        rc = objstore_put_write(p, "later", 5, err);
    if (rc) {
        objstore_put_abort_free(p);
        return rc;
    }
    rc = objstore_put_publish_free(p, &a, err);
    if (rc)
        return rc;
    objstore_sync(s, keys, 1, keep_first, &why);
    return why.code ? err_set(err, why.code, "%s", why.text) : 0;
}

static int read_back(struct objstore *s, const struct artifact *a, struct err *err)
{
    struct artifact seen;
    uint64_t size = 0;
    int fd = -1, rc = objstore_get(s, key, &fd, &size, err);

    if (rc)
        return rc;
    close(fd);
    assert_int_equal(size, a->size);
    rc = objstore_stat(s, key, true, &seen, err);
    if (!rc)
        assert_string_equal(seen.sha256, a->sha256);
    return rc;
}

static int use(struct objstore *s, struct err *err)
{
    struct artifact a, b;
    uint64_t free_bytes, swept;
    int found = 0, rc = put(s, key, "hello", &a, err);

    if (!rc)
        rc = put_by_fd(s, &b, err);
    if (!rc)
        rc = publish_and_sync(s, err);
    if (!rc)
        rc = read_back(s, &a, err);
    if (!rc)
        rc = objstore_list(s, "raw_data/", count_one, &found, err);
    if (!rc && found != 1) /* a walk that cannot read a folder must say so */
        fail_msg("the list has %d objects", found);
    if (!rc)
        rc = objstore_free_bytes(s, &free_bytes, err);
    if (!rc)
        rc = objstore_sweep_parts(s, 0, &swept, err);
    if (!rc)
        rc = objstore_delete(s, key, err);
    if (!rc)
        rc = objstore_delete(s, third, err);
    return rc ? rc : objstore_delete(s, other, err);
}

static int run(void *arg, struct err *err)
{
    struct objstore *s = NULL;

    (void)arg;
    snprintf(key, sizeof key, "raw_data/%d.csv", ++number);
    snprintf(other, sizeof other, "processed_data/t%d/1/totals.csv", number);
    snprintf(third, sizeof third, "processed_data/%02d/t%d.1.totals.csv", number % 7, number);
    int rc = objstore_open(url, &s, err);
    if (rc)
        return rc;
    rc = use(s, err);
    objstore_close(s);
    return rc;
}

static int look_at(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t len = strlen(path);

    (void)st;
    (void)ftw;
    if (type == FTW_F && len > 5 && strcmp(path + len - 5, ".part") == 0)
        fail_msg("a part is left: %s", path);
    return 0;
}

/* What is there is whole; no part is left; and the same names can be written now. */
static void check(void *arg, int rc)
{
    struct objstore *s = NULL;
    struct artifact a;
    struct err err = ERR_INIT;
    static const char *const texts[] = {"hello", "by fd", "later"};
    const char *const keys[] = {key, other, third};

    (void)arg;
    (void)rc;
    nftw(dir, look_at, 8, FTW_PHYS);
    assert_int_equal(objstore_open(url, &s, &err), 0);
    for (int i = 0; i < 3; i++) {
        int seen = objstore_stat(s, keys[i], true, &a, &err);
        if (seen == 0)
            assert_int_equal(a.size, strlen(texts[i]));
        else
            assert_int_equal(seen, -E_NOT_FOUND);
        assert_int_equal(objstore_delete(s, keys[i], &err), 0);
        assert_int_equal(put(s, keys[i], texts[i], &a, &err), 0);
        assert_int_equal(objstore_delete(s, keys[i], &err), 0);
    }
    objstore_close(s);
}

static void objects_are_whole_or_not_there_whatever_fails(void **state)
{
    const struct faults_scenario s = {.name = "objstore", .run = run, .check = check};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_whole_or_not_there_whatever_fails),
    };

    snprintf(dir, sizeof dir, "%s/segue-faults-obj-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    snprintf(url, sizeof url, "file:%s/store", dir);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
