/* broker_url.c - the AMQP URL by hand: librabbitmq's own parser writes into its argument,
 * takes "/" for a virtual host without a name, and knows no parameters. */
#include "broker_url.h"

#include <string.h>

#define DEBIAN_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

struct span {
    const char *at;
    size_t len;
};

static int bad(struct err *err, const char *what)
{
    return err_set(err, -E_BAD_VALUE,
                   "the broker URL %s; it must look like "
                   "amqp://user:password@host:5672/vhost",
                   what);
}

/* Cuts s at the first c: the part before it is returned, s becomes what follows. Without a
 * c the whole of s is returned and s becomes empty. */
static struct span span_cut(struct span *s, char c)
{
    const char *found = s->len > 0 ? memchr(s->at, c, s->len) : NULL;
    struct span head = {s->at, found ? (size_t)(found - s->at) : s->len};
    size_t used = head.len + (found ? 1 : 0);

    s->at += used;
    s->len -= used;
    return head;
}

static bool span_is(struct span s, const char *text)
{
    return s.len == strlen(text) && memcmp(s.at, text, s.len) == 0;
}

static int hex_value(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *found = c ? strchr(digits, c) : NULL;

    return found ? (int)((found - digits) % 16) : -1;
}

/* Percent-decodes s into ret, which holds size bytes. */
static int span_decode(struct span s, const char *what, char *ret, size_t size, struct err *err)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.at[i];

        if (c == '%') {
            int high = i + 2 < s.len ? hex_value(s.at[i + 1]) : -1;
            int low = high >= 0 ? hex_value(s.at[i + 2]) : -1;

            if (low < 0)
                return err_set(err, -E_BAD_VALUE,
                               "the broker URL's %s has a '%%' without two hex digits", what);
            c = (char)(high * 16 + low);
            i += 2;
        }
        if (c == '\0')
            return err_set(err, -E_BAD_VALUE, "the broker URL's %s holds a NUL", what);
        if (n + 1 >= size)
            return err_set(err, -E_BAD_VALUE, "the broker URL's %s is longer than %zu bytes",
                           what, size - 1);
        ret[n++] = c;
    }
    ret[n] = '\0';
    return 0;
}

/* Digits only, 1 to max; false otherwise. */
static bool span_number(struct span s, int max, int *ret)
{
    int n = 0;

    for (size_t i = 0; i < s.len; i++) {
        if (s.at[i] < '0' || s.at[i] > '9' || n > max)
            return false;
        n = n * 10 + (s.at[i] - '0');
    }
    *ret = n;
    return n >= 1 && n <= max;
}

static int read_scheme(struct span *s, struct broker_url *ret, struct err *err)
{
    static const char *const schemes[] = {"amqp://", "amqps://"};

    for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
        size_t len = strlen(schemes[i]);

        if (s->len >= len && memcmp(s->at, schemes[i], len) == 0) {
            s->at += len;
            s->len -= len;
            ret->tls = i == 1;
            ret->port = ret->tls ? 5671 : 5672;
            return 0;
        }
    }
    return bad(err, "does not start with amqp:// or amqps://");
}

static int read_user(struct span user_info, struct broker_url *ret, struct err *err)
{
    struct span user = span_cut(&user_info, ':');
    int rc = span_decode(user, "user", ret->user, sizeof ret->user, err);

    if (rc != 0)
        return rc;
    return span_decode(user_info, "password", ret->password, sizeof ret->password, err);
}

static int read_host(struct span s, struct broker_url *ret, struct err *err)
{
    struct span host, port = {s.at, 0};
    bool has_port;

    if (s.len > 0 && s.at[0] == '[') {
        size_t before = s.len;

        host = span_cut(&s, ']');
        if (host.len == before)
            return bad(err, "has a '[' without a ']'");
        host.at++;
        host.len--;
        has_port = s.len > 0;
        if (has_port && s.at[0] != ':')
            return bad(err, "has text between the host and its port");
        if (has_port)
            port = (struct span){s.at + 1, s.len - 1};
    } else {
        size_t before = s.len;

        host = span_cut(&s, ':');
        has_port = host.len < before;
        port = s;
    }
    if (host.len == 0)
        return bad(err, "names no host");
    if (has_port && !span_number(port, 65535, &ret->port))
        return bad(err, "has a port that is not a number from 1 to 65535");
    return span_decode(host, "host", ret->host, sizeof ret->host, err);
}

static int read_parameters(struct span s, struct broker_url *ret, struct err *err)
{
    while (s.len > 0) {
        struct span value = span_cut(&s, '&');
        struct span name = span_cut(&value, '=');
        int rc = 0;

        if (span_is(name, "cacertfile"))
            rc = span_decode(value, "cacertfile", ret->ca_file, sizeof ret->ca_file, err);
        else if (!span_is(name, "heartbeat"))
            rc = bad(err, "has a parameter other than heartbeat and cacertfile");
        else if (!span_number(value, BROKER_HEARTBEAT_MAX_S, &ret->heartbeat_s))
            rc = bad(err, "has a heartbeat that is not 1 to 60 seconds");
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int read_all(struct span parameters, struct broker_url *ret, struct err *err)
{
    struct span s = span_cut(&parameters, '?'), authority;
    const char *at;
    int rc = read_scheme(&s, ret, err);

    if (rc != 0)
        return rc;
    authority = span_cut(&s, '/');
    if (s.len > 0 && memchr(s.at, '@', s.len)) /* else part of a password counts as a host */
        return bad(err, "has an '@' after its host (a '/' in a password is written %2F)");
    rc = span_decode(s, "virtual host", ret->vhost, sizeof ret->vhost, err);
    if (rc != 0)
        return rc;
    if (ret->vhost[0] == '\0')
        memcpy(ret->vhost, "/", 2);
    at = authority.len > 0 ? memrchr(authority.at, '@', authority.len) : NULL;
    if (at) {
        size_t len = (size_t)(at - authority.at);

        rc = read_user((struct span){authority.at, len}, ret, err);
        authority = (struct span){at + 1, authority.len - len - 1};
    }
    if (rc == 0)
        rc = read_host(authority, ret, err);
    return rc == 0 ? read_parameters(parameters, ret, err) : rc;
}

int broker_url_parse(const char *text, struct broker_url *ret, struct err *err)
{
    int rc;

    memset(ret, 0, sizeof *ret);
    memcpy(ret->user, "guest", sizeof "guest");
    memcpy(ret->password, "guest", sizeof "guest");
    memcpy(ret->ca_file, DEBIAN_CA_FILE, sizeof DEBIAN_CA_FILE);
    ret->heartbeat_s = BROKER_HEARTBEAT_DEFAULT_S;
    rc = read_all((struct span){text, strlen(text)}, ret, err);
    if (rc != 0)
        explicit_bzero(ret->password, sizeof ret->password);
    return rc;
}
