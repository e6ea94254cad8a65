#include "slot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backoff.h"
#include "job.h"
#include "log.h"
#include "slot_spawn.h"

enum { RESPAWN_BASE_MS = 200, RESPAWN_CAP_MS = 10000, HANGUP_GRACE_MS = 200 };

void slot_init(struct slot *s, unsigned index, const struct runtime_options *options,
               const struct slot_events *events)
{
    *s = (struct slot){.options = options, .events = events, .index = index, .fd = -1};
    s->in = (struct lines)LINES_INIT;
    buf_init(&s->out);
}

/* --- starting a process --- */

static int spawn(struct slot *s, int64_t now_ms, struct err *err)
{
    struct rusage own;
    pid_t pid = 0;
    int fd = -1;
    int rc = spawn_slot(s->options, &pid, &fd, err);

    if (rc)
        return rc;
    getrusage(RUSAGE_SELF, &own); /* cannot fail; after the spawn: never less than it carried */
    s->carried_rss_bytes = own.ru_maxrss * 1024;
    s->pid = pid;
    s->fd = fd;
    s->state = SLOT_STARTING;
    s->cause = DEATH_OWN;
    s->kill_at_ms = 0;
    s->cpu_before_ms = 0;
    s->ready_by_ms = now_ms + SLOT_READY_MS;
    s->was_ready = false;
    return 0;
}

static void respawn_later(struct slot *s, int64_t now_ms)
{
    s->spawn_at_ms =
        now_ms + RESPAWN_BASE_MS + backoff_ms(RESPAWN_BASE_MS, RESPAWN_CAP_MS, s->failures);
    s->failures++;
}

/* --- ending one --- */

