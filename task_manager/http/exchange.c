/* exchange.c - what a handler can ask about its request. */
#include "exchange.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "metrics.h"

struct exchange *exchange_new(const struct http_options *options, const char *raw_target)
{
    struct exchange *x = calloc(1, sizeof *x);

    if (!x)
        return NULL;
    x->options = options;
    x->reply.fd = -1;
    if (!target_init(&x->target, raw_target)) {
        free(x);
        return NULL;
    }
    return x;
}

void exchange_free(struct exchange *x)
{
    if (!x)
        return;
    body_release(x);
    target_release(&x->target);
    for (size_t i = 0; i < x->reply.header_count; i++)
        free(x->reply.headers[i].name); /* the value is in the same block */
    free(x->reply.bytes);
    if (x->reply.fd >= 0)
        close(x->reply.fd);
    free(x);
}

static const struct {
    const char *name;
    enum http_method method;
} methods[] = {
    {"GET", HTTP_GET}, {"HEAD", HTTP_GET},      {"POST", HTTP_POST},
    {"PUT", HTTP_PUT}, {"DELETE", HTTP_DELETE}, {"OPTIONS", HTTP_OPTIONS},
};

/* Methods that RFC 9110 and RFC 5789 know and no route has: 405, not 501. */
static const char *const known_methods[] = {"PATCH", "TRACE", "CONNECT"};

/* False for a method that nobody knows. */
static bool read_method(struct exchange *x, const char *name)
{
    x->method = HTTP_METHOD__COUNT;
    x->is_head = strcmp(name, "HEAD") == 0;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (strcmp(name, methods[i].name) == 0)
            x->method = methods[i].method;
    for (size_t i = 0; i < sizeof known_methods / sizeof *known_methods; i++)
        if (strcmp(name, known_methods[i]) == 0)
            return true;
    return x->method != HTTP_METHOD__COUNT;
}

bool exchange_has_body(const struct exchange *x)
{
    return x->verdict.is_chunked || x->verdict.content_length > 0;
}

/* A wrong method or an unknown path. */
static void refuse_route(struct exchange *x, int status)
{
    char allow[ROUTER_ALLOW_MAX];

    if (status == 404) {
        reply_problem(x, 404, NULL, "there is nothing at \"%s\"", x->target.path);
        return;
    }
    router_allow_text(x->match.allow, allow);
    exchange_set_header(x, "Allow", allow);
    reply_problem(x, 405, NULL, "this path answers %s", allow);
}

void exchange_begin(struct exchange *x, const struct gate_request *request)
{
    gate_check(request, &x->verdict);
    if (x->verdict.status) {
        metric_add(METRIC_HTTP_GATE_REFUSED, 1);
        x->reply.close = true;
        reply_problem(x, x->verdict.status, NULL, "%s", x->verdict.sentence);
        return;
    }
    if (!read_method(x, request->method)) {
        x->reply.close = true;
        reply_problem(x, 501, NULL, "this method is not known");
        return;
    }
    if (!target_parse(&x->target)) {
        reply_problem(x, 503, NULL, "out of memory");
        return;
    }
    const char *twice = target_repeated(&x->target);
    if (twice) {
        reply_problem(x, 400, NULL, "%.100s: this query parameter came more than once", twice);
        return;
    }
    int status = router_find(x->options->routes, x->method, x->target.path,
                             x->target.path_parts, &x->match);
    if (status != 200)
        refuse_route(x, status);
    else
        body_begin(x);
}

const char *exchange_param(const struct exchange *x, size_t index)
{
    return index < HTTP_PARAM_MAX ? x->match.params[index] : NULL;
}

const char *exchange_query(const struct exchange *x, const char *name)
{
    return target_query(&x->target, name);
}

const char *exchange_query_name(const struct exchange *x, size_t index)
{
    return index < x->target.query_count ? x->target.query[index].name : NULL;
}

const char *exchange_header(const struct exchange *x, const char *name)
{
    return gate_header_find(x->headers, x->header_count, name);
}

const char *exchange_body(const struct exchange *x, size_t *ret_len)
{
    if (ret_len)
        *ret_len = x->body.text.len;
    return x->body.text.data;
}

/* host, host:port or [v6]:port. */
static bool host_is_sound(const char *host)
{
    size_t len;

    if (*host == '[') {
        len = 1 + strspn(host + 1, "0123456789abcdefABCDEF:.");
        if (len < 3 || host[len] != ']')
            return false;
        len++;
    } else {
        len = strspn(host, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-_");
    }
    if (len == 0 || strlen(host) > 255)
        return false;
    if (host[len] == '\0')
        return true;
    size_t digits = strspn(host + len + 1, "0123456789");
    return host[len] == ':' && digits >= 1 && digits <= 5 && host[len + 1 + digits] == '\0';
}

const char *exchange_base_url(const struct exchange *x)
{
    const char *host = exchange_header(x, "Host");
    /* Filled on first use; the exchange has one owner at a time. */
    char *url = ((struct exchange *)(uintptr_t)x)->base_url;

    if (!*url)
        snprintf(url, BASE_URL_MAX, "http://%s",
                 host && host_is_sound(host) ? host : x->local_address);
    return url;
}

bool exchange_is_alive(const struct exchange *x)
{
    /* A suspended connection's socket stays open, so the number is still ours. A client that
     * has only closed its sending side counts as gone. */
    struct pollfd p = {.fd = x->fd, .events = POLLRDHUP};

    return poll(&p, 1, 0) == 0 || (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0;
}

struct upload *exchange_take_upload(struct exchange *x)
{
    if (!x->body.sink || x->body.is_taken)
        return NULL;
    x->body.is_taken = true;
    return &x->upload;
}

const char *exchange_form(const struct exchange *x, const char *name)
{
    const struct body_form *form = x->body.form;

    for (size_t i = 0; form && i < form->fields; i++)
        if (strcmp(form->names[i], name) == 0)
            return form->values[i];
    return NULL;
}
