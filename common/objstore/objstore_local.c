/* objstore_local.c - the object store in a directory ("file:DIR").
 *
 * A put writes `<key>.part`, and commit gives it its name (without replacing), syncs the file
 * and then its directory: a journal has the new file and its name in one commit, where a file
 * that is synced first takes two. A publish gives it its name, and the sync comes later, with
 * that of others (local_sync.c). While the system runs, a file has all of its bytes before it
 * has its name. A power cut before the sync has returned may leave half a file under its own
 * name, and nobody can take it for an object: until then a key is told to nobody but those who
 * sync it and is never used for another put, so no row ever names that file, and the sweep
 * removes it like every other that no row names. After a failed fsync the kernel may have
 * dropped the pages and would report success the second time (P. Ramanathan et al., "Can
 * Applications Recover from fsync Failures?", USENIX ATC 2020), so the file is given up
 * instead.
 *
 * The root is opened by name for each call: it may have been deleted and made again. A put
 * holds a flock on its part for as long as it lives, which the kernel drops when the process
 * dies, so the sweep never takes a slow put for an orphan. The lock is the open file's, so a
 * copy of its descriptor (objstore_put_hold) keeps it after the commit too. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "failpoint.h"
#include "fs.h"
#include "local_sync.h"
#include "local_walk.h"
#include "objstore_ops.h"
#include "sha256.h"

enum { BEGIN_TRIES = 5 };

struct local_store {
    struct objstore base;
    char *root;     /* absolute */
    char *temp_dir; /* root/.tmp: no key can start with a dot */
    struct settled_dirs settled;
};

struct local_put {
    struct objstore_put base;
    int fd;     /* of the part; -1 once closed */
    int dir_fd; /* of the directory that holds it */
    char key[ARTIFACT_KEY_MAX];
    char part[PART_NAME_MAX]; /* name within dir_fd */
    struct sha256 hash;
    uint64_t written; /* through put_write, and in the hash */
    bool failed;
};

static struct local_store *as_local(struct objstore *s)
{
    return (struct local_store *)(void *)s;
}

static struct local_put *as_local_put(struct objstore_put *p)
{
    return (struct local_put *)(void *)p;
}

/* The last segment of a key. */
static const char *key_name(const char *key)
{
    const char *slash = strrchr(key, '/');

    return slash ? slash + 1 : key;
}

/* The directory part of a key, "." without one. */
static void key_parent(const char *key, char ret_parent[ARTIFACT_KEY_MAX])
{
    size_t len = (size_t)(key_name(key) - key);

    assert(len < ARTIFACT_KEY_MAX);
    if (len == 0) {
        memcpy(ret_parent, ".", 2);
        return;
    }
    memcpy(ret_parent, key, len - 1);
    ret_parent[len - 1] = '\0';
}

/* --- opening --- */

static int make_skeleton(const struct local_store *s, struct err *err)
{
    static const char *const folders[] = {"raw_data", "processed_data", ".tmp"};
    int rc = fs_make_dirs(s->root, err);

    if (rc)
        return rc;
    int root_fd = fs_open_dir(s->root, err);
    if (root_fd < 0)
        return root_fd;
    for (size_t i = 0; i < sizeof folders / sizeof folders[0] && !rc; i++)
        rc = fs_make_dirs_beneath(root_fd, folders[i], err);
    if (!rc && fsync(root_fd) != 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "fsync '%s'", s->root);
    close(root_fd);
    return rc;
}

/* The root as an absolute path, so that a chdir does not move the store. */
static char *absolute_path(const char *dir)
{
    char *cwd = dir[0] == '/' ? NULL : getcwd(NULL, 0);
    char *path = NULL;

    if (dir[0] == '/')
        path = strdup(dir);
    else if (cwd && asprintf(&path, "%s/%s", cwd, dir) < 0)
        path = NULL;
    free(cwd);
    return path;
}

static void local_close(struct objstore *base)
{
    struct local_store *s = as_local(base);

    settled_dirs_release(&s->settled);
    free(s->root);
    free(s->temp_dir);
    free(s);
}

static int local_check_place(const char *place, struct err *err)
{
    if (*place == '\0')
        return err_set(err, -E_BAD_VALUE, "object store 'file:' names no directory");
    if (strncmp(place, "//", 2) == 0 && place[2] != '/')
        return err_set(err, -E_BAD_VALUE,
                       "object store 'file:%.300s' names a host: write file:DIR or file:///DIR",
                       place);
    return 0;
}