static void close_fd(struct slot *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void signal_group(const struct slot *s, int signum)
{
    /* The group may not be there yet or any more; the leader alone always is until reaped. */
    if (kill(-s->pid, signum) != 0)
        kill(s->pid, signum);
}

void slot_end(struct slot *s, enum death_cause cause, int64_t grace_ms, int64_t now_ms)
{
    if (s->pid == 0 || s->kill_at_ms == INT64_MAX)
        return;
    if (s->cause == DEATH_OWN || cause == DEATH_LOST)
        s->cause = cause;
    if (grace_ms == 0) {
        signal_group(s, SIGKILL);
        s->kill_at_ms = INT64_MAX; /* sent */
    } else if (s->kill_at_ms == 0) {
        signal_group(s, SIGTERM);
        s->kill_at_ms = now_ms + grace_ms;
    }
}

void slot_release(struct slot *s)
{
    if (s->pid) {
        signal_group(s, SIGKILL);
        waitpid(s->pid, NULL, 0);
        s->pid = 0;
    }
    close_fd(s);
    lines_release(&s->in);
    buf_release(&s->out);
    s->state = SLOT_DOWN;
}

/* --- talking --- */

static void flush(struct slot *s)
{
    while (s->fd >= 0 && s->out_sent < s->out.len) {
        ssize_t sent =
            send(s->fd, s->out.data + s->out_sent, s->out.len - s->out_sent, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return; /* full: poll will tell; broken: the process is dead or soon will be */
        s->out_sent += (size_t)sent;
    }
    buf_clear(&s->out);
    s->out_sent = 0;
}

int slot_assign(struct slot *s, const struct work *work, void *attempt, int64_t now_ms,
                struct err *err)
{
    assert(s->state == SLOT_IDLE && s->out.len == 0);
    char *line = work_encode(work);
    if (!line)
        return err_set(err, -E_NO_MEMORY, "no memory to hand work to a slot");
    size_t len = strlen(line);
    if (len < SLOT_LINE_MAX) {
        buf_append(&s->out, line, len);
        buf_append_char(&s->out, '\n');
    }
    free(line);
    if (len >= SLOT_LINE_MAX)
        return err_set(err, -E_TOO_BIG, "the task is larger than %d bytes", SLOT_LINE_MAX);
    if (!buf_ok(&s->out)) {
        buf_release(&s->out);
        return err_set(err, -E_NO_MEMORY, "no memory to hand work to a slot");
    }
    s->state = SLOT_BUSY;
    s->work = work;
    s->attempt = attempt;
    s->started_ms = now_ms;
    s->deadline_ms = work->timeout_ms > 0 && work->timeout_ms < INT64_MAX - now_ms
                         ? now_ms + work->timeout_ms
                         : INT64_MAX;
    flush(s);
    return 0;
}

static void end_attempt(struct slot *s, struct report *report)
{
    s->events->ended(s->events->arg, s, s->cause == DEATH_LOST ? NULL : report);
    s->state = SLOT_IDLE;
    s->work = NULL;
    s->attempt = NULL;
    s->deadline_ms = INT64_MAX;
}

static bool take_progress(struct slot *s, const char *line, size_t len)
{
    struct job_progress p;
    int used = 0;

    if (sscanf(line,
               "{\"progress\":%lf,\"bytes_read\":%" SCNu64 ",\"bytes_total\":%" SCNu64
               ",\"rows\":%" SCNu64 "}%n",
               &p.fraction, &p.bytes_read, &p.bytes_total, &p.rows, &used) != 4)
        return false;
    if ((size_t)used != len || !(p.fraction >= 0 && p.fraction <= 1))
        return false;
    s->events->progress(s->events->arg, s, &p);
    return true;
}

/* Is this the report of the attempt the slot was given? */
static bool take_report(struct slot *s, const char *line, size_t len)
{
    struct report report = {.task_id = ""};

    if (report_decode(line, len, &report, NULL) != 0)
        return false;
    bool own = strcmp(report.task_id, s->work->task_id) == 0 &&
               strcmp(report.token, s->work->token) == 0;
    if (own) {
        s->failures = 0;
        s->cpu_before_ms += report.usage.cpu_ms;
        end_attempt(s, &report);
    }
    report_release(&report);
    return own;
}

static bool take_line(struct slot *s, const char *line, size_t len)
{
    switch (s->state) {
    case SLOT_STARTING:
        if (strcmp(line, "{\"ready\":true}") != 0)
            return false;
        s->state = SLOT_IDLE;
        s->was_ready = true;
        return true;
    case SLOT_BUSY:
        return take_progress(s, line, len) || take_report(s, line, len);
    case SLOT_DOWN:
    case SLOT_IDLE:
        break;
    }
    return false;
}

/* Everything there is to read now. False once the child will say nothing more. */
static bool read_all(struct slot *s)
{
    char *line;
    size_t len;
    int rc;

    while ((rc = lines_read(&s->in, s->fd, SLOT_LINE_MAX, NULL)) > 0) {
        while (lines_next(&s->in, &line, &len)) {
            if (!take_line(s, line, len)) {
                slot_end(s, DEATH_GARBLED, 0, 0);
                return false;
            }
        }
        if (s->in.is_drained)
            return true; /* its end, if that is next, poll will tell */
    }
    if (rc == -E_OVERLOAD)
        return true;
    if (rc < 0)
        slot_end(s, DEATH_GARBLED, 0, 0);
    return false;
}

short slot_poll_events(const struct slot *s)
{
    return s->fd < 0 ? 0 : (short)(POLLIN | (s->out.len > 0 ? POLLOUT : 0));
}

void slot_handle(struct slot *s, short revents, int64_t now_ms)
{
    if (s->fd >= 0 && (revents & POLLOUT))
        flush(s);
    if (s->fd < 0 || !(revents & (POLLIN | POLLHUP | POLLERR)) || read_all(s))
        return;
    /* A hang-up: it is dying, and SIGCHLD will come with the reason. Unless it only closed
     * the socket; then it gets no second chance. */
    close_fd(s);
    if (s->kill_at_ms == 0)
        s->kill_at_ms = now_ms + HANGUP_GRACE_MS;
}

/* --- time and death --- */

void slot_tick(struct slot *s, int64_t now_ms)
{
    struct err err = ERR_INIT;

    if (s->state == SLOT_DOWN && now_ms >= s->spawn_at_ms && spawn(s, now_ms, &err) != 0) {
        log_error("slot.failed", LOG_I("slot", s->index), LOG_S("error", err.text));
        respawn_later(s, now_ms);
    }
    if (s->state == SLOT_STARTING && now_ms >= s->ready_by_ms && s->kill_at_ms == 0) {
        log_error("slot.stuck", LOG_I("slot", s->index), LOG_I("pid", s->pid));
        slot_end(s, DEATH_GARBLED, 0, now_ms);
    }
    if (s->judge_at_ms > 0 && now_ms >= s->judge_at_ms)
        slot_reap(s, now_ms);
    if (s->state == SLOT_BUSY && now_ms >= s->deadline_ms) {
        s->deadline_ms = INT64_MAX;
        slot_end(s, DEATH_DEADLINE, s->options->kill_grace_ms, now_ms);
    }
    if (s->pid && s->kill_at_ms > 0 && now_ms >= s->kill_at_ms)
        slot_end(s, s->cause, 0, now_ms);
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t slot_next_tick_ms(const struct slot *s)
{
    if (s->state == SLOT_DOWN)
        return s->spawn_at_ms;
    int64_t at = s->kill_at_ms > 0 ? s->kill_at_ms : INT64_MAX;
    if (s->state == SLOT_STARTING && s->kill_at_ms == 0)
        at = least(at, s->ready_by_ms);
    if (s->state == SLOT_BUSY)
        at = least(at, s->deadline_ms);
    return s->judge_at_ms > 0 ? least(at, s->judge_at_ms) : at;
}

/* The most memory the attempt had. rusage begins with what the worker had had before exec
 * (getrusage(2): the metrics are preserved across an execve); only a figure above that is the
 * slot's own, and since a slot resets its own before each job (meter_start in child.c), the
 * job's. 0: not known. */
static int64_t peak_of(const struct slot *s, const struct rusage *u)
{
    int64_t bytes = u->ru_maxrss * 1024;

    return s->state == SLOT_BUSY && bytes > s->carried_rss_bytes ? bytes : 0;
}

/* Collects the zombie. The group is killed first: until then the zombie keeps its number from
 * being given to anybody else. */
static void bury(struct slot *s, int64_t died_ms, struct death *ret)
{
    struct rusage u;
    int status = 0;

    kill(-s->pid, SIGKILL);
    memset(&u, 0, sizeof u);
    while (wait4(s->pid, &status, 0, &u) < 0 && errno == EINTR)
        ;
    int64_t cpu_ms = (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
                     (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
    *ret = (struct death){
        .cause = s->cause,
        .status = status,
        .wall_ms = died_ms - s->started_ms,
        .cpu_ms = cpu_ms > s->cpu_before_ms ? cpu_ms - s->cpu_before_ms : 0,
        .peak_rss_bytes = peak_of(s, &u),
        .peak_below_bytes = s->state == SLOT_BUSY ? s->carried_rss_bytes : 0,
        .timeout_ms = s->work ? s->work->timeout_ms : 0,
    };
    s->pid = 0;
}

static void tell_death(struct slot *s, const struct death *d)
{
    struct report report = {.task_id = ""};

    s->events->died(s->events->arg, s, d);
    if (s->state != SLOT_BUSY)
        return;
    memcpy(report.task_id, s->work->task_id, sizeof report.task_id);
    memcpy(report.token, s->work->token, sizeof report.token);
    death_report(d, &report);
    end_attempt(s, &report);
    report_release(&report);
}

/* Was the signal that a job died of one for the worker as well? True while that is not known;
 * it then comes back here once it must be. */
static bool is_in_doubt(struct slot *s, const siginfo_t *info, int64_t now_ms)
{
    bool polite = info->si_code == CLD_KILLED &&
                  (info->si_status == SIGTERM || info->si_status == SIGINT);

    if (!polite || s->state != SLOT_BUSY || s->cause != DEATH_OWN)
        return false;
    if (s->stop_asked_ms > 0) {
        if (now_ms - s->stop_asked_ms < SLOT_STOP_WINDOW_MS)
            s->cause = DEATH_STOP;
        return false;
    }
    if (s->judge_at_ms == 0)
        s->judge_at_ms = now_ms + SLOT_STOP_WINDOW_MS;
    return now_ms < s->judge_at_ms;
}

void slot_reap(struct slot *s, int64_t now_ms)
{
    siginfo_t info = {.si_pid = 0};
    struct death death;

    if (s->pid == 0 || waitid(P_PID, (id_t)s->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 ||
        info.si_pid == 0)
        return;
    if (s->fd >= 0)
        read_all(s); /* a report that was on its way counts */
    if (is_in_doubt(s, &info, now_ms))
        return;
    bool had_reason = s->state == SLOT_BUSY || s->cause > DEATH_GARBLED;
    bury(s, s->judge_at_ms > 0 ? s->judge_at_ms - SLOT_STOP_WINDOW_MS : now_ms, &death);
    s->judge_at_ms = 0;
    tell_death(s, &death);
    close_fd(s);
    lines_release(&s->in);
    buf_clear(&s->out);
    s->out_sent = 0;
    s->state = SLOT_DOWN;
    if (!had_reason) {
        respawn_later(s, now_ms);
        return;
    }
    s->failures = 0;
    s->spawn_at_ms = now_ms;
}
