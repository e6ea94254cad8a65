/* container_azure_put.c - writing a blob on Azure: gathered into blocks, or from a file. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container_azure.h"
#include "sha256.h"

enum { GATHER_FIRST = 64 << 10 };

struct azure_put {
    struct container_put base;
    struct azure_place place;
    struct azure_upload upload;
    struct sha256 hash;
    char *block;
    size_t used, room;
    uint64_t size;
    bool failed;
    char name[BLOB_NAME_MAX];
};

static struct azure_put *as_azure(struct container_put *p)
{
    return (struct azure_put *)(void *)p;
}

void azure_put_abort_free(struct container_put *base)
{
    struct azure_put *p = as_azure(base);

    azure_upload_release(&p->upload);
    azure_place_release(&p->place);
    sha256_release(&p->hash);
    free(p->block);
    free(p);
}

int azure_put_begin(struct container *c, const char *name, struct container_put **ret,
                    struct err *err)
{
    struct azure_put *p = calloc(1, sizeof *p);

    if (!p)
        return err_set(err, -E_NO_MEMORY, "no memory to write a blob");
    p->base.container = c;
    memcpy(p->name, name, strlen(name) + 1);
    int rc = azure_place_init(&p->place, c, name, err);
    azure_upload_init(&p->upload, &p->place.target);
    if (!rc)
        rc = sha256_init(&p->hash, err);
    if (rc) {
        azure_put_abort_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return 0;
}

static bool make_room(struct azure_put *p)
{
    size_t room = p->room ? p->room * 4 : GATHER_FIRST;

    if (p->used < p->room)
        return true;
    char *larger = realloc(p->block, room < AZURE_BLOCK_BYTES ? room : AZURE_BLOCK_BYTES);
    if (!larger)
        return false;
    p->block = larger;
    p->room = room < AZURE_BLOCK_BYTES ? room : AZURE_BLOCK_BYTES;
    return true;
}

/* A full block waits until more comes: a blob of one block goes in one request. */
static int gather(struct azure_put *p, const char *bytes, size_t len, struct err *err)
{
    while (len > 0) {
        if (p->used == AZURE_BLOCK_BYTES) {
            int rc = azure_upload_block(&p->upload, p->block, p->used, err);
            if (rc)
                return rc;
            p->used = 0;
        }
        if (!make_room(p))
            return err_set(err, -E_NO_MEMORY, "no memory to write a blob");
        size_t some = len < p->room - p->used ? len : p->room - p->used;
        memcpy(p->block + p->used, bytes, some);
        p->used += some;
        bytes += some;
        len -= some;
    }
    return 0;
}

int azure_put_write(struct container_put *base, const void *bytes, size_t len, struct err *err)
{
    struct azure_put *p = as_azure(base);
    int rc = gather(p, bytes, len, err);

    if (!rc)
        rc = sha256_add(&p->hash, bytes, len, err);
    p->failed = p->failed || rc;
    p->size += len;
    return rc;
}

static int finish(struct azure_put *p, struct blob *ret, struct err *err)
{
    if (p->failed)
        return err_set(err, -E_IO, "%.300s is incomplete: a write failed", p->place.what.data);
    memcpy(ret->name, p->name, strlen(p->name) + 1);
    ret->size = p->size;
    int rc = sha256_end(&p->hash, ret->sha256, err);
    if (rc)
        return rc;
    if (p->upload.count == 0)
        return azure_upload_small(&p->place.target, p->block ? p->block : "", p->used,
                                  ret->sha256, err);
    rc = azure_upload_block(&p->upload, p->block, p->used, err);
    return rc ? rc : azure_upload_commit(&p->upload, ret->sha256, err);
}

int azure_put_commit_free(struct container_put *base, struct blob *ret, struct err *err)
{
    struct blob blob = {.name = ""};
    int rc = finish(as_azure(base), &blob, err);

    azure_put_abort_free(base);
    if (!rc && ret)
        *ret = blob;
    return rc;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int azure_put_file(struct container *c, const char *name, int fd, struct blob *ret,
                   struct err *err)
{
    struct azure_place place;
    struct blob blob = {.name = ""};
    struct stat before, after;

    if (fstat(fd, &before) != 0 || !S_ISREG(before.st_mode))
        return err_set(err, -E_BAD_VALUE, "'%.300s' is no regular file", name);
    int rc = azure_place_init(&place, c, name, err);
    if (!rc)
        rc = sha256_of_fd(fd, blob.sha256, &blob.size, err);
    if (!rc && (fstat(fd, &after) != 0 || !is_same(&before, &after)))
        rc = err_set(err, -E_IO, "'%.300s' changed while it was read", name);
    if (!rc)
        rc = azure_upload_file(&place.target, fd, blob.size, blob.sha256, err);
    if (!rc && (fstat(fd, &after) != 0 || !is_same(&before, &after)))
        rc = err_set(err, -E_IO, "'%.300s' changed while it was uploaded", name);
    azure_place_release(&place);
    if (rc)
        return rc;
    memcpy(blob.name, name, strlen(name) + 1);
    if (ret)
        *ret = blob;
    return 0;
}
