#include "spool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fs.h"

enum { COPY_BYTES = 128 * 1024 };

struct insert {
    uint64_t place;
    size_t len;
};

void spool_init(struct spool *s, const char *dir, size_t memory_bytes)
{
    *s = (struct spool){.dir = dir, .memory_bytes = memory_bytes, .fd = -1};
    buf_init(&s->memory);
    buf_init(&s->inserts);
}

/* A file that was needed once gives its blocks back and is there for the next time. */
void spool_clear(struct spool *s)
{
    if (s->fd >= 0 && (ftruncate(s->fd, 0) != 0 || lseek(s->fd, 0, SEEK_SET) != 0)) {
        close(s->fd);
        s->fd = -1;
    }
    s->in_file = s->inserted = 0;
    buf_clear(&s->memory);
    buf_clear(&s->inserts);
}

void spool_release(struct spool *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
    buf_release(&s->memory);
    buf_release(&s->inserts);
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for pages");
}

static int to_file(struct spool *s, const void *bytes, size_t len, struct err *err)
{
    if (s->fd < 0)
        s->fd = fs_open_nameless(s->dir, err);
    int rc = s->fd < 0 ? s->fd : fs_write_all(s->fd, bytes, len, "temporary file", err);
    if (rc == 0)
        s->in_file += len;
    return rc;
}

int spool_append(struct spool *s, const void *bytes, size_t len, struct err *err)
{
    if (s->memory.len + len > s->memory_bytes) {
        int rc = s->memory.len ? to_file(s, s->memory.data, s->memory.len, err) : 0;
        if (rc)
            return rc;
        buf_clear(&s->memory);
        if (len >= s->memory_bytes)
            return to_file(s, bytes, len, err);
    }
    buf_append(&s->memory, bytes, len);
    return buf_ok(&s->memory) ? 0 : no_memory(err);
}

uint64_t spool_place(const struct spool *s)
{
    return s->in_file + s->memory.len;
}

int spool_insert(struct spool *s, uint64_t place, const void *bytes, size_t len,
                 struct err *err)
{
    struct insert i = {place, len};

    buf_append(&s->inserts, &i, sizeof i);
    buf_append(&s->inserts, bytes, len);
    s->inserted += len;
    return buf_ok(&s->inserts) ? 0 : no_memory(err);
}

uint64_t spool_size(const struct spool *s)
{
    return spool_place(s) + s->inserted;
}

static int copy_file(const struct spool *s, uint64_t from, uint64_t to,
                     const struct parquet_sink *sink, struct err *err)
{
    char bytes[COPY_BYTES];

    while (from < to) {
        size_t want = to - from < sizeof bytes ? (size_t)(to - from) : sizeof bytes;
        ssize_t got = pread(s->fd, bytes, want, (off_t)from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_set_errno(err, -E_IO, got < 0 ? errno : EIO, "read a temporary file");
        int rc = sink->write(sink->arg, bytes, (size_t)got, err);
        if (rc)
            return rc;
        from += (uint64_t)got;
    }
    return 0;
}

/* Places from one to another, which may lie in the file, in memory or in both. */
static int copy_part(const struct spool *s, uint64_t from, uint64_t to,
                     const struct parquet_sink *sink, struct err *err)
{
    if (from < s->in_file) {
        uint64_t end = to < s->in_file ? to : s->in_file;
        int rc = copy_file(s, from, end, sink, err);
        if (rc)
            return rc;
        from = end;
    }
    if (from == to)
        return 0;
    return sink->write(sink->arg, s->memory.data + (from - s->in_file), (size_t)(to - from),
                       err);
}

int spool_copy(const struct spool *s, const struct parquet_sink *sink, struct err *err)
{
    uint64_t done = 0;
    int rc = 0;

    for (size_t at = 0; rc == 0 && at < s->inserts.len;) {
        struct insert i;
        memcpy(&i, s->inserts.data + at, sizeof i);
        at += sizeof i;
        rc = copy_part(s, done, i.place, sink, err);
        if (rc == 0)
            rc = sink->write(sink->arg, s->inserts.data + at, i.len, err);
        at += i.len;
        done = i.place;
    }
    return rc ? rc : copy_part(s, done, spool_place(s), sink, err);
}
