/* gate.h - may this request in? Decided from its header alone, before anything else looks.
 *
 * The gate refuses whatever two HTTP implementations could read differently (request
 * smuggling), whatever is no plain path, and whatever is larger than a request of ours needs
 * to be. Rules from RFC 9110 and 9112 (sections 3.2, 5.1, 6.1, 6.3, 11.2) and from what
 * libmicrohttpd 0.9.75 was measured to let through. Pure: no library, no I/O, no memory;
 * any thread. */
#ifndef HTTP_GATE_H
#define HTTP_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GATE_HEADERS_MAX = 64,
    GATE_HEADER_BYTES_MAX = 16384,
    GATE_TARGET_MAX = 2048,
    GATE_QUERY_MAX = 32 /* query parameters */
};

struct gate_header {
    const char *name, *value; /* NUL-terminated; a NUL inside makes the lengths differ */
    size_t name_len, value_len;
};

struct gate_request {
    const char *method, *version, *target; /* target as it was sent; NULL when there is none */
    const struct gate_header *headers;
    size_t header_count; /* may be more than GATE_HEADERS_MAX; then headers is not read */
    size_t header_bytes; /* request line and header lines; 0 unknown */
};

struct gate_verdict {
    int status;             /* 0: let in; else the answer's status */
    const char *sentence;   /* why not; static */
    int64_t content_length; /* -1 without */
    bool is_chunked;
};

/* Fills *ret; never fails. */
void gate_check(const struct gate_request *r, struct gate_verdict *ret);

/* Lines of a header block in which libmicrohttpd 0.9 has put a NUL over each CR, LF and first
 * colon: [NUL NUL] (name NUL value NUL NUL)* NUL NUL. False when a line ended with a bare LF,
 * was folded, or held a NUL of its own: the library hides these three from its users. */
bool gate_block_is_clean(const char *block, size_t len);

/* The value of the first header of that name (case does not matter), or NULL. */
const char *gate_header_find(const struct gate_header *headers, size_t count, const char *name);

#endif
