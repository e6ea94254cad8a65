/* container_local_list.c - the blobs of a local container in the order of their names.
 *
 * Blobs lie in 256 folders by the hash of their names, so each folder holds a fair sample of
 * about a 256th. One after the other is read, sorted and written to a temporary file; the
 * list then merges these runs. So a million blobs take a megabyte of memory or two. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "container_local.h"
#include "fs.h"

enum { RUN_BUFFER = 16 << 10, HASH_REST = SHA256_TEXT_MAX - 1 - 2 };

/* A blob as it stands in a run, its name behind it. */
struct record {
    uint64_t size;
    char sha256[SHA256_TEXT_MAX];
    uint16_t name_len;
};

_Static_assert(sizeof(struct record) + BLOB_NAME_MAX < RUN_BUFFER, "a record fits a buffer");

struct run {
    off_t at, end; /* in the file, behind what is in the buffer */
    char *buffer;
    size_t have, used;
    struct blob head; /* the run's next blob */
};

struct local_list {
    struct container_list base;
    int fd; /* of the temporary file; -1 for an empty container */
    off_t end;
    struct run *runs[LOCAL_SHARDS]; /* a heap by head.name, once listing */
    size_t count;
    struct blob current;
};

static void run_free(struct run *r)
{
    if (r)
        free(r->buffer);
    free(r);
}

void local_list_free(struct container_list *base)
{
    struct local_list *l = (struct local_list *)(void *)base;

    for (size_t i = 0; i < l->count; i++)
        run_free(l->runs[i]);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}

/* --- reading the folders --- */

/* Adds the blob of one file to records, and where it starts there to starts. Files that went
 * away, or are no blob, are passed over. */
static int add_blob(int dir_fd, const char *file, const char *prefix, struct buf *records,
                    struct buf *starts, struct err *err)
{
    struct blob blob;
    int fd = openat(dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0)
        return errno == ENOENT || errno == ELOOP
                   ? 0
                   : err_set_errno(err, -E_IO, errno, "open a blob");
    int rc = local_read_trailer(fd, &blob, err);
    close(fd);
    if (rc)
        return rc == -E_NOT_FOUND ? 0 : rc;
    if (strncmp(blob.name, prefix, strlen(prefix)) != 0)
        return 0;
    struct record record = {.size = blob.size, .name_len = (uint16_t)strlen(blob.name)};
    memcpy(record.sha256, blob.sha256, sizeof record.sha256);
    buf_append(starts, &records->len, sizeof records->len);
    buf_append(records, &record, sizeof record);
    buf_append(records, blob.name, record.name_len + 1u);
    return buf_ok(records) && buf_ok(starts)
               ? 0
               : err_set(err, -E_NO_MEMORY, "no memory to list a container");
}

static int read_shard(int blobs_fd, unsigned shard, const char *prefix, struct buf *records,
                      struct buf *starts, struct err *err)
{
    char name[LOCAL_SHARD_MAX];
    const struct dirent *entry;
    int rc = 0;

    snprintf(name, sizeof name, "%02x", shard % LOCAL_SHARDS);
    int fd = openat(blobs_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(err, -E_IO, errno, "open a folder of blobs");
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return err_set_errno(err, -E_IO, errno, "read a folder of blobs");
    }
    while (!rc) {
        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            if (errno && errno != ENOENT)
                rc = err_set_errno(err, -E_IO, errno, "read a folder of blobs");
            break;
        }
        if (strlen(entry->d_name) == HASH_REST)
            rc = add_blob(fd, entry->d_name, prefix, records, starts, err);
    }
    closedir(dir);
    return rc;
}

static const char *name_at(const char *records, size_t start)
{
    return records + start + sizeof(struct record);
}

static int by_name(const void *a, const void *b, void *records)
{
    return strcmp(name_at(records, *(const size_t *)a), name_at(records, *(const size_t *)b));
}

/* Sorts the records and appends them to the file as one more run. */
static int write_run(struct local_list *l, const struct buf *records, struct buf *starts,
                     struct err *err)
{
    size_t count = starts->len / sizeof(size_t);
    size_t *order = (size_t *)(void *)starts->data;
    struct buf sorted = BUF_INIT;
    struct run *r = count ? calloc(1, sizeof *r) : NULL;

    if (count == 0)
        return 0;
    qsort_r(order, count, sizeof *order, by_name, records->data);
    for (size_t i = 0; i < count; i++)
        buf_append(&sorted, records->data + order[i],
                   sizeof(struct record) + strlen(name_at(records->data, order[i])) + 1);
    int rc = r && buf_ok(&sorted)
                 ? fs_write_all(l->fd, sorted.data, sorted.len, "temporary list", err)
                 : err_set(err, -E_NO_MEMORY, "no memory to list a container");
    if (rc) {
        free(r);
    } else {
        r->at = l->end;
        r->end = l->end += (off_t)sorted.len;
        l->runs[l->count++] = r;
    }
    buf_release(&sorted);
    return rc;
}

