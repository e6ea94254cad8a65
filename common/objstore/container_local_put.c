/* container_local_put.c - writing a blob: a part beside the blobs, renamed over the older blob
 * once it is whole. There is no fsync for each: a repository has many small files, and one
 * syncfs for all (container_flush) is some hundred times faster. What a power loss cuts before
 * that has no whole trailer and is no blob. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container_local.h"
#include "fs.h"
#include "id.h"
#include "local_trailer.h"
#include "local_walk.h"
#include "sha256.h"

enum { COPY_BYTES = 1 << 17, RENAME_TRIES = 5, PART_MAX = TOKEN_TEXT_MAX + sizeof PART_SUFFIX };

struct local_put {
    struct container_put base;
    int dir_fd; /* of the blobs */
    int fd;
    char part[PART_MAX];
    struct sha256 hash;
    uint64_t size;
    bool failed;
    char name[BLOB_NAME_MAX];
};

static struct local_put *as_local(struct container_put *p)
{
    return (struct local_put *)(void *)p;
}

static void put_free(struct local_put *p)
{
    if (p->fd >= 0)
        close(p->fd);
    if (p->dir_fd >= 0)
        close(p->dir_fd);
    sha256_release(&p->hash);
    free(p);
}

void local_put_abort_free(struct container_put *base)
{
    struct local_put *p = as_local(base);

    unlinkat(p->dir_fd, p->part, 0);
    put_free(p);
}

static int open_part(struct local_put *p, struct err *err)
{
    char token[TOKEN_TEXT_MAX];

    p->dir_fd = local_blobs_dir(p->base.container, true, NULL, err);
    if (p->dir_fd < 0)
        return p->dir_fd;
    token_new(token);
    snprintf(p->part, sizeof p->part, "%s%s", token, PART_SUFFIX);
    p->fd =
        openat(p->dir_fd, p->part, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0660);
    if (p->fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno,
                             "create a blob in container '%s'", p->base.container->name);
    flock(p->fd, LOCK_EX | LOCK_NB); /* ours alone: see local_walk_sweep */
    return 0;
}

int local_put_begin(struct container *c, const char *name, struct container_put **ret,
                    struct err *err)
{
    struct local_put *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(err, -E_NO_MEMORY, "no memory to write a blob");
    p->base.container = c;
    p->fd = p->dir_fd = -1;
    memcpy(p->name, name, strlen(name) + 1);
    int rc = sha256_init(&p->hash, err);
    if (!rc)
        rc = open_part(p, err);
    if (rc) {
        put_free(p);
        return rc;
    }
    *ret = &p->base;
    return 0;
}

int local_put_write(struct container_put *base, const void *bytes, size_t len, struct err *err)
{
    struct local_put *p = as_local(base);
    int rc = fs_write_all(p->fd, bytes, len, p->name, err);

    if (!rc)
        rc = sha256_add(&p->hash, bytes, len, err);
    p->failed = p->failed || rc;
    p->size += len;
    return rc;
}

static int end_part(struct local_put *p, struct blob *ret, struct err *err)
{
    unsigned char tail[LOCAL_TAIL_MAX];

    if (p->failed)
        return err_set(err, -E_IO, "blob '%.300s' is incomplete: a write failed", p->name);
    memcpy(ret->name, p->name, strlen(p->name) + 1);
    ret->size = p->size;
    int rc = sha256_end(&p->hash, ret->sha256, err);
    if (rc)
        return rc;
    size_t len = local_trailer_encode(ret, tail);
    return fs_write_all(p->fd, tail, len, p->name, err);
}

/* The folder of the blob may be missing, or be swept while it is still empty. */
static int rename_part(const struct local_put *p, struct err *err)
{
    char path[LOCAL_PATH_MAX], shard[LOCAL_SHARD_MAX];
    int rc = local_blob_path(p->name, path, err);

    if (rc)
        return rc;
    memcpy(shard, path, 2);
    shard[2] = '\0';
    for (int tries = 0; tries < RENAME_TRIES; tries++) {
        if (renameat(p->dir_fd, p->part, p->dir_fd, path) == 0)
            return 0;
        if (errno != ENOENT)
            break;
        if (mkdirat(p->dir_fd, shard, 0770) != 0 && errno != EEXIST)
            break;
    }
    int code = err_from_errno(errno);
    return err_set_errno(err, code, errno, "name blob '%.300s' of container '%s'", p->name,
                         p->base.container->name);
}

int local_put_commit_free(struct container_put *base, struct blob *ret, struct err *err)
{
    struct local_put *p = as_local(base);
    struct blob blob = {.name = ""};
    int rc = end_part(p, &blob, err);

    if (!rc)
        rc = rename_part(p, err);
    if (rc) {
        local_put_abort_free(base);
        return rc;
    }
    put_free(p);
    if (ret)
        *ret = blob;
    return 0;
}

static int copy_in(struct container_put *p, int fd, struct err *err)
{
    char *block = malloc(COPY_BYTES);
    off_t at = 0;
    int rc = 0;

    if (!block)
        return err_set(err, -E_NO_MEMORY, "no memory to write a blob");
    while (!rc) {
        ssize_t got = pread(fd, block, COPY_BYTES, at);
        if (got == 0)
            break;
        if (got > 0)
            rc = local_put_write(p, block, (size_t)got, err);
        else if (errno != EINTR)
            rc = err_set_errno(err, -E_IO, errno, "read a file for a container");
        at += got > 0 ? got : 0;
    }
    free(block);
    return rc;
}

int local_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                   struct err *err)
{
    struct container_put *p = NULL;
    struct stat before, after;

    if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode))
        return err_set(err, -E_BAD_VALUE, "'%.300s' is no regular file", name);
    int rc = local_put_begin(c, name, &p, err);
    if (rc)
        return rc;
    rc = copy_in(p, fd, err);
    if (!rc && (fstat(fd, &after) != 0 || after.st_size != before.st_size ||
                (uint64_t)after.st_size != as_local(p)->size))
        rc = err_set(err, -E_IO, "'%.300s' changed while it was read", name);
    if (!rc)
        return local_put_commit_free(p, ret, err);
    local_put_abort_free(p);
    return rc;
}

int local_remove_blob(struct container *c, const char *name, struct err *err)
{
    char path[LOCAL_PATH_MAX];
    bool no_container = false;
    struct err why = ERR_INIT;
    int dir_fd = local_blobs_dir(c, false, &no_container, &why);

    if (dir_fd == -E_NOT_FOUND && !no_container)
        return 0;
    if (dir_fd < 0)
        return err_set(err, dir_fd, "%s", why.text);
    int rc = local_blob_path(name, path, err);
    if (!rc && unlinkat(dir_fd, path, 0) != 0 && errno != ENOENT)
        rc = err_set_errno(err, err_from_errno(errno), errno, "delete blob '%.300s'", name);
    close(dir_fd);
    return rc;
}
