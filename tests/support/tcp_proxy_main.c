/* tcp_proxy_main.c - proxies for tests that are not in C (see tcp_proxy.py): one command a line
 * on stdin, each answered by one line, "ok ..." or "error: ...". Ends with stdin.
 *
 *   open NAME HOST PORT                -> ok PORT
 *   target NAME PORT                   of the same host; 0: none
 *   mode NAME MODE                     pass, pause, pause_requests, ... (tcp_proxy.h)
 *   delay NAME MS
 *   limit NAME requests|answers BYTES  negative: none
 *   trap NAME before|unanswered|answered TIMES PATTERN
 *                                      the rest of the line; \xHH is a byte
 *   reset NAME
 *   count NAME                         -> ok ACCEPTED SPRUNG DROPPED
 *   close NAME */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tcp_proxy.h"

enum { PROXIES_MAX = 64, NAME_MAX_LEN = 32, WORDS_MAX = 5, LINE_MAX_LEN = 1024 };

struct entry {
    char name[NAME_MAX_LEN];
    struct tcp_proxy *proxy; /* NULL: free */
};

static struct entry entries[PROXIES_MAX];

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

static int64_t number(const char *word)
{
    return strtoll(word, NULL, 10);
}

static struct entry *entry_find(const char *name)
{
    for (size_t i = 0; i < PROXIES_MAX; i++) {
        if (entries[i].proxy ? strcmp(entries[i].name, name) == 0 : name[0] == '\0')
            return &entries[i];
    }
    return NULL;
}

/* Each gets the words behind the command and its name, and says "ok" or returns a complaint. */
typedef const char *command_fn(struct entry *e, char **words);

static const char *do_open(struct entry *e, char **words)
{
    (void)e;
    struct entry *free_one = entry_find("");

    if (!free_one)
        return "too many proxies";
    free_one->proxy = tcp_proxy_open(words[1], (int)number(words[2]));
    if (!free_one->proxy)
        return "the proxy cannot be opened";
    snprintf(free_one->name, sizeof free_one->name, "%s", words[0]);
    say("ok %d", tcp_proxy_port(free_one->proxy));
    return NULL;
}

static const char *do_target(struct entry *e, char **words)
{
    tcp_proxy_set_target(e->proxy, (int)number(words[1]));
    say("ok");
    return NULL;
}

static const char *do_mode(struct entry *e, char **words)
{
    enum tcp_proxy_mode mode = tcp_proxy_mode_named(words[1]);

    if (mode == TCP_PROXY_MODE__COUNT)
        return "there is no such mode";
    tcp_proxy_set_mode(e->proxy, mode);
    say("ok");
    return NULL;
}

static const char *do_delay(struct entry *e, char **words)
{
    tcp_proxy_set_delay(e->proxy, number(words[1]));
    say("ok");
    return NULL;
}

static const char *do_limit(struct entry *e, char **words)
{
    enum tcp_proxy_way way =
        strcmp(words[1], "answers") == 0 ? TCP_PROXY_ANSWERS : TCP_PROXY_REQUESTS;

    tcp_proxy_set_limit(e->proxy, way, number(words[2]));
    say("ok");
    return NULL;
}

/* In place; the new length. */
static size_t unescape(char *text)
{
    size_t len = 0;
    unsigned byte;

    for (const char *c = text; *c;) {
        if (sscanf(c, "\\x%2x", &byte) == 1) {
            text[len++] = (char)byte;
            c += 4;
        } else {
            text[len++] = *c++;
        }
    }
    return len;
}

static const char *do_trap(struct entry *e, char **words)
{
    static const char *const cuts[] = {
        [TCP_PROXY_CUT_BEFORE] = "before",
        [TCP_PROXY_CUT_UNANSWERED] = "unanswered",
        [TCP_PROXY_CUT_ANSWERED] = "answered",
    };
    size_t cut = 0, len = unescape(words[3]);

    while (cut < 3 && strcmp(cuts[cut], words[1]) != 0)
        cut++;
    if (cut == 3)
        return "there is no such cut";
    if (len == 0 || len > TCP_PROXY_PATTERN_MAX)
        return "the pattern is empty or too long";
    tcp_proxy_set_trap(e->proxy, (enum tcp_proxy_cut)cut, words[3], len,
                       (unsigned)strtoul(words[2], NULL, 10));
    say("ok");
    return NULL;
}

static const char *do_reset(struct entry *e, char **words)
{
    (void)words;
    tcp_proxy_reset(e->proxy);
    say("ok");
    return NULL;
}

static const char *do_count(struct entry *e, char **words)
{
    (void)words;
    say("ok %" PRIu64 " %" PRIu64 " %" PRIu64, tcp_proxy_accepted(e->proxy),
        tcp_proxy_sprung(e->proxy), tcp_proxy_dropped(e->proxy));
    return NULL;
}

static const char *do_close(struct entry *e, char **words)
{
    (void)words;
    tcp_proxy_close(e->proxy);
    e->proxy = NULL;
    say("ok");
    return NULL;
}

static const struct {
    const char *name;
    command_fn *run;
    size_t words; /* with the proxy's name; the last takes the rest of the line */
} commands[] = {
    {"open", do_open, 3},   {"target", do_target, 2}, {"mode", do_mode, 2},
    {"delay", do_delay, 2}, {"limit", do_limit, 3},   {"trap", do_trap, 4},
    {"reset", do_reset, 1}, {"count", do_count, 1},   {"close", do_close, 1},
};

static const char *obey(char *line)
{
    char *rest = line, *word = strsep(&rest, " "), *words[WORDS_MAX];
    size_t i = 0, n = 0, count = sizeof commands / sizeof commands[0];

    while (i < count && strcmp(commands[i].name, word) != 0)
        i++;
    if (i == count)
        return "there is no such command";
    while (rest && n < commands[i].words) {
        words[n] = n + 1 < commands[i].words ? strsep(&rest, " ") : rest;
        n++;
    }
    if (n < commands[i].words || words[0][0] == '\0' || strlen(words[0]) >= NAME_MAX_LEN)
        return "words are missing, or the name is too long";

    struct entry *e = entry_find(words[0]);
    if ((e != NULL) == (commands[i].run == do_open))
        return e ? "there is one of that name" : "there is no proxy of that name";
    return commands[i].run(e, words);
}

int main(void)
{
    char line[LINE_MAX_LEN];

    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        const char *complaint = obey(line);
        if (complaint)
            say("error: %s", complaint);
    }
    for (size_t i = 0; i < PROXIES_MAX; i++)
        tcp_proxy_close(entries[i].proxy);
    return 0;
}
