#include "scripted_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A broken promise of the test machine itself (no socket, no thread) is not worth a message. */
static void must(int ok)
{
    if (!ok)
        abort();
}

static void *serve(void *arg)
{
    struct scripted_server *s = arg;

    for (;;) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        s->script(s, fd, s->connections++);
        close(fd);
    }
}

void scripted_server_start(struct scripted_server *s,
                           void (*script)(struct scripted_server *s, int fd, int connection))
{
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t len = sizeof at;

    memset(s, 0, sizeof *s);
    s->script = script;
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(s->listen_fd >= 0);
    must(bind(s->listen_fd, (struct sockaddr *)(void *)&at, sizeof at) == 0);
    must(listen(s->listen_fd, 16) == 0);
    must(getsockname(s->listen_fd, (struct sockaddr *)(void *)&at, &len) == 0);
    snprintf(s->base, sizeof s->base, "http://127.0.0.1:%d", ntohs(at.sin_port));
    must(pthread_create(&s->thread, NULL, serve, s) == 0);
}

void scripted_server_stop(struct scripted_server *s)
{
    shutdown(s->listen_fd, SHUT_RDWR); /* wakes accept() */
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
}

int scripted_take_head(struct scripted_server *s, int fd)
{
    s->request_len = 0;
    for (;;) {
        must(s->request_len < sizeof s->request - 1);
        if (read(fd, s->request + s->request_len, 1) != 1)
            return 0;
        s->request[++s->request_len] = '\0';
        if (s->request_len >= 4 && memcmp(s->request + s->request_len - 4, "\r\n\r\n", 4) == 0)
            return 1;
    }
}

void scripted_take_body(struct scripted_server *s, int fd, size_t len)
{
    while (len-- > 0) {
        must(s->request_len < sizeof s->request - 1);
        if (read(fd, s->request + s->request_len, 1) != 1)
            return;
        s->request[++s->request_len] = '\0';
    }
}

void scripted_say(int fd, const char *text)
{
    size_t len = strlen(text);

    while (len > 0) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        text += n;
        len -= (size_t)n;
    }
}

void scripted_wait_hangup(int fd)
{
    char byte;

    while (read(fd, &byte, 1) > 0)
        ;
}
