/* router.c - a linear look through the route table; it is short and fits the cache. */
#include "router.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct span {
    size_t at, len;
};

/* Does path fit pattern? Places of the parameters go to spans, their number to *ret_count. */
static bool pattern_fits(const char *pattern, const char *path,
                         struct span spans[HTTP_PARAM_MAX], size_t *ret_count)
{
    const char *start = path;
    size_t count = 0;

    while (*pattern) {
        if (*pattern == '{') {
            size_t len = strcspn(path, "/");
            assert(count < HTTP_PARAM_MAX && strchr(pattern, '}'));
            if (len == 0)
                return false;
            spans[count++] = (struct span){(size_t)(path - start), len};
            pattern += strcspn(pattern, "}") + 1;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    *ret_count = count;
    return *path == '\0';
}

int router_find(const struct http_route *routes, enum http_method method, const char *path,
                char *path_parts, struct router_match *ret)
{
    *ret = (struct router_match){0};
    for (const struct http_route *r = routes; r->pattern; r++) {
        struct span spans[HTTP_PARAM_MAX];
        size_t count;
        if (!pattern_fits(r->pattern, path, spans, &count))
            continue;
        ret->allow |= 1U << r->method;
        if (r->method != method || ret->route)
            continue;
        ret->route = r;
        for (size_t i = 0; i < count; i++) {
            path_parts[spans[i].at + spans[i].len] = '\0';
            ret->params[i] = path_parts + spans[i].at;
        }
    }
    if (ret->route)
        return 200;
    return ret->allow ? 405 : 404;
}

void router_allow_text(unsigned allow, char ret_text[ROUTER_ALLOW_MAX])
{
    static const char *const names[HTTP_METHOD__COUNT] = {[HTTP_GET] = "GET, HEAD",
                                                          [HTTP_POST] = "POST",
                                                          [HTTP_PUT] = "PUT",
                                                          [HTTP_DELETE] = "DELETE",
                                                          [HTTP_OPTIONS] = "OPTIONS"};
    size_t used = 0;

    ret_text[0] = '\0';
    for (unsigned i = 0; i < HTTP_METHOD__COUNT; i++)
        if ((allow >> i) & 1U)
            used += (size_t)snprintf(ret_text + used, ROUTER_ALLOW_MAX - used, "%s%s",
                                     used ? ", " : "", names[i]);
}
