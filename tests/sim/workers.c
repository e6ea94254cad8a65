/* workers.c - what a worker may do, and worse: it claims as the real hints say, pauses past
 * its leases, dies, comes back as a zombie, reports late and twice, hands back, and names
 * files that are not there. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

static int number_of(const struct sim *s, const struct worker *w)
{
    return (int)(w - s->workers);
}

static struct held *find_held(struct worker *w, const char *token)
{
    for (int i = 0; i < w->held_count; i++) {
        if (strcmp(w->held[i].work.token, token) == 0)
            return &w->held[i];
    }
    return NULL;
}

static void forget(struct worker *w, struct held *h)
{
    *h = w->held[--w->held_count];
}

static int running(const struct worker *w)
{
    int count = 0;

    for (int i = 0; i < w->held_count; i++)
        count += !w->held[i].ended;
    return count;
}

bool worker_is_idle(const struct worker *w)
{
    return w->held_count == 0;
}

/* -- life -- */

void worker_start(struct sim *s, int number)
{
    struct worker *w = &s->workers[number];

    snprintf(w->name, sizeof w->name, "w%d", number % 10);
    w->is_alive = true;
    w->is_stopping = false;
    w->birth++;
    w->paused_until = 0;
    w->held_count = 0;
    w->hints = (struct hints){.link = HINTS_PAUSED, .poll_ms = 5000, .full_since_ms = s->now};
    w->poll = w->aside = NULL;
    w->heartbeat_busy = w->reporter_busy = w->source_busy = false;
    sim_say(s, "starts", "worker", number, 0);
}

static void poll_leave(struct poll *p)
{
    if (--p->refs == 0)
        free(p);
}

static void hang_up(struct poll **at)
{
    if (!*at)
        return;
    (*at)->is_waiting = false;
    poll_leave(*at);
    *at = NULL;
}

void worker_kill(struct sim *s, int number)
{
    struct worker *w = &s->workers[number];

    if (!w->is_alive)
        return;
    sim_say(s, "is killed", "worker", number, w->held_count);
    hang_up(&w->poll);
    hang_up(&w->aside);
    consumer_lose(s, number);
    w->is_alive = false;
    w->birth++;
    w->held_count = 0;
}

void workers_end(struct sim *s)
{
    for (int i = 0; i < WORKERS; i++)
        worker_kill(s, i);
}

/* -- claiming -- */

static bool is_listening(void *arg)
{
    const struct poll *p = arg;

    return p->is_waiting;
}

static void on_answer(void *arg, int rc, const struct work *items, size_t count,
                      const struct err *err)
{
    struct poll *p = arg;

    (void)err;
    p->is_answered = true;
    p->rc = p->life->is_dead || sim_happens(p->sim, p->sim->faults) ? -E_UNAVAILABLE : rc;
    p->count = p->rc ? 0 : count;
    for (size_t i = 0; i < p->count; i++) {
        p->items[i] = items[i];
        p->items[i].params = NULL;
    }
    poll_leave(p);
}

static void ack_oldest(struct sim *s, struct worker *w, int count)
{
    for (int i = 0; i < count && w->hints.link == HINTS_UP; i++)
        consumer_ack(s, number_of(s, w), w->tags[i]);
    memmove(w->tags, w->tags + count, (size_t)w->hints.held * sizeof w->tags[0]);
}

static void take_over(struct sim *s, struct worker *w, const struct poll *p)
{
    for (size_t i = 0; i < p->count && w->held_count < HELD; i++) {
        struct held *h = &w->held[w->held_count++];
        h->work = p->items[i];
        h->ended = h->lost = h->refused = false;
        h->renewed_ms = s->now;
        sim_say(s, "takes", w->name, sim_task(s, h->work.task_id), h->work.attempt);
    }
}

static void claim_failed(struct sim *s, struct worker *w)
{
    w->hints.retry_at_ms = s->now + 20 + sim_below(s, 500);
}

