/* worker.c - the main thread: slots, signals, time; and the start and end of the others. */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "board.h"
#include "broker.h"
#include "clock.h"
#include "failpoint.h"
#include "health.h"
#include "job.h"
#include "log.h"
#include "notify.h"
#include "pace.h"
#include "slot.h"
#include "strays.h"
#include "threads.h"

enum { LAST_REPORT_MS = 5000, HASTY_REPORT_MS = 2000, SAME_REQUEST_MS = 1000, THREADS = 4 };
enum {
    SPARE_MS = 5000 /* from giving up to the end */,
    STRAYS_PATIENCE_MS = 500,
    INHERITED_MAX = 64,
    HOPELESS = 2 /* deaths in a row */
};
enum { FD_SIGNALS, FD_BOARD, FD_HEALTH, FD_SLOTS };

struct crew {
    struct service services[THREADS];
    pthread_t threads[THREADS];
    unsigned started;
};

static const struct {
    const char *use; /* of its link to the manager; NULL: it has none */
    void *(*run)(void *arg);
} duties[THREADS] = {{"claim", source_run},
                     {"heartbeat", heartbeat_run},
                     {"report", reporter_run},
                     {NULL, syncer_run}};

struct worker {
    const struct runtime_options *options;
    struct pace pace;
    struct board board;
    struct slot_events events;
    struct slot *slots;
    struct pollfd *fds; /* FD_SIGNALS, FD_BOARD, FD_HEALTH, then one per slot */
    struct crew crew;
    struct health_door door;
    int64_t slot_ms; /* when a slot was last seen to be able to work */
    int signal_fd;
    pid_t inherited[INHERITED_MAX]; /* children of whoever became this program by exec */
    size_t inherited_count;
    bool has_strays; /* that are not dead yet */
    bool announced;  /* worker.ready has been logged */
    bool stopping;
    int64_t stop_asked_ms;
    int64_t end_work_ms; /* while stopping: when running work is ended ... */
    int64_t quit_ms;     /* ... and when unanswered reports are given up */
};

/* --- what slots tell --- */

/* Per second, of what has been done since the attempt began. */
static int64_t rate(const struct slot *s, uint64_t done)
{
    int64_t ms = clock_mono_ms() - s->started_ms;

    return (int64_t)((double)done * 1000 / (double)(ms > 0 ? ms : 1));
}

static void on_progress(void *arg, struct slot *s, const struct job_progress *p)
{
    struct worker *w = arg;

    board_progress(&w->board, s->attempt, p->fraction);
    log_debug("task.progress", LOG_S("task_id", s->work->task_id),
              LOG_I("percent", p->fraction * 100), LOG_I("bytes_read", p->bytes_read),
              LOG_I("bytes_total", p->bytes_total),
              LOG_I("bytes_per_s", rate(s, p->bytes_read)), LOG_I("rows", p->rows),
              LOG_I("rows_per_s", rate(s, p->rows)));
}

static void log_end(const struct slot *s, const struct report *r)
{
    log_info("task.finished", LOG_S("task_id", s->work->task_id), LOG_S("type", s->work->type),
             LOG_I("attempt", s->work->attempt), LOG_I("slot", s->index),
             LOG_S("outcome", attempt_outcome_name(r->outcome)),
             LOG_S("class", error_class_name(r->error.class)), LOG_S("error", r->error.message),
             LOG_I("wall_ms", r->usage.wall_ms), LOG_I("cpu_ms", r->usage.cpu_ms),
             LOG_I("peak_rss_bytes", r->usage.peak_rss_bytes));
}

static void on_ended(void *arg, struct slot *s, struct report *report)
{
    struct worker *w = arg;

    pace_note(&w->pace, clock_mono_ms() - s->started_ms);
    if (report) {
        FAILPOINT(work_ended);
        if (report->outcome == ATTEMPT_RELEASED)
            FAILPOINT(work_released);
        log_end(s, report);
        board_end(&w->board, s->attempt, report);
    } else {
        log_info("task.dropped", LOG_S("task_id", s->work->task_id),
                 LOG_I("attempt", s->work->attempt), LOG_I("slot", s->index));
        board_abandon(&w->board, s->attempt);
    }
}

static void on_returned(void *arg, struct slot *s, void *attempt)
{
    struct worker *w = arg;

    (void)s;
    board_put_back(&w->board, attempt);
}

