/* repo.h - a repository of a server as plain files. The door of this room.
 *
 * The program `git` clones the latest commit bare, without a checkout: nothing in a repository
 * is ever interpreted (no attributes, filters, hooks, links, submodules). Then each file is
 * read by its object and handed to a sink, after all names and sizes were found good. One
 * download at a time, in a process with one thread; blocks as long as it takes, within its
 * limits. SIGTERM ends it in good order (-E_CANCELLED). */
#ifndef REPO_REPO_H
#define REPO_REPO_H

#include <stdint.h>

#include "address_guard.h"
#include "err.h"
#include "repo_url.h"

/* Where files go, one after the other. A failure ends the download. Paths are relative and safe
 * below a folder: no "..", no ".git", no empty part; they may be any bytes but NUL. */
struct repo_sink {
    int (*begin)(void *arg, const char *path, uint64_t size, struct err *err);
    int (*write)(void *arg, const void *bytes, size_t len, struct err *err);
    int (*end)(void *arg, struct err *err);
    void *arg;
};

struct repo_options {
    const struct repo_url *url;
    const char *token; /* NULL: none */
    const struct address_guard *guard;
    const char *work_dir; /* an empty folder, for git's own files; absolute */
    int64_t max_bytes, max_files, timeout_ms, stall_ms;
    void (*progress)(void *arg, double fraction);
    void *progress_arg;
};

struct repo_facts {
    char commit[65], branch[256]; /* branch "" when HEAD names none */
    uint64_t files, bytes;        /* that the sink got */
    uint64_t symlinks;            /* of the files: links, with their target as content */
    uint64_t submodules;          /* left out */
};

/* *ret_word is a static word for programs ("no_repository", "too_big", ...) or NULL when the
 * code says it all. -E_BAD_INPUT and -E_TOO_BIG: trying again does not help. */
int repo_fetch(const struct repo_options *options, const struct repo_sink *sink,
               struct repo_facts *ret, const char **ret_word, struct err *err);

/* From here on a SIGTERM ends repo_fetch with -E_CANCELLED instead of the process, so that
 * there is time to clean up; after that, the signal has its effect. */
void repo_hold_signals(void);
void repo_release_signals(void);

#endif
