#include "web_url.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address_guard.h"
#include "config.h"

enum { ENTRY_MAX = 320, ANY_PORT = -1, PORT_DIGITS_MAX = 5 };

static const struct {
    const char *prefix;
    bool is_tls;
    int port;
} schemes[] = {{"https://", true, 443}, {"http://", false, 80}};

/* The text behind a known scheme, or NULL. */
static const char *read_scheme(const char *text, bool *ret_tls, int *ret_port)
{
    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i].prefix);
        if (strncasecmp(text, schemes[i].prefix, len) != 0)
            continue;
        *ret_tls = schemes[i].is_tls;
        *ret_port = schemes[i].port;
        return text + len;
    }
    return NULL;
}

static bool is_host_name(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!isalnum((unsigned char)s[i]) && !strchr("-_.", s[i]))
            return false;
        if (s[i] == '.' && (i == 0 || s[i - 1] == '.'))
            return false;
    }
    return len > 0 && s[0] != '-';
}

/* Reads "host" or "[address]" at the start of `text`; returns what is behind it, or NULL. */
static const char *read_host(const char *text, struct web_url *ret)
{
    bool is_bracketed = *text == '[';
    const char *begin = text + is_bracketed;
    size_t len = strcspn(begin, is_bracketed ? "]" : ":/?#");
    struct sockaddr_storage a;

    if (len == 0 || len >= sizeof ret->host || (is_bracketed && begin[len] != ']'))
        return NULL;
    for (size_t i = 0; i < len; i++)
        ret->host[i] = (char)tolower((unsigned char)begin[i]);
    ret->host[len] = '\0';
    ret->is_ipv6 = is_bracketed;
    if (is_bracketed) {
        if (!address_parse(ret->host, &a) || a.ss_family != AF_INET6)
            return NULL;
        return begin + len + 1;
    }
    if (!is_host_name(ret->host, len))
        return NULL;
    if (len > 1 && ret->host[len - 1] == '.') /* the same name to DNS, another one to a list */
        ret->host[len - 1] = '\0';
    return begin + len;
}

static const char *read_port(const char *text, bool allow_any, int *ret_port)
{
    size_t digits;

    if (*text != ':')
        return text;
    text++;
    if (allow_any && *text == '*') {
        *ret_port = ANY_PORT;
        return text + 1;
    }
    digits = strspn(text, "0123456789");
    long port = digits > 0 && digits <= PORT_DIGITS_MAX ? strtol(text, NULL, 10) : 0;
    if (port < 1 || port > 65535)
        return NULL;
    *ret_port = (int)port;
    return text + digits;
}

static bool is_plain(const char *text)
{
    for (; *text; text++) {
        if (*text <= 0x20 || *text >= 0x7F || strchr("\\\"<>^`{|}", *text))
            return false;
    }
    return true;
}

int web_url_parse(const char *text, const char *name, struct web_url *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    if (strlen(text) >= WEB_URL_MAX)
        return err_set(err, -E_BAD_VALUE, "%s: longer than %d bytes", name, WEB_URL_MAX - 1);
    if (!is_plain(text))
        return err_set(err, -E_BAD_VALUE,
                       "%s: must be printable ASCII without spaces, quotes and backslashes",
                       name);
    const char *at = read_scheme(text, &ret->is_tls, &ret->port);
    if (!at)
        return err_set(err, -E_BAD_VALUE, "%s: must begin with https:// or http://", name);
    size_t authority = strcspn(at, "/?#");
    if (memchr(at, '@', authority))
        return err_set(err, -E_BAD_VALUE, "%s: must not contain a user name or password", name);
    at = read_host(at, ret);
    at = at ? read_port(at, false, &ret->port) : NULL;
    if (!at || (*at && !strchr("/?#", *at)))
        return err_set(err, -E_BAD_VALUE, "%s: has no valid host and port", name);
    ret->rest = at;
    return 0;
}

/* One entry of a list of hosts; host "*" stands for all. */
static bool parse_entry(const char *entry, struct web_url *ret)
{
    memset(ret, 0, sizeof *ret);
    ret->is_tls = true;
    ret->port = schemes[0].port;
    const char *at = read_scheme(entry, &ret->is_tls, &ret->port);
    if (!at)
        at = entry;
    if (*at == '*') {
        memcpy(ret->host, "*", 2);
        at++;
    } else {
        at = read_host(at, ret);
    }
    at = at ? read_port(at, true, &ret->port) : NULL;
    return at && *at == '\0';
}

int web_hosts_check(const char *list, struct err *err)
{
    char word[ENTRY_MAX];
    struct web_url entry;

    for (const char *at = list; (at = config_list_next(at, word, sizeof word));) {
        if (!parse_entry(word, &entry))
            return err_set(err, -E_BAD_VALUE,
                           "'%.200s' is no host such as example.org, http://example.org:8080 "
                           "or *",
                           word);
    }
    return 0;
}

bool web_hosts_allow(const char *list, const struct web_url *url)
{
    char word[ENTRY_MAX];
    struct web_url entry;

    for (const char *at = list; (at = config_list_next(at, word, sizeof word));) {
        if (parse_entry(word, &entry) && entry.is_tls == url->is_tls &&
            (entry.port == ANY_PORT || entry.port == url->port) &&
            (strcmp(entry.host, "*") == 0 || strcmp(entry.host, url->host) == 0))
            return true;
    }
    return false;
}

int web_url_check_host(const struct web_url *url, const char *name, const char *list,
                       const char *setting, struct err *err)
{
    char port[16] = "";

    if (web_hosts_allow(list, url))
        return 0;
    if (url->port != (url->is_tls ? 443 : 80))
        snprintf(port, sizeof port, ":%d", url->port);
    return err_set(err, -E_BAD_VALUE, "%s: '%s%s%s' is not among the hosts of %s", name,
                   url->is_tls ? "" : "http://", url->host, port, setting);
}
