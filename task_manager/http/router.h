/* router.h - which route of a table does a path and a method mean?
 *
 * Patterns are compared segment by segment, exactly; {name} stands for one segment that is
 * not empty. The first pattern that fits wins. Pure; any thread. */
#ifndef HTTP_ROUTER_H
#define HTTP_ROUTER_H

#include "server.h"

enum { ROUTER_ALLOW_MAX = 64 };

struct router_match {
    const struct http_route *route;     /* NULL unless the status is 200 */
    const char *params[HTTP_PARAM_MAX]; /* into path_parts */
    unsigned allow;                     /* bit per http_method that the path has */
};

/* `method` is HTTP_METHOD__COUNT for one that no route has. `path` has no trailing slash,
 * `path_parts` is a copy of it that gets NULs in place of slashes and holds the parameters.
 * Returns 200, 404, or 405 with ret->allow set. */
int router_find(const struct http_route *routes, enum http_method method, const char *path,
                char *path_parts, struct router_match *ret);

/* "GET, HEAD, PUT" for the Allow header. */
void router_allow_text(unsigned allow, char ret_text[ROUTER_ALLOW_MAX]);

#endif
