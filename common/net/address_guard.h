/* address_guard.h - which IP addresses a server may be made to call by a request.
 *
 * A URL that came with a task decides where a worker connects to. Without this guard it could
 * be made to talk to its own machine, to what else stands in its network, or to the metadata
 * service of a cloud. Names and spellings of addresses say nothing (octal, hex and short forms,
 * DNS that answers 127.0.0.1), so what is checked is the binary address, and whoever checks it
 * connects to that very address. Pure; any thread. */
#ifndef NET_ADDRESS_GUARD_H
#define NET_ADDRESS_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "err.h"

enum { ADDRESS_NETWORKS_MAX = 32, ADDRESS_TEXT_MAX = 64 };

struct address_network {
    int family; /* AF_INET or AF_INET6 */
    unsigned bits;
    unsigned char bytes[16];
};

/* Networks that may be called although they are not public. All zero: none. */
struct address_guard {
    struct address_network allowed[ADDRESS_NETWORKS_MAX];
    size_t count;
};

/* Reads a list as in the setting ALLOW_NETWORKS: "10.0.0.0/8, ::1, fd00::/8"; without a length
 * an entry is one address. E_BAD_VALUE names the entry that is wrong. */
int address_guard_init(struct address_guard *g, const char *list, struct err *err);

/* NULL when the address may be called: it is a public unicast address or lies in an allowed
 * network. Else what it is, for a sentence: "a loopback address". IPv4 within IPv6 (mapped,
 * compatible, NAT64, 6to4, Teredo) is never public: it is judged by the IPv6 networks of the
 * list alone. Families other than IPv4 and IPv6 are refused. */
const char *address_guard_refusal(const struct address_guard *g, const struct sockaddr *a);

/* Is `text` an address in its usual form ("127.0.0.1", "::1")? Fills *ret with port 0. */
bool address_parse(const char *text, struct sockaddr_storage *ret);

/* The usual form of an address without its port; "?" for another family. */
void address_format(const struct sockaddr *a, char ret[ADDRESS_TEXT_MAX]);

#endif
