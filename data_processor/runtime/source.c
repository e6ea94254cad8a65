/* source.c - the thread that claims attempts: it waits for them at the task manager, and aside
 * for deliveries of the broker, which tell what came in elsewhere. The rules are in hints.c;
 * this does what they say. */
#include <assert.h>
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker.h"
#include "clock.h"
#include "failpoint.h"
#include "hints.h"
#include "log.h"
#include "threads.h"

enum {
    CALL_SPARE_MS = 30000,
    SLOTS_MAX = 1024,
    PAUSE_MAX_MS = 30000,
    UNREAD_LEASE_MS =
        10000, /* of an attempt whose lease could not be read; until a heartbeat */
    KNOWN_MAX = 256,
    REST_MS = 3000
};

/* An attempt that was claimed here. */
struct known {
    char task_id[ID_TEXT_MAX];
    int attempt;
};

struct source {
    struct service *s;
    struct hints hints;
    uint64_t tags[SLOTS_MAX];      /* of the deliveries held, oldest first */
    struct known known[KNOWN_MAX]; /* the latest ones, in a ring */
    size_t known_next;
    struct manager aside;   /* for claims while one waits, */
    int spare;              /* of so many more at most */
    int64_t aside_retry_ms; /* none before this: the manager was away */
    int64_t worked_ms;      /* when a claim last got something; 0 once at rest */
};

/* --- the broker --- */

static void link_lost(struct source *src, const struct err *err)
{
    if (src->hints.link != HINTS_DOWN)
        log_warn("broker.away", LOG_S("error", err->text));
    src->hints.link = HINTS_DOWN;
    src->hints.held = 0; /* they will come again */
}

static void consume(struct source *src)
{
    const struct runtime_options *o = src->s->options;
    const char *queues[WORKER_QUEUES_MAX];
    struct err err = ERR_INIT;
    bool was_down = src->hints.link == HINTS_DOWN;

    for (size_t i = 0; i < o->queue_count; i++)
        queues[i] = o->queues[i];
    if (broker_consume(src->s->broker, queues, o->queue_count, (uint16_t)o->slots, &err) != 0) {
        link_lost(src, &err);
        return;
    }
    if (was_down)
        log_info("broker.up", LOG_I("prefetch", o->slots));
    log_debug("broker.listening", LOG_I("prefetch", o->slots));
    src->hints.link = HINTS_UP;
}

static void pause_link(struct source *src)
{
    struct err err = ERR_INIT;

    log_debug("broker.paused", LOG_I("given_back", src->hints.held));
    src->hints.held = 0;
    src->hints.link = HINTS_PAUSED;
    if (broker_pause(src->s->broker, &err) != 0)
        link_lost(src, &err);
}

static void ack_oldest(struct source *src, int count)
{
    struct err err = ERR_INIT;

    for (int i = 0; i < count && src->hints.link == HINTS_UP; i++) {
        if (broker_ack(src->s->broker, src->tags[i], &err) != 0)
            link_lost(src, &err);
        FAILPOINT(delivery_acked);
    }
    memmove(src->tags, src->tags + count, (size_t)src->hints.held * sizeof src->tags[0]);
}

/* Does the delivery tell of an attempt that is claimed already? The manager hands work to
 * whoever waits there before the broker has told of it. */
static bool is_known(const struct source *src, const struct broker_delivery *d)
{
    char id[ID_TEXT_MAX];
    int attempt;

    if (sscanf(d->body, "{\"task_id\":\"%36[^\"]\",\"type\":\"%*[^\"]\",\"attempt\":%9d}", id,
               &attempt) != 2)
        return false;
    for (size_t i = 0; i < KNOWN_MAX; i++) {
        if (src->known[i].attempt > attempt && strcmp(src->known[i].task_id, id) == 0)
            return true;
    }
    return false;
}

static void remember(struct source *src, const struct work *w)
{
    struct known *k = &src->known[src->known_next++ % KNOWN_MAX];

    memcpy(k->task_id, w->task_id, sizeof k->task_id);
    k->attempt = w->attempt;
}

/* Holds it as a hint, unless it has nothing to say. */
static void take_delivery(struct source *src, const struct broker_delivery *d)
{
    struct err err = ERR_INIT;

    assert(src->hints.held < SLOTS_MAX); /* the prefetch */
    if (!is_known(src, d))
        src->tags[src->hints.held++] = d->tag;
    else if (broker_ack(src->s->broker, d->tag, &err) != 0)
        link_lost(src, &err);
}

/* --- waiting --- */

static void hush(int fd)
{
    uint64_t count;

    /* Empty already (EAGAIN) is as good. */
    if (read(fd, &count, sizeof count) < 0)
        errno = 0;
}

