/* main.c - the task_manager program: flags, commands, exit codes. */
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "app.h"
#include "buf.h"
#include "log.h"

enum { EXIT_OK = 0, EXIT_PERMANENT = 1, EXIT_USAGE = 2, EXIT_TEMPORARY = 111 };

static void print_help(void)
{
    struct buf flags = BUF_INIT;

    config_help(CONFIG_MANAGER, &flags);
    printf("task_manager: accepts tasks over HTTP, keeps them, hands them to workers\n\n"
           "usage: task_manager [flags]               serve until SIGTERM\n"
           "       task_manager [flags] health        can the one that runs accept work? exits "
           "0 or 1\n"
           "       task_manager [flags] db upgrade    bring the database to this version\n"
           "       task_manager [flags] db downgrade  undo the latest migration\n"
           "       task_manager [flags] db current    show the database's version\n"
           "       task_manager [flags] db history    list the migrations\n\n"
           "flags (environment variable; default):\n%s"
           "  --check-config             show the settings in force and exit\n"
           "  --version, --help\n\n"
           "exit status: 0 done, 1 failed for good, 2 wrong usage, 111 may work later\n",
           flags.data);
    buf_release(&flags);
}

static void print_config(const struct config *c)
{
    struct buf text = BUF_INIT;

    config_dump(c, CONFIG_MANAGER, &text);
    fputs(text.data, stdout);
    buf_release(&text);
}

static void print_markdown(void)
{
    struct buf text = BUF_INIT;

    config_markdown(&text);
    fputs(text.data, stdout);
    buf_release(&text);
}

static int usage(const char *sentence)
{
    fprintf(stderr, "task_manager: %s\ntask_manager: see task_manager --help\n", sentence);
    return EXIT_USAGE;
}

static int exit_code(const struct err *err)
{
    fprintf(stderr, "task_manager: %s\n", err->text);
    return err->code == -E_BAD_VALUE                  ? EXIT_USAGE
           : err_class_of(err->code) == ERR_TRANSIENT ? EXIT_TEMPORARY
                                                      : EXIT_PERMANENT;
}

static int check(const struct config *c, struct err *err)
{
    int rc = app_check(c, err);

    if (!rc)
        print_config(c);
    return rc;
}

static int run(const struct config *c, int argc, char **argv, struct err *err)
{
    if (c->arg_first == argc)
        return app_run(c, err);
    app_hold_signals(false); /* short commands end as others do */
    if (strcmp(argv[c->arg_first], "health") == 0 && c->arg_first + 1 == argc)
        return app_health(c, err);
    if (strcmp(argv[c->arg_first], "db") == 0 && c->arg_first + 2 == argc)
        return app_db(c, argv[c->arg_first + 1], err);
    return err_set(err, -E_BAD_VALUE, "'%.100s' is no command", argv[c->arg_first]);
}

int main(int argc, char **argv)
{
    struct config config;
    struct err err = ERR_INIT;

    /* Requests are short and many threads serve them: with an arena each, what one burst took
     * would lie scattered over all of them, and little of it ever goes back. */
    mallopt(M_ARENA_MAX, 2);
    app_hold_signals(true); /* from the first moment on a SIGTERM is a request to end well */

    if (argc == 2 && strcmp(argv[1], "--config-markdown") == 0) {
        print_markdown();
        return EXIT_OK;
    }
    if (config_load(&config, CONFIG_MANAGER, argc, argv, ".env", &err))
        return err.code == -E_BAD_VALUE ? usage(err.text) : exit_code(&err);

    int rc = 0;
    if (config.want_help)
        print_help();
    else if (config.want_version)
        printf("task_manager %s\n", SEGUE_VERSION);
    else if ((rc = log_setup_words(config.log_level, config.log_format, &err)) == 0 &&
             config.want_check)
        rc = check(&config, &err);
    else if (rc == 0)
        rc = run(&config, argc, argv, &err);
    config_release(&config);
    return rc ? exit_code(&err) : EXIT_OK;
}
