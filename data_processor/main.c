/* main.c - the program's front: the command aggregate, and the way to the worker.
 *
 * A worker loads some thirty libraries for HTTP, TLS and AMQP before its main(), which takes
 * three times as long as adding up a small file. So the worker is a program of its own that
 * lies beside this one; it takes over the process, so whoever started it sees one program. */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static const char worker_name[] = "data_processor-worker";

static bool worker_path(char ret[PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", ret, PATH_MAX - 1);

    if (len <= 0)
        return false;
    ret[len] = '\0';
    char *name = strrchr(ret, '/') + 1;
    return snprintf(name, (size_t)(ret + PATH_MAX - name), "%s", worker_name) <
           ret + PATH_MAX - name;
}

/* A stop that comes while the worker is still being loaded waits for its main loop; what is
 * blocked stays so across exec. */
static void hold_stops_back(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int main(int argc, char **argv)
{
    char path[PATH_MAX];
    bool is_worker = argc < 2 || argv[1][0] == '-';

    if (argc > 1 && strcmp(argv[1], "aggregate") == 0)
        return csv_command(argc - 1, argv + 1);
    if (is_worker)
        hold_stops_back();
    if (worker_path(path))
        execv(path, argv);
    fprintf(stderr, "data_processor: cannot start %s, which should lie beside it: %s\n",
            worker_name, strerror(errno));
    return COMMAND_TRY_LATER;
}