/* Takes what is there, up to the number of slots. */
static void wait_on_broker(struct source *src, int ms)
{
    struct broker_delivery d;
    struct err err = ERR_INIT;
    int rc;

    while ((rc = broker_next(src->s->broker, ms, src->s->board->source_fd, &d, &err)) > 0) {
        take_delivery(src, &d);
        ms = 0;
    }
    if (rc < 0)
        link_lost(src, &err);
}

static void wait_somehow(struct source *src, int64_t ms)
{
    struct pollfd wake = {.fd = src->s->board->source_fd, .events = POLLIN};

    if (src->hints.link == HINTS_UP || src->hints.link == HINTS_PAUSED)
        wait_on_broker(src, (int)ms);
    else
        poll(&wake, 1, (int)ms);
    hush(wake.fd);
}

/* --- claiming --- */

static void fill_request(const struct runtime_options *o, const struct hints_plan *plan,
                         struct claim_request *ret)
{
    memset(ret, 0, sizeof *ret);
    snprintf(ret->worker, sizeof ret->worker, "%s", o->worker);
    memcpy(ret->queues, o->queues, sizeof ret->queues);
    ret->queue_count = o->queue_count;
    ret->limit = plan->limit;
    ret->wait_ms = plan->ms;
}

/* It would read the same anywhere else: told at once, so that the task does not go round. */
static int hand_back_unread(struct source *src, struct claim_item *c, int64_t now_ms,
                            struct err *err)
{
    struct report report = {.outcome = ATTEMPT_FAILED,
                            .error = {.class = ERROR_INPUT, .code = "undecodable"}};
    struct err sentence = ERR_INIT; /* cut between characters, if it must be */

    memcpy(report.task_id, c->work.task_id, sizeof report.task_id);
    memcpy(report.token, c->work.token, sizeof report.token);
    err_set(&sentence, -E_BAD_VALUE, "the worker cannot read this task: %s", c->fault.text);
    memcpy(report.error.message, sentence.text, sizeof report.error.message);
    log_error("task.undecodable", LOG_S("task_id", c->work.task_id),
              LOG_S("error", c->fault.text));
    c->work.lease_ms = UNREAD_LEASE_MS;
    return board_add_ended(src->s->board, &c->work, &report, now_ms, err);
}

static int take_one(struct source *src, struct claim_item *c, int64_t now_ms, struct err *err)
{
    if (c->fault.code)
        return hand_back_unread(src, c, now_ms, err);
    log_debug("task.claimed", LOG_S("task_id", c->work.task_id), LOG_S("type", c->work.type),
              LOG_S("queue", c->work.queue), LOG_I("attempt", c->work.attempt));
    remember(src, &c->work);
    return board_add(src->s->board, &c->work, now_ms, err);
}

/* Takes each; -E_BAD_VALUE when the manager gave one away without saying which. */
static int take_over(struct source *src, struct claim_item *items, size_t count,
                     struct err *err)
{
    int64_t now = clock_mono_ms();
    int rc = 0;

    if (count > 0)
        FAILPOINT(claim_received);
    for (size_t i = 0; i < count; i++) {
        struct err why = ERR_INIT;
        if (items[i].fault.code && !items[i].work.task_id[0])
            rc = err_set(err, -E_BAD_VALUE, "%s", items[i].fault.text);
        /* Without memory for it, its lease will run out and somebody else takes it. */
        else if (take_one(src, &items[i], now, &why) != 0)
            log_error("task.dropped", LOG_S("error", why.text));
    }
    if (count > 0)
        FAILPOINT(claim_boarded);
    return rc;
}

static int call_claim(struct source *src, struct manager *m, const struct hints_plan *plan,
                      int *ret_got, struct err *err)
{
    struct claim_request request;
    struct claim_item *items = NULL;
    size_t count = 0;
    struct buf answer;

    fill_request(src->s->options, plan, &request);
    int rc = manager_post(m, "/v1/worker/claim", claim_request_encode(&request),
                          (int)plan->ms + CALL_SPARE_MS, &answer, err);
    if (!rc) {
        rc = work_list_decode(answer.data, answer.len, &items, &count, err);
        if (!rc)
            rc = take_over(src, items, count, err);
        if (rc) {
            manager_distrust(m, err);
            err_wrap(err, "the answer to a claim");
        } else {
            manager_trust(m);
        }
    }
    buf_release(&answer);
    free(items);
    *ret_got = (int)count;
    return rc;
}

/* What a crowd of tasks took and freed goes back to the system once there have been none for a
 * while. */
