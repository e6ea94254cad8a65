/* main.c - taskctl: finds the command, the server and the exit code. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "api.h"
#include "cmd.h"
#include "config.h"
#include "out.h"

static const struct command *const commands[] = {
    &cmd_upload,   &cmd_submit, &cmd_status, &cmd_list,       &cmd_show,
    &cmd_download, &cmd_cancel, &cmd_retry,  &cmd_pipelines,  &cmd_run,
    &cmd_runs,     &cmd_resume, &cmd_health, &cmd_fake_songs,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static const struct arg_option global_options[] = {
    {"--version", 0, NULL, "show the version"},
    {"--check-config", 0, NULL, "show the settings in effect"},
    ARGS_COMMON,
};

static const struct {
    int code;
    const char *meaning;
} exits[] = {
    {EXIT_DONE, "done"},
    {EXIT_FAILED,
     "the task failed or was cancelled, there is no such task, the server refused,\n"
     "       or a local file could not be read or written"},
    {EXIT_USAGE, "wrong usage"},
    {EXIT_LATER, "the server could not be reached or is overloaded: the same may work later"},
    {EXIT_STOPPED, "ended by Ctrl-C"},
};

static int exit_code_of(int rc)
{
    static const struct {
        int rc, code;
    } codes[] = {
        {0, EXIT_DONE},
        {-E_BAD_VALUE, EXIT_USAGE},
        {-E_UNAVAILABLE, EXIT_LATER},
        {-E_OVERLOAD, EXIT_LATER},
        {-E_TIMEOUT, EXIT_LATER},
        {-E_CANCELLED, EXIT_STOPPED},
    };

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].rc == rc)
            return codes[i].code;
    }
    return EXIT_FAILED;
}

static void print_help(void)
{
    struct buf text = BUF_INIT;

    buf_append_str(&text, "usage: taskctl [options] COMMAND [arguments]\n"
                          "Talks to a Segue task manager.\n\ncommands:\n");
    for (int i = 0; i < COMMAND_COUNT; i++)
        buf_printf(&text, "  %-10s %-5s %s\n", commands[i]->name, commands[i]->words,
                   commands[i]->help);
    buf_append_str(&text, "'taskctl COMMAND --help' shows a command's options.\n\noptions:\n");
    args_help(global_options, &text);
    buf_append_str(&text,
                   "\nsettings (default, .env, environment, option; the last one wins):\n");
    config_help(CONFIG_CLIENT, &text);
    buf_append_str(&text, "\nexit codes:\n");
    for (size_t i = 0; i < sizeof exits / sizeof exits[0]; i++)
        buf_printf(&text, "  %3d  %s\n", exits[i].code, exits[i].meaning);
    fputs(buf_ok(&text) ? text.data : "no memory\n", stdout);
    buf_release(&text);
}

static void print_command_help(const struct command *command)
{
    struct buf text = BUF_INIT;

    buf_printf(&text, "usage: taskctl %s %s%s[options]\n%s\n\noptions:\n", command->name,
               command->words, *command->words ? " " : "", command->help);
    args_help(command->options, &text);
    fputs(buf_ok(&text) ? text.data : "no memory\n", stdout);
    buf_release(&text);
}

static int print_error(bool json, const struct err *err)
{
    int code = exit_code_of(err->code);

    if (json) {
        json_t *object = json_pack("{s:s, s:s, s:i}", "error", err->text, "code",
                                   err_name(err->code), "exit_code", code);
        if (object)
            out_json(stderr, object);
        json_decref(object);
        return code;
    }
    fputs("taskctl: ", stderr);
    out_text(stderr, err->text);
    fputs(code == EXIT_USAGE ? " (see taskctl --help)\n" : "\n", stderr);
    return code;
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    }
    return NULL;
}

/* The URL option may stand before and after the command; the config checks and keeps it. */
static int load_config(struct config *config, const char *url, struct err *err)
{
    char name[] = "taskctl", flag[] = "--task-manager-url";
    char *argv[] = {name, flag, (char *)(uintptr_t)url, NULL};

    return config_load(config, CONFIG_CLIENT, url ? 3 : 1, argv, ".env", err);
}

static int check_config(const struct config *config)
{
    struct buf text = BUF_INIT;

    config_dump(config, CONFIG_CLIENT, &text);
    fputs(text.data, stdout);
    buf_release(&text);
    return 0;
}

struct request {
    struct args global, args;
    const struct command *command; /* NULL: none given */
    bool json;
};

/* Finds --json even when the rest cannot be read, so that the complaint is JSON too. */
static bool wants_json(int argc, char *const *argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strcmp(argv[i], "--json") == 0)
            return true;
    }
    return false;
}

static int read_request(struct request *r, int argc, char *const *argv, struct err *err)
{
    int used, rest_used;
    int rc = args_parse(&r->global, global_options, argc - 1, argv + 1, true, &used, err);

    if (rc || 1 + used == argc)
        return rc;
    const char *name = argv[1 + used];
    r->command = find_command(name);
    if (!r->command)
        return err_set(err, -E_BAD_VALUE, "there is no command '%.100s'", name);
    int first = 2 + used;
    rc = args_parse(&r->args, r->command->options, argc - first, argv + first, false,
                    &rest_used, err);
    if (rc || args_value(&r->args, "--help"))
        return rc;
    if (r->args.word_count < r->command->word_count)
        return err_set(err, -E_BAD_VALUE, "%s needs %s", name, r->command->words);
    if (r->args.word_count > r->command->word_count)
        return err_set(err, -E_BAD_VALUE, "unexpected argument '%.100s'", r->args.words[0]);
    return 0;
}

static int run_command(const struct request *r, struct err *err)
{
    const char *url = args_value(&r->args, "--task-manager-url");
    struct config config;
    int rc =
        load_config(&config, url ? url : args_value(&r->global, "--task-manager-url"), err);

    if (rc)
        return rc;
    struct cli cli = {.url = config.task_manager_url, .json = r->json};
    rc = r->command->run(&cli, &r->args, err);
    api_close(&cli);
    config_release(&config);
    return rc;
}

static int run(struct request *r, int argc, char *const *argv, struct err *err)
{
    struct config config;
    int rc = read_request(r, argc, argv, err);

    if (rc)
        return rc;
    if (args_value(&r->global, "--version"))
        return puts("taskctl " SEGUE_VERSION), 0;
    if (args_value(&r->global, "--help"))
        return print_help(), 0;
    if (args_value(&r->global, "--check-config")) {
        rc = load_config(&config, args_value(&r->global, "--task-manager-url"), err);
        if (!rc)
            rc = check_config(&config), config_release(&config);
        return rc;
    }
    if (!r->command)
        return err_set(err, -E_BAD_VALUE, "which command?");
    if (args_value(&r->args, "--help"))
        return print_command_help(r->command), 0;
    return run_command(r, err);
}

int main(int argc, char **argv)
{
    struct err err = ERR_INIT;
    struct request r = {.json = wants_json(argc, argv)};
    int rc = run(&r, argc, argv, &err);

    if (rc >= 0 && (fflush(stdout) != 0 || ferror(stdout)))
        rc = err_set_errno(&err, -E_IO, errno, "write to stdout");
    return rc < 0 ? print_error(r.json, &err) : rc;
}