static bool is_no_stray(void *arg, pid_t pid)
{
    const struct worker *w = arg;

    for (unsigned i = 0; i < w->options->slots; i++) {
        if (w->slots[i].pid == pid)
            return true;
    }
    for (size_t i = 0; i < w->inherited_count; i++) {
        if (w->inherited[i] == pid)
            return true;
    }
    return false;
}

/* Slots are the only children we make: any other is what a killed one left behind. It ends
 * before the attempt is told to have ended; whatever holds out, its SIGCHLD brings us back. */
static void end_strays(struct worker *w, int64_t patience_ms)
{
    w->has_strays = !strays_end(is_no_stray, w, patience_ms);
}

static void on_died(void *arg, struct slot *s, const struct death *d)
{
    struct worker *w = arg;
    char how[DEATH_TEXT_MAX];

    end_strays(w, STRAYS_PATIENCE_MS);
    if (s->was_ready)
        w->slot_ms = clock_mono_ms();
    if (w->stopping && s->state != SLOT_BUSY)
        return;
    death_describe(d->status, how);
    log_warn("slot.died", LOG_I("slot", s->index), LOG_S("how", how),
             LOG_S("task_id", s->work ? s->work->task_id : ""),
             LOG_I("peak_rss_bytes", d->peak_rss_bytes));
}

/* --- handing work out --- */

/* Work that could not be handed to a slot ends here. */
static void refuse(struct worker *w, struct held *h, enum attempt_outcome outcome,
                   const struct err *err)
{
    struct report report = {.outcome = outcome};

    memcpy(report.task_id, h->work.task_id, sizeof report.task_id);
    memcpy(report.token, h->work.token, sizeof report.token);
    if (outcome == ATTEMPT_FAILED)
        job_error_from(err, &report.error);
    board_end(&w->board, h, &report);
}

static void release_waiting(struct worker *w, int64_t now_ms)
{
    struct held *h;

    while ((h = board_take(&w->board, now_ms)))
        refuse(w, h, ATTEMPT_RELEASED, NULL);
}

static bool is_slow(const struct slot *s, int64_t now_ms)
{
    return s->state == SLOT_BUSY && now_ms - s->started_ms >= PACE_STUCK_MS;
}

/* Slots that will soon take work, for what is held ahead; and if there is too much of it for
 * them, or none because all are long at work or get no process to live, it goes to others. */
static void offer_slots(struct worker *w, unsigned idle, int64_t now_ms)
{
    unsigned moving = 0, coming = 0, behind = 0;

    for (unsigned i = 0; i < w->options->slots; i++) {
        const struct slot *s = &w->slots[i];
        bool is_up = s->state == SLOT_IDLE || s->state == SLOT_BUSY;
        moving += is_up && !is_slow(s, now_ms);
        coming += !is_up && s->failures < HOPELESS;
        behind += s->ahead_count;
    }
    unsigned waiting = board_offer(&w->board, idle, behind, pace_ahead(&w->pace, moving));
    unsigned begun_soon = idle + coming;
    if (waiting > begun_soon && pace_is_stuck(&w->pace, moving + coming, waiting - begun_soon))
        release_waiting(w, now_ms);
}

/* The next that waits, to this slot; false when none waits. */
static bool hand_over(struct worker *w, struct slot *s, int64_t now_ms)
{
    struct err err = ERR_INIT;
    struct held *h = board_take(&w->board, now_ms);

    if (!h)
        return false;
    FAILPOINT(work_taken);
    if (slot_assign(s, &h->work, h, now_ms, &err) != 0)
        refuse(w, h, ATTEMPT_FAILED, &err);
    else
        log_debug(s->attempt == h ? "task.started" : "task.queued",
                  LOG_S("task_id", h->work.task_id), LOG_I("slot", s->index));
    FAILPOINT(work_assigned);
    return true;
}

static bool is_idle(const struct slot *s)
{
    return s->state == SLOT_IDLE && slot_room(s) > 0;
}

/* Short attempts go to slots that are busy as well, evenly. */
static void fill_ahead(struct worker *w, int64_t now_ms)
{
    unsigned most = pace_slot_ahead(&w->pace);

    for (unsigned level = 0; level < most && level < SLOT_AHEAD_MAX; level++) {
        for (unsigned i = 0; i < w->options->slots; i++) {
            struct slot *s = &w->slots[i];
            if (s->state == SLOT_BUSY && s->ahead_count == level && slot_room(s) > 0 &&
                now_ms - s->started_ms < PACE_SLOT_STUCK_MS && !hand_over(w, s, now_ms))
                return;
        }
    }
}

