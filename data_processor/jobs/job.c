/* job.c - the list of the task types this worker knows, how their failures are told, and what
 * they took. */
#include "job.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { STATUS_MAX = 4096 };

static const struct job *const jobs[] = {&job_blob_upload,    &job_csv_plays,
                                         &job_http_call,      &job_noop,
                                         &job_parquet_export, &job_repo_download};

const struct job *job_find(const char *type)
{
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        if (strcmp(jobs[i]->type, type) == 0)
            return jobs[i];
    }
    return NULL;
}

/* Asked twice an attempt, which may be a short one: the file stays open. */
int64_t job_peak_rss_bytes(void)
{
    static int fd = -1;
    char text[STATUS_MAX];

    if (fd < 0)
        fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : pread(fd, text, sizeof text - 1, 0);
    text[len > 0 ? len : 0] = '\0';
    const char *at = strstr(text, "VmHWM:");
    return at ? strtoll(at + strlen("VmHWM:"), NULL, 10) * 1024 : 0;
}

int job_error_from(const struct err *err, struct task_error *ret)
{
    enum err_class class = err_class_of(err->code);

    ret->class = class == ERR_CALLER || class == ERR_PERMANENT ? ERROR_INPUT : ERROR_TRANSIENT;
    snprintf(ret->code, sizeof ret->code, "%s", err_name(err->code));
    for (char *c = ret->code; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    snprintf(ret->message, sizeof ret->message, "%s", err->text);
    return err->code;
}
