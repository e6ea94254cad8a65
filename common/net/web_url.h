/* web_url.h - URLs that came from outside: strictly read, and matched with the hosts allowed.
 *
 * Accepted is only what every reader of URLs understands in the same way: http or https, a
 * host of letters, digits, '-', '_' and '.' or an address, perhaps a port, printable ASCII
 * without '\', '"' and the like. No user name or password. Errors never show the URL: it may
 * hold a secret in the wrong place. Pure; any thread. */
#ifndef NET_WEB_URL_H
#define NET_WEB_URL_H

#include <stdbool.h>

#include "err.h"

enum { WEB_HOST_MAX = 254, WEB_URL_MAX = 2048 };

struct web_url {
    bool is_tls;
    bool is_ipv6;            /* host is an IPv6 address, which a URL puts in brackets */
    char host[WEB_HOST_MAX]; /* lower case, no brackets, no dot at the end */
    int port;
    const char *rest; /* path, query and fragment, in the text given: "", "/…" or "?…" */
};

/* `name` is the parameter's, for errors: "url: must begin with https:// or http://". */
int web_url_parse(const char *text, const char *name, struct web_url *ret, struct err *err);

/* Is a list of allowed hosts well formed? Entries are [scheme://]host[:port]: scheme https
 * unless given, host a name, an address ([::1]) or '*' for all, port the scheme's unless
 * given, '*' for all. "github.com, http://git.example:8080, *". E_BAD_VALUE. */
int web_hosts_check(const char *list, struct err *err);

/* Does an entry of the list allow this URL? */
bool web_hosts_allow(const char *list, const struct web_url *url);

/* The two questions above in one, for errors: "url: 'example.org' is not among the hosts of
 * CALL_HOSTS", with the port when it is an odd one. */
int web_url_check_host(const struct web_url *url, const char *name, const char *list,
                       const char *setting, struct err *err);

#endif
