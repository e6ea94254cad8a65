#include "tar.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"

enum { BLOCK = 512, NAME_FIELD = 100, SIZE_DIGITS = 11 };
#define SIZE_FIELD_MAX 077777777777ULL

/* The header of POSIX 1003.1, ustar; what does not fit in it goes in front as a pax record. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

static void octal(char *field, size_t digits, uint64_t value)
{
    for (size_t i = digits; i-- > 0; value >>= 3)
        field[i] = (char)('0' + (value & 7));
}

static int write_header(struct tar *t, char type, const char *name, uint64_t size,
                        struct err *err)
{
    struct header h = {.type = type, .magic = "ustar", .version = {'0', '0'}};
    const unsigned char *bytes = (const unsigned char *)&h;
    size_t len = strlen(name);
    unsigned sum = 0;

    memcpy(h.name, name, len < NAME_FIELD ? len : NAME_FIELD);
    octal(h.mode, 7, 0644);
    octal(h.uid, 7, 0);
    octal(h.gid, 7, 0);
    octal(h.size, SIZE_DIGITS, size > SIZE_FIELD_MAX ? 0 : size);
    octal(h.mtime, SIZE_DIGITS, 0);
    memset(h.sum, ' ', sizeof h.sum);
    for (size_t i = 0; i < sizeof h; i++)
        sum += bytes[i];
    octal(h.sum, 6, sum);
    h.sum[6] = '\0';
    return objstore_put_write(t->put, &h, sizeof h, err);
}

static unsigned padding_of(uint64_t size)
{
    return (unsigned)((BLOCK - size % BLOCK) % BLOCK);
}

static int write_padding(struct tar *t, unsigned count, struct err *err)
{
    static const char zeros[BLOCK];

    return count ? objstore_put_write(t->put, zeros, count, err) : 0;
}

/* "27 path=…\n", where 27 is the length of all of it, itself included. */
static void append_record(struct buf *b, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, digits = 1;

    for (size_t total = rest + digits, limit = 10; total >= limit; limit *= 10)
        total = rest + ++digits;
    buf_printf(b, "%zu %s=%s\n", rest + digits, key, value);
}

static bool is_plain(const char *path)
{
    for (const char *c = path; *c; c++) {
        if (*c < 0x20 || *c >= 0x7F)
            return false;
    }
    return strlen(path) <= NAME_FIELD;
}

static int write_records(struct tar *t, const char *path, uint64_t size, struct err *err)
{
    struct buf b = BUF_INIT;
    char number[24];

    if (!is_plain(path))
        append_record(&b, "path", path);
    if (size > SIZE_FIELD_MAX) {
        snprintf(number, sizeof number, "%" PRIu64, size);
        append_record(&b, "size", number);
    }
    int rc = buf_ok(&b) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for an archive");
    if (!rc && b.len) {
        rc = write_header(t, 'x', "pax", b.len, err);
        if (!rc)
            rc = objstore_put_write(t->put, b.data, b.len, err);
        if (!rc)
            rc = write_padding(t, padding_of(b.len), err);
    }
    buf_release(&b);
    return rc;
}

static int begin_file(void *arg, const char *path, uint64_t size, struct err *err)
{
    struct tar *t = arg;
    int rc = write_records(t, path, size, err);

    t->padding = padding_of(size);
    return rc ? rc : write_header(t, '0', path, size, err);
}

static int write_file(void *arg, const void *bytes, size_t len, struct err *err)
{
    struct tar *t = arg;

    return objstore_put_write(t->put, bytes, len, err);
}

static int end_file(void *arg, struct err *err)
{
    struct tar *t = arg;

    return write_padding(t, t->padding, err);
}

struct repo_sink tar_sink(struct tar *t)
{
    return (struct repo_sink){begin_file, write_file, end_file, t};
}

int tar_end(struct tar *t, struct err *err)
{
    int rc = write_padding(t, BLOCK, err);

    return rc ? rc : write_padding(t, BLOCK, err);
}