/* Deals with the answer once it is there, or with its absence. */
static void settle_poll(struct sim *s, struct worker *w, struct poll **at)
{
    struct poll *p = *at;

    if (!p->is_answered && s->now < p->until_ms)
        return;
    if (!p->is_answered || p->rc)
        claim_failed(s, w);
    else
        take_over(s, w, p);
    if (p->is_answered && !p->rc)
        w->spare -= (int)p->count;
    if (p->is_answered && !p->rc)
        ack_oldest(s, w, hints_claimed(&w->hints, p->asked, (int)p->count));
    hang_up(at);
}

static void claim(struct sim *s, struct worker *w, struct poll **at,
                  const struct hints_plan *plan)
{
    struct claim_request request = {
        .queue_count = 2, .limit = plan->limit, .wait_ms = plan->ms};
    unsigned birth = w->birth;
    struct poll *p = calloc(1, sizeof *p);
    struct life *l = manager_enter(s);

    if (!p)
        abort();
    if (!l) {
        free(p);
        claim_failed(s, w);
        return;
    }
    memcpy(request.worker, w->name, sizeof w->name);
    for (size_t i = 0; i < 2; i++)
        snprintf(request.queues[i], sizeof request.queues[i], "%s", queue_names[i]);
    *p = (struct poll){.refs = 3, /* this function holds one, too */
                       .life = l,
                       .sim = s,
                       .asked = plan->limit,
                       .is_waiting = true,
                       .until_ms = s->now + plan->ms + 1000};
    *at = p;
    service_claim(l->service, &request, &(struct claim_reply){on_answer, is_listening, p});
    bool heard = manager_leave(l);
    if (w->birth == birth && *at == p && !heard) {
        claim_failed(s, w);
        hang_up(at);
    } else if (w->birth == birth && *at == p) {
        settle_poll(s, w, at);
    }
    poll_leave(p);
}

static void link_lost(struct sim *s, struct worker *w)
{
    consumer_lose(s, number_of(s, w));
    w->hints.link = HINTS_DOWN;
    w->hints.held = 0;
}

static void consume(struct sim *s, struct worker *w)
{
    if (consumer_start(s, number_of(s, w), SLOTS)) {
        link_lost(s, w);
        return;
    }
    w->hints.link = HINTS_UP;
}

static void take_deliveries(struct sim *s, struct worker *w)
{
    while (w->hints.link == HINTS_UP && w->hints.held < MESSAGES &&
           consumer_next(s, number_of(s, w), &w->tags[w->hints.held]))
        w->hints.held++;
}

static void look_around(struct sim *s, struct worker *w)
{
    int room = w->held_count > HELD - SLOTS ? 0 : SLOTS - running(w);

    if (room == 0 && w->hints.room > 0)
        w->hints.full_since_ms = s->now;
    w->hints.room = room;
    if (!s->broker.is_up && w->hints.link == HINTS_UP)
        link_lost(s, w);
    if (w->hints.link == HINTS_DOWN)
        consume(s, w);
}

/* A claim waits at a manager: what came in through another one is asked for aside. */
static void look_aside(struct sim *s, struct worker *w)
{
    if (w->aside) {
        settle_poll(s, w, &w->aside);
        return;
    }
    look_around(s, w);
    take_deliveries(s, w);
    struct hints_plan plan = {HINTS_CLAIM, w->spare < w->hints.room ? w->spare : w->hints.room,
                              0};
    if (w->hints.held > 0 && plan.limit > 0 && s->now >= w->hints.retry_at_ms)
        claim(s, w, &w->aside, &plan);
}

