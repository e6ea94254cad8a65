/* lines.h - whole lines out of a stream of bytes, bounded in length. One thread at a time. */
#ifndef RUNTIME_LINES_H
#define RUNTIME_LINES_H

#include <stdbool.h>
#include <stddef.h>

#include "buf.h"
#include "err.h"

struct lines {
    struct buf bytes;
    size_t at;       /* what is before has been handed out */
    bool is_drained; /* the last read left nothing behind */
};

#define LINES_INIT                                                                             \
    {                                                                                          \
        BUF_INIT, 0, false                                                                     \
    }

void lines_release(struct lines *l); /* l is as after LINES_INIT */

/* Reads once. 1: bytes came; 0: end of the stream; -E_OVERLOAD: nothing there yet (a
 * non-blocking fd); -E_TOO_BIG: a line longer than max; -E_IO, -E_NO_MEMORY. Blocks if the fd
 * does. */
int lines_read(struct lines *l, int fd, size_t max, struct err *err);

/* The next whole line, NUL-terminated in place of its line end; false when there is none. It
 * is valid until the next lines_read. */
bool lines_next(struct lines *l, char **ret_line, size_t *ret_len);

#endif
