/* broker_url.h - reading an AMQP URL.
 *
 *   amqp[s]://[user[:password]@]host[:port][/vhost][?heartbeat=SECONDS&cacertfile=PATH]
 *
 * As in RabbitMQ's "URI Specification" and "URI Query Parameters" pages, with one kindness:
 * an empty path, "/" and "//" all mean the virtual host "/", which is what people mean by
 * them. User, password and vhost may be percent-encoded; an IPv6 host stands in brackets.
 * Defaults: guest:guest, port 5672 (5671 with TLS), a heartbeat of 10 s.
 *
 * Pure; any thread. No error sentence quotes the URL, because it holds a password. */
#ifndef BROKER_URL_H
#define BROKER_URL_H

#include <stdbool.h>

#include "err.h"

enum { BROKER_HEARTBEAT_DEFAULT_S = 10, BROKER_HEARTBEAT_MAX_S = 60 };

struct broker_url {
    char user[128];
    char password[256];
    char host[256];
    char vhost[256];
    char ca_file[512]; /* certificate authorities to trust; only used with TLS */
    int port;
    int heartbeat_s; /* 1 to BROKER_HEARTBEAT_MAX_S */
    bool tls;
};

/* Fills *ret, or E_BAD_VALUE and *ret is undefined (but holds no password). */
int broker_url_parse(const char *text, struct broker_url *ret, struct err *err);

#endif
