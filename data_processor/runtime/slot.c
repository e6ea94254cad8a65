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
#include "clock.h"
#include "job.h"
#include "log.h"
#include "slot_spawn.h"

enum { RESPAWN_BASE_MS = 200, RESPAWN_CAP_MS = 10000, HANGUP_GRACE_MS = 200 };
enum { OUT_MAX = 64 * 1024 /* lines on their way, when more are added */ };

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
    int rc = spawn_slot(s->options, &pid, &fd, &s->tickets, err);

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
    s->lines = 0;
    s->skips = 0;
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

static void drop_tickets(struct slot *s)
{
    tickets_free(s->tickets);
    s->tickets = NULL;
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
    slot_take_back(s); /* what has not begun has no part in this */
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
    drop_tickets(s);
    lines_release(&s->in);
    buf_release(&s->out);
    s->state = SLOT_DOWN;
}

/* --- talking --- */

void slot_flush(struct slot *s)
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

unsigned slot_room(const struct slot *s)
{
    unsigned behind = s->tickets ? SLOT_AHEAD_MAX - s->ahead_count : 0;

    if (s->kill_at_ms != 0 || s->out.len > OUT_MAX || s->skips > TICKETS_MAX / 2)
        return 0;
    if (s->state == SLOT_IDLE)
        return 1 + behind;
    return s->state == SLOT_BUSY ? behind : 0;
}

/* Appends the line; it is there as a whole or not at all. */
static int put_line(struct slot *s, const struct work *work, struct err *err)
{
    char *line = work_encode(work);
    size_t len = line ? strlen(line) : 0;
    int rc = 0;

    if (len >= SLOT_LINE_MAX)
        rc = err_set(err, -E_TOO_BIG, "the task is larger than %d bytes", SLOT_LINE_MAX);
    else if (!line || !buf_reserve(&s->out, len + 1))
        rc = err_set(err, -E_NO_MEMORY, "no memory to hand work to a slot");
    if (!rc) {
        buf_append(&s->out, line, len);
        buf_append_char(&s->out, '\n');
    }
    free(line);
    return rc;
}

static void begin(struct slot *s, const struct slot_item *item, int64_t now_ms)
{
    int64_t timeout_ms = item->work->timeout_ms;

    s->state = SLOT_BUSY;
    s->work = item->work;
    s->attempt = item->attempt;
    s->started_ms = now_ms;
    s->deadline_ms =
        timeout_ms > 0 && timeout_ms < INT64_MAX - now_ms ? now_ms + timeout_ms : INT64_MAX;
}

int slot_assign(struct slot *s, const struct work *work, void *attempt, int64_t now_ms,
                struct err *err)
{
    assert(slot_room(s) > 0);
    int rc = put_line(s, work, err);
    if (rc)
        return rc;
    const struct slot_item item = {work, attempt, ++s->lines};
    if (s->tickets)
        ticket_offer(s->tickets, item.number);
    s->number = s->state == SLOT_IDLE ? 0 : s->number;
    if (s->state == SLOT_IDLE)
        begin(s, &item, now_ms);
    else
        s->ahead[s->ahead_count++] = item;
    return 0;
}

/* From the last on: once one has begun, so have those before it. */
void slot_take_back(struct slot *s)
{
    while (s->ahead_count > 0) {
        const struct slot_item *last = &s->ahead[s->ahead_count - 1];
        if (!ticket_withdraw(s->tickets, last->number))
            return;
        s->ahead_count--;
        s->skips++;
        s->events->returned(s->events->arg, s, last->attempt);
    }
}

/* The slot has gone on with the next by now. If it is being ended for the sake of the one
 * before, the next will be cut short for no fault of its own. */
static void begin_next(struct slot *s)
{
    const struct slot_item next = s->ahead[0];

    s->ahead_count--;
    memmove(s->ahead, s->ahead + 1, s->ahead_count * sizeof s->ahead[0]);
    if (s->cause == DEATH_DEADLINE || s->cause == DEATH_LOST)
        s->cause = DEATH_STOP;
    begin(s, &next, clock_mono_ms());
    s->number = next.number;
}

static void end_attempt(struct slot *s, struct report *report)
{
    s->events->ended(s->events->arg, s, s->cause == DEATH_LOST ? NULL : report);
    s->state = SLOT_IDLE;
    s->work = NULL;
    s->attempt = NULL;
    s->deadline_ms = INT64_MAX;
    if (s->ahead_count > 0)
        begin_next(s);
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

static bool take_ready(struct slot *s, const char *line)
{
    bool takes_ahead = strcmp(line, SLOT_READY_AHEAD) == 0;

    if (!takes_ahead && strcmp(line, SLOT_READY) != 0)
        return false;
    if (!takes_ahead)
        drop_tickets(s);
    s->state = SLOT_IDLE;
    s->was_ready = true;
    return true;
}

static bool take_skip(struct slot *s, const char *line)
{
    if (s->skips == 0 || strcmp(line, SLOT_SKIPPED) != 0)
        return false;
    s->skips--;
    return true;
}

static bool take_line(struct slot *s, const char *line, size_t len)
{
    switch (s->state) {
    case SLOT_STARTING:
        return take_ready(s, line);
    case SLOT_BUSY:
        return take_report(s, line, len) || take_progress(s, line, len) || take_skip(s, line);
    case SLOT_IDLE:
        return take_skip(s, line);
    case SLOT_DOWN:
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
        slot_flush(s);
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

/* An attempt whose report was lost with the process, or with what could not be read of it. It
 * may have written files, so whoever does it next needs another number. */
static void release(struct slot *s, const struct slot_item *item)
{
    const struct slot_item now = {s->work, s->attempt, s->number};
    struct report report = {.outcome = ATTEMPT_RELEASED};

    memcpy(report.task_id, item->work->task_id, sizeof report.task_id);
    memcpy(report.token, item->work->token, sizeof report.token);
    s->work = item->work;
    s->attempt = item->attempt;
    s->events->ended(s->events->arg, s, &report);
    s->work = now.work;
    s->attempt = now.attempt;
}

/* The process does one after the other, so what is behind the attempt under way was not begun,
 * unless something was not read that it has said. */
static void return_all(struct slot *s)
{
    while (s->ahead_count > 0) {
        const struct slot_item *item = &s->ahead[--s->ahead_count];
        if (!s->tickets || ticket_withdraw(s->tickets, item->number))
            s->events->returned(s->events->arg, s, item->attempt);
        else
            release(s, item);
    }
}

/* The process may have died of the attempt before, which had ended, with the next one unread.
 */
static bool return_unbegun(struct slot *s)
{
    if (s->state != SLOT_BUSY || !s->number || !ticket_withdraw(s->tickets, s->number))
        return false;
    void *attempt = s->attempt;
    s->state = SLOT_IDLE;
    s->work = NULL;
    s->attempt = NULL;
    s->deadline_ms = INT64_MAX;
    s->events->returned(s->events->arg, s, attempt);
    return true;
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
    return_all(s);
    if (return_unbegun(s))
        had_reason = s->cause > DEATH_GARBLED;
    tell_death(s, &death);
    close_fd(s);
    drop_tickets(s);
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
