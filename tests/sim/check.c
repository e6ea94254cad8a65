/* check.c - the promises, checked at every step against a memory of its own.
 *
 * The checker sees what each transaction changed and what each answer said, and knows nothing
 * of guards or tokens in the store: who owned what is its own book-keeping. The letters are
 * those of the project's list of invariants. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

void check_begin(struct sim *s)
{
    s->truth_count = 0;
    s->frame_count = 0;
    memset(s->key_id, 0, sizeof s->key_id);
}

static struct truth *find(struct sim *s, const char *id)
{
    for (size_t i = 0; i < s->truth_count; i++) {
        if (memcmp(s->truth[i].id, id, ID_TEXT_MAX) == 0)
            return &s->truth[i];
    }
    return NULL;
}

int sim_task(struct sim *s, const char *id)
{
    const struct truth *t = find(s, id);

    return t ? (int)(t - s->truth) : -1;
}

static int number_of(const struct sim *s, const struct truth *t)
{
    return (int)(t - s->truth);
}

static struct truth_attempt *find_attempt(struct truth *t, const char *token)
{
    for (int i = 0; i < t->attempt; i++) {
        if (strcmp(t->attempts[i].token, token) == 0)
            return &t->attempts[i];
    }
    return NULL;
}

static bool is_end(int state)
{
    return state == TASK_DONE || state == TASK_FAILED || state == TASK_CANCELLED;
}

/* The drawing of task_state.h, once more and independently. */
static bool is_legal(int from, int to)
{
    switch (from) {
    case -1:
        return to == TASK_RECEIVED;
    case TASK_RECEIVED:
        return to == TASK_PROCESSING || to == TASK_FAILED || to == TASK_CANCELLED;
    case TASK_PROCESSING:
        return to != TASK_PROCESSING;
    case TASK_FAILED:
        return to == TASK_RECEIVED;
    default:
        return false;
    }
}

/* -- calls under way -- */

void check_enter(struct sim *s, struct frame frame)
{
    if (s->frame_count == FRAMES)
        sim_break(s, "simulation", "too many calls at once", FRAMES);
    else
        s->frames[s->frame_count++] = frame;
}

void check_leave(struct sim *s)
{
    if (s->frame_count > 0)
        s->frame_count--;
}

/* Is somebody reporting this very attempt right now? */
static bool is_reported(const struct sim *s, const char *id, const char *token)
{
    for (int i = 0; i < s->frame_count; i++) {
        const struct frame *f = &s->frames[i];
        for (size_t j = 0; f->kind == FRAME_REPORT && j < f->count; j++) {
            if (strcmp(f->reports[j].task_id, id) == 0 &&
                strcmp(f->reports[j].token, token) == 0)
                return true;
        }
    }
    return false;
}

static bool is_asked_for(const struct sim *s, const char *id)
{
    for (int i = 0; i < s->frame_count; i++) {
        if (s->frames[i].kind == FRAME_CHANGE && strcmp(s->frames[i].id, id) == 0)
            return true;
    }
    return false;
}

/* -- what transactions changed -- */

static struct truth *note_submit(struct sim *s, const struct model_change *c)
{
    if (s->truth_count == TASKS) {
        sim_break(s, "simulation", "too many tasks", TASKS);
        return NULL;
    }
    struct truth *t = &s->truth[s->truth_count++];
    memcpy(t->id, c->task->t.id, sizeof t->id);
    t->state = -1;
    t->attempt = t->ends = t->retries = 0;
    t->max_attempts = t->budget = c->task->t.max_attempts;
    t->accepted = false;
    t->row = 0;
    return t;
}

static void note_claim(struct sim *s, struct truth *t, const struct model_change *c)
{
    if (t->attempt == ATTEMPTS) {
        sim_break(s, "simulation", "too many attempts", ATTEMPTS);
        return;
    }
    struct truth_attempt *a = &t->attempts[t->attempt++];
    memcpy(a->token, c->task->token, sizeof a->token);
    a->outcome = ATTEMPT_RUNNING;
    a->was_recorded = false;
    if (c->task->t.attempt != t->attempt)
        sim_break(s, "I9", "attempts are not counted one by one", number_of(s, t));
    if (t->attempt > t->max_attempts)
        sim_break(s, "I9", "an attempt beyond the limit", number_of(s, t));
}

