/* resolve.h - from a host to the addresses that may be called. Private to this room. */
#ifndef REPO_RESOLVE_H
#define REPO_RESOLVE_H

#include "address_guard.h"
#include "buf.h"
#include "web_url.h"

/* Appends what git's http.curloptResolve wants, "host:port:address,address", with the addresses
 * of the host that the guard lets through, so that no other is ever connected to; nothing for a
 * host that is an address itself. Blocks on DNS. -E_BAD_INPUT (*ret_word "address_refused")
 * when none may be called, -E_UNAVAILABLE ("unreachable") when the name has none. */
int resolve_host(const struct web_url *url, const struct address_guard *guard, struct buf *ret,
                 const char **ret_word, struct err *err);

#endif