static void fill_slots(struct worker *w, int64_t now_ms)
{
    unsigned idle = 0;

    for (unsigned i = 0; i < w->options->slots; i++) {
        struct slot *s = &w->slots[i];
        while (is_idle(s) && hand_over(w, s, now_ms))
            ;
        idle += is_idle(s);
    }
    fill_ahead(w, now_ms);
    for (unsigned i = 0; i < w->options->slots; i++)
        slot_flush(&w->slots[i]);
    offer_slots(w, idle, now_ms);
}

/* What is behind an attempt that takes long, others are to have; what is behind one that may
 * have been lost, is looked at again. */
static void take_back(struct worker *w, int64_t now_ms)
{
    bool all = board_lost_some(&w->board) || w->stopping;

    for (unsigned i = 0; i < w->options->slots; i++) {
        struct slot *s = &w->slots[i];
        if (s->ahead_count > 0 && (all || now_ms - s->started_ms >= PACE_SLOT_STUCK_MS))
            slot_take_back(s);
    }
}

static void announce(struct worker *w)
{
    if (w->announced)
        return;
    for (unsigned i = 0; i < w->options->slots; i++) {
        if (!w->slots[i].was_ready)
            return;
    }
    w->announced = true;
    log_info("worker.ready", LOG_S("worker", w->options->worker),
             LOG_I("slots", w->options->slots), LOG_I("pid", getpid()));
    notify_tell("READY=1");
}

/* --- health --- */

static void note_slots(struct worker *w, int64_t now_ms)
{
    for (unsigned i = 0; i < w->options->slots; i++) {
        if (w->slots[i].state == SLOT_IDLE || w->slots[i].state == SLOT_BUSY)
            w->slot_ms = now_ms;
    }
}

static void note_health(struct worker *w, struct health *ret)
{
    struct service *source = &w->crew.services[0];

    *ret = (struct health){
        .limit_ms = w->options->health_after_ms,
        .is_stopping = w->stopping,
        .slots = w->options->slots,
        .slot_ms = w->slot_ms,
        .claimed_ms = atomic_load(&source->manager.answered_ms),
        .refused_ms = atomic_load(&source->manager.failing_ms),
        .back_by_ms = atomic_load(&source->back_by_ms),
        .link = (enum hints_link)atomic_load(&source->link),
    };
    for (unsigned i = 0; i < THREADS; i++) {
        struct manager *m = &w->crew.services[i].manager;
        int64_t failing_ms = atomic_load(&m->failing_ms);
        int64_t heard_ms = atomic_load(&m->answered_ms);
        if (failing_ms && (!ret->failing_ms || failing_ms < ret->failing_ms))
            ret->failing_ms = failing_ms;
        if (heard_ms > ret->heard_ms)
            ret->heard_ms = heard_ms;
    }
    for (unsigned i = 0; i < w->options->slots; i++)
        ret->busy += w->slots[i].state == SLOT_BUSY;
}

static void answer_health(struct worker *w, int64_t now_ms)
{
    struct health h;
    char text[HEALTH_TEXT_MAX];

    note_health(w, &h);
    bool is_ok = health_judge(&h, now_ms, text);
    health_door_answer(&w->door, is_ok, text);
}

/* The service manager's watchdog ends us unless it hears that we are not stuck: a task manager
 * that is away is no reason to end the work that goes on without it. */
static void tell_alive(struct worker *w, int64_t now_ms)
{
    struct health h;
    char text[HEALTH_TEXT_MAX];

    note_health(w, &h);
    health_judge(&h, now_ms, text);
    notify_alive(!health_is_stuck(&h, now_ms), text);
}

/* --- stopping --- */

static void begin_stop(struct worker *w, int64_t now_ms)
{
    const struct runtime_options *o = w->options;
    bool hasty = w->stopping; /* asked for the second time */

    /* One Ctrl-C may come twice: from the terminal and from whoever started us. */
    if (hasty && now_ms - w->stop_asked_ms < SAME_REQUEST_MS)
        return;
    FAILPOINT(worker_stopping);
    board_stop_claims(&w->board);
    log_info("worker.stopping", LOG_I("hand_back_now", hasty));
    if (!hasty) {
        w->stop_asked_ms = now_ms;
        for (unsigned i = 0; i < o->slots; i++)
            w->slots[i].stop_asked_ms = now_ms;
    }
    w->stopping = true;
    w->end_work_ms = hasty ? now_ms : now_ms + o->stop_grace_ms;
    w->quit_ms =
        hasty ? now_ms + HASTY_REPORT_MS : w->end_work_ms + o->kill_grace_ms + LAST_REPORT_MS;
    notify_stopping(w->quit_ms - now_ms + SPARE_MS);
    if (hasty) {
        for (unsigned i = 0; i < o->slots; i++)
            slot_end(&w->slots[i], DEATH_STOP, 0, now_ms);
    }
}