/* An attempt ended: who may do that? */
static void note_attempt_end(struct sim *s, struct truth *t, const struct model_change *c)
{
    struct truth_attempt *a = &t->attempts[t->attempt - 1];

    a->outcome = c->outcome;
    if (c->outcome == ATTEMPT_RUNNING)
        sim_break(s, "I2", "an attempt went on after its task left", number_of(s, t));
    if (c->outcome == ATTEMPT_RELEASED && c->task->t.state == TASK_RECEIVED)
        t->max_attempts++;
    if (strcmp(c->actor, "reaper") == 0) {
        if (c->lease_ms > c->now_ms)
            sim_break(s, "lease", "the reaper took a task within its lease", number_of(s, t));
        if (c->outcome != ATTEMPT_LOST)
            sim_break(s, "lease", "the reaper ended an attempt as not lost", number_of(s, t));
    } else if (strcmp(c->actor, "client") == 0) {
        if (!is_asked_for(s, t->id))
            sim_break(s, "I2", "no client asked for this change", number_of(s, t));
    } else if (!is_reported(s, t->id, a->token)) {
        sim_break(s, "I7", "an attempt was ended by a report with another token",
                  number_of(s, t));
    }
}

static void note_row(struct sim *s, struct truth *t)
{
    const struct model_row *r =
        s->db.outbox_count ? &s->db.outbox[s->db.outbox_count - 1] : NULL;

    if (!r || strcmp(r->row.task_id, t->id) != 0 || r->row.seq == t->row)
        sim_break(s, "outbox", "a task that waits was not announced", number_of(s, t));
    else
        t->row = r->row.seq;
}

void check_changed(struct sim *s, const struct model_change *c)
{
    struct truth *t = c->from < 0 ? note_submit(s, c) : find(s, c->task->t.id);
    int to = (int)c->task->t.state;

    if (!t)
        return;
    sim_say(s, task_state_name(c->task->t.state), c->actor, number_of(s, t),
            c->task->t.attempt);
    if (t->state != c->from)
        sim_break(s, "I2", "a move from where the task was not", number_of(s, t));
    if (!is_legal(c->from, to))
        sim_break(s, "I2", "a move that is not in the table", number_of(s, t));
    if (c->from == TASK_FAILED) {
        t->retries++;
        t->max_attempts = t->attempt + t->budget;
        if (strcmp(c->actor, "client") != 0 || !is_asked_for(s, t->id))
            sim_break(s, "I2", "a FAILED task came back by itself", number_of(s, t));
    }
    if (to == TASK_PROCESSING)
        note_claim(s, t, c);
    if (c->from == TASK_PROCESSING)
        note_attempt_end(s, t, c);
    t->state = to;
    t->ends += is_end(to);
    if (t->ends > t->retries + 1)
        sim_break(s, "I2", "a task ended twice", number_of(s, t));
    if (to == TASK_RECEIVED && !c->is_quiet)
        note_row(s, t);
    if (c->task->t.max_attempts != t->max_attempts)
        sim_break(s, "I9", "another number of attempts than were granted", number_of(s, t));
    if (to == TASK_DONE && c->task->t.output.key[0] && strcmp(c->actor, "client") != 0 &&
        !objects_have(s, c->task->t.output.key))
        sim_break(s, "I3", "a task is DONE and its file is not there", number_of(s, t));
}

void check_published(struct sim *s, const char *id)
{
    for (size_t i = 0; i < s->truth_count; i++) {
        if (strncmp(s->truth[i].id, id, ID_TEXT_MAX - 1) == 0)
            return;
    }
    sim_break(s, "outbox", "a task was announced that is not committed", 0);
}

void check_unannounced(struct sim *s, int64_t seq)
{
    if (seq < ROWS && !s->broker.confirmed[seq])
        sim_break(s, "outbox", "a row was removed that the broker had not confirmed", (int)seq);
}

void check_removed(struct sim *s, const char *key)
{
    for (size_t i = 0; i < s->db.task_count; i++) {
        const struct task *t = &s->db.tasks[i].t;
        if (t->state == TASK_DONE && strcmp(t->output.key, key) == 0)
            sim_break(s, "I3", "the file of a DONE task was removed", (int)i);
    }
}

/* -- what answers said -- */

void check_accepted(struct sim *s, const struct client *c, const struct submit_result *r)
{
    struct truth *t = find(s, r->id);

    if (!t) {
        sim_break(s, "I1", "an accepted task does not exist", (int)(c - s->clients));
        return;
    }
    t->accepted = true;
    if (c->key < 0)
        return;
    if (!s->key_id[c->key][0]) {
        memcpy(s->key_id[c->key], r->id, ID_TEXT_MAX);
        s->key_variant[c->key] = c->variant;
    }
    if (strcmp(s->key_id[c->key], r->id) != 0)
        sim_break(s, "I6", "one key, two tasks", c->key);
    if (s->key_variant[c->key] != c->variant)
        sim_break(s, "I6", "another request was accepted under a key", c->key);
}

void check_mismatch(struct sim *s, const struct client *c)
{
    if (s->key_id[c->key][0] && s->key_variant[c->key] == c->variant)
        sim_break(s, "I6", "the same request was told to be another", c->key);
}

