/* faults_container.c - local containers while any one call, or all from one on, fail. */
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

#include "container.h"
#include "faults.h"

static char dir[64];
static struct objstore *objects;
static struct container_store *store;
static struct container *box;
static int source_fd;

static int put(const char *name, const char *text, struct err *err)
{
    struct container_put *p = NULL;
    int rc = container_put_begin(box, name, &p, err);

    if (!rc)
        rc = container_put_write(p, text, strlen(text), err);
    if (!rc)
        return container_put_commit_free(p, NULL, err);
    container_put_abort_free(p);
    return rc;
}

/* Its length is checked by the reader's digest. */
static int read_back(const char *name, char *to, size_t size, struct err *err)
{
    struct blob_reader *r = NULL;
    size_t got = 1, len = 0;
    int rc = container_get(box, name, &r, NULL, err);

    while (!rc && got > 0) {
        rc = blob_read(r, to + len, size - 1 - len, &got, err);
        len += got;
    }
    blob_close(r);
    to[len] = '\0';
    return rc;
}

static int list(int *ret_count, struct err *err)
{
    struct container_list *l = NULL;
    const struct blob *b = NULL;
    int rc = container_list_begin(box, "", &l, err);

    *ret_count = 0;
    while (!rc && (rc = container_list_next(l, &b, err)) == 0 && b)
        ++*ret_count;
    container_list_free(l);
    return rc;
}

static int run(void *arg, struct err *err)
{
    char commit[CONTAINER_COMMIT_MAX], text[64];
    bool existed;
    int count = 0, rc = container_ensure(box, &existed, err);

    (void)arg;
    if (!rc)
        rc = put("a", "new", err);
    if (!rc)
        rc = container_put_file(box, "dir/b", source_fd, NULL, err);
    if (!rc)
        rc = container_set_commit(box, "abc", err);
    if (!rc)
        rc = container_commit(box, commit, err);
    if (!rc)
        rc = list(&count, err);
    if (!rc && count != 2) /* a list that cannot read all must say so */
        fail_msg("the list has %d blobs", count);
    if (!rc)
        rc = read_back("a", text, sizeof text, err);
    if (!rc)
        assert_string_equal(text, "new");
    if (!rc)
        rc = container_delete(box, "dir/b", err);
    return rc ? rc : container_flush(box, err);
}

static int look_at(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    size_t len = strlen(path);

    (void)st, (void)ftw;
    if (type == FTW_F && len > 5 && strcmp(path + len - 5, ".part") == 0)
        fail_msg("a part is left: %s", path);
    return 0;
}

/* What is there is whole, be it the older or the newer; and everything works again. */
static void check(void *arg, int rc)
{
    struct err err = ERR_INIT;
    char text[64];
    bool existed;

    (void)arg, (void)rc;
    nftw(dir, look_at, 8, FTW_PHYS);
    assert_int_equal(container_ensure(box, &existed, &err), 0);
    int seen = read_back("a", text, sizeof text, &err);
    assert_true(seen == -E_NOT_FOUND ||
                (seen == 0 && (strcmp(text, "new") == 0 || strcmp(text, "old") == 0)));
    assert_int_equal(container_delete(box, "dir/b", &err), 0);
    if (container_remove(box, &err) || container_ensure(box, &existed, &err))
        fail_msg("%s", err.text);
    assert_false(existed);
    assert_int_equal(put("a", "old", &err), 0);
}

static void blobs_are_whole_or_not_there_whatever_fails(void **state)
{
    const struct faults_scenario s = {.name = "container", .run = run, .check = check};

    (void)state;
    faults_torture(&s, FAULTS_OF_FILES | 1U << FAULT_MEMORY);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blobs_are_whole_or_not_there_whatever_fails),
    };
    char url[96], path[96];

    snprintf(dir, sizeof dir, "%s/segue-faults-box-XXXXXX", faults_temp_dir());
    if (!mkdtemp(dir))
        return 1;
    snprintf(url, sizeof url, "file:%s/store", dir);
    snprintf(path, sizeof path, "%s/source-XXXXXX", dir);
    source_fd = mkstemp(path);
    if (source_fd < 0 || write(source_fd, "file", 4) != 4 ||
        objstore_open(url, &objects, NULL) ||
        container_store_open(objects, NULL, &store, NULL) ||
        container_open(store, "box", &box, NULL))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    container_close(box);
    container_store_close(store);
    objstore_close(objects);
    close(source_fd);
    nftw(dir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
    return failed;
}
