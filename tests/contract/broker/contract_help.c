/* contract_help.c - see the header; nothing here is specific to one test. */
#include "contract_help.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "amqp_admin.h"
#include "broker_url.h"
#include "clock.h"
#include "id.h"

enum { OWN_MAX = 64 };

static char own[OWN_MAX][BROKER_QUEUE_MAX];
static size_t own_count;

const char *need_env(const char *name)
{
    const char *value = getenv(name), *all = getenv("SEGUE_TEST_REQUIRE_ALL");

    if (value && value[0] != '\0')
        return value;
    if (all && strcmp(all, "1") == 0)
        fail_msg("%s is not set, and SEGUE_TEST_REQUIRE_ALL=1 allows no skipping", name);
    print_message("skipped: %s is not set\n", name);
    skip();
    return NULL;
}

void full_name(const char *queue, char ret[FULL_MAX])
{
    snprintf(ret, FULL_MAX, "segue.%s", queue);
}

void own_name(char ret[BROKER_QUEUE_MAX])
{
    char token[TOKEN_TEXT_MAX];

    assert_true(own_count < OWN_MAX);
    token_new(token);
    snprintf(ret, BROKER_QUEUE_MAX, "test-%s", token);
    memcpy(own[own_count++], ret, BROKER_QUEUE_MAX);
}

void own_queue(const char *url, char ret[BROKER_QUEUE_MAX])
{
    char full[FULL_MAX];

    own_name(ret);
    full_name(ret, full);
    if (url[0] != '\0')
        amqp_admin_declare(url, full, "quorum");
}

void delete_own_queues(const char *url)
{
    while (own_count > 0) {
        char full[FULL_MAX];

        full_name(own[--own_count], full);
        amqp_admin_delete_queue(url, full);
    }
}

struct broker *open_broker(const char *url, enum broker_use use)
{
    struct broker *b;
    struct err err = ERR_INIT;

    if (broker_open(url, use, "segue test", &b, &err) != 0)
        fail_msg("%s", err.text);
    return b;
}

struct broker *open_consumer(const char *url, const char *queue, uint16_t prefetch)
{
    struct broker *b = open_broker(url, BROKER_CONSUME);
    struct err err = ERR_INIT;

    if (broker_consume(b, &queue, 1, prefetch, &err) != 0)
        fail_msg("%s", err.text);
    return b;
}

struct broker_message message(const char *queue, const char *body)
{
    struct broker_message m;
    char id[ID_TEXT_MAX];

    memset(&m, 0, sizeof m);
    id_new(id);
    snprintf(m.id, sizeof m.id, "%s", id);
    snprintf(m.queue, sizeof m.queue, "%s", queue);
    snprintf(m.body, sizeof m.body, "%s", body);
    return m;
}

int publish(struct broker *b, const char *queue, const char *body, int timeout_ms,
            struct err *err)
{
    struct broker_message m = message(queue, body);
    bool confirmed = false;
    int rc = broker_publish(b, &m, 1, timeout_ms, &confirmed, err);

    assert_int_equal(confirmed, rc == 0);
    return rc;
}

void publish_in_the_end(struct broker *b, const char *queue, const char *body)
{
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct err err = ERR_INIT;

    while (publish(b, queue, body, PATIENCE_MS, &err) != 0) {
        if (clock_mono_ms() > deadline_ms)
            fail_msg("never confirmed: %s", err.text);
        poll(NULL, 0, 20); /* between two tries, which are refused at once */
    }
}

struct broker_delivery await_body(struct broker *b, const char *body)
{
    int64_t deadline_ms = clock_mono_ms() + PATIENCE_MS;
    struct broker_delivery d;
    struct err err = ERR_INIT;

    for (;;) {
        int rc = broker_next(b, 500, -1, &d, &err);

        if (rc == 1 && strcmp(d.body, body) == 0)
            return d;
        if (rc == 1)
            (void)broker_ack(b, d.tag, &err);
        if (clock_mono_ms() > deadline_ms)
            fail_msg("\"%s\" never came: %s", body, err.text);
        if (rc < 0)
            poll(NULL, 0, 20);
    }
}

/* ctest's working directory is the root of the sources. */
void servers(const char *const args[])
{
    const char *argv[8] = {"servers.sh"};
    int status;
    pid_t pid;

    for (size_t i = 0; args[i]; i++) {
        assert_true(i + 2 < sizeof argv / sizeof argv[0]);
        argv[i + 1] = args[i];
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        execv("tests/support/servers.sh", (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* The Erlang process of a queue on the default virtual host is called "%2F_<queue>". */
static void tell_queue(const char *dir, const char *call, const char *queue)
{
    char code[160];

    snprintf(code, sizeof code, "ok = sys:%s('%%2F_segue.%s').", call, queue);
    SERVERS("rabbitmqctl", dir, "eval", code);
}

void hang_queue(const char *dir, const char *queue)
{
    tell_queue(dir, "suspend", queue);
}

void revive_queue(const char *dir, const char *queue)
{
    tell_queue(dir, "resume", queue);
}

void url_through(const char *url, int port, const char *parameters, char *ret, size_t size)
{
    struct broker_url u;

    assert_int_equal(broker_url_parse(url, &u, NULL), 0);
    snprintf(ret, size, "amqp://%s:%s@127.0.0.1:%d/%s%s", u.user, u.password, port, u.vhost,
             parameters);
}
