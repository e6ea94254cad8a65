#include "lines.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { READ_BYTES = 64 * 1024 };

void lines_release(struct lines *l)
{
    buf_release(&l->bytes);
    l->at = 0;
}

/* Moves what has not been handed out to the front. */
static void compact(struct lines *l)
{
    if (l->at == 0)
        return;
    l->bytes.len -= l->at;
    memmove(l->bytes.data, l->bytes.data + l->at, l->bytes.len);
    l->bytes.data[l->bytes.len] = '\0';
    l->at = 0;
}

int lines_read(struct lines *l, int fd, size_t max, struct err *err)
{
    ssize_t got;

    compact(l);
    if (l->bytes.len > max)
        return err_set(err, -E_TOO_BIG, "a line is longer than %zu bytes", max);
    if (!buf_reserve(&l->bytes, READ_BYTES))
        return err_set(err, -E_NO_MEMORY, "no memory for a line");
    do {
        got = read(fd, l->bytes.data + l->bytes.len, READ_BYTES);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return err_set(err, -E_OVERLOAD, "nothing to read yet");
    if (got < 0 && errno == ECONNRESET)
        return 0; /* the other side is gone, with bytes of ours unread */
    if (got < 0)
        return err_set_errno(err, -E_IO, errno, "read a line");
    l->is_drained = got < READ_BYTES;
    l->bytes.len += (size_t)got;
    l->bytes.data[l->bytes.len] = '\0';
    return got > 0;
}

bool lines_next(struct lines *l, char **ret_line, size_t *ret_len)
{
    char *start = l->bytes.data + l->at;
    char *end = memchr(start, '\n', l->bytes.len - l->at);

    if (!end)
        return false;
    *end = '\0';
    *ret_line = start;
    *ret_len = (size_t)(end - start);
    l->at += *ret_len + 1;
    return true;
}
