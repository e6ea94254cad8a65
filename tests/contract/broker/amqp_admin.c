/* amqp_admin.c - uses librabbitmq directly, so that the room under test is not its own judge.
 */
#include "amqp_admin.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

#include <cmocka.h>
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif

#include "broker_url.h"

static void check(amqp_connection_state_t conn, amqp_rpc_reply_t reply, const char *doing)
{
    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return;
    amqp_destroy_connection(conn);
    fail_msg("%s failed for the tests' own connection (%d)", doing, reply.library_error);
}

static amqp_connection_state_t start(const char *url)
{
    struct broker_url u;
    struct timeval limit = {.tv_sec = 10};
    amqp_connection_state_t conn = amqp_new_connection();

    assert_int_equal(broker_url_parse(url, &u, NULL), 0);
    assert_non_null(conn);
    assert_int_equal(
        amqp_socket_open_noblock(amqp_tcp_socket_new(conn), u.host, u.port, &limit),
        AMQP_STATUS_OK);
    amqp_set_rpc_timeout(conn, &limit);
    check(conn,
          amqp_login(conn, u.vhost, 1, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN,
                     u.user, u.password),
          "logging in");
    amqp_channel_open(conn, 1);
    check(conn, amqp_get_rpc_reply(conn), "opening a channel");
    return conn;
}

static void finish(amqp_connection_state_t conn)
{
    check(conn, amqp_connection_close(conn, AMQP_REPLY_SUCCESS), "closing");
    amqp_destroy_connection(conn);
}

void amqp_admin_delete_queue(const char *url, const char *full_name)
{
    amqp_connection_state_t conn = start(url);

    amqp_queue_delete(conn, 1, amqp_cstring_bytes(full_name), 0, 0);
    check(conn, amqp_get_rpc_reply(conn), "deleting a queue");
    finish(conn);
}

bool amqp_admin_has_queue(const char *url, const char *full_name)
{
    amqp_connection_state_t conn = start(url);
    amqp_rpc_reply_t reply;

    amqp_queue_declare(conn, 1, amqp_cstring_bytes(full_name), 1, 0, 0, 0, amqp_empty_table);
    reply = amqp_get_rpc_reply(conn);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD &&
        ((const amqp_channel_close_t *)reply.reply.decoded)->reply_code == AMQP_NOT_FOUND) {
        amqp_destroy_connection(conn);
        return false;
    }
    check(conn, reply, "looking at a queue");
    finish(conn);
    return true;
}

void amqp_admin_declare(const char *url, const char *full_name, const char *type)
{
    amqp_connection_state_t conn = start(url);
    amqp_table_entry_t entry = {
        .key = amqp_cstring_bytes("x-queue-type"),
        .value = {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes(type)}};

    amqp_queue_declare(conn, 1, amqp_cstring_bytes(full_name), 0, 1, 0, 0,
                       (amqp_table_t){.num_entries = 1, .entries = &entry});
    check(conn, amqp_get_rpc_reply(conn), "declaring a queue");
    finish(conn);
}

void amqp_admin_declare_tiny(const char *url, const char *full_name)
{
    amqp_connection_state_t conn = start(url);
    amqp_table_entry_t entries[] = {
        {.key = amqp_cstring_bytes("x-max-length"),
         .value = {.kind = AMQP_FIELD_KIND_I32, .value.i32 = 1}},
        {.key = amqp_cstring_bytes("x-overflow"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8,
                   .value.bytes = amqp_cstring_bytes("reject-publish")}},
    };

    amqp_queue_declare(conn, 1, amqp_cstring_bytes(full_name), 0, 1, 0, 0,
                       (amqp_table_t){.num_entries = 2, .entries = entries});
    check(conn, amqp_get_rpc_reply(conn), "declaring a queue");
    finish(conn);
}

void amqp_admin_publish(const char *url, const char *full_name, const void *body, size_t len)
{
    amqp_connection_state_t conn = start(url);
    amqp_bytes_t bytes = {.len = len, .bytes = (void *)(uintptr_t)body};

    assert_int_equal(amqp_basic_publish(conn, 1, amqp_empty_bytes,
                                        amqp_cstring_bytes(full_name), 1, 0, NULL, bytes),
                     AMQP_STATUS_OK);
    finish(conn); /* the broker handles frames in order, so the publish is before the close */
}
