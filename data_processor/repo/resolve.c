#include "resolve.h"

#include <netdb.h>
#include <string.h>

enum { ADDRESSES_MAX = 8 };

static int refuse(const char *host, const struct sockaddr *a, const char *refusal,
                  const char **ret_word, struct err *err)
{
    char text[ADDRESS_TEXT_MAX];

    address_format(a, text);
    *ret_word = "address_refused";
    return err_set(err, -E_BAD_INPUT,
                   "'%s' leads to %s, %s, which ALLOW_NETWORKS does not allow", host, text,
                   refusal);
}

/* How many were appended; the first that was refused, with why. */
static int append_allowed(const struct addrinfo *found, const struct address_guard *guard,
                          struct buf *ret, const struct sockaddr **ret_refused,
                          const char **ret_refusal)
{
    char text[ADDRESS_TEXT_MAX];
    int count = 0;

    for (const struct addrinfo *a = found; a && count < ADDRESSES_MAX; a = a->ai_next) {
        const char *refusal = address_guard_refusal(guard, a->ai_addr);
        if (refusal && !*ret_refusal) {
            *ret_refused = a->ai_addr;
            *ret_refusal = refusal;
        }
        if (refusal)
            continue;
        address_format(a->ai_addr, text);
        buf_printf(ret, a->ai_family == AF_INET6 ? "%s[%s]" : "%s%s", count ? "," : "", text);
        count++;
    }
    return count;
}

int resolve_host(const struct web_url *url, const struct address_guard *guard, struct buf *ret,
                 const char **ret_word, struct err *err)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    struct sockaddr_storage literal;
    const struct sockaddr *refused = NULL;
    const char *refusal = NULL;

    if (address_parse(url->host, &literal)) {
        refused = (const struct sockaddr *)&literal;
        refusal = address_guard_refusal(guard, refused);
        return refusal ? refuse(url->host, refused, refusal, ret_word, err) : 0;
    }
    int rc = getaddrinfo(url->host, NULL, &hints, &found);
    if (rc) {
        *ret_word = "unreachable";
        return err_set(err, -E_UNAVAILABLE, "'%s': %s", url->host, gai_strerror(rc));
    }
    buf_printf(ret, "%s:%d:", url->host, url->port);
    if (append_allowed(found, guard, ret, &refused, &refusal) == 0)
        rc = refusal ? refuse(url->host, refused, refusal, ret_word, err)
                     : err_set(err, -E_UNAVAILABLE, "'%s' has no address", url->host);
    freeaddrinfo(found);
    if (!rc && !buf_ok(ret))
        rc = err_set(err, -E_NO_MEMORY, "no memory for addresses");
    return rc;
}
