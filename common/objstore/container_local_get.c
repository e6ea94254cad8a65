/* container_local_get.c - finding and reading a blob. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container_local.h"
#include "fs.h"
#include "local_trailer.h"
#include "sha256.h"

enum { TAIL_GUESS = 256 }; /* holds most names and the trailer: one read then does */

struct local_reader {
    struct blob_reader base;
    int fd;
    uint64_t left;
    struct sha256 hash;
    bool checked;
    struct blob blob;
};

int local_no_blob(const struct container *c, const char *name, struct err *err)
{
    return err_set(err, -E_NOT_FOUND, "container '%s' has no blob '%.300s'", c->name, name);
}

int local_blob_path(const char *name, char ret_path[LOCAL_PATH_MAX], struct err *err)
{
    char hash[SHA256_TEXT_MAX];
    int rc = sha256_hex(name, strlen(name), hash, err);

    if (rc)
        return rc;
    memcpy(ret_path, hash, 2);
    ret_path[2] = '/';
    memcpy(ret_path + 3, hash + 2, sizeof hash - 2);
    return 0;
}

int local_read_trailer(int fd, struct blob *ret, struct err *err)
{
    unsigned char tail[TAIL_GUESS];
    struct stat st;
    size_t name_len = 0;

    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < LOCAL_TRAILER_BYTES)
        return -E_NOT_FOUND;
    size_t want = st.st_size < (off_t)sizeof tail ? (size_t)st.st_size : sizeof tail;
    ssize_t got = pread(fd, tail, want, st.st_size - (off_t)want);
    if (got < 0)
        return err_set_errno(err, -E_IO, errno, "read a blob");
    if ((size_t)got != want || !local_trailer_decode(tail + want - LOCAL_TRAILER_BYTES,
                                                     (uint64_t)st.st_size, ret, &name_len))
        return -E_NOT_FOUND;
    if (name_len + LOCAL_TRAILER_BYTES <= want)
        memcpy(ret->name, tail + want - LOCAL_TRAILER_BYTES - name_len, name_len);
    else if (pread(fd, ret->name, name_len, (off_t)ret->size) != (ssize_t)name_len)
        return err_set(err, -E_IO, "the name of a blob could not be read");
    ret->name[name_len] = '\0';
    return strlen(ret->name) == name_len ? 0 : -E_NOT_FOUND;
}

/* The open file of a blob and what its trailer tells. */
static int open_blob(const struct container *c, const char *name, int *ret_fd, struct blob *ret,
                     struct err *err)
{
    char path[LOCAL_PATH_MAX];
    struct err why = ERR_INIT;
    bool no_container = false;
    int dir_fd = local_blobs_dir(c, false, &no_container, &why);

    if (dir_fd == -E_NOT_FOUND && !no_container)
        return local_no_blob(c, name, err);
    if (dir_fd < 0)
        return err_set(err, dir_fd, "%s", why.text);
    int rc = local_blob_path(name, path, err);
    int fd = rc ? rc : fs_open_beneath(dir_fd, path, O_RDONLY | O_NONBLOCK, 0, err);
    close(dir_fd);
    rc = fd < 0 ? fd : local_read_trailer(fd, ret, err);
    if (!rc && strcmp(ret->name, name) != 0)
        rc = -E_NOT_FOUND;
    if (!rc) {
        *ret_fd = fd;
        return 0;
    }
    if (fd >= 0)
        close(fd);
    return rc == -E_NOT_FOUND ? local_no_blob(c, name, err) : rc;
}

int local_stat(struct container *c, const char *name, struct blob *ret, struct err *err)
{
    int fd = -1;
    int rc = open_blob(c, name, &fd, ret, err);

    if (!rc)
        close(fd);
    return rc;
}

int local_get(struct container *c, const char *name, struct blob_reader **ret,
              struct blob *ret_blob, struct err *err)
{
    struct local_reader *r = calloc(1, sizeof *r);

    if (!r)
        return err_set(err, -E_NO_MEMORY, "no memory to read a blob");
    r->base.container = c;
    int rc = open_blob(c, name, &r->fd, &r->blob, err);
    if (rc) {
        free(r);
        return rc;
    }
    rc = sha256_init(&r->hash, err);
    if (rc) {
        local_read_close(&r->base);
        return rc;
    }
    r->left = r->blob.size;
    if (ret_blob)
        *ret_blob = r->blob;
    *ret = &r->base;
    return 0;
}

static int check_digest(struct local_reader *r, struct err *err)
{
    char found[SHA256_TEXT_MAX];
    int rc = r->checked ? 0 : sha256_end(&r->hash, found, err);

    if (rc || r->checked)
        return rc;
    r->checked = true;
    if (strcmp(found, r->blob.sha256) == 0)
        return 0;
    return err_set(err, -E_CORRUPT, "blob '%.300s' of container '%s' is damaged", r->blob.name,
                   r->base.container->name);
}

int local_read(struct blob_reader *base, void *to, size_t size, size_t *ret_got,
               struct err *err)
{
    struct local_reader *r = (struct local_reader *)(void *)base;
    size_t want = size < r->left ? size : (size_t)r->left;
    ssize_t got;

    *ret_got = 0;
    if (r->left == 0)
        return check_digest(r, err);
    do
        got = pread(r->fd, to, want, (off_t)(r->blob.size - r->left));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set_errno(err, -E_IO, errno, "read blob '%.300s'", r->blob.name);
    if (got == 0)
        return err_set(err, -E_CORRUPT, "blob '%.300s' of container '%s' is cut short",
                       r->blob.name, base->container->name);
    r->left -= (uint64_t)got;
    *ret_got = (size_t)got;
    return sha256_add(&r->hash, to, (size_t)got, err);
}

void local_read_close(struct blob_reader *base)
{
    struct local_reader *r = (struct local_reader *)(void *)base;

    close(r->fd);
    sha256_release(&r->hash);
    free(r);
}
