/* stream_pattern.h - finds a few bytes in a stream that comes in pieces (Knuth, Morris, Pratt).
 */
#ifndef SUPPORT_STREAM_PATTERN_H
#define SUPPORT_STREAM_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

enum { STREAM_PATTERN_MAX = 64 };

struct stream_pattern {
    char bytes[STREAM_PATTERN_MAX];
    size_t fallback[STREAM_PATTERN_MAX]; /* where to go on when the next byte does not match */
    size_t len;
};

/* 1 to STREAM_PATTERN_MAX bytes, copied. */
void stream_pattern_set(struct stream_pattern *p, const void *bytes, size_t len);

/* Does this piece complete the pattern? *matched (0 at first) remembers, from one piece of a
 * stream to the next, what came so far; after true it is 0 again. */
bool stream_pattern_find(const struct stream_pattern *p, size_t *matched, const char *bytes,
                         size_t len);

#endif
