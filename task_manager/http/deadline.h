/* deadline.h - the sweeper: connections that are too slow are cut, whatever they do.
 *
 * libmicrohttpd knows only a time without any traffic, which one byte a second defeats. The
 * sweeper looks at every connection four times a second and judges by the kernel's own
 * counters of bytes received and acknowledged (TCP_INFO), so that uploads, downloads and the
 * header are measured alike, and nothing is counted on the way of the bytes.
 *
 *   waiting     for a request: at most idle_ms without a byte, then header_ms for the header
 *   receiving   a body: request_ms + bytes / min_rate, and never idle_ms without progress;
 *               a client that has closed is cut after a second
 *   handling    no limit: the client is not the slow one
 *   sending     the reply: like receiving; the two are measured apart
 *
 * Every limit is exceeded by up to one look (DEADLINE_TICK_MS). A cut is shutdown(2): the
 * owner of the socket then sees its end and closes it.
 *
 * It also reads out connections that were closed while the client was still sending a body
 * which nobody wants: closing a socket with unread bytes resets it, and the reset can destroy
 * the reply on its way (RFC 9112, section 9.6: a lingering close). */
#ifndef HTTP_DEADLINE_H
#define HTTP_DEADLINE_H

#include <stdint.h>

#include "err.h"

enum { DEADLINE_TICK_MS = 250 };

enum conn_phase { CONN_WAITING, CONN_RECEIVING, CONN_HANDLING, CONN_SENDING };

struct deadline_limits {
    int64_t idle_ms, header_ms, request_ms;
    int64_t min_rate; /* bytes a second */
};

struct deadline; /* the sweeper and its list */
struct conn;     /* one watched connection */

int deadline_start(const struct deadline_limits *limits, struct deadline **ret,
                   struct err *err);
/* All connections must be forgotten before. NULL is fine. */
void deadline_stop_free(struct deadline *d);

/* Watches fd from now on, as waiting. NULL without memory. */
struct conn *deadline_watch(struct deadline *d, int fd);
/* The connection is in a new phase; cheap. Each connection by one thread at a time. */
void conn_enter(struct conn *c, enum conn_phase phase);
/* When it is forgotten the sweeper shall keep a copy of its fd for a few seconds and read what
 * still comes. From the thread that will forget it. */
void conn_linger(struct conn *c);
/* Forgets it, before its fd is closed. NULL is fine. */
void deadline_forget(struct deadline *d, struct conn *c);

/* Cuts every connection that is not being handled: for stopping. */
void deadline_cut_all(struct deadline *d);

#endif
