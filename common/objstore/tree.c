#include "tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "fs.h"

static int erase_entries(int dir_fd, struct err *err);

/* Most are files, so that is tried first. */
int tree_erase(int dir_fd, const char *name, struct err *err)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return err_set_errno(err, -E_IO, errno, "remove '%.300s'", name);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, -E_IO, errno, "open '%.300s'", name);
    int rc = erase_entries(fd, err);
    if (!rc && unlinkat(dir_fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = err_set_errno(err, -E_IO, errno, "remove '%.300s'", name);
    return rc;
}

/* Takes dir_fd. Removing while reading is safe: what is not read yet is still read, or found by
 * the next to come. */
static int erase_entries(int dir_fd, struct err *err)
{
    DIR *dir = fdopendir(dir_fd);
    const struct dirent *entry;
    int rc = 0;

    if (!dir) {
        rc = err_set_errno(err, -E_IO, errno, "read a folder to remove");
        close(dir_fd);
        return rc;
    }
    while (!rc && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = tree_erase(dirfd(dir), entry->d_name, err);
    }
    closedir(dir);
    return rc;
}

/* --- walking --- */

struct walk {
    tree_visit_fn *visit;
    void *arg;
    struct err *err;
    int64_t now_ms;
    char task_id[ID_TEXT_MAX];
};

typedef int entry_fn(struct walk *w, int dir_fd, const char *name);

static int each_entry(struct walk *w, int dir_fd, const char *name, entry_fn *visit)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    int rc = 0;

    if (!dir) {
        if (fd >= 0)
            close(fd);
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_set_errno(w->err, -E_IO, errno, "read folder '%.300s'", name);
    }
    while (!rc && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.')
            rc = visit(w, dirfd(dir), entry->d_name);
    }
    closedir(dir);
    return rc;
}

/* The folder that is the tree, among what an attempt has; what else is there has a dot. */
static void find_name(int dir_fd, const char *attempt, char ret_name[ARTIFACT_SEGMENT_MAX + 1])
{
    int fd = openat(dir_fd, attempt, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *entry;
    struct stat st;

    snprintf(ret_name, ARTIFACT_SEGMENT_MAX + 1, "%s", TREE_UNNAMED);
    if (!dir && fd >= 0)
        close(fd);
    if (!dir)
        return;
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] != '.' && strlen(entry->d_name) <= ARTIFACT_SEGMENT_MAX &&
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISDIR(st.st_mode))
            memcpy(ret_name, entry->d_name, strlen(entry->d_name) + 1);
    }
    closedir(dir);
}

static int64_t age_ms(int64_t now_ms, const struct stat *st)
{
    int64_t changed_ms = (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;

    return now_ms > changed_ms ? now_ms - changed_ms : 0;
}

static int read_attempt(const char *name)
{
    char *end;
    long number = name[0] >= '1' && name[0] <= '9' ? strtol(name, &end, 10) : 0;

    return number > 0 && number < INT32_MAX && *end == '\0' ? (int)number : 0;
}

static int visit_attempt(struct walk *w, int dir_fd, const char *name)
{
    char key[ARTIFACT_KEY_MAX], found[ARTIFACT_SEGMENT_MAX + 1];
    int attempt = read_attempt(name);
    struct stat st;

    if (!attempt || fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(st.st_mode))
        return 0;
    find_name(dir_fd, name, found);
    int len = snprintf(key, sizeof key, "%s/%s/%d/%s", TREE_FOLDER, w->task_id, attempt, found);
    if (len < 0 || (size_t)len >= sizeof key || !objstore_key_is_valid(key))
        snprintf(key, sizeof key, "%s/%s/%d/%s", TREE_FOLDER, w->task_id, attempt,
                 TREE_UNNAMED);
    return w->visit(key, w->task_id, attempt, age_ms(w->now_ms, &st), w->arg);
}

static int visit_task(struct walk *w, int dir_fd, const char *name)
{
    if (strlen(name) != ID_TEXT_MAX - 1)
        return 0;
    memcpy(w->task_id, name, ID_TEXT_MAX);
    return id_is_valid(w->task_id) ? each_entry(w, dir_fd, name, visit_attempt) : 0;
}

/* The folder of all trees; -1 when there is none, or a negative code. */
static int open_trees(struct objstore *s, struct err *err)
{
    struct err why = ERR_INIT;
    const char *root = objstore_root(s);
    int root_fd = root ? fs_open_dir(root, &why) : -E_NOT_FOUND;

    if (root_fd < 0)
        return root_fd == -E_NOT_FOUND ? root_fd : err_set(err, root_fd, "%s", why.text);
    int fd = fs_open_beneath(root_fd, TREE_FOLDER, O_RDONLY | O_DIRECTORY, 0, &why);
    close(root_fd);
    return fd >= 0 || fd == -E_NOT_FOUND ? fd : err_set(err, fd, "%s", why.text);
}

int tree_list(struct objstore *s, const char *task_id, tree_visit_fn *visit, void *arg,
              struct err *err)
{
    struct walk w = {.visit = visit, .arg = arg, .err = err, .now_ms = clock_wall_ms()};
    int fd = open_trees(s, err);

    if (fd < 0)
        return fd == -E_NOT_FOUND ? 0 : fd;
    int rc = task_id ? visit_task(&w, fd, task_id) : each_entry(&w, fd, ".", visit_task);
    close(fd);
    return rc;
}

int tree_sweep(struct objstore *s, const char *task_id, int attempt, int64_t older_than_ms,
               bool *ret_removed, struct err *err)
{
    char name[16];
    struct stat st;
    int trees = open_trees(s, err);

    *ret_removed = false;
    if (trees < 0)
        return trees == -E_NOT_FOUND ? 0 : trees;
    int fd = openat(trees, task_id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int rc = 0;
    snprintf(name, sizeof name, "%d", attempt);
    if (fd >= 0 && fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        age_ms(clock_wall_ms(), &st) >= older_than_ms) {
        rc = tree_erase(fd, name, err);
        *ret_removed = rc == 0;
    }
    if (fd >= 0) {
        close(fd);
        unlinkat(trees, task_id, AT_REMOVEDIR); /* once the last attempt is gone */
    }
    close(trees);
    return rc;
}
