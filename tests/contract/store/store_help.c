/* store_help.c - see store_help.h. */
#include "store_help.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"

struct submission a_submission(void)
{
    struct submission item = {.task = {.type = "noop", .queue = "q", .max_attempts = 3},
                              .client = ""};

    id_new(item.task.id);
    return item;
}

void submit(struct store *s, const struct submission *item, struct submit_result *ret)
{
    assert_ok(store_submit(s, item, 1, true, ret, err));
}

void submit_to(struct store *s, const char *queue, int priority, char ret_id[ID_TEXT_MAX])
{
    struct submission item = a_submission();
    struct submit_result result;

    snprintf(item.task.queue, sizeof item.task.queue, "%s", queue);
    item.task.priority = priority;
    submit(s, &item, &result);
    assert_int_equal(result.outcome, SUBMIT_ACCEPTED);
    memcpy(ret_id, result.id, ID_TEXT_MAX);
}

static bool claim_with(struct store *s, const struct claim *claim, struct claimed *ret)
{
    size_t count = 0;

    assert_ok(store_claim(s, claim, ret, &count, err));
    return count == 1;
}

bool claim_from(struct store *s, const char *queue, int64_t lease_ms, struct claimed *ret)
{
    const char *const queues[] = {queue};
    struct claim claim = {"w1", queues, 1, NULL, 1, lease_ms, false};

    return claim_with(s, &claim, ret);
}

bool claim_id(struct store *s, const char *id, int64_t lease_ms, struct claimed *ret)
{
    struct claim claim = {"w1", NULL, 0, id, 1, lease_ms, false};

    return claim_with(s, &claim, ret);
}

void start_one(struct store *s, char ret_id[ID_TEXT_MAX], char ret_token[TOKEN_TEXT_MAX])
{
    struct claimed got;

    submit_to(s, "q", 0, ret_id);
    assert_true(claim_id(s, ret_id, 60000, &got));
    memcpy(ret_token, got.token, TOKEN_TEXT_MAX);
    task_release(&got.task);
}

struct task_move report(const char *id, const char *token, enum task_state to,
                        enum attempt_outcome outcome)
{
    struct task_move m = {.from = TASK_PROCESSING, .to = to, .outcome = outcome, .actor = "w1"};

    snprintf(m.id, sizeof m.id, "%s", id);
    snprintf(m.token, sizeof m.token, "%s", token);
    return m;
}

struct task_move by_hand(const char *id, enum task_state from, enum task_state to)
{
    struct task_move m = {
        .from = from, .to = to, .outcome = ATTEMPT_CANCELLED, .actor = "client"};

    snprintf(m.id, sizeof m.id, "%s", id);
    return m;
}

struct move_result move(struct store *s, const struct task_move *m)
{
    struct move_result result = {0};

    assert_ok(store_move(s, m, 1, true, &result, err));
    return result;
}

enum task_state state_of(struct store *s, const char *id)
{
    struct task t;

    assert_ok(store_get(s, id, &t, err));
    enum task_state state = t.state;
    task_release(&t);
    return state;
}

void wait_until(bool (*check)(void *arg), void *arg)
{
    const struct timespec pause = {0, 2000000};
    int64_t deadline = clock_mono_ms() + 20000;

    while (!check(arg)) {
        if (clock_mono_ms() > deadline)
            fail_msg("waited 20 s in vain");
        nanosleep(&pause, NULL);
    }
}
