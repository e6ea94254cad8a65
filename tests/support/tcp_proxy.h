/* tcp_proxy.h - a TCP proxy on loopback whose faults a test commands.
 *
 * It listens on a port of its own and connects each client to one target. A thread moves the
 * bytes; the functions below may be called from any other thread, and take effect before
 * they return. Everything open is closed by tcp_proxy_close. */
#ifndef SUPPORT_TCP_PROXY_H
#define SUPPORT_TCP_PROXY_H

struct tcp_proxy;

enum tcp_proxy_mode {
    TCP_PROXY_PASS,         /* as if it were not there */
    TCP_PROXY_PAUSE,        /* a silent network: nothing is read, new clients are accepted */
    TCP_PROXY_DROP,         /* bytes are read and thrown away, both ways */
    TCP_PROXY_DROP_ANSWERS, /* requests arrive, answers are thrown away */
    TCP_PROXY_REFUSE        /* new clients are cut at once; open ones go on */
};

/* Listens on 127.0.0.1 for `port` of `host` (a numeric IPv4 address). NULL on failure. */
struct tcp_proxy *tcp_proxy_open(const char *host, int port);
void tcp_proxy_close(struct tcp_proxy *p);

int tcp_proxy_port(const struct tcp_proxy *p);

void tcp_proxy_set_mode(struct tcp_proxy *p, enum tcp_proxy_mode mode);

/* Cuts every open connection on both sides with a TCP reset. The mode stays. */
void tcp_proxy_reset(struct tcp_proxy *p);

/* Clients accepted since the proxy was opened. */
unsigned tcp_proxy_accepted(struct tcp_proxy *p);

#endif