static void rest_when_idle(struct source *src, int got, int64_t now_ms)
{
    if (got > 0) {
        src->worked_ms = now_ms;
    } else if (src->worked_ms && now_ms - src->worked_ms >= REST_MS) {
        malloc_trim(0);
        src->worked_ms = 0;
    }
}

/* True when it was answered; if not, *ret_retry_ms is when to try again. */
static bool claim_from(struct source *src, struct manager *m, const struct hints_plan *plan,
                       int64_t *ret_retry_ms)
{
    struct err err = ERR_INIT;
    int got = 0, rc = call_claim(src, m, plan, &got, &err);

    if (rc == -E_BAD_VALUE) /* wrong address or a manager of another make: stay loud */
        log_error("claim.refused", LOG_S("error", err.text));
    else if (rc == -E_NO_MEMORY)
        log_error("claim.failed", LOG_S("error", err.text));
    if (rc) {
        *ret_retry_ms = clock_mono_ms() + 20 + manager_pause_ms(m, PAUSE_MAX_MS);
        return false;
    }
    rest_when_idle(src, got, clock_mono_ms());
    src->spare -= got;
    ack_oldest(src, hints_claimed(&src->hints, plan->limit, got));
    return true;
}

/* While a claim waits, which goes on. */
static int look_aside(void *arg)
{
    struct source *src = arg;

    if (src->hints.link != HINTS_UP)
        return -1;
    wait_on_broker(src, 0);
    struct hints_plan plan = {HINTS_CLAIM, src->spare, 0};
    if (src->hints.held > 0 && plan.limit > 0 && clock_mono_ms() >= src->aside_retry_ms &&
        !atomic_load(&src->s->board->claims_stopped))
        claim_from(src, &src->aside, &plan, &src->aside_retry_ms);
    return src->hints.link == HINTS_UP ? broker_fd(src->s->broker) : -1;
}

/* A long poll may wait for nothing and is cut short by a stop; a claim that is answered at once
 * is not, since its tasks would be nobody's until their leases end. */
static void claim(struct source *src, const struct hints_plan *plan)
{
    struct manager *m = &src->s->manager;

    m->stop = plan->ms > 0 ? &src->s->board->claims_stopped : &src->s->board->quit;
    m->aside = plan->ms > 0 ? look_aside : NULL;
    m->aside_arg = src;
    src->spare = src->hints.room - plan->limit;
    if (!claim_from(src, m, plan, &src->hints.retry_at_ms))
        src->hints.is_in_touch = false;
}

/* --- the thread --- */

/* For the worker's health: what this thread does next takes ms, unless something hangs. */
static void promise(struct source *src, int64_t ms)
{
    atomic_store(&src->s->link, (int)src->hints.link);
    atomic_store(&src->s->back_by_ms, clock_mono_ms() + ms);
}

static void look_around(struct source *src)
{
    int room = board_room(src->s->board);

    promise(src, 0);
    if (room == 0 && src->hints.room > 0)
        src->hints.full_since_ms = clock_mono_ms();
    src->hints.room = room;
    if (src->hints.link == HINTS_DOWN)
        consume(src); /* answers at once while the broker's own back-off lasts */
}

static void step(struct source *src)
{
    struct hints_plan plan = hints_next(&src->hints, clock_mono_ms());

    promise(src, plan.ms);
    switch (plan.action) {
    case HINTS_WAIT:
        wait_somehow(src, plan.ms);
        break;
    case HINTS_CLAIM:
        claim(src, &plan);
        break;
    case HINTS_CONSUME:
        consume(src);
        break;
    case HINTS_PAUSE:
        pause_link(src);
        break;
    }
}

void *source_run(void *arg)
{
    struct service *s = arg;
    struct source *src = calloc(1, sizeof *src);
    struct err err = ERR_INIT;

    if (!src) {
        log_error("worker.failed", LOG_S("error", "no memory to claim tasks"));
        board_end_source(s->board);
        return NULL;
    }
    src->s = s;
    if (manager_open(&src->aside, s->options->manager_url, "claim aside", &s->board->quit,
                     &err) != 0) {
        log_error("worker.failed", LOG_S("error", err.text));
        board_end_source(s->board);
        free(src);
        return NULL;
    }
    src->hints.poll_ms = s->options->poll_ms;
    src->hints.link = broker_delivers(s->broker) ? HINTS_PAUSED : HINTS_NONE;
    src->hints.full_since_ms = clock_mono_ms();
    while (!atomic_load(&s->board->claims_stopped)) {
        look_around(src);
        step(src);
    }
    manager_close(&src->aside);
    free(src);
    board_end_source(s->board);
    return NULL;
}
