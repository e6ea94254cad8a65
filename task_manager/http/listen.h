/* listen.h - listening sockets from "address:port" text. */
#ifndef HTTP_LISTEN_H
#define HTTP_LISTEN_H

#include "err.h"

enum { LISTEN_TEXT_MAX = 128 };

/* Is it "address:port" in form? E_BAD_VALUE otherwise. */
int listen_check(const char *where, struct err *err);

/* Opens a listening socket (non-blocking, O_CLOEXEC) at "address:port", "[v6]:port" or
 * "name:port" and says where it really is ("127.0.0.1:41234" for port 0). The caller owns
 * *ret_fd. E_BAD_VALUE for text that is no address, E_UNAVAILABLE when it cannot be had. May
 * block in a name lookup. */
int listen_open(const char *where, int *ret_fd, char ret_address[LISTEN_TEXT_MAX],
                struct err *err);

#endif
