/* managers.c - two task managers on one store: the real service without its threads. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* -- what their stores go through -- */

static int64_t db_now(void *arg)
{
    return ((struct life *)arg)->sim->now;
}

static int before_call(void *arg, const char *call, struct err *err)
{
    struct life *l = arg;
    struct sim *s = l->sim;

    if (!l->is_dead)
        sim_meddle(s);
    if (l->is_dead)
        return err_set(err, -E_UNAVAILABLE, "the process has ended");
    if (s->now < s->db_down_until || sim_happens(s, s->faults)) {
        sim_say(s, "fails", call, l->number, 0);
        return err_set(err, -E_UNAVAILABLE, "the database is away");
    }
    if (sim_happens(s, s->faults / 4)) {
        sim_say(s, "did not count", call, l->number, 0);
        return err_set(err, -E_UNKNOWN_OUTCOME, "the link broke during COMMIT");
    }
    return 0;
}

static int after_call(void *arg, const char *call, struct err *err)
{
    struct life *l = arg;
    struct sim *s = l->sim;

    sim_meddle(s);
    if (l->is_dead)
        return err_set(err, -E_UNAVAILABLE, "the process has ended");
    if (sim_happens(s, s->faults / 4)) {
        sim_say(s, "counted unheard", call, l->number, 0);
        return err_set(err, -E_UNKNOWN_OUTCOME, "the link broke during COMMIT");
    }
    return 0;
}

static void on_changed(void *arg, const struct model_change *change)
{
    check_changed(((struct life *)arg)->sim, change);
}

static void on_renewed(void *arg, const char *id, const char *token)
{
    check_renewed(((struct life *)arg)->sim, id, token);
}

static void on_unannounced(void *arg, int64_t seq)
{
    check_unannounced(((struct life *)arg)->sim, seq);
}

const struct model_watch sim_watch = {db_now,     before_call, after_call,
                                      on_changed, on_renewed,  on_unannounced};

/* -- their lives -- */

void manager_start(struct sim *s, int number)
{
    struct life *l = calloc(1, sizeof *l);

    if (!l)
        abort();
    l->sim = s;
    l->number = number;
    model_connect(&l->conn, &s->db, &sim_watch, l);
    publisher_open(l);
    struct service_parts parts = {&s->config, &l->conn.base, &s->objects, &l->publisher};
    if (service_new(&parts, &l->service, NULL) || !(l->relay = relay_new(l->service)))
        abort();
    l->service->submits.leaders_always =
        INT_MAX; /* one thread is everybody here: none can wait */
    reaper_begin(l->service, &l->reaper);
    l->next = s->lives;
    s->lives = l;
    s->managers[number].life = l;
    sim_say(s, "starts", "manager", number, 0);
}

static void life_free(struct life *l)
{
    service_drain(l->service);
    claim_hub_pass(l->service->hub); /* its parked claims: their connections break */
    service_stop_free(l->service);
    free(l->relay);
    free(l);
}

/* Frees the dead whom no call is in. */
static void bury(struct sim *s)
{
    for (struct life **at = &s->lives; *at;) {
        struct life *l = *at;
        if (l->is_dead && l->calls == 0) {
            *at = l->next;
            life_free(l);
        } else {
            at = &l->next;
        }
    }
}

void manager_kill(struct sim *s, int number)
{
    struct manager *m = &s->managers[number];

    if (!m->life)
        return;
    sim_say(s, "is killed", "manager", number, 0);
    m->life->is_dead = true;
    m->life->is_connected = false;
    m->life = NULL;
    bury(s);
}

struct life *manager_enter(struct sim *s)
{
    int number = sim_below(s, MANAGERS);
    struct life *l = s->managers[number].life;

    if (!l || sim_happens(s, s->faults))
        return NULL;
    l->calls++;
    return l;
}

bool manager_leave(struct life *l)
{
    struct sim *s = l->sim;
    bool heard = !l->is_dead && !sim_happens(s, 2 * s->faults);

    l->calls--;
    bury(s);
    return heard;
}

void managers_end(struct sim *s)
{
    for (int i = 0; i < MANAGERS; i++)
        manager_kill(s, i);
}

/* -- their threads -- */

static void reap(struct life *l)
{
    l->reaper_busy = true;
    sim_say(l->sim, "reaps", "manager", l->number, 0);
    reaper_round(l->service, &l->reaper);
    l->reaper_at = l->sim->now + 500 + sim_below(l->sim, 1000);
    l->reaper_busy = false;
}

static void relay(struct life *l)
{
    l->relay_busy = true;
    sim_say(l->sim, "relays", "manager", l->number, 0);
    relay_round(l->relay);
    l->relay_busy = false;
}

static void answer_parked(struct life *l)
{
    l->hub_busy = true;
    sim_say(l->sim, "looks at parked claims", "manager", l->number, 0);
    claim_hub_pass(l->service->hub);
    l->hub_busy = false;
}

static void sweep(struct life *l)
{
    l->house_busy = true;
    sim_say(l->sim, "sweeps", "manager", l->number, 0);
    (void)sweep_orphans(l->service, 0, NULL);
    l->house_busy = false;
}

void manager_step(struct sim *s, int number)
{
    struct life *l = s->managers[number].life;

    if (!l) {
        if (sim_below(s, 4) == 0)
            manager_start(s, number);
        return;
    }
    l->calls++;
    switch (sim_below(s, 10)) {
    case 0:
        if (!l->house_busy && !s->healed)
            sweep(l);
        break;
    case 1:
    case 2:
    case 3:
        if (!l->reaper_busy && s->now >= l->reaper_at)
            reap(l);
        break;
    case 4:
    case 5:
    case 6:
        if (!l->relay_busy)
            relay(l);
        break;
    default:
        if (!l->hub_busy)
            answer_parked(l);
    }
    l->calls--;
    bury(s);
}
