#include "says.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "git.h"

enum { CANNOT_START = 127 };

/* The first row one of whose texts occurs decides. Texts of git 2.39 to 2.47 and of libcurl,
 * in the language of LC_ALL=C. */
static const struct meaning {
    const char *text, *and_text; /* and_text NULL: the first is enough */
    int code;
    const char *word, *sentence;
} meanings[] = {
    {"No space left on device", NULL, E_NO_SPACE, "no_space", "the disk is full"},
    {"Disk quota exceeded", NULL, E_NO_SPACE, "no_space", "the disk's quota is used up"},
    {"File too large", NULL, E_TOO_BIG, "too_big", "it is larger than REPO_MAX_BYTES allows"},
    {"died of signal 24", NULL, E_TIMEOUT, "timeout", "it takes too much computing"},
    {"could not read Username", NULL, E_BAD_INPUT, "credentials",
     "the server asks for credentials: the repository is private or does not exist"},
    {"could not read Password", NULL, E_BAD_INPUT, "credentials",
     "the server asks for credentials: the repository is private or does not exist"},
    {"Authentication failed", NULL, E_BAD_INPUT, "credentials",
     "the server does not accept the token"},
    {"returned error: 401", NULL, E_BAD_INPUT, "credentials",
     "the server does not accept the token"},
    {"returned error: 403", NULL, E_BAD_INPUT, "forbidden", "the server forbids it (403)"},
    {"returned error: 404", NULL, E_BAD_INPUT, "no_repository", "there is no repository"},
    {"returned error: 410", NULL, E_BAD_INPUT, "no_repository",
     "there is no repository any more"},
    {"returned error: 408", NULL, E_UNAVAILABLE, "server_error", "the server is slow (408)"},
    {"returned error: 429", NULL, E_UNAVAILABLE, "server_error",
     "the server has had too many requests (429)"},
    {"returned error: 3", NULL, E_BAD_INPUT, "redirected",
     "the server sends elsewhere, which is not followed: give the repository's present "
     "address"},
    {"returned error: 5", NULL, E_UNAVAILABLE, "server_error",
     "the server fails with an error of its own"},
    {"returned error: 4", NULL, E_BAD_INPUT, "no_repository", "the server refuses the request"},
    {"redirect", NULL, E_BAD_INPUT, "redirected",
     "the server sends elsewhere, which is not followed: give the repository's present "
     "address"},
    {"not found", "repository '", E_BAD_INPUT, "no_repository", "there is no repository"},
    {"is this a git repository?", NULL, E_BAD_INPUT, "no_repository",
     "what is there is no git repository"},
    {"dumb http transport", NULL, E_BAD_INPUT, "no_repository",
     "what is there is no git server"},
    {"protocol error", NULL, E_BAD_INPUT, "no_repository", "what is there is no git server"},
    {"invalid server response", NULL, E_BAD_INPUT, "no_repository",
     "what is there is no git server"},
    {"bad line length", NULL, E_BAD_INPUT, "no_repository", "what is there is no git server"},
    {"too slow", NULL, E_TIMEOUT, "stalled", "the server has stalled"},
    {"timed out", NULL, E_TIMEOUT, "stalled", "the server does not answer in time"},
    {"Timeout", NULL, E_TIMEOUT, "stalled", "the server does not answer in time"},
    {"Could not resolve", NULL, E_UNAVAILABLE, "unreachable",
     "the name of the host is unknown"},
    {"Failed to connect", NULL, E_UNAVAILABLE, "unreachable", "the server cannot be reached"},
    {"Couldn't connect", NULL, E_UNAVAILABLE, "unreachable", "the server cannot be reached"},
    {"certificate", NULL, E_BAD_INPUT, "tls", "the server's certificate is not trusted"},
    {"SSL", NULL, E_UNAVAILABLE, "tls", "no secure connection comes about"},
    {"TLS", NULL, E_UNAVAILABLE, "tls", "no secure connection comes about"},
    {"Out of memory", NULL, E_TOO_BIG, "too_big", "it needs too much memory"},
    {"fsck error", NULL, E_BAD_INPUT, "damaged", "its objects are damaged"},
    {"bad object", NULL, E_BAD_INPUT, "damaged", "its objects are damaged"},
    {"unpack", NULL, E_UNAVAILABLE, "broken_off", "the transfer was broken off"},
    {"index-pack failed", NULL, E_UNAVAILABLE, "broken_off", "the transfer was broken off"},
    {"RPC failed", NULL, E_UNAVAILABLE, "broken_off", "the transfer was broken off"},
    {"hung up", NULL, E_UNAVAILABLE, "broken_off", "the server has hung up"},
    {"early EOF", NULL, E_UNAVAILABLE, "broken_off", "the transfer was broken off"},
    {"unable to access", NULL, E_UNAVAILABLE, "unreachable", "the server cannot be reached"},
    {"remote error", NULL, E_BAD_INPUT, "no_repository", "the server refuses it"},
    {"not supported", "transport '", E_BAD_INPUT, "no_repository",
     "its protocol is not allowed"},
};

/* A repository may be called "openSSL-redirect": its address is no word of git's. */
static void blank(char *text, const char *url)
{
    size_t len = strlen(url);

    for (char *at = text; (at = strstr(at, url)) != NULL; at += len)
        memset(at, '_', len);
}

static int tell(const char *url, int code, const char *word, const char *sentence,
                const char **ret_word, struct err *err)
{
    *ret_word = word;
    return err_set(err, -code, "cannot clone '%s': %s", url, sentence);
}

int says_explain(const char *tail, int status, const char *url, const char **ret_word,
                 struct err *err)
{
    char text[GIT_TAIL_MAX];

    snprintf(text, sizeof text, "%s", tail);
    blank(text, url);
    if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT_START && !*tail)
        return tell(url, E_UNAVAILABLE, "no_git", "this worker cannot start the program 'git'",
                    ret_word, err);
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        const struct meaning *m = &meanings[i];
        if (strstr(text, m->text) && (!m->and_text || strstr(text, m->and_text)))
            return tell(url, m->code, m->word, m->sentence, ret_word, err);
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXCPU)
        return tell(url, E_TIMEOUT, "timeout", "it takes too much computing", ret_word, err);
    return tell(url, E_UNAVAILABLE, "git_failed", "git has failed", ret_word, err);
}
