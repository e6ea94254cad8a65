/* git.h - one run of the `git` program as a child process. Private to this room.
 *
 * It gets an environment made from nothing: no settings of the system or of a user, no hooks,
 * no helpers, no prompts, no proxies, no traces. Its limits: the largest file it may write, its
 * address space, and the patience of whoever reads from it. It is the first of a
 * process group of its own, which is ended as a whole, and dies with us. */
#ifndef REPO_GIT_H
#define REPO_GIT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

enum { GIT_TAIL_MAX = 4096 };

/* What all runs of one download have in common. Strings are the caller's. */
struct git_job {
    const char *home;         /* an empty folder of its own */
    const char *dir;          /* the repository (bare), below home */
    int64_t max_file_bytes;   /* of anything it writes */
    int64_t deadline_ms;      /* monotonic */
    int64_t stall_ms;         /* silence that ends it */
    const char *protocol;     /* "https" or "http" while it may use the network, else NULL */
    const char *resolve;      /* "host:port:address", pinned; NULL: the host is an address */
    const char *header_scope; /* "https://host/": the only place that gets the header, */
    const char *header;       /* "Authorization: …", or NULL */
};

struct git {
    const struct git_job *job;
    pid_t pid;
    int in, out, err;        /* our ends; -1 where there is none */
    char tail[GIT_TAIL_MAX]; /* the last of what it said, whole lines that are no progress */
    size_t tail_len;
    char line[512]; /* the line being read, cut */
    size_t line_len;
    int percent;       /* of "Receiving objects", -1 before */
    int64_t alive_ms;  /* when it last said something, or was seen at work */
    int64_t looked_ms; /* when it was last looked at, and the processor time it had had: */
    int64_t cpu_ms;
    bool is_finished; /* it was heard to its end, so that it ends by itself */
    bool is_over;     /* it has ended, with this: */
    int status;
};

enum git_pipes { GIT_NO_PIPES, GIT_PIPE_OUT = 1, GIT_PIPE_IN = 2 };

/* args: without "git", NULL-terminated. */
int git_start(struct git *g, const struct git_job *job, const char *const *args, int pipes,
              struct err *err);

/* Waits until its output (or, with GIT_NO_PIPES, its end) is there, reading what it says
 * meanwhile. 1: something to read, or its output has ended; 0: it is over. -E_TIMEOUT past the
 * deadline or the silence, -E_CANCELLED when we were asked to end; tell may be NULL and is
 * called now and then. */
int git_wait(struct git *g, void (*tell)(void *arg, const struct git *g), void *arg,
             struct err *err);

/* Reads from its output; 0 at the end. */
ssize_t git_read(struct git *g, void *to, size_t size, struct err *err);

/* Ends it with all that it started, unless it was heard to its end, and closes; afterwards none
 * of them writes a file any more. g->status tells how it ended, when g->is_over. */
void git_end(struct git *g);

/* Runs it to its end; its output, at most `max` bytes, into *ret without the last line end.
 * -E_BAD_INPUT when it ended badly. */
int git_ask(const struct git_job *job, const char *const *args, size_t max, struct buf *ret,
            struct err *err);

#endif
