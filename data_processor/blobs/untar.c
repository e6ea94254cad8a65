#include "untar.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"

enum { BLOCK = 512, RECORDS_MAX = 64 << 10 };

/* The header of POSIX 1003.1. */
struct header {
    char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100];
    char magic[6], version[2], user[32], group[32], major[8], minor[8], prefix[155], pad[12];
};
_Static_assert(sizeof(struct header) == BLOCK, "a header is one block");

struct archive {
    int fd;
    uint64_t at, size;
    /* What pax records have said of the next file. */
    char path[BLOB_NAME_MAX];
    uint64_t file_size;
    bool has_path, has_size;
};

static int damaged(struct err *err)
{
    return err_set(err, -E_BAD_INPUT, "the archive of the repository is damaged");
}

static int read_at(const struct archive *a, void *to, size_t len, uint64_t at, struct err *err)
{
    char *bytes = to;

    while (len > 0) {
        ssize_t got = pread(a->fd, bytes, len, (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, -E_IO, errno, "read the archive of the repository");
        if (got == 0)
            return damaged(err);
        bytes += got;
        at += (uint64_t)got;
        len -= (size_t)got;
    }
    return 0;
}

static bool read_octal(const char *field, size_t len, uint64_t *ret)
{
    size_t i = 0;

    *ret = 0;
    while (i < len && field[i] == ' ')
        i++;
    for (; i < len && field[i] >= '0' && field[i] <= '7'; i++)
        *ret = *ret << 3 | (uint64_t)(field[i] - '0');
    return i > 0 && (i == len || field[i] == '\0' || field[i] == ' ');
}

static bool is_sound(const struct header *h)
{
    const unsigned char *bytes = (const unsigned char *)h;
    uint64_t told = 0, sum = 0;

    for (size_t i = 0; i < sizeof *h; i++) {
        bool in_sum = i >= offsetof(struct header, sum) && i < offsetof(struct header, type);
        sum += in_sum ? ' ' : bytes[i];
    }
    return memcmp(h->magic, "ustar", 5) == 0 && read_octal(h->sum, sizeof h->sum, &told) &&
           told == sum;
}

static bool is_zero(const struct header *h)
{
    static const struct header none;

    return memcmp(h, &none, sizeof none) == 0;
}

/* "27 path=…\n": one record at `text`; its length, 0 when it is none. */
static size_t read_record(struct archive *a, const char *text, size_t len)
{
    char *end = NULL;
    unsigned long total = strtoul(text, &end, 10);
    size_t head = (size_t)(end - text) + 1;

    if (total <= head || total > len || *end != ' ' || text[total - 1] != '\n')
        return 0;
    const char *equals = memchr(text + head, '=', total - head);
    if (!equals)
        return 0;
    size_t name_len = (size_t)(equals - text) - head;
    size_t value_len = (size_t)(text + total - 1 - equals) - 1;
    if (name_len == 4 && memcmp(text + head, "path", 4) == 0) {
        if (value_len == 0 || value_len >= sizeof a->path)
            return 0;
        memcpy(a->path, equals + 1, value_len);
        a->path[value_len] = '\0';
        a->has_path = strlen(a->path) == value_len;
        return a->has_path ? total : 0;
    }
    if (name_len == 4 && memcmp(text + head, "size", 4) == 0) {
        a->file_size = strtoull(equals + 1, &end, 10);
        a->has_size = *end == '\n';
        return a->has_size ? total : 0;
    }
    return total;
}

static int read_records(struct archive *a, uint64_t size, struct err *err)
{
    char *text = size <= RECORDS_MAX ? malloc((size_t)size + 1) : NULL;

    if (size > RECORDS_MAX)
        return damaged(err);
    if (!text)
        return err_set(err, -E_NO_MEMORY, "no memory to read an archive");
    int rc = read_at(a, text, (size_t)size, a->at, err);
    text[rc ? 0 : size] = '\0';
    for (size_t at = 0, len = 1; !rc && at < size && len > 0; at += len) {
        len = read_record(a, text + at, (size_t)size - at);
        if (len == 0)
            rc = damaged(err);
    }
    free(text);
    return rc;
}

/* The path of the header, unless a record has told it. */
static void take_path(struct archive *a, const struct header *h)
{
    size_t prefix = strnlen(h->prefix, sizeof h->prefix), len = 0;

    if (a->has_path)
        return;
    if (prefix > 0) {
        memcpy(a->path, h->prefix, prefix);
        a->path[prefix] = '/';
        len = prefix + 1;
    }
    size_t name = strnlen(h->name, sizeof h->name);
    memcpy(a->path + len, h->name, name);
    a->path[len + name] = '\0';
}

/* One entry, its header read. */
static int read_entry(struct archive *a, const struct header *h, untar_visit_fn *visit,
                      void *arg, struct err *err)
{
    uint64_t size = 0;
    int rc = 0;

    if (!is_sound(h) || !read_octal(h->size, sizeof h->size, &size))
        return damaged(err);
    bool is_file = h->type == '0' || h->type == '\0';
    if (is_file && a->has_size)
        size = a->file_size;
    if (size > a->size - a->at)
        return damaged(err);
    if (h->type == 'x') {
        rc = read_records(a, size, err);
    } else if (is_file) {
        take_path(a, h);
        rc = a->path[0] ? visit(a->path, a->at, size, arg, err) : damaged(err);
        a->has_path = a->has_size = false;
    } else if (h->type != 'g') {
        rc = damaged(err);
    }
    uint64_t padded = (size + BLOCK - 1) / BLOCK * BLOCK;
    a->at += padded < a->size - a->at ? padded : a->size - a->at;
    return rc;
}

int untar_files(int fd, untar_visit_fn *visit, void *arg, struct err *err)
{
    struct archive a = {.fd = fd};
    struct header h;
    struct stat st;

    if (fstat(fd, &st) != 0)
        return err_set_errno(err, -E_IO, errno, "look at the archive of the repository");
    a.size = (uint64_t)st.st_size;
    for (;;) {
        int rc = read_at(&a, &h, sizeof h, a.at, err);
        if (rc || is_zero(&h))
            return rc;
        a.at += sizeof h;
        rc = read_entry(&a, &h, visit, arg, err);
        if (rc)
            return rc;
    }
}
