/* amqp_admin.h - what an operator or a stranger does to a broker, for tests.
 *
 * Each call uses a connection of its own to the broker of `url` and fails the running cmocka
 * test when the broker does not do as told. Queue names are given in full. */
#ifndef CONTRACT_AMQP_ADMIN_H
#define CONTRACT_AMQP_ADMIN_H

#include <stdbool.h>
#include <stddef.h>

void amqp_admin_delete_queue(const char *url, const char *full_name);
bool amqp_admin_has_queue(const char *url, const char *full_name);
/* `type`: "quorum" or "classic"; durable. */
void amqp_admin_declare(const char *url, const char *full_name, const char *type);
/* One that holds a single message and refuses (nacks) every other. */
void amqp_admin_declare_tiny(const char *url, const char *full_name);
void amqp_admin_publish(const char *url, const char *full_name, const void *body, size_t len);

#endif
