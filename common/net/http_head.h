/* http_head.h - what this room reads from the head of an answer. Pure. */
#ifndef NET_HTTP_HEAD_H
#define NET_HTTP_HEAD_H

#include <stddef.h>

#include "http_client.h"

/* One line of the head, with or without its line end. A status line starts the answer afresh
 * (a 100 Continue may come before it); other lines fill in the members of *a they name. */
void http_head_line(struct http_answer *a, const char *line, size_t len);

/* A whole answer as it came off the wire, perhaps after a 100 Continue, perhaps cut. Fills in
 * *a when it holds a complete head of a final answer (status 200 or more), else leaves the
 * status below that. The body is kept only when it came as plain bytes, not in chunks. */
void http_head_whole(struct http_answer *a, const char *bytes, size_t len);

#endif
