/* store_mysql_transact.c - transactions that are done once or not at all, and known which. */
#include "mysql_internal.h"

#include <errmsg.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "backoff.h"
#include "clock.h"
#include "failpoint.h"

/* A server that is away is soon said to be; who lost to others, maybe again and again to those
 * on another node of a cluster, tries longer. */
enum {
    TRIES = 5,
    CONFLICT_TRIES = 10,
    WAIT_BASE_MS = 20,
    WAIT_CAP_MS = 500,
    GIVE_UP_MS = 10000
};

bool my_wait_for_try(enum my_fault fault, unsigned tries, int64_t began_ms)
{
    const unsigned most = fault == FAULT_RETRY ? CONFLICT_TRIES : TRIES;

    if ((fault != FAULT_RETRY && fault != FAULT_LINK) || tries + 1 >= most ||
        clock_mono_ms() - began_ms > GIVE_UP_MS)
        return false;
    int64_t ms = backoff_ms(WAIT_BASE_MS, WAIT_CAP_MS, tries);
    struct timespec t = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
    return true;
}

static enum my_fault fault_in(const struct my_conn *c, unsigned error)
{
    return my_fault_of(c ? c->error : error);
}

/* -- after a link broke during COMMIT -- */

struct probe {
    struct my_probe event;
    bool found;
};

static void bind_probe(struct my_query *q, struct my_conn *c, const struct my_probe *p)
{
    static const enum my_stmt statements[] = {
        [PROBE_CHANGE] = MY_PROBE, [PROBE_EVENT] = MY_EVENT_PROBE, [PROBE_RUN] = MY_RUN_PROBE};

    my_begin(q, c, statements[p->kind]);
    if (p->kind != PROBE_CHANGE) {
        my_int(q, p->seq);
        return;
    }
    my_id(q, p->id);
    my_int(q, p->from);
    my_int(q, p->to);
    my_int(q, p->attempt);
}

/* A locking read: should the server still be busy with the broken session, this waits until
 * it has committed or rolled back. */
static int probe_body(struct my_conn *c, void *arg, struct err *err)
{
    struct probe *p = arg;
    struct my_query q;
    char id[ID_TEXT_MAX];

    bind_probe(&q, c, &p->event);
    my_out_id(&q, id);
    int rc = my_one(&q, err);
    p->found = rc > 0 && strcmp(id, p->event.id) == 0;
    return rc < 0 ? rc : 0;
}

/* -- one try -- */

enum outcome { DONE, UNDONE, UNKNOWN };

static void roll_back(struct my_conn *c)
{
    unsigned error = c->error;

    my_forget_script(c);
    if (c->is_begun && my_fault_of(error) != FAULT_LINK && my_exec(c, "ROLLBACK", NULL) != 0)
        c->spoiled = true;
    c->error = error; /* what led here decides about another try */
}

/* How many tasks there are of each kind now: the last statement of a transaction, so that
 * nobody holds these rows for longer than a COMMIT. */
static int write_tally(struct my_conn *c, struct err *err)
{
    int rc = tally_settle(&c->tally, err);

    for (size_t from = 0, n; from < c->tally.count && !rc; from += n) {
        struct my_query q;
        n = my_begin_rows(&q, c, MY_TALLY_ADD, c->tally.count - from);
        for (size_t i = from; i < from + n; i++) {
            const struct tally_item *item = &c->tally.items[i];
            my_int(&q, c->shard);
            my_int(&q, item->state);
            my_text(&q, item->type);
            my_text(&q, item->queue);
            my_int(&q, item->change);
        }
        rc = my_run(&q, NULL, err);
    }
    return rc;
}

/* COMMIT goes with what still waits, unless the number of an event has to be known: that comes
 * with the answers to all before it. */
static int commit(struct my_conn *c, enum outcome *ret, struct err *err)
{
    int rc = c->probe.kind > PROBE_CHANGE ? my_flush(c, err) : 0;

    if (rc)
        return rc;
    my_queue(c, "COMMIT");
    FAILPOINT(commit_begun);
    rc = my_flush(c, err);
    FAILPOINT(commit_done);
    if (!rc)
        *ret = DONE;
    else if (my_fault_of(c->error) == FAULT_LINK)
        *ret = UNKNOWN;
    return rc;
}

/* Nothing comes from a server that was asked nothing, but the end of the connection: one that
 * died while it was idle must not leave open whether the transaction that is sent was recorded.
 */
