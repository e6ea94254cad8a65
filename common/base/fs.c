#include "fs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_dir_fd(int fd, const char *what, struct err *err)
{
    if (fsync(fd) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "fsync directory of '%s'",
                             what);
    return 0;
}

int fs_open_dir(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open directory '%s'", path);
    return fd;
}

/* Makes one directory; *ret_made tells that it was not there. */
static int make_dir(int at, const char *path, bool *ret_made, struct err *err)
{
    struct stat st;

    *ret_made = mkdirat(at, path, 0770) == 0;
    if (*ret_made)
        return 0;
    if (errno != EEXIST)
        return err_set_errno(err, err_from_errno(errno), errno, "create directory '%s'", path);
    if (fstatat(at, path, &st, 0) == 0 && S_ISDIR(st.st_mode))
        return 0;
    return err_set(err, -E_EXISTS, "'%s' is in the way: it is not a directory", path);
}

/* The same, and makes its name durable. */
static int make_durable_dir(const char *path, struct err *err)
{
    char parent[PATH_MAX];
    bool made = false;
    int rc = make_dir(AT_FDCWD, path, &made, err);

    if (rc || !made)
        return rc;
    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash)
        snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';

    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open directory '%s'", parent);
    rc = sync_dir_fd(fd, path, err);
    close(fd);
    return rc;
}

int fs_make_dirs(const char *path, struct err *err)
{
    char part[PATH_MAX];
    struct stat st;

    if (strlen(path) >= sizeof part)
        return err_set(err, -E_BAD_VALUE, "path is longer than %d bytes", PATH_MAX - 1);
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0; /* as nearly always */
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1; *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        int rc = make_durable_dir(part, err);
        if (rc)
            return rc;
        *p = '/';
    }
    return make_durable_dir(part, err);
}

/* Makes the directory `name` in `at` unless it is there, and opens it. */
static int enter_dir(int at, const char *name, struct err *err)
{
    if (strcmp(name, "..") == 0)
        return err_set(err, -E_BAD_VALUE, "a path with '..' leads out of its directory");
    bool made = false;
    int rc = make_dir(at, name, &made, err);
    return rc ? rc : fs_open_beneath(at, name, O_RDONLY | O_DIRECTORY, 0, err);
}

/* One segment at a time, each from the directory opened before, so no symlink is followed. */
int fs_make_dirs_beneath(int root_fd, const char *path, struct err *err)
{
    char name[NAME_MAX + 1];
    int at = root_fd;

    if (*path == '/')
        return err_set(err, -E_BAD_VALUE, "path '%s' is absolute", path);
    while (at >= 0 && *path) {
        size_t len = strcspn(path, "/");
        if (len >= sizeof name) {
            if (at != root_fd)
                close(at);
            return err_set(err, -E_BAD_VALUE, "a file name is longer than %d bytes", NAME_MAX);
        }
        memcpy(name, path, len);
        name[len] = '\0';
        path += len + (path[len] == '/');
        if (len == 0)
            continue;
        int next = enter_dir(at, name, err);
        if (at != root_fd)
            close(at);
        at = next;
    }
    if (at >= 0 && at != root_fd)
        close(at);
    return at < 0 ? at : 0;
}

int fs_open_beneath(int root_fd, const char *path, int flags, unsigned mode, struct err *err)
{
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    do
        fd = syscall(SYS_openat2, root_fd, path, &how, sizeof how);
    while (fd < 0 && (errno == EINTR || errno == EAGAIN));
    if (fd >= 0)
        return (int)fd;
    if (errno == EXDEV || errno == ELOOP)
        return err_set(err, -E_BAD_VALUE, "path '%s' leads out of its directory", path);
    return err_set_errno(err, err_from_errno(errno), errno, "open '%s'", path);
}

int fs_sync_parent(int root_fd, const char *path, struct err *err)
{
    char parent[PATH_MAX];

    snprintf(parent, sizeof parent, "%s", path);
    char *slash = strrchr(parent, '/');
    if (slash)
        *slash = '\0';
    int fd = fs_open_beneath(root_fd, slash ? parent : ".", O_RDONLY | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    int rc = sync_dir_fd(fd, path, err);
    close(fd);
    return rc;
}

int fs_write_all(int fd, const void *bytes, size_t len, const char *what, struct err *err)
{
    const char *at = bytes;

    while (len > 0) {
        ssize_t put = write(fd, at, len);
        if (put < 0) {
            if (errno == EINTR)
                continue;
            return err_set_errno(err, err_from_errno(errno), errno, "write '%s'", what);
        }
        at += put;
        len -= (size_t)put;
    }
    return 0;
}

int fs_read_small(const char *path, size_t max_bytes, char **ret_text, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "open '%s'", path);

    char *text = malloc(max_bytes + 1);
    size_t len = 0;
    int rc = 0;
    while (text && rc == 0) {
        char probe;
        bool full = len == max_bytes;
        ssize_t got = read(fd, full ? &probe : text + len, full ? 1 : max_bytes - len);
        if (got == 0)
            break;
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            rc = err_set_errno(err, err_from_errno(errno), errno, "read '%s'", path);
        else if (full)
            rc = err_set(err, -E_TOO_BIG, "'%s' is larger than %zu bytes", path, max_bytes);
        else
            len += (size_t)got;
    }
    close(fd);
    if (!text)
        return err_set(err, -E_NO_MEMORY, "no memory to read '%s'", path);
    if (rc) {
        free(text);
        return rc;
    }
    text[len] = '\0';
    *ret_text = text;
    return 0;
}

int fs_open_nameless(const char *dir, struct err *err)
{
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        /* a file system without nameless files: name it and take the name away */
        char path[PATH_MAX];
        if (snprintf(path, sizeof path, "%s/segue-spill-XXXXXX", dir) >= (int)sizeof path)
            return err_set(err, -E_BAD_VALUE,
                           "the path of the temporary directory is too long");
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
            unlink(path);
    }
    if (fd < 0)
        return err_set_errno(err, errno == ENOSPC || errno == EDQUOT ? -E_NO_SPACE : -E_IO,
                             errno, "create a temporary file in '%s'", dir);
    return fd;
}

int fs_free_bytes(int fd, uint64_t *ret_bytes, struct err *err)
{
    struct statvfs st;

    if (fstatvfs(fd, &st) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "read free disk space");
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return 0;
}