/* Slots without work are ended at once, those with work when the grace is over. */
static void stop_slots(struct worker *w, int64_t now_ms)
{
    release_waiting(w, now_ms);
    for (unsigned i = 0; i < w->options->slots; i++) {
        struct slot *s = &w->slots[i];
        if (s->state == SLOT_BUSY && now_ms >= w->end_work_ms)
            slot_end(s, DEATH_STOP, w->options->kill_grace_ms, now_ms);
        else if (s->state != SLOT_BUSY)
            slot_end(s, DEATH_STOP, 0, now_ms);
    }
}

/* --- the loop --- */

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int wait_ms(struct worker *w, int64_t now_ms)
{
    int64_t at = least(now_ms + 60000, board_next_loss_ms(&w->board));

    at = least(at, notify_due_ms());
    for (unsigned i = 0; i < w->options->slots; i++) {
        const struct slot *s = &w->slots[i];
        if (!w->stopping || s->pid)
            at = least(at, slot_next_tick_ms(s));
        if (s->state == SLOT_BUSY && now_ms - s->started_ms < PACE_STUCK_MS)
            at = least(at, s->started_ms + PACE_STUCK_MS);
        if (s->ahead_count > 0 && now_ms - s->started_ms < PACE_SLOT_STUCK_MS)
            at = least(at, s->started_ms + PACE_SLOT_STUCK_MS);
    }
    if (w->stopping) /* source and reporter may still add or end something */
        at = least(at, least(now_ms + 50, w->quit_ms));
    return at > now_ms ? (int)(at - now_ms) : 0;
}

static void read_signals(struct worker *w, int64_t now_ms)
{
    struct signalfd_siginfo info;

    while (read(w->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo != SIGCHLD)
            begin_stop(w, now_ms);
    }
    for (unsigned i = 0; i < w->options->slots; i++) /* one SIGCHLD may stand for several */
        slot_reap(&w->slots[i], now_ms);
    if (w->has_strays)
        end_strays(w, 0);
}

static void read_board(struct worker *w)
{
    uint64_t count;

    if (read(w->fds[FD_BOARD].fd, &count, sizeof count) < 0)
        errno = 0; /* nothing in it after all */
}

static void tick(struct worker *w, int64_t now_ms)
{
    for (unsigned i = 0; i < w->options->slots; i++) {
        struct slot *s = &w->slots[i];
        if (!w->stopping || s->pid)
            slot_tick(s, now_ms);
        if (s->state == SLOT_BUSY && s->cause != DEATH_LOST &&
            board_is_lost(&w->board, s->attempt, now_ms))
            slot_end(s, DEATH_LOST, w->options->kill_grace_ms, now_ms);
    }
}

static void turn(struct worker *w)
{
    for (unsigned i = 0; i < w->options->slots; i++) {
        w->fds[FD_SLOTS + i].fd = w->slots[i].fd;
        w->fds[FD_SLOTS + i].events = slot_poll_events(&w->slots[i]);
        w->fds[FD_SLOTS + i].revents = 0;
    }
    int ready = poll(w->fds, FD_SLOTS + w->options->slots, wait_ms(w, clock_mono_ms()));
    int64_t now = clock_mono_ms();

    /* First what slots have said, then what the clock says: a report in time is in time. */
    for (unsigned i = 0; ready > 0 && i < w->options->slots; i++)
        slot_handle(&w->slots[i], w->fds[FD_SLOTS + i].revents, now);
    if (ready > 0 && w->fds[FD_BOARD].revents)
        read_board(w);
    if (ready > 0 && w->fds[FD_SIGNALS].revents)
        read_signals(w, now);
    tick(w, now);
    take_back(w, now);
    if (w->stopping) {
        stop_slots(w, now);
    } else {
        fill_slots(w, now);
        announce(w);
        note_slots(w, now);
    }
    if (ready > 0 && w->fds[FD_HEALTH].revents)
        answer_health(w, now);
    if (now >= notify_due_ms())
        tell_alive(w, now);
}

/* While stopping: has everything been handed back, or is it too late for that? */
static bool is_done(struct worker *w)
{
    if (!w->stopping)
        return false;
    return board_is_settled(&w->board) || clock_mono_ms() >= w->quit_ms;
}

/* --- start and end --- */

