/* child.c - inside a slot's process: read a work, run its job, write its report. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "clock.h"
#include "failpoint.h"
#include "fs.h"
#include "job.h"
#include "keeper.h"
#include "lines.h"
#include "runtime.h"
#include "seal.h"
#include "strays.h"
#include "tickets.h"

enum { PROGRESS_EVERY_MS = 100, PROGRESS_LINE_MAX = 160, STRAYS_PATIENCE_MS = 1000 };

static struct tickets *tickets; /* NULL: the worker hands over one attempt at a time */

/* --- once --- */

/* For files of /proc that may be missing or read-only in a container: best effort. */
static void write_proc(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (write(fd, text, strlen(text)) < 0)
        errno = 0;
    close(fd);
}

/* For a kernel before 5.9, or a container that does not let close_range through. */
static int close_one_by_one(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    if (!dir)
        return -1;
    /* Closing while reading is safe: proc walks by number. */
    while ((entry = readdir(dir)) != NULL) {
        long fd = strtol(entry->d_name, NULL, 10);
        if (fd > SLOT_FD && fd != dirfd(dir))
            close((int)fd);
    }
    return closedir(dir);
}

int child_setup(long worker_pid, int64_t kill_grace_ms, struct err *err)
{
    const struct rlimit no_core = {0, 0};

    if (fcntl(SLOT_FD, F_SETFD, FD_CLOEXEC) != 0)
        return err_set_errno(err, -E_IO, errno, "use fd %d", SLOT_FD);
    tickets = tickets_map(SLOT_TICKETS_FD);
    if (close_range(SLOT_FD + 1, ~0U, 0) != 0 && close_one_by_one() != 0)
        return err_set_errno(err, -E_IO, errno, "close what is not ours");
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || setrlimit(RLIMIT_CORE, &no_core) != 0 ||
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return err_set_errno(err, -E_IO, errno, "set up the slot's process");
    int rc = keeper_split(worker_pid, kill_grace_ms, err);
    if (rc)
        return rc;
    write_proc("/proc/self/oom_score_adj", "500");
    return 0;
}

/* --- what an attempt costs --- */

struct meter {
    int64_t start_ms, cpu_ms;
};

struct cost {
    int64_t cpu_ms, faults;
};

static struct cost cost_now(void)
{
    struct cost total = {0, 0};
    const int who[] = {RUSAGE_SELF, RUSAGE_CHILDREN};

