/* contract_help.h - what the broker tests share: where the broker is, queues of their own,
 * waiting on conditions with a deadline. */
#ifndef CONTRACT_HELP_H
#define CONTRACT_HELP_H

#include <stdbool.h>
#include <stddef.h>

#include "broker.h"

enum { PATIENCE_MS = 20000 }; /* the longest that anything may take on a slow machine */

/* The value of an environment variable that a test needs. When it is missing, the test is
 * skipped with a reason, or fails when SEGUE_TEST_REQUIRE_ALL=1. */
const char *need_env(const char *name);

enum { FULL_MAX = BROKER_QUEUE_MAX + 8 };

/* "segue.<queue>" */
void full_name(const char *queue, char ret[FULL_MAX]);

/* A queue name that no other test uses; remembered for delete_own_queues. */
void own_name(char ret[BROKER_QUEUE_MAX]);
/* The same, and the queue is there, as if a worker had come by; with an empty URL ("none")
 * only a name. */
void own_queue(const char *url, char ret[BROKER_QUEUE_MAX]);
void delete_own_queues(const char *url);

struct broker *open_broker(const char *url, enum broker_use use);
struct broker *open_consumer(const char *url, const char *queue, uint16_t prefetch);

struct broker_message message(const char *queue, const char *body);

/* Publishes one message; the code of broker_publish. */
int publish(struct broker *b, const char *queue, const char *body, int timeout_ms,
            struct err *err);

/* Tries until it is confirmed; fails the test after PATIENCE_MS. */
void publish_in_the_end(struct broker *b, const char *queue, const char *body);

/* Waits through losses of the link for a delivery with this body; fails the test after
 * PATIENCE_MS. Others on the way are acknowledged. */
struct broker_delivery await_body(struct broker *b, const char *body);

/* Runs tests/support/servers.sh with these arguments and fails the test when it fails. */
#define SERVERS(...) servers((const char *const[]){__VA_ARGS__, NULL})
void servers(const char *const args[]);

/* A quorum queue that hangs, as after the loss of its leader: it takes and confirms nothing
 * and answers nobody. `dir` is TEST_SERVERS_DIR. */
void hang_queue(const char *dir, const char *queue);
void revive_queue(const char *dir, const char *queue);

/* The URL of the same broker with 127.0.0.1:port for its address (see tcp_proxy.h). */
void url_through(const char *url, int port, const char *parameters, char *ret, size_t size);

#endif
