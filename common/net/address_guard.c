#include "address_guard.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

/* What is not public, after the IANA registries of special-purpose addresses. The first row
 * that fits gives the name. */
static const struct special {
    struct address_network net;
    const char *name;
} specials[] = {
    {{AF_INET, 8, {0}}, "an address of this network"},
    {{AF_INET, 8, {10}}, "a private address"},
    {{AF_INET, 10, {100, 64}}, "a private address"}, /* of carriers */
    {{AF_INET, 8, {127}}, "a loopback address"},
    {{AF_INET, 16, {169, 254}}, "a link-local address"},
    {{AF_INET, 12, {172, 16}}, "a private address"},
    {{AF_INET, 24, {192, 0, 0}}, "a reserved address"},
    {{AF_INET, 24, {192, 0, 2}}, "a reserved address"},
    {{AF_INET, 24, {192, 88, 99}}, "a reserved address"},
    {{AF_INET, 16, {192, 168}}, "a private address"},
    {{AF_INET, 15, {198, 18}}, "a reserved address"},
    {{AF_INET, 24, {198, 51, 100}}, "a reserved address"},
    {{AF_INET, 24, {203, 0, 113}}, "a reserved address"},
    {{AF_INET, 4, {224}}, "a multicast address"},
    {{AF_INET, 4, {240}}, "a reserved address"},
    {{AF_INET6, 128, {0}}, "the unspecified address"},
    {{AF_INET6, 128, {[15] = 1}}, "a loopback address"},
    {{AF_INET6, 96, {[10] = 0xFF, 0xFF}}, "an IPv4-mapped address"},
    {{AF_INET6, 96, {0}}, "an IPv4-compatible address"},
    {{AF_INET6, 32, {0x20, 0x01}}, "a Teredo address"},
    {{AF_INET6, 23, {0x20, 0x01}}, "a reserved address"},
    {{AF_INET6, 32, {0x20, 0x01, 0x0D, 0xB8}}, "a reserved address"},
    {{AF_INET6, 16, {0x20, 0x02}}, "a 6to4 address"},
    {{AF_INET6, 20, {0x3F, 0xFF}}, "a reserved address"},
    {{AF_INET6, 3, {0x20}}, NULL}, /* global unicast */
    {{AF_INET6, 32, {0x00, 0x64, 0xFF, 0x9B}}, "a NAT64 address"},
    {{AF_INET6, 48, {0x00, 0x64, 0xFF, 0x9B, 0x00, 0x01}}, "a NAT64 address"},
    {{AF_INET6, 7, {0xFC}}, "a private address"},
    {{AF_INET6, 10, {0xFE, 0x80}}, "a link-local address"},
    {{AF_INET6, 10, {0xFE, 0xC0}}, "a private address"},
    {{AF_INET6, 8, {0xFF}}, "a multicast address"},
    {{AF_INET6, 0, {0}}, "a reserved address"},
};

static const unsigned char *bytes_of(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return (const unsigned char *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
    return (const unsigned char *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
}

static bool contains(const struct address_network *n, int family, const unsigned char *bytes)
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    unsigned char mask = (unsigned char)(0xFF00U >> rest);

    return family == n->family && memcmp(bytes, n->bytes, whole) == 0 &&
           (rest == 0 || ((bytes[whole] ^ n->bytes[whole]) & mask) == 0);
}

const char *address_guard_refusal(const struct address_guard *g, const struct sockaddr *a)
{
    if (a->sa_family != AF_INET && a->sa_family != AF_INET6)
        return "no internet address";
    const unsigned char *bytes = bytes_of(a);
    for (size_t i = 0; i < g->count; i++) {
        if (contains(&g->allowed[i], a->sa_family, bytes))
            return NULL;
    }
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++) {
        if (contains(&specials[i].net, a->sa_family, bytes))
            return specials[i].name;
    }
    return NULL;
}

bool address_parse(const char *text, struct sockaddr_storage *ret)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)ret;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)ret;

    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        return true;
    }
    memset(ret, 0, sizeof *ret);
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1)
        return false;
    v6->sin6_family = AF_INET6;
    return true;
}

void address_format(const struct sockaddr *a, char ret[ADDRESS_TEXT_MAX])
{
    bool is_known = a->sa_family == AF_INET || a->sa_family == AF_INET6;

    if (!is_known || !inet_ntop(a->sa_family, bytes_of(a), ret, ADDRESS_TEXT_MAX))
        memcpy(ret, "?", 2);
}

/* "10.0.0.0/8": the bits past the length must be zero, or somebody meant something else. */
static bool parse_network(char *word, struct address_network *ret)
{
    struct sockaddr_storage a;
    char *slash = strchr(word, '/'), *end;
    unsigned long bits = 0;

    if (slash) {
        *slash++ = '\0';
        if (*slash < '0' || *slash > '9')
            return false;
        bits = strtoul(slash, &end, 10);
        if (*end)
            return false;
    }
    if (!address_parse(word, &a))
        return false;
    unsigned most = a.ss_family == AF_INET ? 32 : 128;
    if (!slash)
        bits = most;
    if (bits > most)
        return false;
    memset(ret, 0, sizeof *ret);
    ret->family = a.ss_family;
    ret->bits = (unsigned)bits;
    memcpy(ret->bytes, bytes_of((const struct sockaddr *)&a), most / 8);
    for (unsigned bit = ret->bits; bit < most; bit++) {
        if (ret->bytes[bit / 8] & (0x80U >> bit % 8))
            return false;
    }
    return true;
}

int address_guard_init(struct address_guard *g, const char *list, struct err *err)
{
    char word[ADDRESS_TEXT_MAX], copy[ADDRESS_TEXT_MAX];

    g->count = 0;
    for (const char *at = list; (at = config_list_next(at, word, sizeof word));) {
        if (g->count == ADDRESS_NETWORKS_MAX)
            return err_set(err, -E_BAD_VALUE, "more than %d networks", ADDRESS_NETWORKS_MAX);
        memcpy(copy, word, sizeof copy);
        if (!parse_network(copy, &g->allowed[g->count]))
            return err_set(err, -E_BAD_VALUE,
                           "'%s' is no network such as 10.0.0.0/8, 127.0.0.1 or fd00::/8",
                           word);
        g->count++;
    }
    return 0;
}