static int write_runs(struct local_list *l, int blobs_fd, const char *prefix, struct err *err)
{
    struct buf records = BUF_INIT, starts = BUF_INIT;
    int rc = 0;

    for (unsigned shard = 0; !rc && shard < LOCAL_SHARDS; shard++) {
        buf_clear(&records);
        buf_clear(&starts);
        rc = read_shard(blobs_fd, shard, prefix, &records, &starts, err);
        if (!rc)
            rc = write_run(l, &records, &starts, err);
    }
    buf_release(&records);
    buf_release(&starts);
    return rc;
}

/* --- merging --- */

static int fill(struct local_list *l, struct run *r, struct err *err)
{
    size_t rest = r->have - r->used;
    size_t room = RUN_BUFFER - rest;

    if (r->at == r->end)
        return 0;
    memmove(r->buffer, r->buffer + r->used, rest);
    if ((off_t)room > r->end - r->at)
        room = (size_t)(r->end - r->at);
    ssize_t got = pread(l->fd, r->buffer + rest, room, r->at);
    if (got != (ssize_t)room)
        return err_set(err, -E_IO, "a temporary list could not be read back");
    r->at += got;
    r->have = rest + (size_t)got;
    r->used = 0;
    return 0;
}

/* The run's next blob into its head; false in *ret_more at its end. */
static int advance(struct local_list *l, struct run *r, bool *ret_more, struct err *err)
{
    struct record record;
    const size_t most = sizeof record + BLOB_NAME_MAX;
    int rc = r->have - r->used < most ? fill(l, r, err) : 0;

    *ret_more = r->have > r->used;
    if (rc || !*ret_more)
        return rc;
    memcpy(&record, r->buffer + r->used, sizeof record);
    r->head.size = record.size;
    memcpy(r->head.sha256, record.sha256, sizeof record.sha256);
    memcpy(r->head.name, r->buffer + r->used + sizeof record, record.name_len + 1u);
    r->used += sizeof record + record.name_len + 1u;
    return 0;
}

static bool is_before(const struct run *a, const struct run *b)
{
    return strcmp(a->head.name, b->head.name) < 0;
}

/* Lets the run at `i` sink to where the heap is in order again. */
static void sink(struct local_list *l, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < l->count; child++) {
            if (is_before(l->runs[child], l->runs[least]))
                least = child;
        }
        if (least == i)
            return;
        struct run *swap = l->runs[i];
        l->runs[i] = l->runs[least];
        l->runs[least] = swap;
        i = least;
    }
}

static int start_merge(struct local_list *l, struct err *err)
{
    bool more;

    for (size_t i = 0; i < l->count; i++) {
        struct run *r = l->runs[i];
        r->buffer = malloc(RUN_BUFFER);
        int rc = r->buffer ? advance(l, r, &more, err)
                           : err_set(err, -E_NO_MEMORY, "no memory to list a container");
        if (rc)
            return rc;
    }
    for (size_t i = l->count; i-- > 0;)
        sink(l, i);
    return 0;
}

int local_list_next(struct container_list *base, const struct blob **ret, struct err *err)
{
    struct local_list *l = (struct local_list *)(void *)base;
    bool more = false;

    if (l->count == 0)
        return 0;
    l->current = l->runs[0]->head;
    int rc = advance(l, l->runs[0], &more, err);
    if (rc)
        return rc;
    if (!more) {
        run_free(l->runs[0]);
        l->runs[0] = l->runs[--l->count];
    }
    sink(l, 0);
    *ret = &l->current;
    return 0;
}

static int open_temp(const struct container *c, struct err *err)
{
    char path[4096];
    int len = snprintf(path, sizeof path, "%s/list-XXXXXX",
                       objstore_temp_dir(local_store_of(c)->objects));

    if (len < 0 || (size_t)len >= sizeof path)
        return err_set(err, -E_BAD_VALUE, "the folder for temporary files has too long a path");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, err_from_errno(errno), errno, "create a temporary list");
    unlink(path);
    return fd;
}

int local_list_begin(struct container *c, const char *prefix, struct container_list **ret,
                     struct err *err)
{
    bool no_container = false;
    struct err why = ERR_INIT;
    struct local_list *l = calloc(1, sizeof *l);

    if (!l)
        return err_set(err, -E_NO_MEMORY, "no memory to list a container");
    l->base.container = c;
    l->fd = -1;
    int rc = 0, blobs_fd = local_blobs_dir(c, false, &no_container, &why);
    if (blobs_fd >= 0) {
        l->fd = open_temp(c, &why);
        rc = l->fd < 0 ? l->fd : write_runs(l, blobs_fd, prefix, &why);
        if (!rc)
            rc = start_merge(l, &why);
        close(blobs_fd);
    } else if (blobs_fd != -E_NOT_FOUND || no_container) {
        rc = blobs_fd;
    }
    if (rc) {
        local_list_free(&l->base);
        return err_set(err, rc, "%s", why.text);
    }
    *ret = &l->base;
    return 0;
}
