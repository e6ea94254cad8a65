#include "failpoint.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum action { ACTION_NONE, ACTION_KILL, ACTION_STOP, ACTION_ERROR };

enum { WORD_MAX = 64, EXIT_USAGE = 2 };

static const struct {
    const char *name, *where, *text;
    bool can_fail;
} places[FAILPOINT__COUNT] = {
#define F(name, where, can_fail, text) {#name, #where, text, can_fail},
#include "failpoint.def"
#undef F
};

static struct {
    enum action action;
    atomic_long left; /* times to pass before it strikes */
} armed[FAILPOINT__COUNT];

static bool any_armed;
static const char *marks_dir;
static pthread_once_t once = PTHREAD_ONCE_INIT;

/* --- reading the environment --- */

static void refuse(const char *what)
{
    fprintf(stderr, "FAILPOINT: '%s' is not name:kill|stop|error[:nth]; the places are\n",
            what);
    for (int i = 0; i < FAILPOINT__COUNT; i++)
        fprintf(stderr, "  %-20s %-2s %s%s\n", places[i].name, places[i].where, places[i].text,
                places[i].can_fail ? " (may fail)" : "");
    _exit(EXIT_USAGE);
}

static enum action action_of(const char *word)
{
    static const char *const words[] = {
        [ACTION_KILL] = "kill", [ACTION_STOP] = "stop", [ACTION_ERROR] = "error"};

    for (enum action a = ACTION_KILL; a <= ACTION_ERROR; a++) {
        if (strcmp(word, words[a]) == 0)
            return a;
    }
    return ACTION_NONE;
}

static int place_of(const char *word)
{
    int i = 0;

    while (i < FAILPOINT__COUNT && strcmp(word, places[i].name) != 0)
        i++;
    return i;
}

static void arm(const char *spec)
{
    char name[WORD_MAX], action[WORD_MAX];
    long nth = 1;
    int end = 0, rest = 0;

    if (sscanf(spec, "%63[^:]:%63[^:]%n:%ld%n", name, action, &end, &nth, &rest) < 2)
        refuse(spec);
    int place = place_of(name);
    enum action a = action_of(action);
    if (spec[rest > 0 ? rest : end] != '\0' || place == FAILPOINT__COUNT || nth < 1 ||
        a == ACTION_NONE || (a == ACTION_ERROR && !places[place].can_fail))
        refuse(spec);
    armed[place].action = a;
    atomic_store(&armed[place].left, nth);
    any_armed = true;
}

static void read_environment(void)
{
    const char *at = getenv("FAILPOINT");
    char spec[2 * WORD_MAX];

    marks_dir = getenv("FAILPOINT_DIR");
    while (at && *at) {
        size_t len = strcspn(at, ",");
        snprintf(spec, sizeof spec, "%.*s", (int)len, at);
        arm(spec);
        at += len + (at[len] == ',');
    }
}

/* --- striking --- */

/* Leaves the file that says who was struck, whole or not at all: somebody else may kill this
 * process at any moment. False when it is there already. */
static bool leave_mark(enum failpoint place)
{
    char path[4096], draft[4128], text[32];

    if (!marks_dir)
        return true;
    snprintf(path, sizeof path, "%s/%s", marks_dir, places[place].name);
    snprintf(draft, sizeof draft, "%s.%ld", path, (long)getpid());
    int fd = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    int len = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    bool written = write(fd, text, (size_t)len) == len;
    close(fd);
    written = written && link(draft, path) == 0;
    unlink(draft);
    return written;
}

bool failpoint_strikes(enum failpoint place)
{
    pthread_once(&once, read_environment);
    if (!any_armed || armed[place].action == ACTION_NONE ||
        atomic_fetch_sub(&armed[place].left, 1) != 1 || !leave_mark(place))
        return false;
    if (armed[place].action == ACTION_KILL) {
        kill(getpid(), SIGKILL);
        pause();
    }
    if (armed[place].action == ACTION_STOP)
        kill(getpid(), SIGSTOP);
    return armed[place].action == ACTION_ERROR;
}

int failpoint_err(enum failpoint place, int code, struct err *err)
{
    if (!failpoint_strikes(place))
        return 0;
    return err_set(err, code, "failpoint '%s' was armed", places[place].name);
}
