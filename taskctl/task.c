/* task.c - see task.h. */
#include "task.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api.h"
#include "id.h"
#include "out.h"
#include "progress.h"

enum { POLL_FIRST_MS = 20, POLL_LAST_MS = 1000 };

int task_id_of(const struct args *args, const char **ret_id, struct err *err)
{
    assert(args->word_count == 1);
    if (!id_is_valid(args->words[0]))
        return err_set(err, -E_BAD_VALUE, "'%.100s' is no task id", args->words[0]);
    *ret_id = args->words[0];
    return 0;
}

static const char *status_of(const json_t *answer)
{
    const char *status = json_string_value(json_object_get(answer, "status"));
    return status ? status : "";
}

static bool has_status(const json_t *answer, const char *const *names)
{
    while (*names && strcmp(*names, status_of(answer)) != 0)
        names++;
    return *names != NULL;
}

static void show(struct progress *progress, const json_t *answer)
{
    const json_t *done = json_object_get(answer, "progress");
    struct buf label = BUF_INIT;

    out_escape(&label, status_of(answer));
    progress_show(progress, label.data, json_is_number(done) ? json_number_value(done) : -1);
    buf_release(&label);
}

int task_wait(struct cli *cli, const char *id, json_t **ret, struct err *err)
{
    static const char *const waiting[] = {"RECEIVED", "PROCESSING", NULL};
    int64_t pause_ms = POLL_FIRST_MS;
    char path[128];
    struct progress progress;
    int rc;

    progress_init(&progress, cli->json);
    snprintf(path, sizeof path, "/v1/tasks/status/%s", id);
    for (;;) {
        struct http_call call = {.method = "GET", .path = path};
        rc = api_json(cli, &call, API_MANY, ret, err); /* a restart of the server is no end */
        if (rc)
            break;
        if (!has_status(*ret, waiting))
            break; /* told by the caller */
        show(&progress, *ret);
        json_decref(*ret);
        *ret = NULL;
        if (!api_sleep_ms(pause_ms)) {
            rc = -E_CANCELLED;
            break;
        }
        pause_ms += pause_ms / 2;
        if (pause_ms > POLL_LAST_MS)
            pause_ms = POLL_LAST_MS;
    }
    progress_end(&progress);
    if (rc == -E_CANCELLED)
        return err_set(err, rc,
                       "stopped waiting, the task goes on: 'taskctl status %s' asks for it, "
                       "'taskctl download %s' fetches the result, 'taskctl cancel %s' ends it",
                       id, id, id);
    return rc;
}

int task_print_status(struct cli *cli, const char *id, json_t *status)
{
    static const char *const bad[] = {"FAILED", "CANCELLED", NULL};
    static const char *const members[] = {"download_link", "error"};
    const json_t *done = json_object_get(status, "progress");

    if (cli->json) {
        json_object_set_new(status, "task_id", json_string(id));
        out_json(stdout, status);
        return has_status(status, bad) ? EXIT_FAILED : 0;
    }
    out_text(stdout, status_of(status));
    if (json_is_number(done))
        printf(" %d%%", (int)(json_number_value(done) * 100));
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *text = json_string_value(json_object_get(status, members[i]));
        if (text) {
            putchar(' ');
            out_text(stdout, text);
        }
    }
    putchar('\n');
    return has_status(status, bad) ? EXIT_FAILED : 0;
}

/* --- fetching --- */

static void show_received(void *arg, int64_t sent, int64_t sent_total, int64_t got,
                          int64_t got_total)
{
    (void)sent, (void)sent_total;
    if (got > 0)
        progress_show(arg, "download", got_total > 0 ? (double)got / (double)got_total : -1);
}

static int fetch(struct cli *cli, const char *id, bool rejects, int fd, bool quiet,
                 char ret_name[], size_t size, struct err *err)
{
    char path[128];
    struct progress progress;
    struct http_answer answer;

    progress_init(&progress, cli->json || quiet);
    snprintf(path, sizeof path, "/v1/data_processor/download/%s%s", id,
             rejects ? "?artifact=rejects" : "");
    struct http_call call = {.method = "GET",
                             .path = path,
                             .sink_fd = fd,
                             .progress = show_received,
                             .progress_arg = &progress};
    int rc = api_call(cli, &call, API_FEW, &answer, err);
    progress_end(&progress);
    if (rc)
        return rc;
    snprintf(ret_name, size, "%s", answer.filename);
    buf_release(&answer.body);
    return 0;
}

/* The file's data first, then its name. */
static int settle(int fd, const char *part, const char *path, bool overwrite, struct err *err)
{
    mode_t mask = umask(0);

    umask(mask);
    if (fchmod(fd, 0666 & ~mask) != 0 || fsync(fd) != 0)
        return err_set_errno(err, err_from_errno(errno), errno, "write '%s'", part);
    if (renameat2(AT_FDCWD, part, AT_FDCWD, path, overwrite ? 0 : RENAME_NOREPLACE) != 0)
        return err_set_errno(err, err_from_errno(errno), errno,
                             "give the download the name '%.200s'", path);
    return 0;
}

static int fetch_to_file(struct cli *cli, const char *id, const char *output, bool rejects,
                         struct buf *ret_path, struct err *err)
{
    char name[256] = "";
    struct buf part = BUF_INIT;

    buf_printf(&part, "%s.part-XXXXXX", output ? output : id);
    if (!buf_ok(&part))
        return err_set(err, -E_NO_MEMORY, "no memory for a file name");
    int fd = mkostemp(part.data, O_CLOEXEC);
    if (fd < 0) {
        int rc = err_set_errno(err, err_from_errno(errno), errno, "create '%s'", part.data);
        buf_release(&part);
        return rc;
    }
    int rc = fetch(cli, id, rejects, fd, false, name, sizeof name, err);
    if (output)
        buf_append_str(ret_path, output);
    else if (name[0])
        buf_append_str(ret_path, name);
    else
        buf_printf(ret_path, "%s%s.csv", id, rejects ? ".rejects" : "");
    if (!rc && !buf_ok(ret_path))
        rc = err_set(err, -E_NO_MEMORY, "no memory for a file name");
    if (!rc)
        rc = settle(fd, part.data, ret_path->data, output != NULL, err);
    close(fd);
    if (rc)
        unlink(part.data);
    buf_release(&part);
    return rc;
}

int task_download(struct cli *cli, const char *id, const char *output, bool rejects,
                  struct buf *ret_path, struct err *err)
{
    char name[256];

    if (!output || strcmp(output, "-") != 0)
        return fetch_to_file(cli, id, output, rejects, ret_path, err);
    buf_append_str(ret_path, output);
    return fetch(cli, id, rejects, STDOUT_FILENO, true, name, sizeof name, err);
}