static int open_signals(struct worker *w, struct err *err)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGCHLD);
    int rc = pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (rc)
        return err_set_errno(err, -E_IO, rc, "block signals");
    w->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (w->signal_fd < 0)
        return err_set_errno(err, -E_IO, errno, "make a signalfd");
    return 0;
}

static int open_slots(struct worker *w, struct err *err)
{
    size_t count = w->options->slots;

    w->slots = calloc(count, sizeof *w->slots);
    w->fds = calloc(FD_SLOTS + count, sizeof *w->fds);
    if (!w->slots || !w->fds)
        return err_set(err, -E_NO_MEMORY, "no memory for %zu slots", count);
    for (unsigned i = 0; i < count; i++)
        slot_init(&w->slots[i], i, w->options, &w->events);
    w->fds[FD_SIGNALS] = (struct pollfd){w->signal_fd, POLLIN, 0};
    w->fds[FD_BOARD] = (struct pollfd){w->board.main_fd, POLLIN, 0};
    w->fds[FD_HEALTH] = (struct pollfd){w->door.fd, POLLIN, 0};
    return 0;
}

static void worker_release(struct worker *w)
{
    for (unsigned i = 0; w->slots && i < w->options->slots; i++)
        slot_release(&w->slots[i]);
    if (w->slots)
        end_strays(w, STRAYS_PATIENCE_MS);
    free(w->slots);
    free(w->fds);
    health_door_close(&w->door);
    board_close(&w->board);
    close(w->signal_fd);
}

static int worker_init(struct worker *w, const struct runtime_options *options, struct err *err)
{
    memset(w, 0, sizeof *w);
    w->options = options;
    pace_init(&w->pace);
    w->door.fd = -1;
    w->slot_ms = clock_mono_ms();
    w->events = (struct slot_events){on_progress, on_ended, on_died, on_returned, w};
    w->inherited_count = strays_list(w->inherited, INHERITED_MAX);
    int rc = strays_adopt(err);
    if (!rc)
        rc = open_signals(w, err);
    if (rc)
        return rc;
    rc = board_open(&w->board, options->heartbeat_ms, err);
    if (rc) {
        close(w->signal_fd);
        return rc;
    }
    rc = health_door_open(&w->door, options->health_socket, err);
    if (!rc)
        rc = open_slots(w, err);
    if (rc)
        worker_release(w);
    return rc;
}

static int start_one(struct worker *w, unsigned i, struct err *err)
{
    struct crew *c = &w->crew;
    struct service *s = &c->services[i];

    s->options = w->options;
    s->board = &w->board;
    atomic_store(&s->back_by_ms, clock_mono_ms());
    const char *use = duties[i].use;
    int rc =
        use ? manager_open(&s->manager, w->options->manager_url, use, &w->board.quit, err) : 0;
    if (rc)
        return rc;
    rc = pthread_create(&c->threads[i], NULL, duties[i].run, s);
    if (rc) {
        if (use)
            manager_close(&s->manager);
        return err_set_errno(err, -E_NO_MEMORY, rc, "start a thread");
    }
    c->started++;
    return 0;
}

static void stop_crew(struct worker *w)
{
    struct crew *c = &w->crew;

    board_quit(&w->board);
    for (unsigned i = 0; i < c->started; i++) {
        pthread_join(c->threads[i], NULL);
        if (duties[i].use)
            manager_close(&c->services[i].manager);
    }
    broker_close(c->services[0].broker);
}

static int start_crew(struct worker *w, struct err *err)
{
    const char *url = w->options->amqp_url;
    int rc = broker_open(url ? url : "", BROKER_CONSUME, w->options->worker,
                         &w->crew.services[0].broker, err);

    for (unsigned i = 0; i < THREADS && !rc; i++)
        rc = start_one(w, i, err);
    if (rc)
        stop_crew(w);
    return rc;
}

int runtime_run(const struct runtime_options *options, struct err *err)
{
    struct worker w;
    notify_open();
    int rc = worker_init(&w, options, err);
    if (rc)
        return rc;
    rc = start_crew(&w, err);
    if (!rc) {
        log_info("worker.started", LOG_S("worker", options->worker),
                 LOG_S("task_manager", options->manager_url), LOG_I("slots", options->slots));
        while (!is_done(&w))
            turn(&w);
        if (!board_is_settled(&w.board))
            log_warn("worker.gave_up", LOG_S("what", "reports without an answer"));
        stop_crew(&w);
        log_info("worker.stopped", LOG_S("worker", options->worker));
    }
    worker_release(&w);
    return rc;
}
