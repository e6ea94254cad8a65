#include "outfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fs.h"
#include "id.h"

enum { RANDOM_DIGITS = 12 };

static int io_error(int errnum, const char *what, const char *path, struct err *err)
{
    int code = errnum == ENOSPC || errnum == EDQUOT ? -E_NO_SPACE : -E_IO;

    return err_set_errno(err, code, errnum, "%s '%s'", what, path);
}

/* Follows links, so that the file they lead to is replaced and not they. */
static int resolve(struct outfile *f, const char *path, struct err *err)
{
    char *real = realpath(path, NULL);
    int len = snprintf(f->path, sizeof f->path, "%s", real ? real : path);

    free(real);
    if (len >= PATH_MAX)
        return err_set(err, -E_IO, "the path of the output is too long");
    return 0;
}

static int open_part(struct outfile *f, struct err *err)
{
    char token[TOKEN_TEXT_MAX];
    const char *slash = strrchr(f->path, '/'), *name = slash ? slash + 1 : f->path;

    token_new(token);
    int len = snprintf(f->part, sizeof f->part, "%.*s.%s.%.*s.part", (int)(name - f->path),
                       f->path, name, RANDOM_DIGITS, token);
    if (len >= PATH_MAX) {
        f->part[0] = '\0';
        return err_set(err, -E_IO, "the path of the output is too long");
    }
    f->fd = open(f->part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        f->part[0] = '\0';
        return io_error(errno, "create", f->path, err);
    }
    f->owned = true;
    return 0;
}

int outfile_open(struct outfile *f, const char *path, struct err *err)
{
    struct stat st;

    *f = (struct outfile){.fd = STDOUT_FILENO};
    if (strcmp(path, "-") == 0)
        return 0;
    int rc = resolve(f, path, err);
    if (rc)
        return rc;
    if (stat(f->path, &st) == 0 && !S_ISREG(st.st_mode)) {
        f->fd = open(f->path, O_WRONLY | O_CLOEXEC);
        f->owned = f->fd >= 0;
        rc = f->fd < 0 ? io_error(errno, "open", f->path, err) : 0;
        f->path[0] = '\0';
        return rc;
    }
    return open_part(f, err);
}

static int sync_dir(const char *path, struct err *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');

    if (slash)
        snprintf(dir, sizeof dir, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    else
        snprintf(dir, sizeof dir, ".");
    int fd = fs_open_dir(dir, err);
    if (fd < 0)
        return fd;
    int rc = fsync(fd) != 0 ? io_error(errno, "fsync directory", dir, err) : 0;
    close(fd);
    return rc;
}

int outfile_commit(struct outfile *f, struct err *err)
{
    if (!f->part[0])
        return 0;
    if (fsync(f->fd) != 0)
        return io_error(errno, "fsync", f->path, err);
    if (rename(f->part, f->path) != 0)
        return io_error(errno, "rename to", f->path, err);
    f->part[0] = '\0';
    return sync_dir(f->path, err);
}

void outfile_unlink_part(const struct outfile *f)
{
    if (f->part[0])
        unlink(f->part);
}

void outfile_close(struct outfile *f)
{
    outfile_unlink_part(f);
    f->part[0] = '\0';
    if (f->owned)
        close(f->fd);
    f->owned = false;
}