    for (size_t i = 0; i < sizeof who / sizeof who[0]; i++) {
        struct rusage u;
        if (getrusage(who[i], &u) != 0)
            continue;
        total.cpu_ms += (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
                        (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
        total.faults += u.ru_minflt + u.ru_majflt;
    }
    return total;
}

/* Between two attempts nothing is done but to wait and to read a line: what the end of one has
 * found is the start of the next.
 *
 * The peak is reset and read through proc(5), which costs more than a short attempt. It cannot
 * rise without a page fault: after an attempt that had none, it need be neither, until one
 * comes. */
static struct {
    bool has_cost, is_settled;
    struct cost cost;
    int64_t faults; /* when the peak was last reset or read */
    int64_t peak_bytes;
} known;

static struct meter meter_start(void)
{
    const struct cost now = known.has_cost ? known.cost : cost_now();

    if (!known.is_settled || now.faults != known.faults) {
        job_peak_rss_reset();
        known.is_settled = false;
        known.faults = now.faults;
    }
    return (struct meter){clock_mono_ms(), now.cpu_ms};
}

static struct attempt_usage meter_read(const struct meter *m)
{
    const struct cost now = cost_now();

    known.cost = now;
    known.has_cost = true;
    if (!known.is_settled || now.faults != known.faults) {
        known.peak_bytes = job_peak_rss_bytes();
        known.is_settled = now.faults == known.faults;
        known.faults = now.faults;
    }
    return (struct attempt_usage){
        .wall_ms = clock_mono_ms() - m->start_ms,
        .cpu_ms = now.cpu_ms - m->cpu_ms,
        .peak_rss_bytes = known.peak_bytes,
    };
}

/* --- one attempt --- */

static void send_progress(void *arg, const struct job_progress *p)
{
    int64_t *last_ms = arg, now = clock_mono_ms();
    char line[PROGRESS_LINE_MAX];

    if (now - *last_ms < PROGRESS_EVERY_MS || !(p->fraction >= 0 && p->fraction <= 1))
        return;
    *last_ms = now;
    int len = snprintf(line, sizeof line,
                       "{\"progress\":%.4f,\"bytes_read\":%" PRIu64 ",\"bytes_total\":%" PRIu64
                       ",\"rows\":%" PRIu64 "}\n",
                       p->fraction, p->bytes_read, p->bytes_total, p->rows);
    /* A failure will show when the report is written. */
    fs_write_all(SLOT_FD, line, (size_t)len, "progress", NULL);
}

static void run_job(const struct child_options *o, const struct work *work, struct report *ret)
{
    const struct job *job = job_find(work->type);
    int64_t last_ms = 0;
    const struct job_context context = {
        .work = work,
        .store = o->store,
        .containers = o->containers,
        .config = o->config,
        .threads = o->threads,
        .memory_bytes = o->memory_bytes,
        .max_inflated_bytes = o->max_inflated_bytes,
        .progress = send_progress,
        .progress_arg = &last_ms,
    };
    struct err err = ERR_INIT;

    if (job && work->params && seal_is_whole(work->params)) {
        ret->outcome = ATTEMPT_FAILED;
        err_set(&err, -E_BAD_INPUT,
                "the params were encrypted with another SECRET_KEY: start the run anew");
        job_error_from(&err, &ret->error);
        return;
    }
    if (job) {
        ret->outcome = job->run(&context, ret) == 0 ? ATTEMPT_DONE : ATTEMPT_FAILED;
        return;
    }
    ret->outcome = ATTEMPT_FAILED;
    err_set(&err, -E_UNSUPPORTED, "this worker does not know the task type '%s'", work->type);
    job_error_from(&err, &ret->error);
}

static int send_line(char *line_take, struct err *err)
{
    size_t len = strlen(line_take);
    int rc;

    line_take[len] = '\n'; /* in place of the NUL: one write, and nobody reads it as text */
    rc = fs_write_all(SLOT_FD, line_take, len + 1, "report", err);
    free(line_take);
    return rc;
}

/* A report that cannot be told (a job broke a promise about text) still ends the attempt. */
static char *encode(struct report *r)
{
    char *text = report_encode(r);

    if (text && strlen(text) < SLOT_LINE_MAX)
        return text;
    free(text);
    free(r->result);
    r->result = NULL;
    r->outcome = ATTEMPT_FAILED;
    memset(&r->output, 0, sizeof r->output);
    r->error = (struct task_error){ERROR_TRANSIENT, "bug", "the job's result cannot be told"};
    return report_encode(r);
}

static int serve_one(const struct child_options *o, const char *line, size_t len,
                     struct err *err)
{
    struct work work;
    struct report report = {.task_id = ""};
    int rc = work_decode(line, len, &work, err);

    if (rc)
        return rc;
    struct meter meter = meter_start();
    memcpy(report.task_id, work.task_id, sizeof report.task_id);
    memcpy(report.token, work.token, sizeof report.token);
    FAILPOINT(slot_got_work);
    run_job(o, &work, &report);
    FAILPOINT(slot_ran);
    strays_end(NULL, NULL, STRAYS_PATIENCE_MS); /* a result is the end of all that made it */
    report.usage = meter_read(&meter);
    char *text = encode(&report);
    rc = text ? send_line(text, err) : err_set(err, -E_NO_MEMORY, "no memory for a report");
    FAILPOINT(slot_reported);
    report_release(&report);
    work_release(&work);
    return rc;
}

/* The number-th line is work, unless the worker has taken it back. */
static int answer(const struct child_options *o, uint64_t number, const char *line, size_t len,
                  struct err *err)
{
    static const char skipped[] = SLOT_SKIPPED "\n";

    if (!tickets || ticket_begin(tickets, number))
        return serve_one(o, line, len, err);
    return fs_write_all(SLOT_FD, skipped, sizeof skipped - 1, "slot socket", err);
}

static int say_ready(struct err *err)
{
    const char *line = tickets ? SLOT_READY_AHEAD "\n" : SLOT_READY "\n";

    return fs_write_all(SLOT_FD, line, strlen(line), "slot socket", err);
}

int child_serve(const struct child_options *options, struct err *err)
{
    struct lines in = LINES_INIT;
    uint64_t number = 0;
    FAILPOINT(slot_starting);
    int rc = say_ready(err);

    while (!rc) {
        char *line;
        size_t len;
        rc = lines_read(&in, SLOT_FD, SLOT_LINE_MAX, err);
        if (rc <= 0)
            break;
        for (rc = 0; !rc && lines_next(&in, &line, &len);)
            rc = answer(options, ++number, line, len, err);
    }
    lines_release(&in);
    return rc;
}
