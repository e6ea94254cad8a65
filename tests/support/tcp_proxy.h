/* tcp_proxy.h - a TCP proxy on loopback whose faults a test commands.
 *
 * It listens on a port of its own and connects each client to one target. A thread moves the
 * bytes; the functions below may be called from any other thread, and take effect before
 * they return. Everything open is closed by tcp_proxy_close. The end of a way (FIN) travels
 * like its bytes: it is held up, or never arrives, where they are.
 *
 * What was dropped is missing in the stream, which no real network does to a connection that
 * lives on: reset after a drop. */
#ifndef SUPPORT_TCP_PROXY_H
#define SUPPORT_TCP_PROXY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stream_pattern.h"

struct tcp_proxy;

/* The two ways through a connection. */
enum tcp_proxy_way { TCP_PROXY_REQUESTS, TCP_PROXY_ANSWERS };

enum tcp_proxy_mode {
    TCP_PROXY_PASS,           /* as if it were not there */
    TCP_PROXY_PAUSE,          /* a silent network: nothing is read, new clients are accepted */
    TCP_PROXY_PAUSE_REQUESTS, /* the same one way: what the client sends waits */
    TCP_PROXY_PAUSE_ANSWERS,
    TCP_PROXY_DROP,          /* a black hole: bytes are read and thrown away */
    TCP_PROXY_DROP_REQUESTS, /* one way: nothing arrives at the target */
    TCP_PROXY_DROP_ANSWERS,  /* requests arrive, answers are thrown away */
    TCP_PROXY_REFUSE,        /* new clients are cut at once; open ones go on */
    TCP_PROXY_MODE__COUNT
};

/* "pass", "pause_requests", …; NULL and TCP_PROXY_MODE__COUNT where there is none. */
const char *tcp_proxy_mode_name(enum tcp_proxy_mode mode);
enum tcp_proxy_mode tcp_proxy_mode_named(const char *name);

/* Listens on 127.0.0.1 for `port` of `host` (a numeric IPv4 address). NULL on failure. */
struct tcp_proxy *tcp_proxy_open(const char *host, int port);
void tcp_proxy_close(struct tcp_proxy *p);

int tcp_proxy_port(const struct tcp_proxy *p);

/* Who connects from now on is led to this port: a target may come back at another. 0: there is
 * no target, clients are cut at once. */
void tcp_proxy_set_target(struct tcp_proxy *p, int port);

void tcp_proxy_set_mode(struct tcp_proxy *p, enum tcp_proxy_mode mode);

/* Each piece read (up to 64 KiB) is passed on after `ms`; 0: at once. */
void tcp_proxy_set_delay(struct tcp_proxy *p, int64_t ms);

/* A connection is closed, in good order, once this many bytes have gone `way` through it since
 * it was opened: what was sent is truncated there. Negative: no limit. */
void tcp_proxy_set_limit(struct tcp_proxy *p, enum tcp_proxy_way way, int64_t bytes);

/* Cuts every open connection on both sides with a TCP reset. The mode stays. */
void tcp_proxy_reset(struct tcp_proxy *p);

/* Where a trap cuts the connection whose client sends its pattern. */
enum tcp_proxy_cut {
    TCP_PROXY_CUT_BEFORE,     /* the piece that completes the pattern is not passed on */
    TCP_PROXY_CUT_UNANSWERED, /* it is, and the target has begun to answer: swallowed */
    TCP_PROXY_CUT_ANSWERED,   /* the answer's first piece was passed on, too */
};

enum { TCP_PROXY_PATTERN_MAX = STREAM_PATTERN_MAX };

/* Lies in wait for a pattern (1 to TCP_PROXY_PATTERN_MAX bytes, copied) in what clients send
 * from now on, `times` times; 0 disarms. One trap at a time: the last call counts. */
void tcp_proxy_set_trap(struct tcp_proxy *p, enum tcp_proxy_cut cut, const void *pattern,
                        size_t len, unsigned times);

/* Since the proxy was opened: connections that traps have cut, bytes thrown away by the modes
 * that drop, clients accepted. */
uint64_t tcp_proxy_sprung(struct tcp_proxy *p);
uint64_t tcp_proxy_dropped(struct tcp_proxy *p);
uint64_t tcp_proxy_accepted(struct tcp_proxy *p);

#endif
