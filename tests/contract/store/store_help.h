/* store_help.h - what the tests of the store share: a fresh database per test, and short ways
 * to submit, claim and move. Every helper fails the running test when the call fails. */
#ifndef STORE_HELP_H
#define STORE_HELP_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store.h"

struct fixture {
    char url[512], place[256]; /* place: folder or database name */
    struct store *s;
};

enum { HELP_SKIP = 77 };

/* 0 when the backend of this program can be tested, else the exit code, with a reason said. */
int help_available(void);

/* cmocka fixtures: a new database, upgraded and open; or new and empty, and not open. */
int fixture_ready(void **state);
int fixture_empty(void **state);
int fixture_end(void **state);

/* Runs SQL on the fixture's database behind the store's back; on SQLite the store must be
 * closed. */
void help_sql(const struct fixture *f, const char *sql);

#define assert_ok(call)                                                                        \
    do {                                                                                       \
        struct err err_ = ERR_INIT, *err = &err_;                                              \
        int rc_ = (call);                                                                      \
        if (rc_)                                                                               \
            fail_msg("%s: %s", err_name(rc_), err_.text);                                      \
    } while (0)

/* As assert_ok for a call that ends with `err`, expecting a code. */
#define assert_code(code, call)                                                                \
    do {                                                                                       \
        struct err err_ = ERR_INIT, *err = &err_;                                              \
        int rc_ = (call);                                                                      \
        if (rc_ != -(code))                                                                    \
            fail_msg("%s instead of %s: %s", err_name(rc_), err_name(code), err_.text);        \
    } while (0)

/* A submission of a "noop" on queue "q" with a new id. */
struct submission a_submission(void);
void submit(struct store *s, const struct submission *item, struct submit_result *ret);
/* Submits one to a queue; ret_id gets its id. */
void submit_to(struct store *s, const char *queue, int priority, char ret_id[ID_TEXT_MAX]);

/* Claims one from queue; false when there is none. Release ret->task. */
bool claim_from(struct store *s, const char *queue, int64_t lease_ms, struct claimed *ret);
bool claim_id(struct store *s, const char *id, int64_t lease_ms, struct claimed *ret);
/* Submits one and claims it for a minute; only id and token are left. */
void start_one(struct store *s, char ret_id[ID_TEXT_MAX], char ret_token[TOKEN_TEXT_MAX]);

/* A move of a PROCESSING task by its attempt, or of any task by hand. */
struct task_move report(const char *id, const char *token, enum task_state to,
                        enum attempt_outcome outcome);
struct task_move by_hand(const char *id, enum task_state from, enum task_state to);
struct move_result move(struct store *s, const struct task_move *m);

enum task_state state_of(struct store *s, const char *id);

/* Calls check(arg) until it is true; fails the test after 20 s. */
void wait_until(bool (*check)(void *arg), void *arg);

#endif
