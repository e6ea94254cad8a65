#include "source.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { INPUT_BYTES = (128 + 4) * 1024, MAGIC_BYTES = 4, ZSTD_WINDOW_LOG = 23 };

struct source {
    int fd;
    const struct format *format; /* NULL until the first bytes are seen */
    uint64_t max_out, bytes_in, bytes_out;
    unsigned char *in; /* INPUT_BYTES of what is to be inflated, or the magic */
    unsigned char magic[MAGIC_BYTES];
    size_t in_at, in_len, in_room;
    bool in_eof;
    bool between; /* at the start of a member or frame, nothing of it seen */
    unsigned members;
    z_stream z;
    bool z_ready;
    ZSTD_DStream *zd;
    char *zd_out;
    size_t zd_out_at, zd_out_len, zd_wants, zd_wants_first;
};

/* A way to turn input into bytes. `pour` gives up to `cap` bytes, at least one unless the
 * input ends: 0 then. */
struct format {
    bool inflates;
    int (*open)(struct source *s, struct err *err);
    int (*pour)(struct source *s, char *bytes, size_t cap, size_t *ret_got, struct err *err);
};

static int read_fd(struct source *s, void *bytes, size_t cap, size_t *ret_got, struct err *err)
{
    ssize_t got;

    do
        got = read(s->fd, bytes, cap < SSIZE_MAX ? cap : SSIZE_MAX);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return err_set_errno(err, -E_IO, errno, "read the input");
    s->bytes_in += (uint64_t)got;
    *ret_got = (size_t)got;
    return 0;
}

/* Gathers at least `want` input bytes (in_room at most), fewer only at the end. */
static int gather(struct source *s, size_t want, struct err *err)
{
    int rc = 0;

    if (s->in_len - s->in_at >= want)
        return 0;
    s->in_len -= s->in_at;
    memmove(s->in, s->in + s->in_at, s->in_len);
    s->in_at = 0;
    while (rc == 0 && !s->in_eof && s->in_len < want && s->in_len < s->in_room) {
        size_t got = 0;
        rc = read_fd(s, s->in + s->in_len, s->in_room - s->in_len, &got, err);
        s->in_len += got;
        s->in_eof = rc == 0 && got == 0;
    }
    return rc;
}

static int plain_pour(struct source *s, char *bytes, size_t cap, size_t *ret_got,
                      struct err *err)
{
    size_t peeked = s->in_len - s->in_at;

    if (peeked == 0)
        return s->in_eof ? 0 : read_fd(s, bytes, cap, ret_got, err);
    *ret_got = peeked < cap ? peeked : cap;
    memcpy(bytes, s->in + s->in_at, *ret_got);
    s->in_at += *ret_got;
    return 0;
}

static int stream_error(struct source *s, const char *kind, const char *detail, struct err *err)
{
    if (s->between && s->members)
        return err_set(err, -E_BAD_INPUT, "after the end of the %s data other bytes follow",
                       kind);
    return err_set(err, -E_BAD_INPUT, "the %s data is damaged: %s", kind, detail);
}

static int cut_off_error(const char *kind, struct err *err)
{
    return err_set(err, -E_BAD_INPUT, "the %s data is cut off: the file ends too early", kind);
}

static int gzip_open(struct source *s, struct err *err)
{
    if (inflateInit2(&s->z, 15 + 16) != Z_OK)
        return err_set(err, -E_NO_MEMORY, "no memory to inflate the input");
    s->z_ready = true;
    return 0;
}

static int gzip_pour(struct source *s, char *bytes, size_t cap, size_t *ret_got,
                     struct err *err)
{
    size_t room = cap < UINT_MAX ? cap : UINT_MAX;

    s->z.next_out = (unsigned char *)bytes;
    s->z.avail_out = (unsigned)room;
    while (s->z.avail_out == room) {
        int rc = gather(s, 1, err);
        if (rc)
            return rc;
        bool dry = s->in_at == s->in_len;
        if (dry && s->z.total_in == 0)
            return 0;
        s->z.next_in = s->in + s->in_at;
        s->z.avail_in = (unsigned)(s->in_len - s->in_at);
        int z = inflate(&s->z, Z_NO_FLUSH);
        s->in_at = s->in_len - s->z.avail_in;
        *ret_got = room - s->z.avail_out;
        if (z == Z_STREAM_END) {
            inflateReset(&s->z);
            s->members++;
            s->between = true;
        } else if (z == Z_OK) {
            /* zlib takes a wrong first byte for an error only with the second one */
            s->between = s->between && s->z.total_in < 2;
        } else if (z == Z_BUF_ERROR && dry) { /* only now is nothing more held back */
            return s->between && s->members ? stream_error(s, "gzip", "", err)
                                            : cut_off_error("gzip", err);
        } else if (z == Z_MEM_ERROR) {
            return err_set(err, -E_NO_MEMORY, "no memory to inflate the input");
        } else {
            s->between = s->between && s->z.total_in <= 2;
            return stream_error(s, "gzip", s->z.msg ? s->z.msg : "bad stream", err);
        }
    }
    return 0;
}

static int zstd_open(struct source *s, struct err *err)
{
    s->zd = ZSTD_createDStream();
    s->zd_out = malloc(ZSTD_DStreamOutSize());
    if (!s->zd || !s->zd_out ||
        ZSTD_isError(ZSTD_DCtx_setParameter(s->zd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG)))
        return err_set(err, -E_NO_MEMORY, "no memory to inflate the input");
    s->zd_wants = s->zd_wants_first = ZSTD_initDStream(s->zd);
    return 0;
}

