/* cmd_upload.c - hand a CSV over; wait for its result and fetch it, if asked to. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "cmd.h"
#include "id.h"
#include "out.h"
#include "progress.h"
#include "task.h"

static const struct arg_option options[] = {
    {"--wait", 'w', NULL, "wait until the task has ended"},
    {"--output", 'o', "OUT", "wait, then save the result as OUT (- for stdout)"},
    {"--on-bad-row", 0, "fail|skip", "what a bad row does to the task"},
    {"--format", 0, "csv|parquet", "of the result (csv)"},
    {"--queue", 0, "QUEUE", "which workers; the task type's queue without it"},
    {"--idempotency-key", 0, "KEY", "a repeat with the same KEY makes no second task"},
    ARGS_COMMON,
};

/* `size` is -1 for a pipe. The caller closes *ret_fd. */
static int open_input(const char *file, int *ret_fd, int64_t *ret_size, struct err *err)
{
    bool is_stdin = strcmp(file, "-") == 0;
    struct stat st;
    /* Above the standard three: the HTTP client takes 0 for "no file". */
    int fd =
        is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) : open(file, O_RDONLY | O_CLOEXEC);

    if (fd < 0 || fstat(fd, &st) != 0) {
        int rc = err_set_errno(err, err_from_errno(errno), errno, "open '%s'", file);
        if (fd >= 0)
            close(fd);
        return rc;
    }
    if (S_ISDIR(st.st_mode)) {
        close(fd);
        return err_set(err, -E_IO, "'%s' is a directory", file);
    }
    off_t start = S_ISREG(st.st_mode) ? lseek(fd, 0, SEEK_CUR) : -1;
    *ret_size = start >= 0 && start <= st.st_size ? st.st_size - start : -1;
    *ret_fd = fd;
    return 0;
}

static void add_query(struct buf *path, const char *name, const char *value)
{
    if (!value)
        return;
    buf_append_char(path, strchr(path->data, '?') ? '&' : '?');
    buf_append_str(path, name);
    buf_append_char(path, '=');
    http_escape(path, value);
}

/* The query: the file's name for showing, without its folder, and what to do with it. */
static int make_path(const struct args *args, struct buf *path, struct err *err)
{
    const char *file = args->words[0], *slash = strrchr(file, '/');
    struct buf name = BUF_INIT;

    out_escape(&name, slash ? slash + 1 : file);
    buf_append_str(path, "/v1/data_processor/upload");
    add_query(path, "filename", strcmp(file, "-") == 0 ? NULL : name.data);
    add_query(path, "on_bad_row", args_value(args, "--on-bad-row"));
    add_query(path, "format", args_value(args, "--format"));
    add_query(path, "queue", args_value(args, "--queue"));
    bool ok = buf_ok(&name) && buf_ok(path);
    buf_release(&name);
    return ok ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the upload");
}

static void show_sent(void *arg, int64_t sent, int64_t total, int64_t got, int64_t got_total)
{
    (void)got, (void)got_total;
    if (sent > 0)
        progress_show(arg, "upload", total > 0 ? (double)sent / (double)total : -1);
}

static int send_file(struct cli *cli, const struct args *args, char ret_id[], json_t **ret,
                     struct err *err)
{
    const char *file = args->words[0];
    struct buf path = BUF_INIT;
    struct progress progress;
    struct http_call call = {.method = "POST",
                             .content_type = "text/csv",
                             .progress = show_sent,
                             .progress_arg = &progress};

    int rc = make_path(args, &path, err);
    if (!rc)
        rc = open_input(file, &call.body_fd, &call.body_size, err);
    if (!rc) {
        progress_init(&progress, cli->json);
        call.path = path.data;
        rc = api_create(cli, &call, args_value(args, "--idempotency-key"), ret_id, ret, err);
        progress_end(&progress);
        close(call.body_fd);
    }
    buf_release(&path);
    return rc;
}

static int save_result(struct cli *cli, const char *id, const char *output, json_t *status,
                       struct err *err)
{
    struct buf path = BUF_INIT;
    int rc = task_download(cli, id, output, false, &path, err);

    if (!rc)
        json_object_set_new(status, "output", json_string(path.data));
    buf_release(&path);
    return rc;
}

/* With "-o -" stdout belongs to the CSV, so the state is only told when there is none. */
static int wait_and_save(struct cli *cli, const char *id, const char *output, struct err *err)
{
    json_t *status = NULL;
    int rc = task_wait(cli, id, &status, err);

    if (rc)
        return rc;
    const char *name = json_string_value(json_object_get(status, "status"));
    bool is_done = name && strcmp(name, "DONE") == 0;
    if (is_done && output)
        rc = save_result(cli, id, output, status, err);
    if (!rc && !(is_done && output && strcmp(output, "-") == 0))
        rc = task_print_status(cli, id, status);
    json_decref(status);
    return rc;
}

/* Before the upload, not after the wait: can OUT be made at all? */
static int check_output(const char *output, struct err *err)
{
    char folder[4096];

    if (!output || strcmp(output, "-") == 0)
        return 0;
    snprintf(folder, sizeof folder, "%s", output);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    if (access(slash ? folder : ".", W_OK | X_OK) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "cannot save '%s'", output);
    return 0;
}

static int run(struct cli *cli, const struct args *args, struct err *err)
{
    const char *output = args_value(args, "--output");
    const char *on_bad_row = args_value(args, "--on-bad-row");
    const char *format = args_value(args, "--format");
    bool waits = output || args_value(args, "--wait");
    char id[ID_TEXT_MAX];
    json_t *answer = NULL;

    if (on_bad_row && strcmp(on_bad_row, "fail") != 0 && strcmp(on_bad_row, "skip") != 0)
        return err_set(err, -E_BAD_VALUE, "--on-bad-row is fail or skip, not '%.100s'",
                       on_bad_row);
    if (format && strcmp(format, "csv") != 0 && strcmp(format, "parquet") != 0)
        return err_set(err, -E_BAD_VALUE, "--format is csv or parquet, not '%.100s'", format);
    int rc = check_output(output, err);
    if (!rc)
        rc = send_file(cli, args, id, &answer, err);
    if (rc)
        return rc;
    if (cli->json && !waits)
        out_json(stdout, answer);
    if (!cli->json)
        fprintf(output && strcmp(output, "-") == 0 ? stderr : stdout, "%s\n", id);
    fflush(stdout);
    json_decref(answer);
    return waits ? wait_and_save(cli, id, output, err) : 0;
}

const struct command cmd_upload = {
    .name = "upload",
    .words = "FILE",
    .help = "send a CSV of song plays (- for stdin); prints the task's id",
    .options = options,
    .word_count = 1,
    .run = run,
};
