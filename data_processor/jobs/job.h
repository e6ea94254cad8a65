/* job.h - what a task type does, as seen by the slot that runs it.
 *
 * A job runs in a child process of its own, single threaded unless it starts threads itself.
 * It reads its input and writes its output through the object store, under the attempt's
 * output_prefix or output_stem (or as the attempt's tree, tree.h) only, and touches neither
 * broker, task manager nor the task's state. It may be killed at any moment and started again
 * elsewhere under another prefix. */
#ifndef JOBS_JOB_H
#define JOBS_JOB_H

#include "config.h"
#include "container.h"
#include "objstore.h"
#include "worker_protocol.h"

/* How far an attempt is. Zeros where a job does not count such things. */
struct job_progress {
    double fraction; /* of all the work, 0 to 1; below 0: not known */
    uint64_t bytes_read, bytes_total, rows;
};

struct job_context {
    const struct work *work;
    struct objstore *store;
    struct container_store *containers;
    const struct config *config; /* the worker's: limits and what tasks may call */
    unsigned threads;            /* how many a job may use, itself included; at least 1 */
    int64_t memory_bytes;        /* working memory the job should stay within */
    int64_t max_inflated_bytes;  /* cap for compressed input */
    void (*progress)(void *arg, const struct job_progress *p); /* as often as you like */
    void *progress_arg;
};

struct job {
    const char *type; /* task type, as in task_type.def */

    /* 0: done, and ret->output / ret->result are set as far as there are any (result: JSON
     * object text from malloc). The output may be published only (objstore.h): the worker has
     * it synced before it tells of it; all else that was written is durable. Negative: failed;
     * ret->error is filled with class, code and a sentence for the user. ret comes zeroed with
     * ids and token already in place. Blocks as long as the work takes. */
    int (*run)(const struct job_context *context, struct report *ret);
};

/* NULL when this worker does not know the type. */
const struct job *job_find(const char *type);

/* The jobs that ship, one file each; job.c lists them. */
extern const struct job job_blob_upload, job_csv_plays, job_http_call, job_noop,
    job_parquet_export, job_repo_download;

/* The most memory this process has held since its attempt began (the slot resets it), from
 * VmHWM of proc(5); 0: not known. Of one thread. */
int64_t job_peak_rss_bytes(void);

/* From here on anew, where the kernel lets one. */
void job_peak_rss_reset(void);

/* Fills an error from a failed call: the class from the code's class (a CALLER or PERMANENT
 * code is `input`, others `transient`), the code in lower case, the sentence as it is.
 * Returns err's code, so that a job can end with `return job_error_from(...)`. */
int job_error_from(const struct err *err, struct task_error *ret);

#endif
