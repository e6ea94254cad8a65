/* cmd.h - what a command is, and what it gets. */
#ifndef TASKCTL_CMD_H
#define TASKCTL_CMD_H

#include <stdbool.h>

#include "args.h"
#include "err.h"

struct http_client;

/* Exit codes, as --help and the man page list them. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_LATER = 111, EXIT_STOPPED = 130 };

struct cli {
    const char *url;
    bool json;
    struct http_client *http; /* NULL until the first call; see api.h */
};

struct command {
    const char *name, *words; /* "FILE", or "" */
    const char *help;         /* one line */
    const struct arg_option *options;
    int word_count;
    /* 0; EXIT_FAILED after it has said itself why; or -E_* with the sentence in err. */
    int (*run)(struct cli *cli, const struct args *args, struct err *err);
};

extern const struct command cmd_upload, cmd_submit, cmd_status, cmd_list, cmd_show,
    cmd_download, cmd_cancel, cmd_retry, cmd_pipelines, cmd_run, cmd_runs, cmd_resume,
    cmd_health, cmd_fake_songs;

#endif