static int local_open(const char *place, const char *connection, struct objstore **ret,
                      struct err *err)
{
    (void)connection;
    struct local_store *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the object store");
    s->base.ops = &objstore_local_ops;
    settled_dirs_init(&s->settled);
    s->root = absolute_path(place);
    if (!s->root || asprintf(&s->temp_dir, "%s/.tmp", s->root) < 0) {
        s->temp_dir = NULL;
        local_close(&s->base);
        return err_set(err, -E_NO_MEMORY, "no memory for the object store");
    }
    int rc = make_skeleton(s, err);
    if (rc) {
        err_wrap(err, "object store 'file:%.200s'", place);
        local_close(&s->base);
        return rc;
    }
    *ret = &s->base;
    return 0;
}

/* The directory that holds `key`, or a negative code. */
static int open_parent(const struct local_store *s, const char *key, struct err *err)
{
    char parent[ARTIFACT_KEY_MAX];
    int root_fd = fs_open_dir(s->root, err);

    if (root_fd < 0)
        return root_fd;
    key_parent(key, parent);
    int fd = fs_open_beneath(root_fd, parent, O_RDONLY | O_DIRECTORY, 0, err);
    close(root_fd);
    return fd;
}

/* Makes the directories of a key; whoever commits an object in them makes them durable. */
static int make_parent(const struct local_store *s, const char *key, struct err *err)
{
    char parent[ARTIFACT_KEY_MAX], top[ARTIFACT_KEY_MAX];
    int rc = 0, root_fd = fs_open_dir(s->root, NULL);

    key_parent(key, parent);
    snprintf(top, sizeof top, "%.*s", (int)strcspn(parent, "/"), parent);
    if (root_fd < 0 || faccessat(root_fd, top, F_OK, 0) != 0)
        rc = make_skeleton(s, err); /* somebody removed it */
    if (!rc && root_fd < 0)
        rc = root_fd = fs_open_dir(s->root, err);
    if (rc >= 0)
        rc = fs_make_dirs_beneath(root_fd, parent, err);
    if (root_fd >= 0)
        close(root_fd);
    return rc;
}

/* --- put --- */

/* Frees p; with `unlink_part` the part goes too. */
static void put_drop(struct local_put *p, bool unlink_part)
{
    if (unlink_part)
        unlinkat(p->dir_fd, p->part, 0);
    if (p->fd >= 0)
        close(p->fd);
    close(p->dir_fd);
    sha256_release(&p->hash);
    free(p);
}