static int zstd_error(struct source *s, size_t code, struct err *err)
{
    if (ZSTD_getErrorCode(code) == ZSTD_error_memory_allocation)
        return err_set(err, -E_NO_MEMORY, "no memory to inflate the input");
    if (ZSTD_getErrorCode(code) == ZSTD_error_frameParameter_windowTooLarge)
        return err_set(err, -E_BAD_INPUT,
                       "the zstd data needs a window of more than 8 MiB: compress it again "
                       "without --long and --ultra");
    s->between = s->between && ZSTD_getErrorCode(code) == ZSTD_error_prefix_unknown;
    return stream_error(s, "zstd", ZSTD_getErrorName(code), err);
}

/* What zstd gives out before it finds damage depends on how its input and output are cut (a
 * frame that fits goes in one step, and nothing of it comes out). So both are always cut
 * alike: as much input as it asks for, and room for a whole block. */
static int zstd_step(struct source *s, struct err *err)
{
    size_t ahead = s->in_len - s->in_at;
    ZSTD_inBuffer in = {s->in + s->in_at, ahead < s->zd_wants ? ahead : s->zd_wants, 0};
    ZSTD_outBuffer out = {s->zd_out, ZSTD_DStreamOutSize(), 0};
    size_t wants = ZSTD_decompressStream(s->zd, &out, &in);

    if (ZSTD_isError(wants))
        return zstd_error(s, wants, err);
    s->in_at += in.pos;
    s->zd_out_at = 0;
    s->zd_out_len = out.pos;
    s->zd_wants = wants ? wants : s->zd_wants_first;
    s->members += wants == 0;
    s->between = wants == 0;
    return 0;
}

static int zstd_pour(struct source *s, char *bytes, size_t cap, size_t *ret_got,
                     struct err *err)
{
    while (s->zd_out_at == s->zd_out_len) {
        int rc = gather(s, s->zd_wants, err);
        if (rc)
            return rc;
        if (s->in_at == s->in_len)
            return s->between ? 0 : cut_off_error("zstd", err);
        rc = zstd_step(s, err);
        if (rc)
            return rc;
    }
    size_t ready = s->zd_out_len - s->zd_out_at;
    *ret_got = ready < cap ? ready : cap;
    memcpy(bytes, s->zd_out + s->zd_out_at, *ret_got);
    s->zd_out_at += *ret_got;
    return 0;
}

static const struct format plain = {false, NULL, plain_pour};
static const struct format gzip = {true, gzip_open, gzip_pour};
static const struct format zstd = {true, zstd_open, zstd_pour};

static const struct format *format_of(const unsigned char *magic, size_t len)
{
    if (len >= 2 && magic[0] == 0x1F && magic[1] == 0x8B) /* RFC 1952, 2.3.1 */
        return &gzip;
    if (len < MAGIC_BYTES)
        return &plain;
    /* RFC 8878, 3.1.1 and 3.1.2: a frame, or a skippable one */
    if (magic[0] == 0x28 && magic[1] == 0xB5 && magic[2] == 0x2F && magic[3] == 0xFD)
        return &zstd;
    if ((magic[0] & 0xF0) == 0x50 && magic[1] == 0x2A && magic[2] == 0x4D && magic[3] == 0x18)
        return &zstd;
    return &plain;
}

static int make_room(struct source *s, struct err *err)
{
    unsigned char *in = malloc(INPUT_BYTES);

    if (!in)
        return err_set(err, -E_NO_MEMORY, "no memory to read the input");
    memcpy(in, s->magic, s->in_len);
    s->in = in;
    s->in_room = INPUT_BYTES;
    return 0;
}

/* Reads no more than the magic: all else of a plain input goes straight to where it is wanted.
 */
static int detect(struct source *s, struct err *err)
{
    int rc = gather(s, MAGIC_BYTES, err);

    if (rc)
        return rc;
    const struct format *format = format_of(s->magic, s->in_len);
    if (format->inflates && s->in == s->magic)
        rc = make_room(s, err);
    if (rc == 0 && format->open)
        rc = format->open(s, err);
    if (rc == 0)
        s->format = format;
    return rc;
}

int source_read(struct source *s, char *bytes, size_t cap, size_t *ret_got, struct err *err)
{
    int rc = s->format ? 0 : detect(s, err);
    size_t total = 0;

    while (rc == 0 && total < cap) {
        size_t got = 0, want = cap - total;
        /* one byte past the cap shows that there is more */
        if (s->format->inflates && want > s->max_out - s->bytes_out)
            want = (size_t)(s->max_out - s->bytes_out) + 1;
        rc = s->format->pour(s, bytes + total, want, &got, err);
        if (s->format->inflates && got > s->max_out - s->bytes_out) {
            got = (size_t)(s->max_out - s->bytes_out);
            rc = err_set(err, -E_BAD_INPUT,
                         "the compressed input inflates to more than the allowed %llu bytes",
                         (unsigned long long)s->max_out);
        }
        total += got;
        s->bytes_out += got;
        if (got == 0)
            break;
    }
    *ret_got = total;
    return rc;
}

struct source *source_new(int fd, uint64_t max_inflated, struct err *err)
{
    struct source *s = calloc(1, sizeof *s);

    if (!s) {
        err_set(err, -E_NO_MEMORY, "no memory to read the input");
        return NULL;
    }
    s->fd = fd;
    s->max_out = max_inflated;
    s->in = s->magic;
    s->in_room = MAGIC_BYTES;
    s->between = true;
    return s;
}

void source_free(struct source *s)
{
    if (!s)
        return;
    if (s->z_ready)
        inflateEnd(&s->z);
    ZSTD_freeDStream(s->zd);
    free(s->zd_out);
    if (s->in != s->magic)
        free(s->in);
    free(s);
}

uint64_t source_bytes_in(const struct source *s)
{
    return s->bytes_in;
}

uint64_t source_bytes_out(const struct source *s)
{
    return s->bytes_out;
}
