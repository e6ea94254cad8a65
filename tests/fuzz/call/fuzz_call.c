/* What decides where a task leads and what a repository writes: URLs, lists of hosts and
 * networks, entries of trees, words of git, params of calls. The whole input is given to each.
 *
 * A URL that is taken must mean the same to libcurl, which is what connects: the same scheme,
 * host and port. A path that is taken must stay below its folder. */
#include <assert.h>
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "address_guard.h"
#include "artifact.h"
#include "call_spec.h"
#include "entry.h"
#include "params.h"
#include "repo_url.h"
#include "says.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TEXT_MAX = 1 << 16 };

static char *part(CURLU *u, CURLUPart what)
{
    char *text = NULL;

    return curl_url_get(u, what, &text, CURLU_DEFAULT_PORT) == CURLUE_OK ? text : NULL;
}

/* libcurl makes 127.0.0.1 of 0x7f.1 by itself; what that leads to is judged by its address. */
static bool is_number(const char *host)
{
    return strspn(host, "0123456789abcdefx.") == strlen(host);
}

static void compare_hosts(const struct web_url *ours, char *theirs)
{
    char with_brackets[WEB_HOST_MAX + 2];
    size_t len = strlen(theirs);

    if (len > 1 && theirs[len - 1] == '.')
        theirs[len - 1] = '\0';
    snprintf(with_brackets, sizeof with_brackets, ours->is_ipv6 ? "[%s]" : "%s", ours->host);
    if (ours->is_ipv6) { /* which has one usual form in libcurl, and any here */
        struct sockaddr_storage a, b;
        theirs[strlen(theirs) - 1] = '\0';
        assert(theirs[0] == '[' && address_parse(theirs + 1, &a) &&
               address_parse(ours->host, &b) && memcmp(&a, &b, sizeof a) == 0);
    } else if (!is_number(ours->host)) {
        assert(strcasecmp(theirs, with_brackets) == 0);
    }
}

static void compare(const char *text, const struct web_url *ours)
{
    CURLU *u = curl_url();

    if (u && curl_url_set(u, CURLUPART_URL, text, 0) == CURLUE_OK) {
        char *scheme = part(u, CURLUPART_SCHEME), *host = part(u, CURLUPART_HOST);
        char *port = part(u, CURLUPART_PORT), *user = part(u, CURLUPART_USER);
        assert(scheme && host && port && !user);
        assert(strcasecmp(scheme, ours->is_tls ? "https" : "http") == 0);
        assert(strtol(port, NULL, 10) == ours->port);
        compare_hosts(ours, host);
        curl_free(scheme);
        curl_free(host);
        curl_free(port);
        curl_free(user);
    }
    curl_url_cleanup(u);
}

static void check_urls(const char *text)
{
    struct web_url web;
    struct repo_url repo, again;
    struct err err = ERR_INIT;
    char key[REPO_NAME_MAX + 16];

    if (web_url_parse(text, "url", &web, &err) == 0) {
        compare(text, &web);
        assert(web_hosts_allow("*:*,http://*:*", &web));
        assert(!web_hosts_allow("", &web));
    } else {
        assert(err.code == -E_BAD_VALUE && strncmp(err.text, "url: ", 5) == 0);
    }
    if (repo_url_parse(text, "repository", &repo, &err) != 0)
        return;
    snprintf(key, sizeof key, "outputs/%s", repo.name);
    assert(artifact_key_is_valid(key));
    assert(!strchr(repo.name, '/'));
    assert(repo_url_parse(repo.url, "repository", &again, &err) == 0);
    assert(strcmp(repo.url, again.url) == 0 && strcmp(repo.name, again.name) == 0);
    compare(repo.url, &repo.web);
}

static void check_entry(const char *text, size_t len)
{
    struct entry e;
    const char *word = NULL;
    struct err err = ERR_INIT;

    if (entry_parse(text, len, &e, &word, &err) != 0) {
        assert(err.code == -E_BAD_INPUT && word);
        return;
    }
    assert(e.path > text && e.path[0] != '/' && e.path[0] != '\0');
    for (const char *at = e.path; at; at = strchr(at, '/') ? strchr(at, '/') + 1 : NULL) {
        size_t part_len = strcspn(at, "/");
        assert(part_len > 0 && part_len <= 255);
        assert(!(part_len == 1 && at[0] == '.') &&
               !(part_len == 2 && memcmp(at, "..", 2) == 0));
        assert(!(part_len == 4 && strncasecmp(at, ".git", 4) == 0));
    }
}

static void check_call(const char *text, size_t len)
{
    struct call_spec *spec = NULL;
    const struct call_answer answer = {.status = 200,
                                       .content_type = "",
                                       .location = "",
                                       .retry_after_s = -1,
                                       .body = text,
                                       .body_len = len};
    const char *word = NULL;
    char *result = NULL;
    struct err err = ERR_INIT;

    if (params_check("http_call", text, &err) != 0 || call_spec_open(text, &spec, &err) != 0) {
        assert(err.code == -E_BAD_VALUE);
        return;
    }
    for (const char *const *h = call_spec_headers(spec); *h; h++)
        assert(strchr(*h, ':') && !strpbrk(*h, "\r\n"));
    assert(!strpbrk(call_spec_query(spec), " \r\n#"));
    int rc = call_spec_judge(spec, &answer, &result, &word, &err);
    assert((rc == 0) == (result != NULL) && (rc == 0 || word || rc == -E_NO_MEMORY));
    free(result);
    call_spec_close(spec);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char text[TEXT_MAX];
    struct address_guard guard;
    const char *word = NULL;
    struct err err = ERR_INIT;

    if (size >= sizeof text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    size = strlen(text);
    check_urls(text);
    check_entry(text, size);
    check_call(text, size);
    web_hosts_check(text, NULL);
    address_guard_init(&guard, text, NULL);
    assert(says_explain(text, 1 << 8, "https://h/o/r.git", &word, &err) < 0 && word);
    return 0;
}