/* Opens p->dir_fd and p->fd. -E_NOT_FOUND when the directory was not there or vanished. */
static int open_part(const struct local_store *s, struct local_put *p, struct err *err)
{
    const char *name = key_name(p->key);

    p->dir_fd = open_parent(s, p->key, err);
    if (p->dir_fd < 0)
        return p->dir_fd;
    struct stat st;
    if (fstatat(p->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        close(p->dir_fd);
        return err_set(err, -E_EXISTS, "object '%s' exists already", p->key);
    }
    p->fd =
        openat(p->dir_fd, p->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (p->fd >= 0)
        return 0;

    int errnum = errno;
    close(p->dir_fd);
    if (errnum == EEXIST)
        return err_set(err, -E_EXISTS, "object '%s' is being written already", p->key);
    return err_set_errno(err, err_from_errno(errnum), errnum, "create '%s%s'", p->key,
                         PART_SUFFIX);
}

static int local_put_begin(struct objstore *base, const char *key, struct objstore_put **ret,
                           struct err *err)
{
    const struct local_store *s = as_local(base);
    struct local_put *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(err, -E_NO_MEMORY, "no memory to write object '%s'", key);
    p->base.store = base;
    snprintf(p->key, sizeof p->key, "%s", key);
    snprintf(p->part, sizeof p->part, "%s%s", key_name(p->key), PART_SUFFIX);
    int rc = sha256_init(&p->hash, err);
    if (rc) {
        free(p);
        return rc;
    }

    /* Somebody may delete the directory between making it and using it: try again. */
    struct err why = ERR_INIT;
    rc = open_part(s, p, &why);
    for (int tries = 0; rc == -E_NOT_FOUND && tries < BEGIN_TRIES; tries++) {
        rc = make_parent(s, key, &why);
        if (!rc)
            rc = open_part(s, p, &why);
    }
    if (rc) {
        sha256_release(&p->hash);
        free(p);
        return err_set(err, rc == -E_NOT_FOUND ? -E_IO : rc, "%s", why.text);
    }
    /* Cannot block or fail for a file that nobody else has opened; without locks on the file
     * system the sweep goes by age alone. */
    flock(p->fd, LOCK_EX | LOCK_NB);
    *ret = &p->base;
    return 0;
}

static int local_put_write(struct objstore_put *base, const void *bytes, size_t len,
                           struct err *err)
{
    struct local_put *p = as_local_put(base);
    int rc = fs_write_all(p->fd, bytes, len, p->key, err);

    if (!rc)
        rc = sha256_add(&p->hash, bytes, len, err);
    p->failed = p->failed || rc;
    p->written += len;
    return rc;
}

static int local_put_fd(struct objstore_put *base)
{
    return as_local_put(base)->fd;
}

static int local_put_hold(struct objstore_put *base)
{
    return fcntl(as_local_put(base)->fd, F_DUPFD_CLOEXEC, 0);
}

/* Size and digest: known when every byte came through put_write, else read from the file. */
static int describe(struct local_put *p, struct artifact *ret, struct err *err)
{
    struct stat st;

    if (fstat(p->fd, &st) != 0)
        return err_set_errno(err, -E_IO, errno, "read the size of '%s'", p->key);
    snprintf(ret->key, sizeof ret->key, "%s", p->key);
    ret->size = (uint64_t)st.st_size;
    if (ret->size == p->written)
        return sha256_end(&p->hash, ret->sha256, err);
    return sha256_of_fd(p->fd, ret->sha256, &ret->size, err);
}

/* NFS may keep a failed write for its close. */
static int close_file(struct local_put *p, struct err *err)
{
    int fd = p->fd;

    p->fd = -1;
    if (close(fd) == 0)
        return 0;
    return err_set_errno(err, err_from_errno(errno), errno, "close '%s'", p->key);
}

/* Gives the part its name unless the name is taken. NFS knows no RENAME_NOREPLACE, but a
 * hard link never replaces either. */
static int rename_part(const struct local_put *p, struct err *err)
{
    const char *name = key_name(p->key);

    if (renameat2(p->dir_fd, p->part, p->dir_fd, name, RENAME_NOREPLACE) == 0)
        return 0;
    if ((errno == EINVAL || errno == ENOSYS) &&
        linkat(p->dir_fd, p->part, p->dir_fd, name, 0) == 0) {
        unlinkat(p->dir_fd, p->part, 0);
        return 0;
    }
    if (errno == EEXIST)
        return err_set(err, -E_EXISTS, "object '%s' exists already", p->key);
    int code = err_from_errno(errno);
    return err_set_errno(err, code == -E_NOT_FOUND ? -E_IO : code, errno, "rename '%s'",
                         p->part);
}

/* --- commit and publish --- */

/* The object has its name and all of its bytes, as far as this system knows. Frees p on
 * failure. */
static int give_name(struct local_put *p, struct artifact *ret, struct err *err)
{
    int rc = 0;

    ret->key[0] = '\0';
    if (p->failed)
        rc = err_set(err, -E_IO, "object '%s' is incomplete: a write failed", p->key);
    if (!rc)
        rc = describe(p, ret, err);
    if (!rc)
        rc = FAILPOINT_ERR(put_written, -E_IO, err);
    if (!rc)
        rc = rename_part(p, err);
    if (rc)
        put_drop(p, true);
    else
        FAILPOINT(put_renamed);
    return rc;
}

static int make_durable(struct local_put *p, struct err *err)
{
    int rc = local_sync_file(p->fd, p->key, err);

    if (!rc)
        rc = FAILPOINT_ERR(put_synced, -E_IO, err);
    if (!rc)
        rc = local_sync_names(&as_local(p->base.store)->settled, p->dir_fd, p->key, err);
    if (!rc)
        FAILPOINT(put_durable);
    return rc;
}

/* Frees p; `rc` of what came after the name: a failure takes that away again. */
static int end_put(struct local_put *p, int rc, const struct artifact *described,
                   struct artifact *ret, struct err *err)
{
    if (!rc)
        rc = close_file(p, err);
    if (rc)
        unlinkat(p->dir_fd, key_name(p->key), 0);
    put_drop(p, false);
    if (!rc)
        *ret = *described;
    return rc;
}

static int local_put_commit_free(struct objstore_put *base, struct artifact *ret,
                                 struct err *err)
{
    struct local_put *p = as_local_put(base);
    struct artifact described;
    int rc = give_name(p, &described, err);

    return rc ? rc : end_put(p, make_durable(p, err), &described, ret, err);
}

/* The disk begins with a small one, and nobody waits for it here. */
static int local_put_publish_free(struct objstore_put *base, struct artifact *ret,
                                  struct err *err)
{
    struct local_put *p = as_local_put(base);
    struct artifact described;
    int rc = give_name(p, &described, err);

    if (rc)
        return rc;
    if (described.size > LOCAL_SYNC_LATER_MAX)
        rc = make_durable(p, err);
    else
        rc = local_sync_begin(p->fd, p->key, err);
    return end_put(p, rc, &described, ret, err);
}

static void local_sync(struct objstore *base, const char *const *keys, size_t count,
                       objstore_lost_fn *lost, void *arg)
{
    struct local_store *s = as_local(base);

    local_sync_all(s->root, &s->settled, keys, count, lost, arg);
}

static void local_put_abort_free(struct objstore_put *base)
{
    put_drop(as_local_put(base), true);
}

/* --- get, delete --- */

static int local_get(struct objstore *base, const char *key, int *ret_fd, uint64_t *ret_size,
                     struct err *err)
{
    int root_fd = fs_open_dir(as_local(base)->root, err);
    struct stat st;

    if (root_fd < 0)
        return root_fd;
    /* O_NONBLOCK: a FIFO planted under the root must not hang the caller. */
    int fd = fs_open_beneath(root_fd, key, O_RDONLY | O_NONBLOCK, 0, err);
    close(root_fd);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return err_set(err, -E_NOT_FOUND, "'%s' is not an object", key);
    }
    *ret_fd = fd;
    *ret_size = (uint64_t)st.st_size;
    return 0;
}

/* Removes the directories above `key` that have become empty, but not the topmost. */
static void remove_empty_parents(const struct local_store *s, const char *key)
{
    char path[ARTIFACT_KEY_MAX];
    int rc = 0;

    key_parent(key, path);
    while (!rc && strchr(path, '/')) {
        int dir_fd = open_parent(s, path, NULL);
        if (dir_fd < 0)
            return;
        rc = unlinkat(dir_fd, key_name(path), AT_REMOVEDIR);
        close(dir_fd);
        *strrchr(path, '/') = '\0';
    }
}

static int local_remove(struct objstore *base, const char *key, struct err *err)
{
    const struct local_store *s = as_local(base);
    struct err why = ERR_INIT;
    int rc = 0;
    int dir_fd = open_parent(s, key, &why);

    if (dir_fd == -E_NOT_FOUND)
        return 0;
    if (dir_fd < 0)
        return err_set(err, dir_fd, "%s", why.text);
    if (unlinkat(dir_fd, key_name(key), 0) != 0 && errno != ENOENT)
        rc = err_set_errno(err, err_from_errno(errno), errno, "delete '%s'", key);
    close(dir_fd);
    if (!rc)
        remove_empty_parents(s, key);
    return rc;
}

static int local_sweep_object(struct objstore *base, const char *key, int64_t older_than_ms,
                              bool *ret_removed, struct err *err)
{
    const struct local_store *s = as_local(base);
    int dir_fd = open_parent(s, key, err);

    if (dir_fd < 0)
        return dir_fd == -E_NOT_FOUND ? 0 : dir_fd;
    *ret_removed = local_walk_sweep_file(dir_fd, key_name(key), older_than_ms);
    close(dir_fd);
    if (*ret_removed)
        remove_empty_parents(s, key);
    return 0;
}

/* --- walks and the disk --- */

static int local_list(struct objstore *base, const char *prefix, objstore_visit_fn *visit,
                      void *arg, struct err *err)
{
    return local_walk_list(as_local(base)->root, prefix, visit, arg, err);
}

static int local_sweep_parts(struct objstore *base, int64_t older_than_ms,
                             uint64_t *ret_removed, struct err *err)
{
    return local_walk_sweep(as_local(base)->root, older_than_ms, ret_removed, err);
}

static int local_free_bytes(struct objstore *base, uint64_t *ret_bytes, struct err *err)
{
    int root_fd = fs_open_dir(as_local(base)->root, err);

    if (root_fd < 0)
        return root_fd;
    int rc = fs_free_bytes(root_fd, ret_bytes, err);
    close(root_fd);
    return rc;
}

static const char *local_root(struct objstore *base)
{
    return as_local(base)->root;
}

static const char *local_temp_dir(struct objstore *base)
{
    const struct local_store *s = as_local(base);

    /* Made again in case somebody removed it; if that fails, using it will say why. */
    fs_make_dirs(s->temp_dir, NULL);
    return s->temp_dir;
}

const struct objstore_ops objstore_local_ops = {
    .scheme = "file",
    .check_place = local_check_place,
    .open = local_open,
    .close = local_close,
    .put_begin = local_put_begin,
    .put_write = local_put_write,
    .put_fd = local_put_fd,
    .put_hold = local_put_hold,
    .put_commit_free = local_put_commit_free,
    .put_publish_free = local_put_publish_free,
    .sync = local_sync,
    .put_abort_free = local_put_abort_free,
    .get = local_get,
    .stat = objstore_stat_by_reading,
    .remove = local_remove,
    .list = local_list,
    .sweep_object = local_sweep_object,
    .sweep_parts = local_sweep_parts,
    .free_bytes = local_free_bytes,
    .root = local_root,
    .temp_dir = local_temp_dir,
};