static int check_link(struct my_conn *c, struct err *err)
{
    struct pollfd link = {.fd = mysql_get_socket(c->my), .events = POLLIN | POLLRDHUP};

    if (poll(&link, 1, 0) <= 0)
        return 0;
    c->error = CR_SERVER_GONE_ERROR;
    return err_set(err, -E_UNAVAILABLE, "the database has closed the connection");
}

static int try_once(struct my_conn *c, my_body *body, void *arg, enum outcome *ret,
                    struct err *err)
{
    *ret = UNDONE;
    my_forget_script(c);
    c->in_transaction = true;
    c->is_begun = c->tells_ahead = c->has_clock = false;
    c->probe.kind = PROBE_NONE;
    tally_clear(&c->tally);
    int rc = check_link(c, err);
    my_queue(c, "START TRANSACTION");
    if (!rc)
        rc = body(c, arg, err);
    if (!rc)
        rc = write_tally(c, err);
    if (!rc)
        rc = commit(c, ret, err);
    if (rc && *ret == UNDONE)
        roll_back(c);
    c->in_transaction = false;
    return rc;
}

/* Tasks may wait now that did not before. */
static void tell_ahead(struct store_mysql *s, const struct my_conn *c)
{
    for (size_t i = 0; i < c->tally.count && !c->tells_ahead; i++) {
        const struct tally_item *item = &c->tally.items[i];
        if (item->state == TASK_RECEIVED && item->change > 0)
            my_ahead_forget(&s->ahead, item->queue);
    }
}

static bool is_broken(const struct my_conn *c)
{
    return c->spoiled || my_fault_of(c->error) == FAULT_LINK;
}

static int transact(struct store_mysql *s, my_body *body, void *arg, struct probe *ret_lost,
                    struct err *err)
{
    int64_t began_ms = clock_mono_ms();

    for (unsigned tries = 0;; tries++) {
        struct my_conn *c = NULL;
        unsigned error = 0;
        enum outcome outcome = UNDONE;
        enum my_fault fault;

        int rc = my_borrow(s, &c, &error, err);
        if (!rc)
            rc = try_once(c, body, arg, &outcome, err);
        if (outcome == DONE)
            tell_ahead(s, c);
        fault = fault_in(c, error);
        if (c) {
            if (outcome == UNKNOWN && ret_lost)
                ret_lost->event = c->probe;
            my_give_back(s, c, is_broken(c));
        }
        if (!rc)
            return 0;
        if (ret_lost && ret_lost->event.kind != PROBE_NONE)
            return -E_UNKNOWN_OUTCOME;
        if (!my_wait_for_try(fault, tries, began_ms))
            return rc;
    }
}

/* The probe of a session that broke tells of what the server had done by then. It may still
 * have been at the statements before: then the redo meets their rows, fails, and another look
 * tells. */
int my_transact(struct store_mysql *s, my_body *body, void *arg, struct err *err)
{
    struct probe before = {.found = false};

    for (int tries = 0; tries < TRIES; tries++) {
        struct probe lost = {.found = false};
        struct err why = ERR_INIT;
        int rc = transact(s, body, arg, &lost, err);
        bool is_unknown = lost.event.kind != PROBE_NONE;
        if (!is_unknown && (!rc || before.event.kind == PROBE_NONE))
            return rc;
        if (is_unknown)
            before = lost;
        if (transact(s, probe_body, &before, NULL, &why))
            return err_set(err, -E_UNKNOWN_OUTCOME,
                           "the link to the database broke during COMMIT, and then: %s",
                           why.text);
        if (before.found || !is_unknown)
            return before.found ? 0 : rc;
    }
    return err_set(err, -E_UNAVAILABLE, "the link to the database broke during COMMIT %d times",
                   TRIES);
}

int my_read(struct store_mysql *s, my_body *body, void *arg, struct err *err)
{
    int64_t began_ms = clock_mono_ms();

    for (unsigned tries = 0;; tries++) {
        struct my_conn *c = NULL;
        unsigned error = 0;

        int rc = my_borrow(s, &c, &error, err);
        if (!rc)
            rc = body(c, arg, err);
        enum my_fault fault = fault_in(c, error);
        if (c)
            my_give_back(s, c, is_broken(c));
        if (!rc || !my_wait_for_try(fault, tries, began_ms))
            return rc;
    }
}
