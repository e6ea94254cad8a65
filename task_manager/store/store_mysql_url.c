/* store_mysql_url.c - the parts of a mysql:// address. */
#include "mysql_internal.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)tolower((unsigned char)c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* RFC 3986, section 2.1. NULL for a broken escape, %00 or no memory. */
static char *percent_decode(const char *text, size_t len)
{
    char *out = malloc(len + 1);
    size_t n = 0;

    for (size_t i = 0; out && i < len; i++) {
        char c = text[i];
        if (c == '%') {
            int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0) {
                free(out);
                return NULL;
            }
            c = (char)(high * 16 + low);
            i += 2;
        }
        out[n++] = c;
    }
    if (out)
        out[n] = '\0';
    return out;
}

static bool parse_port(const char *text, size_t len, unsigned *ret)
{
    unsigned port = 0;

    for (size_t i = 0; i < len; i++) {
        if (!isdigit((unsigned char)text[i]) || port > 65535)
            return false;
        port = port * 10 + (unsigned)(text[i] - '0');
    }
    *ret = port;
    return port > 0 && port <= 65535;
}

static bool parse_host(const char *text, size_t len, struct my_address *ret)
{
    const char *end = text + len;
    const char *host_end;

    if (len && text[0] == '[') { /* an IPv6 address */
        text++;
        host_end = memchr(text, ']', (size_t)(end - text));
        if (!host_end || host_end == text)
            return false;
        len = (size_t)(host_end - text);
        host_end++;
    } else {
        host_end = memchr(text, ':', len);
        if (!host_end)
            host_end = end;
        len = (size_t)(host_end - text);
    }
    ret->port = 3306;
    if (host_end < end && (*host_end != ':' ||
                           !parse_port(host_end + 1, (size_t)(end - host_end - 1), &ret->port)))
        return false;
    ret->host = percent_decode(text, len);
    return ret->host && ret->host[0];
}

static bool parse_login(const char *text, size_t len, struct my_address *ret)
{
    const char *colon = memchr(text, ':', len);
    size_t user_len = colon ? (size_t)(colon - text) : len;

    ret->user = percent_decode(text, user_len);
    ret->password = colon ? percent_decode(colon + 1, len - user_len - 1) : strdup("");
    return ret->user && ret->password && ret->user[0];
}

int my_address_parse(const char *url, struct my_address *ret, struct err *err)
{
    const char *login = url + strlen(store_mysql_ops.scheme);
    const char *slash = strchr(login, '/');
    const char *at = slash ? memrchr(login, '@', (size_t)(slash - login)) : NULL;

    memset(ret, 0, sizeof *ret);
    errno = 0;
    if (at && slash[1] && parse_login(login, (size_t)(at - login), ret) &&
        parse_host(at + 1, (size_t)(slash - at - 1), ret)) {
        ret->database = percent_decode(slash + 1, strlen(slash + 1));
        if (ret->database)
            return 0;
    }
    bool short_of_memory = errno == ENOMEM; /* as malloc and strdup tell it */
    my_address_release(ret);
    if (short_of_memory)
        return err_set(err, -E_NO_MEMORY, "no memory for the database URL");
    return err_set(err, -E_BAD_VALUE,
                   "the database URL must be mysql://user:password@host:port/database, with "
                   "special characters percent-encoded");
}

void my_address_release(struct my_address *a)
{
    if (a->password)
        explicit_bzero(a->password, strlen(a->password));
    free(a->password);
    free(a->host);
    free(a->user);
    free(a->database);
    memset(a, 0, sizeof *a);
}
