/* clients.c - clients that submit until they are answered, cancel, retry by hand, and set
 * states as the old API lets them. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

void clients_begin(struct sim *s)
{
    for (int i = 0; i < CLIENTS; i++) {
        struct client *c = &s->clients[i];
        *c = (struct client){.key = sim_below(s, KEYS + 1) - 1,
                             .variant = sim_below(s, 4) == 0,
                             .max_attempts = sim_below(s, 4),
                             .queue = sim_below(s, 2)};
        /* What a key stands for is the same for all who use it, but for the variant. */
        if (c->key >= 0)
            c->max_attempts = c->queue = c->variant;
        else if (sim_below(s, 4) == 0)
            c->run_at_ms = s->now + sim_below(s, 4000);
    }
}

static void submit(struct sim *s, struct client *c)
{
    char key[16];
    struct submit_request r = {
        .type = "noop", .run_at_ms = c->run_at_ms, .max_attempts = c->max_attempts};
    struct submit_result result;
    struct life *l = manager_enter(s);

    if (!l)
        return;
    snprintf(r.queue, sizeof r.queue, "%s", queue_names[c->queue]);
    snprintf(key, sizeof key, "key-%d", c->key);
    if (c->key >= 0)
        r.idempotency_key = key;
    int rc = service_submit(l->service, &r, &result, NULL);
    bool dead = l->is_dead, heard = manager_leave(l);
    sim_say(s, "submits", "client", (int)(c - s->clients), rc);
    c->tries++;
    if (!dead && rc == -E_MISMATCH)
        check_mismatch(s, c);
    if (!rc && heard) {
        check_accepted(s, c, &result);
        memcpy(c->id, result.id, sizeof c->id);
        c->state = CLIENT_HAS_ID;
    } else if (rc == -E_MISMATCH || c->key < 0) {
        c->state = CLIENT_ENDED; /* without a key a second try could make a second task */
    }
}

static int ask_for(struct life *l, const char *id, int what, struct task *ret)
{
    static const enum task_state states[] = {TASK_PROCESSING, TASK_FAILED, TASK_DONE,
                                             TASK_RECEIVED};

    if (what == 0)
        return service_cancel(l->service, id, ret, NULL);
    if (what <= 3)
        return service_retry(l->service, id, ret, NULL);
    return service_put_state(l->service, id, states[what % 4], ret, NULL);
}

static void change(struct sim *s, struct client *c)
{
    struct task t;
    int what = sim_below(s, 8);
    struct life *l = manager_enter(s);

    if (!l)
        return;
    check_enter(s, (struct frame){FRAME_CHANGE, NULL, 0, c->id});
    int rc = ask_for(l, c->id, what, &t);
    check_leave(s);
    bool dead = l->is_dead;
    manager_leave(l);
    sim_say(s, what == 0 ? "cancels" : "changes", "client", sim_task(s, c->id), rc);
    if (rc)
        return;
    if (!dead && what == 0 && t.state != TASK_CANCELLED)
        sim_break(s, "cancel", "a cancelled task is not CANCELLED", (int)t.state);
    task_release(&t);
}

void client_step(struct sim *s, int number)
{
    struct client *c = &s->clients[number];

    if (c->busy)
        return;
    c->busy = true;
    if (c->state == CLIENT_SUBMITS)
        submit(s, c);
    else if (c->state == CLIENT_HAS_ID && !s->healed && sim_below(s, 3) == 0)
        change(s, c);
    c->busy = false;
}
