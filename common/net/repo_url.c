#include "repo_url.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { PARTS_MIN = 2, PARTS_MAX = 16 };

static const char part_chars[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-";

/* What else people call the address of a repository, and why it is not taken. */
static const struct {
    const char *prefix, *reason;
} others[] = {
    {"ssh:", "ssh is not supported"},       {"git@", "ssh is not supported"},
    {"git:", "git:// is not supported"},    {"file:", "local files are not supported"},
    {"/", "local files are not supported"}, {".", "local files are not supported"},
    {"ftp", "ftp is not supported"},        {"ext:", "helpers are not supported"},
};

static int refuse_scheme(const char *text, const char *name, struct err *err)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strncasecmp(text, others[i].prefix, strlen(others[i].prefix)) == 0)
            return err_set(err, -E_BAD_VALUE, "%s: must be https://host/owner/name; %s", name,
                           others[i].reason);
    }
    return 0;
}

/* How many parts the path has; 0 when it is no path of a repository. `len` leaves out ".git"
 * and a slash at the end. */
static int count_parts(const char *path, size_t len)
{
    int count = 0;

    for (size_t at = 0; at < len;) {
        if (path[at] != '/')
            return 0;
        at++;
        size_t span = strspn(path + at, part_chars);
        if (span > len - at)
            span = len - at;
        if (span == 0 || path[at] == '-' || strncmp(path + at, "..", 2) == 0 ||
            (span == 1 && path[at] == '.'))
            return 0;
        at += span;
        count++;
    }
    return count;
}

static size_t path_len(const char *path)
{
    size_t len = strlen(path);

    if (len > 1 && path[len - 1] == '/')
        len--;
    if (len > 5 && memcmp(path + len - 4, ".git", 4) == 0 && path[len - 5] != '/')
        len -= 4;
    return len;
}

/* Names that only redirect, which is not followed. */
static const struct {
    const char *from, *to;
} aliases[] = {
    {"www.github.com", "github.com"},
    {"www.gitlab.com", "gitlab.com"},
    {"www.bitbucket.org", "bitbucket.org"},
};

static void replace_alias(struct web_url *url)
{
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++) {
        if (strcmp(url->host, aliases[i].from) == 0)
            memcpy(url->host, aliases[i].to, strlen(aliases[i].to) + 1);
    }
}

/* A name of hundreds of characters is cut: it only has to say what it is about. */
static void make_name(const char *path, size_t len, char ret[REPO_NAME_MAX])
{
    size_t n = 0;

    for (size_t i = 1; i < len && n < REPO_NAME_MAX - 1; i++) {
        unsigned char c = (unsigned char)path[i];
        ret[n++] = (char)(isalnum(c) || c == '.' || c == '_' ? tolower(c) : '-');
    }
    ret[n] = '\0';
    if (ret[0] == '.')
        ret[0] = '-'; /* keys of the object store do not begin with one, */
    if (n > 5 && strcmp(ret + n - 5, ".part") == 0)
        ret[n - 5] = '-'; /* nor end like that */
}

int repo_url_parse(const char *text, const char *name, struct repo_url *ret, struct err *err)
{
    memset(ret, 0, sizeof *ret);
    int rc = refuse_scheme(text, name, err);
    if (!rc)
        rc = web_url_parse(text, name, &ret->web, err);
    if (rc)
        return rc;
    replace_alias(&ret->web);
    const char *path = ret->web.rest;
    size_t len = path_len(path);
    int parts = count_parts(path, len);
    if (strpbrk(path, "?#"))
        return err_set(err, -E_BAD_VALUE, "%s: must have no query and no fragment", name);
    if (parts < PARTS_MIN || parts > PARTS_MAX)
        return err_set(err, -E_BAD_VALUE,
                       "%s: must be https://host/owner/name: the path has to be two or more "
                       "names of letters, digits, '.', '_' and '-'",
                       name);
    int port = ret->web.is_tls ? 443 : 80;
    char odd[16] = "";
    if (ret->web.port != port)
        snprintf(odd, sizeof odd, ":%d", ret->web.port);
    int made = snprintf(ret->url, sizeof ret->url, "%s://%s%s%s%s%.*s.git",
                        ret->web.is_tls ? "https" : "http", ret->web.is_ipv6 ? "[" : "",
                        ret->web.host, ret->web.is_ipv6 ? "]" : "", odd, (int)len, path);
    if (made < 0 || (size_t)made >= sizeof ret->url)
        return err_set(err, -E_BAD_VALUE, "%s: longer than %d bytes", name, WEB_URL_MAX - 1);
    make_name(path, len, ret->name);
    ret->web.rest = "";
    return 0;
}