void check_verdicts(struct sim *s, const struct report *reports, size_t count,
                    const struct report_verdict *verdicts)
{
    for (size_t i = 0; i < count; i++) {
        const struct report *r = &reports[i];
        struct truth *t = find(s, r->task_id);
        struct truth_attempt *a = t ? find_attempt(t, r->token) : NULL;
        enum report_word word = verdicts[i].word;
        if (!a) {
            sim_break(s, "simulation", "a report of an attempt that never was", (int)i);
            return;
        }
        if (word == REPORT_UNKNOWN)
            sim_break(s, "I1", "a task is not known any more", number_of(s, t));
        if (word == REPORT_STALE && a->outcome == ATTEMPT_RUNNING)
            sim_break(s, "I7", "the owner was told that it is not", number_of(s, t));
        if (word == REPORT_REFUSED && (!r->output.key[0] || objects_have(s, r->output.key)))
            sim_break(s, "I13", "a good report was refused", number_of(s, t));
        if (word != REPORT_RECORDED && word != REPORT_REPEATED)
            continue;
        if (a->outcome != r->outcome)
            sim_break(s, "I7", "another outcome was recorded than was reported",
                      number_of(s, t));
        if (word == REPORT_RECORDED && a->was_recorded)
            sim_break(s, "I2", "an attempt was recorded twice", number_of(s, t));
        a->was_recorded = a->was_recorded || word == REPORT_RECORDED;
    }
}

void check_renewed(struct sim *s, const char *id, const char *token)
{
    struct truth *t = find(s, id);
    struct truth_attempt *a = t ? find_attempt(t, token) : NULL;

    if (!a || a != &t->attempts[t->attempt - 1] || a->outcome != ATTEMPT_RUNNING)
        sim_break(s, "I7", "a lease was renewed for an attempt that lost it",
                  t ? number_of(s, t) : -1);
}

void check_lost(struct sim *s, const struct heartbeat *asked)
{
    struct truth *t = find(s, asked->task_id);
    struct truth_attempt *a = t ? find_attempt(t, asked->token) : NULL;

    if (!a || a->outcome == ATTEMPT_RUNNING)
        sim_break(s, "lease", "the owner was told that its lease is lost",
                  t ? number_of(s, t) : -1);
}

/* A hint is acted on when there is room, or soon given to somebody who has some. */
void check_hints(struct sim *s, const struct hints *h, const struct hints_plan *plan)
{
    bool may_claim = h->link == HINTS_UP && h->room > 0 && s->now >= h->retry_at_ms;

    if (h->held < 0 ||
        (plan->action == HINTS_CLAIM && (plan->limit <= 0 || h->room < plan->limit)))
        sim_break(s, "hints", "more was claimed than there is room for", plan->limit);
    if (h->held > 0 && may_claim && plan->action != HINTS_CLAIM)
        sim_break(s, "hints", "a hint lies unused beside a free slot", h->held);
    if (h->held > 0 && h->link == HINTS_UP && h->room == 0 && plan->action == HINTS_WAIT &&
        plan->ms > h->full_since_ms + HINTS_GIVE_BACK_MS - s->now)
        sim_break(s, "hints", "a full worker keeps hints to itself", h->held);
}

/* -- all the time, and at the end -- */

void check_step(struct sim *s)
{
    for (size_t i = 0; i < s->db.task_count; i++) {
        const struct model_task *m = &s->db.tasks[i];
        const struct truth *t = &s->truth[i];
        bool runs = m->t.state == TASK_PROCESSING;
        if ((int)m->t.state != t->state || m->t.attempt != t->attempt)
            sim_break(s, "I2", "a task changed unseen", (int)i);
        if (runs != (m->token[0] != '\0'))
            sim_break(s, "lease", "a token without an owner, or none with one", (int)i);
        if (runs && strcmp(m->token, t->attempts[t->attempt - 1].token) != 0)
            sim_break(s, "lease", "a task is owned by an older attempt", (int)i);
        for (int a = 0; a < t->attempt; a++) {
            bool open = t->attempts[a].outcome == ATTEMPT_RUNNING;
            if (open != (runs && a == t->attempt - 1))
                sim_break(s, "lease", "two owners, or none of a running task", (int)i);
        }
    }
}

bool check_is_over(struct sim *s)
{
    for (size_t i = 0; i < s->truth_count; i++) {
        if (!is_end(s->truth[i].state))
            return false;
    }
    for (int i = 0; i < CLIENTS; i++) {
        if (s->clients[i].state == CLIENT_SUBMITS)
            return false;
    }
    for (int i = 0; i < WORKERS; i++) {
        if (!worker_is_idle(&s->workers[i]))
            return false;
    }
    return s->db.outbox_count == 0;
}

void check_end(struct sim *s)
{
    for (size_t i = 0; i < s->truth_count; i++) {
        const struct truth *t = &s->truth[i];
        if (!is_end(t->state) || t->ends != t->retries + 1)
            sim_break(s, "I1", t->accepted ? "an accepted task did not end" : "a task is stuck",
                      (int)i);
    }
}
