#include "stream_pattern.h"

#include <assert.h>
#include <string.h>

void stream_pattern_set(struct stream_pattern *p, const void *bytes, size_t len)
{
    assert(len > 0 && len <= STREAM_PATTERN_MAX);
    p->len = len;
    memcpy(p->bytes, bytes, len);
    p->fallback[0] = 0;
    for (size_t i = 1, k = 0; i < len; i++) {
        while (k > 0 && p->bytes[i] != p->bytes[k])
            k = p->fallback[k - 1];
        k += p->bytes[i] == p->bytes[k];
        p->fallback[i] = k;
    }
}

bool stream_pattern_find(const struct stream_pattern *p, size_t *matched, const char *bytes,
                         size_t len)
{
    for (size_t i = 0; i < len; i++) {
        while (*matched > 0 && bytes[i] != p->bytes[*matched])
            *matched = p->fallback[*matched - 1];
        if (bytes[i] == p->bytes[*matched] && ++*matched == p->len) {
            *matched = 0;
            return true;
        }
    }
    return false;
}
