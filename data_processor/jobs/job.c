/* job.c - the list of the task types this worker knows, how their failures are told, and what
 * they took. */
#include "job.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fs.h"

static const struct job *const jobs[] = {&job_csv_plays, &job_noop};

const struct job *job_find(const char *type)
{
    for (size_t i = 0; i < sizeof jobs / sizeof jobs[0]; i++) {
        if (strcmp(jobs[i]->type, type) == 0)
            return jobs[i];
    }
    return NULL;
}

int64_t job_peak_rss_bytes(void)
{
    char *text = NULL;
    int64_t kib = 0;

    if (fs_read_small("/proc/self/status", 1 << 16, &text, NULL) != 0)
        return 0;
    const char *at = strstr(text, "VmHWM:");
    if (at)
        kib = strtoll(at + strlen("VmHWM:"), NULL, 10);
    free(text);
    return kib * 1024;
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
