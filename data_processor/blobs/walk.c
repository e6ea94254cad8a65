#include "walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "container.h"
#include "tree.h"

/* Each folder on the way down holds a descriptor. */
enum { DEPTH_MAX = TREE_DEPTH_MAX };

struct walk {
    walk_visit_fn *visit;
    void *arg;
    struct err *err;
    char path[BLOB_NAME_MAX];
};

static int walk_folder(struct walk *w, int fd_take, size_t len, int depth);

static int walk_entry(struct walk *w, int dir_fd, const char *name, size_t len, int depth)
{
    size_t name_len = strlen(name);
    struct stat st;

    if (len + name_len >= sizeof w->path - 1)
        return err_set(w->err, -E_BAD_INPUT, "the path '%.200s…' is longer than %d bytes",
                       w->path, BLOB_NAME_MAX - 1);
    memcpy(w->path + len, name, name_len + 1);
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return err_set_errno(w->err, -E_IO, errno, "look at '%.300s'", w->path);
    if (S_ISREG(st.st_mode))
        return w->visit(w->path, &st, w->arg, w->err);
    if (!S_ISDIR(st.st_mode))
        return err_set(w->err, -E_BAD_INPUT, "'%.300s' is neither a file nor a folder",
                       w->path);
    if (depth == DEPTH_MAX)
        return err_set(w->err, -E_BAD_INPUT, "'%.200s…' lies more than %d folders deep",
                       w->path, DEPTH_MAX);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(w->err, -E_IO, errno, "open folder '%.300s'", w->path);
    memcpy(w->path + len + name_len, "/", 2);
    return walk_folder(w, fd, len + name_len + 1, depth + 1);
}

static int walk_folder(struct walk *w, int fd_take, size_t len, int depth)
{
    DIR *dir = fdopendir(fd_take);
    int rc = 0;

    if (!dir) {
        rc = err_set_errno(w->err, -E_IO, errno, "read folder '%.300s'", w->path);
        close(fd_take);
        return rc;
    }
    while (!rc) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry) {
            if (errno)
                rc = err_set_errno(w->err, -E_IO, errno, "read folder '%.300s'", w->path);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = walk_entry(w, dirfd(dir), entry->d_name, len, depth);
        w->path[len] = '\0';
    }
    closedir(dir);
    return rc;
}

int walk_files(int dir_fd, walk_visit_fn *visit, void *arg, struct err *err)
{
    struct walk w = {.visit = visit, .arg = arg, .err = err};
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return err_set_errno(err, -E_IO, errno, "open a folder");
    return walk_folder(&w, fd, 0, 0);
}