static void source_step(struct sim *s, struct worker *w)
{
    if (w->poll) {
        settle_poll(s, w, &w->poll);
        if (w->poll && !w->is_stopping)
            look_aside(s, w);
        return;
    }
    if (w->aside) {
        settle_poll(s, w, &w->aside);
        return;
    }
    if (w->is_stopping)
        return;
    look_around(s, w);
    struct hints_plan plan = hints_next(&w->hints, s->now);
    check_hints(s, &w->hints, &plan);
    switch (plan.action) {
    case HINTS_WAIT:
        take_deliveries(s, w);
        break;
    case HINTS_CLAIM:
        w->spare = w->hints.room - plan.limit;
        claim(s, w, &w->poll, &plan);
        break;
    case HINTS_CONSUME:
        consume(s, w);
        break;
    case HINTS_PAUSE:
        w->hints.held = 0;
        w->hints.link = HINTS_PAUSED;
        consumer_lose(s, number_of(s, w));
        break;
    }
}

/* -- working -- */

static void fail(struct sim *s, struct report *r)
{
    static const enum error_class classes[] = {ERROR_INPUT, ERROR_TRANSIENT, ERROR_CRASH,
                                               ERROR_TIMEOUT};

    r->outcome = ATTEMPT_FAILED;
    r->error.class = classes[sim_below(s, 4)];
    snprintf(r->error.code, sizeof r->error.code, "code");
    snprintf(r->error.message, sizeof r->error.message, "it failed");
}

static void succeed(struct sim *s, const struct work *w, struct report *r)
{
    r->outcome = ATTEMPT_DONE;
    if (sim_below(s, 2))
        return;
    snprintf(r->output.key, sizeof r->output.key, "%.200stotals.csv", w->output_prefix);
    r->output.size = 1;
    if (!sim_happens(s, 60)) /* a worker that is broken has written nothing */
        objects_put(s, r->output.key, 1);
}

static void end_attempt(struct sim *s, struct worker *w, struct held *h)
{
    struct report *r = &h->report;

    memset(r, 0, sizeof *r);
    memcpy(r->task_id, h->work.task_id, sizeof r->task_id);
    memcpy(r->token, h->work.token, sizeof r->token);
    if (w->is_stopping || sim_happens(s, 50))
        r->outcome = ATTEMPT_RELEASED;
    else if (sim_below(s, 3) == 0)
        fail(s, r);
    else
        succeed(s, &h->work, r);
    h->ended = true;
    sim_say(s, "ends", w->name, sim_task(s, r->task_id), (int)r->outcome);
}

static void work_step(struct sim *s, struct worker *w)
{
    for (int i = w->held_count - 1; i >= 0; i--) {
        struct held *h = &w->held[i];
        if (h->ended)
            continue;
        if (h->lost || s->now > h->renewed_ms + 6 * LEASE_MS)
            forget(w, h);
        else if (s->healed || w->is_stopping || sim_below(s, 3) == 0)
            end_attempt(s, w, h);
    }
    if (w->is_stopping && w->held_count == 0)
        worker_kill(s, number_of(s, w)); /* it ends in good order */
}

/* -- heartbeats -- */

static void heartbeat_step(struct sim *s, struct worker *w)
{
    struct heartbeat items[HELD];
    struct heartbeat_verdict verdicts[HELD];
    size_t count = 0;
    int64_t sent_ms = s->now;
    unsigned birth = w->birth;
    struct life *l;

    for (int i = 0; i < w->held_count; i++) {
        if (w->held[i].lost)
            continue;
        items[count].progress = -1;
        memcpy(items[count].task_id, w->held[i].work.task_id, ID_TEXT_MAX);
        memcpy(items[count++].token, w->held[i].work.token, TOKEN_TEXT_MAX);
    }
    if (count == 0 || (l = manager_enter(s)) == NULL)
        return;
    w->heartbeat_busy = true;
    int rc = service_heartbeat(l->service, items, count, verdicts, NULL);
    bool dead = l->is_dead, heard = manager_leave(l);
    for (size_t i = 0; !rc && !dead && i < count; i++) {
        if (!verdicts[i].held)
            check_lost(s, &items[i]);
    }
    if (w->birth != birth)
        return;
    w->heartbeat_busy = false;
    for (size_t i = 0; !rc && heard && i < count; i++) {
        struct held *h = find_held(w, items[i].token);
        if (h && verdicts[i].held)
            h->renewed_ms = sent_ms;
        else if (h)
            h->lost = true;
    }
}

