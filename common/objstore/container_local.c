/* container_local.c - containers in the folder of a local object store: making them, their
 * note, taking them away. Everything opens without following a symlink. */
#include "container_local.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "id.h"
#include "objstore_ops.h"

enum { ENSURE_TRIES = 5, INFO_MAX = 512, DIR_PATH_MAX = 96, TEMP_NAME_MAX = 64 };

static const char info_name[] = "info";
static const char folder[] = "containers";
static const char gone_prefix[] = ".gone-"; /* no container starts with a dot */

static void dir_path(const struct container *c, char ret_path[DIR_PATH_MAX])
{
    snprintf(ret_path, DIR_PATH_MAX, "%s/%s", folder, c->name);
}

static int no_container(const struct container *c, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "there is no container '%s'", c->name);
}

/* A folder below the root; any that is missing gives -E_NOT_FOUND. */
static int open_below_root(const struct container *c, const char *path, struct err *err)
{
    int root_fd = fs_open_dir(local_store_of(c)->root, err);

    if (root_fd < 0)
        return root_fd;
    int fd = fs_open_beneath(root_fd, path, O_RDONLY | O_DIRECTORY, 0, err);
    close(root_fd);
    return fd;
}

int local_container_dir(const struct container *c, struct err *err)
{
    char path[DIR_PATH_MAX];
    struct stat st;

    dir_path(c, path);
    int fd = open_below_root(c, path, err);
    if (fd == -E_NOT_FOUND)
        return no_container(c, err);
    if (fd >= 0 && fstatat(fd, info_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        close(fd);
        return no_container(c, err);
    }
    return fd;
}

int local_blobs_dir(const struct container *c, bool make, bool *ret_no_container,
                    struct err *err)
{
    int dir_fd = local_container_dir(c, err);

    if (ret_no_container)
        *ret_no_container = dir_fd == -E_NOT_FOUND;
    if (dir_fd < 0)
        return dir_fd;
    int rc = make ? fs_make_dirs_beneath(dir_fd, LOCAL_BLOBS, err) : 0;
    int fd = rc ? rc : fs_open_beneath(dir_fd, LOCAL_BLOBS, O_RDONLY | O_DIRECTORY, 0, err);
    close(dir_fd);
    return fd;
}

/* --- the info file --- */

/* Writes a file of its own with the note and gives its name in ret_temp. */
static int write_info_part(int dir_fd, const char *commit, char ret_temp[TEMP_NAME_MAX],
                           struct err *err)
{
    char token[TOKEN_TEXT_MAX], text[INFO_MAX];

    token_new(token);
    snprintf(ret_temp, TEMP_NAME_MAX, "%s.part", token);
    int fd =
        openat(dir_fd, ret_temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno,
                             "create the info of a container");
    int len = snprintf(text, sizeof text, "commit=%s\n", commit);
    int rc = fs_write_all(fd, text, (size_t)len, info_name, err);
    if (!rc && fsync(fd) != 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "fsync the info of a container");
    close(fd);
    if (rc)
        unlinkat(dir_fd, ret_temp, 0);
    return rc;
}

static int sync_dir(int dir_fd, const struct container *c, struct err *err)
{
    if (fsync(dir_fd) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "fsync container '%s'",
                             c->name);
    return 0;
}

/* The first info makes the container. */
static int make_info(const struct container *c, int dir_fd, bool *ret_existed, struct err *err)
{
    char temp[TEMP_NAME_MAX];
    int rc = write_info_part(dir_fd, "", temp, err);

    if (rc)
        return rc;
    *ret_existed = linkat(dir_fd, temp, dir_fd, info_name, 0) != 0;
    if (*ret_existed && errno != EEXIST)
        rc = err_set_errno(err, err_from_errno(errno), errno, "make container '%s'", c->name);
    unlinkat(dir_fd, temp, 0);
    return rc ? rc : sync_dir(dir_fd, c, err);
}

static int try_ensure(const struct container *c, bool *ret_existed, struct err *err)
{
    char path[DIR_PATH_MAX];
    int dir_fd = local_container_dir(c, err);

    if (dir_fd >= 0) {
        close(dir_fd);
        *ret_existed = true;
        return 0;
    }
    if (dir_fd != -E_NOT_FOUND)
        return dir_fd;
    dir_path(c, path);
    int rc = fs_make_dirs(local_store_of(c)->root, err);
    int root_fd = rc ? rc : fs_open_dir(local_store_of(c)->root, err);
    if (root_fd < 0)
        return root_fd;
    rc = fs_make_dirs_beneath(root_fd, path, err);
    close(root_fd);
    dir_fd = rc ? rc : open_below_root(c, path, err);
    if (dir_fd < 0)
        return dir_fd;
    rc = make_info(c, dir_fd, ret_existed, err);
    close(dir_fd);
    return rc;
}

/* A sweep may take an empty folder away before the info is in it. */
static int local_ensure(struct container *c, bool *ret_existed, struct err *err)
{
    struct err why = ERR_INIT;
    int rc = -E_NOT_FOUND;

    for (int tries = 0; rc == -E_NOT_FOUND && tries < ENSURE_TRIES; tries++)
        rc = try_ensure(c, ret_existed, &why);
    return rc ? err_set(err, rc == -E_NOT_FOUND ? -E_IO : rc, "%s", why.text) : 0;
}

static int local_exists(struct container *c, struct err *err)
{
    int fd = local_container_dir(c, err);

    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

static int local_set_commit(struct container *c, const char *commit, struct err *err)
{
    char temp[TEMP_NAME_MAX];
    int dir_fd = local_container_dir(c, err);

    if (dir_fd < 0)
        return dir_fd;
    int rc = write_info_part(dir_fd, commit, temp, err);
    if (!rc && renameat(dir_fd, temp, dir_fd, info_name) != 0) {
        rc = err_set_errno(err, err_from_errno(errno), errno,
                           "note the commit of container '%s'", c->name);
        unlinkat(dir_fd, temp, 0);
    }
    if (!rc)
        rc = sync_dir(dir_fd, c, err);
    close(dir_fd);
    return rc;
}

static int local_commit(struct container *c, char ret_commit[CONTAINER_COMMIT_MAX],
                        struct err *err)
{
    char text[INFO_MAX];
    int dir_fd = local_container_dir(c, err);

    if (dir_fd < 0)
        return dir_fd;
    int fd = fs_open_beneath(dir_fd, info_name, O_RDONLY | O_NONBLOCK, 0, err);
    close(dir_fd);
    if (fd < 0)
        return fd;
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    const char *at = strncmp(text, "commit=", 7) == 0 ? text + 7 : "";
    size_t len = strcspn(at, "\n");
    len = len < CONTAINER_COMMIT_MAX ? len : 0;
    memcpy(ret_commit, at, len);
    ret_commit[len] = '\0';
    return 0;
}

/* Blobs are linked in without an fsync each; this is the one for all of them. */
static int local_flush(struct container *c, struct err *err)
{
    int fd = local_container_dir(c, err);

    if (fd < 0)
        return fd;
    int rc = syncfs(fd) == 0 ? 0
                             : err_set_errno(err, err_from_errno(errno), errno,
                                             "write container '%s' to the disk", c->name);
    close(fd);
    return rc;
}

/* --- removing --- */

static int remove_tree(int at, const char *name, struct err *err)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int rc = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return errno == ENOENT ? 0 : err_set_errno(err, -E_IO, errno, "open folder '%s'", name);
    }
    while (!rc && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        rc = errno == EISDIR ? remove_tree(dirfd(dir), entry->d_name, err)
                             : err_set_errno(err, -E_IO, errno, "delete '%s'", entry->d_name);
    }
    closedir(dir);
    if (!rc && unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = err_set_errno(err, -E_IO, errno, "delete folder '%s'", name);
    return rc;
}

/* What removals left that were cut short, the one just begun included. */
static int remove_gone(int folder_fd, struct err *err)
{
    int fd = openat(folder_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *entry;
    int rc = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return err_set_errno(err, -E_IO, errno, "read the folder of containers");
    }
    while (!rc && (entry = readdir(dir))) {
        if (strncmp(entry->d_name, gone_prefix, sizeof gone_prefix - 1) == 0)
            rc = remove_tree(folder_fd, entry->d_name, err);
    }
    closedir(dir);
    return rc;
}

/* First it loses its name, all at once; then it goes bit by bit. */
static int local_remove(struct container *c, struct err *err)
{
    char token[TOKEN_TEXT_MAX], gone[TEMP_NAME_MAX];
    struct err why = ERR_INIT;
    int folder_fd = open_below_root(c, folder, &why), rc = 0;

    if (folder_fd < 0)
        return folder_fd == -E_NOT_FOUND ? 0 : err_set(err, folder_fd, "%s", why.text);
    token_new(token);
    snprintf(gone, sizeof gone, "%s%s", gone_prefix, token);
    if (renameat(folder_fd, c->name, folder_fd, gone) != 0 && errno != ENOENT)
        rc = err_set_errno(err, err_from_errno(errno), errno, "remove container '%s'", c->name);
    if (!rc)
        rc = remove_gone(folder_fd, err);
    close(folder_fd);
    return rc;
}

/* --- the store --- */

static void local_store_close(struct container_store *s)
{
    free(s);
}

static int local_store_check(struct container_store *base, struct err *err)
{
    const struct local_containers *s = (const struct local_containers *)(void *)base;
    int rc = fs_make_dirs(s->root, err);
    int root_fd = rc ? rc : fs_open_dir(s->root, err);

    if (root_fd < 0)
        return root_fd;
    rc = fs_make_dirs_beneath(root_fd, folder, err);
    if (!rc && faccessat(root_fd, folder, R_OK | W_OK | X_OK, 0) != 0)
        rc = err_set_errno(err, -E_IO, errno, "use folder '%s/%s'", s->root, folder);
    close(root_fd);
    return rc;
}

static const struct container_ops local_ops = {
    .kind = "local",
    .store_close = local_store_close,
    .store_check = local_store_check,
    .ensure = local_ensure,
    .exists = local_exists,
    .remove = local_remove,
    .set_commit = local_set_commit,
    .commit = local_commit,
    .flush = local_flush,
    .put_begin = local_put_begin,
    .put_write = local_put_write,
    .put_commit_free = local_put_commit_free,
    .put_abort_free = local_put_abort_free,
    .put_file = local_put_file,
    .remove_blob = local_remove_blob,
    .stat = local_stat,
    .get = local_get,
    .read = local_read,
    .read_close = local_read_close,
    .list_begin = local_list_begin,
    .list_next = local_list_next,
    .list_free = local_list_free,
};

int container_local_open(struct objstore *objects, struct container_store **ret,
                         struct err *err)
{
    const char *root = objects->ops->root(objects);

    if (!root)
        return err_set(err, -E_UNSUPPORTED,
                       "containers need a local object store (file:DIR) or "
                       "AZURE_STORAGE_CONNECTION_STRING");
    struct local_containers *s = calloc(1, sizeof *s);
    if (!s)
        return err_set(err, -E_NO_MEMORY, "no memory for the containers");
    *s = (struct local_containers){{&local_ops}, objects, root};
    *ret = &s->base;
    return 0;
}
