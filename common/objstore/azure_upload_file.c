/* azure_upload_file.c - a file into a blob of Azure, several blocks at a time. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "azure_upload.h"

/* What the threads that send blocks share. */
struct crew {
    struct azure_upload *upload;
    int fd;
    uint64_t size;
    size_t count; /* of blocks */
    pthread_mutex_t mutex;
    size_t next;    /* block to send */
    struct err err; /* of the first that failed; all stop then */
};

/* Grows in steps until the blocks do. */
static size_t block_bytes_for(uint64_t size)
{
    uint64_t bytes = AZURE_BLOCK_BYTES;

    while (size / bytes >= AZURE_BLOCKS_MAX)
        bytes *= 2;
    return (size_t)bytes;
}

static int read_exactly(int fd, void *to, size_t len, uint64_t at, struct err *err)
{
    char *bytes = to;

    while (len > 0) {
        ssize_t got = pread(fd, bytes, len, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, -E_IO, errno, "read a file to upload");
        if (got == 0)
            return err_set(err, -E_IO, "a file got shorter while it was uploaded");
        bytes += got;
        at += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

static bool take_block(struct crew *c, size_t *ret_index)
{
    pthread_mutex_lock(&c->mutex);
    bool more = c->next < c->count && !c->err.code;
    *ret_index = c->next;
    c->next += more;
    pthread_mutex_unlock(&c->mutex);
    return more;
}

static void note_failure(struct crew *c, const struct err *err)
{
    pthread_mutex_lock(&c->mutex);
    if (!c->err.code)
        c->err = *err;
    pthread_mutex_unlock(&c->mutex);
}

static int send_index(struct crew *c, size_t index, char *block, struct err *err)
{
    struct azure_upload *u = c->upload;
    uint64_t at = (uint64_t)index * u->block_bytes;
    size_t len = c->size - at < u->block_bytes ? (size_t)(c->size - at) : u->block_bytes;
    int rc = read_exactly(c->fd, block, len, at, err);

    return rc ? rc
              : azure_upload_place(u, index, block, len,
                                   u->ids.data + index * AZURE_BLOCK_ID_MAX, err);
}

static void *send_blocks(void *arg)
{
    struct crew *c = arg;
    struct err err = ERR_INIT;
    char *block = malloc(c->upload->block_bytes);
    size_t index;
    int rc = block ? 0 : err_set(&err, -E_NO_MEMORY, "no memory to upload a file");

    while (!rc && take_block(c, &index))
        rc = send_index(c, index, block, &err);
    if (rc)
        note_failure(c, &err);
    free(block);
    return NULL;
}

/* The caller is one of the crew: without further threads it just takes longer. */
static void run_crew(struct crew *c)
{
    pthread_t threads[AZURE_BLOCKS_AT_ONCE - 1];
    size_t started = 0;

    while (started < AZURE_BLOCKS_AT_ONCE - 1 && started + 1 < c->count &&
           pthread_create(&threads[started], NULL, send_blocks, c) == 0)
        started++;
    send_blocks(c);
    while (started > 0)
        pthread_join(threads[--started], NULL);
}

static int upload_large(const struct azure_target *t, int fd, uint64_t size, const char *sha256,
                        struct err *err)
{
    struct azure_upload u;
    struct crew c = {.upload = &u, .fd = fd, .size = size, .err = ERR_INIT};

    azure_upload_init(&u, t);
    u.block_bytes = block_bytes_for(size);
    c.count = (size_t)((size + u.block_bytes - 1) / u.block_bytes);
    int rc = azure_upload_reserve(&u, c.count, err);
    if (!rc) {
        pthread_mutex_init(&c.mutex, NULL);
        run_crew(&c);
        pthread_mutex_destroy(&c.mutex);
        rc = c.err.code ? err_set(err, c.err.code, "%s", c.err.text) : 0;
    }
    if (!rc)
        rc = azure_upload_commit(&u, sha256, err);
    azure_upload_release(&u);
    return rc;
}

int azure_upload_file(const struct azure_target *t, int fd, uint64_t size, const char *sha256,
                      struct err *err)
{
    if (size > AZURE_BLOCK_BYTES)
        return upload_large(t, fd, size, sha256, err);
    char *bytes = malloc(size > 0 ? (size_t)size : 1);
    int rc = bytes ? read_exactly(fd, bytes, (size_t)size, 0, err)
                   : err_set(err, -E_NO_MEMORY, "no memory to upload a file");
    if (!rc)
        rc = azure_upload_small(t, bytes, (size_t)size, sha256, err);
    free(bytes);
    return rc;
}
