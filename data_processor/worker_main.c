/* worker_main.c - the command line of the worker, which main.c hands on to it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app.h"

static int usage(const char *sentence)
{
    fprintf(stderr, "data_processor: %s\n", sentence);
    return EXIT_USAGE;
}

/* Settings that could not be read: wrong, or no memory or descriptor for it just now. */
static int not_loaded(const struct err *err)
{
    int code = usage(err->text);

    return err->code == -E_BAD_VALUE ? code : EXIT_TEMPORARY;
}

static int print(const struct buf *text)
{
    if (!buf_ok(text) || fputs(text->data, stdout) == EOF || fflush(stdout) == EOF) {
        fprintf(stderr, "data_processor: cannot write to standard output\n");
        return EXIT_TEMPORARY;
    }
    return EXIT_OK;
}

static int show_help(void)
{
    struct buf text = BUF_INIT;

    buf_append_str(&text,
                   "data_processor [flags]            claim tasks from a task manager and run "
                   "them\n"
                   "data_processor aggregate ...      daily totals of a CSV, without a task "
                   "manager (see aggregate --help)\n"
                   "data_processor health             is the worker at HEALTH_SOCKET "
                   "consuming? exits 0 or 1\n"
                   "data_processor --check-config     check the settings and show them\n"
                   "data_processor --version\n\n"
                   "Settings come from defaults, the file .env, the environment and flags; "
                   "later ones win.\n"
                   "Exit codes: 0 ended in good order, 1 the answer is no, 2 wrong use, 111 "
                   "may work later.\n\n");
    config_help(CONFIG_WORKER, &text);
    int rc = print(&text);
    buf_release(&text);
    return rc;
}

static int show_version(void)
{
    struct buf text = BUF_INIT;

    buf_append_str(&text, "data_processor " SEGUE_VERSION "\n");
    int rc = print(&text);
    buf_release(&text);
    return rc;
}

static int check_config(const struct config *c)
{
    struct buf text = BUF_INIT;
    struct err err = ERR_INIT;

    if (app_check(c, &err) != 0)
        return usage(err.text);
    config_dump(c, CONFIG_WORKER, &text);
    int rc = print(&text);
    buf_release(&text);
    return rc;
}

static int run(const struct config *c, int argc)
{
    if (c->want_help)
        return show_help();
    if (c->want_version)
        return show_version();
    if (c->arg_first < argc)
        return usage("it takes flags only, or the command aggregate or health (see --help)");
    return c->want_check ? check_config(c) : app_work(c);
}

/* `slot <pid of the worker> [flags]`: how a worker starts its children; not for people. */
static int run_slot(int argc, char **argv)
{
    struct config c;
    struct err err = ERR_INIT;
    char *end = NULL;
    long parent = argc > 2 ? strtol(argv[2], &end, 10) : 0;

    signal(SIGXFSZ, SIG_IGN); /* a file past `ulimit -f` is an error of the write */
    if (parent <= 0 || *end != '\0')
        return usage("the command slot is for the program itself");
    if (config_load(&c, CONFIG_WORKER, argc - 2, argv + 2, NULL, &err) != 0)
        return not_loaded(&err);
    int rc = app_slot(&c, parent);
    config_release(&c);
    return rc;
}

static int run_health(int argc, char **argv)
{
    struct config c;
    struct err err = ERR_INIT;

    if (config_load(&c, CONFIG_WORKER, argc, argv, ".env", &err) != 0)
        return usage(err.text);
    int rc = c.arg_first < argc ? usage("health takes flags only") : app_health(&c);
    config_release(&c);
    return rc;
}

/* A stop that comes before the worker's main loop does waits for it (runtime/worker.c), and is
 * no death by signal. main.c has done so already, unless somebody started us ourselves. */
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
    struct config c;
    struct err err = ERR_INIT;

    if (argc > 1 && strcmp(argv[1], "slot") == 0)
        return run_slot(argc, argv);
    if (argc > 1 && strcmp(argv[1], "health") == 0)
        return run_health(argc - 1, argv + 1);
    hold_stops_back();
    if (config_load(&c, CONFIG_WORKER, argc, argv, ".env", &err) != 0)
        return not_loaded(&err);
    int rc = run(&c, argc);
    config_release(&c);
    return rc;
}
