/* multipart.h - multipart/form-data, read byte by byte as it comes.
 *
 * RFC 2046 (section 5.1.1) and RFC 7578, strict where readers differ: lines end with CRLF,
 * every part is form-data with one name, no nesting, no transfer encoding, and the closing
 * boundary must have been seen. Used instead of MHD_PostProcessor, which takes
 * `boundary=x; charset=y` for a form without parts, cuts a file name at an escaped quote and
 * cannot tell an empty part from the start of the next one.
 *
 * Memory is constant. One thread at a time; blocks only as long as the callbacks do. */
#ifndef HTTP_MULTIPART_H
#define HTTP_MULTIPART_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

enum { MULTIPART_BOUNDARY_MAX = 70, MULTIPART_HEADER_MAX = 2048, MULTIPART_TYPE_MAX = 1024 };

struct multipart_events {
    /* A part begins. file_name is NULL when the part has none; both live for the call. */
    int (*part)(void *context, const char *name, const char *file_name, struct err *err);
    /* Bytes of the part that began last. Never called with len 0. */
    int (*data)(void *context, const char *bytes, size_t len, struct err *err);
};

struct multipart {
    const struct multipart_events *events;
    void *context;
    int state;
    char delimiter[4 + MULTIPART_BOUNDARY_MAX + 1]; /* CR LF - - boundary */
    size_t delimiter_len, matched;
    size_t lent; /* matched bytes that were no data: the line end before a part's first byte */
    char header[MULTIPART_HEADER_MAX];
    size_t header_len;
};

/* The boundary of a Content-Type that is multipart/form-data with exactly one, sound boundary
 * among its parameters, at most MULTIPART_TYPE_MAX bytes long. False otherwise. */
bool multipart_boundary(const char *content_type,
                        char ret_boundary[MULTIPART_BOUNDARY_MAX + 1]);

void multipart_init(struct multipart *m, const char *boundary,
                    const struct multipart_events *events, void *context);

/* 0; E_BAD_VALUE for a malformed form; or what a callback returned. After a failure the
 * multipart must not be fed again. */
int multipart_feed(struct multipart *m, const char *bytes, size_t len, struct err *err);

/* At the end of the body: E_BAD_VALUE unless the form was whole. */
int multipart_end(const struct multipart *m, struct err *err);

#endif
