/* scratch.c - folders repo-<token> and, for each, a lock that dies with its process. */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "id.h"
#include "tree.h"

static const char prefix[] = "repo-", lock_suffix[] = ".lock";

static void remove_dead(int dir_fd, const char *lock)
{
    char name[64];
    size_t len = strlen(lock) - (sizeof lock_suffix - 1);
    int fd = openat(dir_fd, lock, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0 || len >= sizeof name || flock(fd, LOCK_EX | LOCK_NB) != 0) {
        if (fd >= 0)
            close(fd);
        return;
    }
    memcpy(name, lock, len);
    name[len] = '\0';
    if (tree_erase(dir_fd, name, NULL) == 0)
        unlinkat(dir_fd, lock, 0);
    close(fd);
}

static void sweep(const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *entry;

    while (dir && (entry = readdir(dir)) != NULL) {
        size_t len = strlen(entry->d_name), tail = sizeof lock_suffix - 1;
        if (strncmp(entry->d_name, prefix, sizeof prefix - 1) == 0 && len > tail &&
            strcmp(entry->d_name + len - tail, lock_suffix) == 0)
            remove_dead(dirfd(dir), entry->d_name);
    }
    if (dir)
        closedir(dir);
}

/* The lock is there, and held, before the folder is. */
static int make(struct scratch *s, struct err *err)
{
    char lock[96];

    snprintf(lock, sizeof lock, "%s%s", s->name, lock_suffix);
    s->lock_fd =
        openat(s->dir_fd, lock, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (s->lock_fd < 0 || flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0 ||
        mkdirat(s->dir_fd, s->name, 0700) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "make '%.300s'", s->path);
    return 0;
}

int scratch_make(const char *dir, struct scratch *ret, struct err *err)
{
    char token[TOKEN_TEXT_MAX];

    memset(ret, 0, sizeof *ret);
    ret->lock_fd = -1;
    ret->dir_fd = fs_open_dir(dir, err);
    if (ret->dir_fd < 0)
        return ret->dir_fd;
    sweep(dir);
    token_new(token);
    snprintf(ret->name, sizeof ret->name, "%s%s", prefix, token);
    int len = snprintf(ret->path, sizeof ret->path, "%s/%s", dir, ret->name);
    int rc = len > 0 && (size_t)len < sizeof ret->path
                 ? make(ret, err)
                 : err_set(err, -E_BAD_VALUE, "the path of the temporary folder is too long");
    if (rc)
        scratch_remove(ret);
    return rc;
}

void scratch_remove(struct scratch *s)
{
    char lock[96];

    tree_erase(s->dir_fd, s->name, NULL);
    snprintf(lock, sizeof lock, "%s%s", s->name, lock_suffix);
    if (s->lock_fd >= 0) {
        unlinkat(s->dir_fd, lock, 0);
        close(s->lock_fd);
    }
    close(s->dir_fd);
}