/* -- reports -- */

/* 0: the verdicts are there. */
static int send_reports(struct sim *s, const char *name, const struct report *reports,
                        size_t count, struct report_verdict *verdicts)
{
    struct life *l = manager_enter(s);

    if (!l)
        return -E_UNAVAILABLE;
    check_enter(s, (struct frame){FRAME_REPORT, reports, count, NULL});
    int rc = service_report(l->service, name, reports, count, verdicts, NULL);
    check_leave(s);
    /* A dead manager's answer reaches nobody, and was made up after its death. */
    bool dead = l->is_dead, heard = manager_leave(l);
    if (!rc && !dead)
        check_verdicts(s, reports, count, verdicts);
    return rc ? rc : heard ? 0 : -E_UNAVAILABLE;
}

static void keep_late(struct sim *s, const char *name, const struct report *r)
{
    struct late *l = &s->late[sim_below(s, LATE)];

    l->used = true;
    memcpy(l->worker, name, sizeof l->worker);
    l->report = *r;
}

void late_step(struct sim *s)
{
    struct report_verdict verdict;
    struct late l = s->late[sim_below(s, LATE)];

    if (!l.used)
        return;
    sim_say(s, "arrives late", l.worker, sim_task(s, l.report.task_id), (int)l.report.outcome);
    send_reports(s, l.worker, &l.report, 1, &verdict);
}

static void settle(struct sim *s, struct worker *w, struct held *h,
                   const struct report_verdict *v)
{
    sim_say(s, report_word_name(v->word), w->name, sim_task(s, v->task_id), (int)v->word);
    if (v->word != REPORT_REFUSED || h->refused) {
        forget(w, h);
        return;
    }
    fail(s, &h->report); /* the failure that goes in its place, as the real worker's */
    h->report.error.class = ERROR_TRANSIENT;
    h->report.output.key[0] = '\0';
    h->refused = true;
}

static void report_step(struct sim *s, struct worker *w)
{
    struct report reports[HELD];
    struct report_verdict verdicts[HELD];
    size_t count = 0;
    unsigned birth = w->birth;

    for (int i = 0; i < w->held_count; i++) {
        if (w->held[i].ended)
            reports[count++] = w->held[i].report;
    }
    if (count == 0)
        return;
    w->reporter_busy = true;
    if (sim_happens(s, 100))
        keep_late(s, w->name, &reports[0]);
    int rc = send_reports(s, w->name, reports, count, verdicts);
    if (w->birth != birth)
        return;
    w->reporter_busy = false;
    for (size_t i = 0; !rc && i < count; i++) {
        struct held *h = find_held(w, reports[i].token);
        if (h)
            settle(s, w, h, &verdicts[i]);
    }
}

/* -- steps -- */

void worker_step(struct sim *s, int number)
{
    struct worker *w = &s->workers[number];
    unsigned birth = w->birth;

    if (!w->is_alive) {
        if (sim_below(s, 4) == 0)
            worker_start(s, number);
        return;
    }
    if (s->now < w->paused_until)
        return;
    switch (sim_below(s, 5)) {
    case 0:
    case 1:
        if (w->source_busy)
            break;
        w->source_busy = true;
        source_step(s, w);
        if (w->birth == birth)
            w->source_busy = false;
        break;
    case 2:
        work_step(s, w);
        break;
    case 3:
        if (!w->heartbeat_busy)
            heartbeat_step(s, w);
        break;
    default:
        if (!w->reporter_busy)
            report_step(s, w);
    }
}
