/* scripted_server.h - an HTTP server that does exactly what one test tells it to.
 *
 * It listens on a free loopback port and hands each connection, one after the other, to the
 * script on a thread of its own. */
#ifndef TESTS_SCRIPTED_SERVER_H
#define TESTS_SCRIPTED_SERVER_H

#include <pthread.h>
#include <stddef.h>

struct scripted_server {
    void (*script)(struct scripted_server *s, int fd, int connection); /* from 0 */
    char base[64];
    char request[65536]; /* what take_head and take_body read last, NUL-terminated */
    size_t request_len;
    int connections;
    int listen_fd;
    pthread_t thread;
};

void scripted_server_start(struct scripted_server *s,
                           void (*script)(struct scripted_server *s, int fd, int connection));
/* Also the way to wait until the script is done. */
void scripted_server_stop(struct scripted_server *s);

/* Reads up to the empty line; the bytes after it stay in the socket. 0 at a hang-up. */
int scripted_take_head(struct scripted_server *s, int fd);
/* Appends len further bytes to the request. */
void scripted_take_body(struct scripted_server *s, int fd, size_t len);
void scripted_say(int fd, const char *text);
/* Blocks until the client closes its side. */
void scripted_wait_hangup(int fd);

#endif
