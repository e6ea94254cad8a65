/* buf.h - a growable string of bytes.
 *
 * `data` is always NUL-terminated (so it reads as a C string when it holds no NUL), `len`
 * does not count that NUL. The struct is the caller's; the bytes are the buf's until
 * buf_steal. After an allocation failed, `failed` stays set and further appends do nothing,
 * so a caller may append many times and check once with buf_ok.
 *
 * A buf belongs to one thread at a time. Nothing blocks. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *data;
    size_t len, cap;
    bool failed;
};

extern char buf_empty[1]; /* what `data` points at before the first append */

#define BUF_INIT                                                                               \
    {                                                                                          \
        buf_empty, 0, 0, false                                                                 \
    }

void buf_init(struct buf *b);
void buf_release(struct buf *b); /* frees the bytes; b is as after buf_init */
void buf_clear(struct buf *b);   /* forgets the bytes, keeps the memory and `failed` */

void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_append_str(struct buf *b, const char *text);
void buf_append_char(struct buf *b, char c);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Room for `extra` more bytes and the NUL: false (and `failed`) when there is no memory. */
bool buf_reserve(struct buf *b, size_t extra);

/* True while no append failed. */
bool buf_ok(const struct buf *b);

/* Hands the bytes over (free() them) and leaves b empty. NULL when b has failed or there is
 * no memory; an empty buf yields "". */
char *buf_steal(struct buf *b);

#endif
