/* job.c - the list of the task types this worker knows, how their failures are told, and what
 * they took. */
#include "job.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
static int64_t read_peak(void)
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

/* The peak cannot rise without a page fault: while there is none it is what it was. */
static struct {
    bool is_known;
    int64_t bytes;
    long faults;
} peak;

int64_t job_peak_rss_bytes(void)
{
    struct rusage u;

    if (getrusage(RUSAGE_SELF, &u) != 0)
        return read_peak();
    const long faults = u.ru_minflt + u.ru_majflt;
    if (!peak.is_known || peak.faults != faults) {
        peak.bytes = read_peak();
        peak.faults = faults;
        peak.is_known = true;
    }
    return peak.bytes;
}

void job_peak_rss_reset(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && write(fd, "5", 1) < 0)
        errno = 0; /* read-only in some containers */
    peak.is_known = false;
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
