/* folder.c - a tree is built in .work/files and gets its name in one rename, once everything is
 * on the disk: after a crash or a power loss it is whole or not there. */
#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "entry.h"
#include "fs.h"
#include "tree.h"

enum { PLACE_MAX = 96, PATH_BYTES_MAX = 4096 };

struct folder {
    char place[PLACE_MAX]; /* outputs/<task>/<attempt> */
    int attempt;
    int root_fd, task_fd, place_fd, work_fd, files_fd;
    char work_dir[PATH_BYTES_MAX];
    char made[ENTRY_PATH_MAX + 1]; /* the folder, below files, that is known to be there */
    int fd;                        /* the file being written; -1: none */
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static void folder_free(struct folder *f)
{
    close_fd(&f->fd);
    close_fd(&f->files_fd);
    close_fd(&f->work_fd);
    close_fd(&f->place_fd);
    close_fd(&f->task_fd);
    close_fd(&f->root_fd);
    free(f);
}

void folder_abort_free(struct folder *f)
{
    char name[16], task[PLACE_MAX];

    if (!f)
        return;
    snprintf(name, sizeof name, "%d", f->attempt);
    if (f->task_fd >= 0)
        tree_erase(f->task_fd, name, NULL);
    if (f->root_fd >= 0) {
        snprintf(task, sizeof task, "%s", f->place);
        *strrchr(task, '/') = '\0';
        unlinkat(f->root_fd, task, AT_REMOVEDIR); /* unless there is more in it */
    }
    folder_free(f);
}

/* Attempts before this one have lost the task; should one still run, it fails. */
static void erase_earlier(const struct folder *f)
{
    char name[16];

    for (int i = 1; i < f->attempt; i++) {
        snprintf(name, sizeof name, "%d", i);
        tree_erase(f->task_fd, name, NULL);
    }
}

static int open_dir(int at_fd, const char *name, int *ret_fd, struct err *err)
{
    *ret_fd = fs_open_beneath(at_fd, name, O_RDONLY | O_DIRECTORY, 0, err);
    return *ret_fd < 0 ? *ret_fd : 0;
}

static int make_place(struct folder *f, const char *root, const char *task_id, struct err *err)
{
    char task[PLACE_MAX];
    int len = snprintf(f->work_dir, sizeof f->work_dir, "%s/%s/%s", root, f->place, TREE_WORK);

    if (len < 0 || (size_t)len + sizeof "/git" >= sizeof f->work_dir)
        return err_set(err, -E_BAD_VALUE, "the path of the object store is too long");
    snprintf(task, sizeof task, "%s/%s", TREE_FOLDER, task_id);
    f->root_fd = fs_open_dir(root, err);
    int rc = f->root_fd < 0 ? f->root_fd : fs_make_dirs_beneath(f->root_fd, task, err);
    if (!rc)
        rc = open_dir(f->root_fd, task, &f->task_fd, err);
    if (rc)
        return rc;
    erase_earlier(f);
    rc = fs_make_dirs_beneath(f->root_fd, f->place, err);
    if (!rc)
        rc = open_dir(f->root_fd, f->place, &f->place_fd, err);
    if (!rc)
        rc = tree_erase(f->place_fd, TREE_WORK, err); /* of a slot that died a moment ago */
    if (!rc && (mkdirat(f->place_fd, TREE_WORK, 0770) != 0 ||
                (f->work_fd = openat(f->place_fd, TREE_WORK,
                                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0 ||
                mkdirat(f->work_fd, "files", 0770) != 0))
        rc = err_set_errno(err, err_from_errno(errno), errno, "make '%s/%s'", f->place,
                           TREE_WORK);
    return rc ? rc : open_dir(f->work_fd, "files", &f->files_fd, err);
}

int folder_begin(const char *root, const char *task_id, int attempt, struct folder **ret,
                 struct err *err)
{
    struct folder *f = calloc(1, sizeof *f);

    if (!f)
        return err_set(err, -E_NO_MEMORY, "no memory for a folder");
    f->root_fd = f->task_fd = f->place_fd = f->work_fd = f->files_fd = f->fd = -1;
    f->attempt = attempt;
    snprintf(f->place, sizeof f->place, "%s/%s/%d", TREE_FOLDER, task_id, attempt);
    struct err why = ERR_INIT;
    int rc = make_place(f, root, task_id, &why);
    if (rc) {
        folder_abort_free(f);
        /* The sweep has just removed the task's empty folder: the next attempt makes it again.
         */
        return err_set(err, rc == -E_NOT_FOUND ? -E_IO : rc, "%s", why.text);
    }
    *ret = f;
    return 0;
}

const char *folder_work_dir(const struct folder *f)
{
    return f->work_dir;
}

int folder_key(const struct folder *f, const char *name, char ret_key[ARTIFACT_KEY_MAX],
               struct err *err)
{
    int len = snprintf(ret_key, ARTIFACT_KEY_MAX, "%s/%s", f->place, name);

    if (len < 0 || len >= ARTIFACT_KEY_MAX || !artifact_key_is_valid(ret_key))
        return err_set(err, -E_BAD_VALUE, "'%s' is no name for a folder", name);
    return 0;
}

/* --- the sink --- */

static int fault_of(const char *path, struct err *err)
{
    int code = errno == EEXIST || errno == ENOTDIR || errno == EISDIR || errno == ENAMETOOLONG
                   ? -E_BAD_INPUT
                   : err_from_errno(errno);

    if (code == -E_NOT_FOUND) /* somebody has removed the folder: the attempt is lost */
        code = -E_IO;
    return err_set_errno(err, code, errno, "write '%.200s'", path);
}

/* Entries come in order, so mostly the folder is that of the file before. */
static int make_parents(struct folder *f, const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    size_t len = slash ? (size_t)(slash - path) : 0;
    char parent[ENTRY_PATH_MAX + 1];

    if (len == 0 || (strlen(f->made) == len && memcmp(f->made, path, len) == 0))
        return 0;
    memcpy(parent, path, len);
    parent[len] = '\0';
    for (char *at = parent; at; at = strchr(at + 1, '/')) {
        if (at == parent)
            continue;
        *at = '\0';
        int rc = mkdirat(f->files_fd, parent, 0770);
        if (rc != 0 && errno != EEXIST)
            return fault_of(path, err);
        *at = '/';
    }
    if (mkdirat(f->files_fd, parent, 0770) != 0 && errno != EEXIST)
        return fault_of(path, err);
    memcpy(f->made, parent, len + 1);
    return 0;
}

static int begin_file(void *arg, const char *path, uint64_t size, struct err *err)
{
    struct folder *f = arg;
    int rc = make_parents(f, path, err);

    (void)size;
    if (rc)
        return rc;
    f->fd =
        openat(f->files_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
    return f->fd >= 0 ? 0 : fault_of(path, err);
}

static int write_file(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct folder *f = arg;

    return fs_write_all(f->fd, bytes, len, "a file of the repository", err);
}

static int end_file(void *arg, struct err *err)
{
    struct folder *f = arg;
    int fd = f->fd;

    f->fd = -1;
    return close(fd) == 0 ? 0
                          : err_set_errno(err, err_from_errno(errno), errno, "close a file");
}

struct repo_sink folder_sink(struct folder *f)
{
    return (struct repo_sink){begin_file, write_file, end_file, f};
}

/* --- the end --- */

static int write_about(struct folder *f, const char *about, struct err *err)
{
    int fd = openat(f->work_fd, "about", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0660);

    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "create '%s.json'", f->place);
    int rc = fs_write_all(fd, about, strlen(about), "about", err);
    if (close(fd) != 0 && !rc)
        rc = err_set_errno(err, err_from_errno(errno), errno, "close '%s.json'", f->place);
    return rc;
}

static int give_name(struct folder *f, const char *from, const char *name, const char *suffix,
                     struct err *err)
{
    char to[ARTIFACT_KEY_MAX];

    snprintf(to, sizeof to, "%s%s", name, suffix);
    if (renameat(f->work_fd, from, f->place_fd, to) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "rename '%s/%s'", f->place, to);
    return 0;
}

static int commit(struct folder *f, const char *name, const char *about, struct err *err)
{
    int rc = write_about(f, about, err);

    if (!rc)
        rc = tree_erase(f->work_fd, "git", err);
    /* One call for any number of files; since Linux 5.8 it tells of failed writes too. */
    if (!rc && syncfs(f->files_fd) != 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "sync '%s'", f->place);
    if (!rc)
        rc = give_name(f, "about", name, ".json", err);
    if (!rc)
        rc = give_name(f, "files", name, "", err);
    if (!rc)
        rc = tree_erase(f->place_fd, TREE_WORK, err);
    if (!rc && fsync(f->place_fd) != 0)
        rc = err_set_errno(err, err_from_errno(errno), errno, "fsync '%s'", f->place);
    return rc;
}

int folder_commit_free(struct folder *f, const char *name, const char *about, struct err *err)
{
    int rc = commit(f, name, about, err);

    if (rc)
        folder_abort_free(f);
    else
        folder_free(f);
    return rc;
}
