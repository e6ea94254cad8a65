#include "csv_run.h"

#include <assert.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

struct feeder {
    int fd;
    const char *data;
    size_t len, chunk;
};

static void *feed(void *arg)
{
    struct feeder *f = arg;

    for (size_t at = 0; at < f->len;) {
        size_t size = f->len - at < f->chunk ? f->len - at : f->chunk;
        ssize_t put = write(f->fd, f->data + at, size);
        if (put < 0)
            break; /* the engine has seen enough */
        at += (size_t)put;
    }
    close(f->fd);
    return NULL;
}

static int memory_file(const char *data, size_t len)
{
    int fd = memfd_create("csv", MFD_CLOEXEC);

    assert(fd >= 0);
    for (size_t at = 0; at < len;) {
        ssize_t put = write(fd, data + at, len - at);
        assert(put > 0);
        at += (size_t)put;
    }
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static char *content(int fd, size_t *ret_len)
{
    off_t size = lseek(fd, 0, SEEK_END);
    char *text = malloc((size_t)size + 1);

    if (!text) /* a fault test meant an allocation of the engine */
        text = malloc((size_t)size + 1);
    assert(size >= 0 && text);
    for (off_t at = 0; at < size;) {
        ssize_t got = pread(fd, text + at, (size_t)(size - at), at);
        assert(got > 0);
        at += got;
    }
    text[size] = '\0';
    *ret_len = (size_t)size;
    return text;
}

void csv_run(const struct csv_case *c, struct csv_result *ret_result)
{
    struct csv_result r = {.err = ERR_INIT};
    struct csv_options options = c->options;
    struct csv_plan plan;
    int ends[2] = {-1, -1}, in = -1;
    int out = memory_file("", 0), rejects = memory_file("", 0);
    pthread_t thread;
    struct feeder feeder;

    signal(SIGPIPE, SIG_IGN);
    if (!options.temp_dir)
        options.temp_dir = "/tmp";
    csv_plan_make(&options, &plan);
    if (c->pipe_chunk) {
        int made = pipe2(ends, O_CLOEXEC);
        assert(made == 0);
        (void)made;
        in = ends[0];
        feeder = (struct feeder){ends[1], c->data, c->len, c->pipe_chunk};
        pthread_create(&thread, NULL, feed, &feeder);
    } else {
        in = memory_file(c->data, c->len);
    }
    r.rc = csv_aggregate_planned(in, c->out_fd ? c->out_fd : out, rejects, &options,
                                 c->plan ? c->plan : &plan, &r.stats, &r.err);
    close(in);
    if (c->pipe_chunk)
        pthread_join(thread, NULL);
    r.out = content(out, &r.out_len);
    r.rejects = content(rejects, &r.rejects_len);
    close(out);
    close(rejects);
    *ret_result = r;
}

void csv_result_release(struct csv_result *r)
{
    free(r->out);
    free(r->rejects);
}

static size_t gzip_member(const char *data, size_t len, char *to, size_t room)
{
    z_stream z = {0};

    deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
    z.next_in = (unsigned char *)(uintptr_t)data;
    z.avail_in = (unsigned)len;
    z.next_out = (unsigned char *)to;
    z.avail_out = (unsigned)room;
    int rc = deflate(&z, Z_FINISH);
    assert(rc == Z_STREAM_END);
    (void)rc;
    deflateEnd(&z);
    return room - z.avail_out;
}

char *csv_pack(enum csv_packing packing, const char *data, size_t len, size_t *ret_len)
{
    size_t room = ZSTD_compressBound(len) + compressBound(len) + 256, half = len / 2, used;
    char *to = malloc(room);

    assert(to);
    if (packing == CSV_PLAIN) {
        memcpy(to, data, len);
        used = len;
    } else if (packing == CSV_GZIP) {
        used = gzip_member(data, half, to, room);
        used += gzip_member(data + half, len - half, to + used, room - used);
    } else {
        used = ZSTD_compress(to, room, data, half, 3);
        used += ZSTD_compress(to + used, room - used, data + half, len - half, 3);
    }
    *ret_len = used;
    return to;
}

struct csv_plan csv_tiny_plan(unsigned threads, size_t block_bytes, size_t table_bytes)
{
    return (struct csv_plan){.threads = threads,
                             .block_bytes = block_bytes,
                             .row_max = ROW_MAX_BYTES,
                             .table_bytes = table_bytes,
                             .out_bytes = block_bytes,
                             .run_buffer_bytes = 32,
                             .merge_bytes = 4096,
                             .merge_fan_in = 3};
}
