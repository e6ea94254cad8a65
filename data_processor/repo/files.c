#include "files.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "entry.h"
#include "fs.h"

enum { LINE_MAX_BYTES = 8192, CHUNK = 64 * 1024, HEAD_MAX = 160, PATH_SPARE = 128 };

typedef int visit_fn(void *arg, const struct entry *e, struct err *err);

/* A line of `ls-tree -z` after the other, each ended by NUL. */
struct listing {
    char bytes[CHUNK];
    size_t len, at;
};

/* 1: *ret is the next line, 0: there is none. */
static int next_line(struct git *g, struct listing *l, const char **ret, size_t *ret_len,
                     struct err *err)
{
    for (;;) {
        const char *end = memchr(l->bytes + l->at, '\0', l->len - l->at);
        if (end) {
            *ret = l->bytes + l->at;
            *ret_len = (size_t)(end - *ret);
            l->at += *ret_len + 1;
            return 1;
        }
        memmove(l->bytes, l->bytes + l->at, l->len - l->at);
        l->len -= l->at;
        l->at = 0;
        if (l->len >= LINE_MAX_BYTES)
            return err_set(err, -E_BAD_INPUT, "the repository has a path that is too long");
        ssize_t got = git_read(g, l->bytes + l->len, sizeof l->bytes - l->len, err);
        if (got <= 0)
            return (int)got;
        l->len += (size_t)got;
    }
}

static int each_entry(const struct git_job *job, const char *commit, visit_fn *visit, void *arg,
                      const char **ret_word, struct err *err)
{
    const char *const args[] = {"ls-tree", "-r", "-t", "-z", "-l", "--full-tree", commit, NULL};
    struct listing *l = calloc(1, sizeof *l);
    struct entry e;
    struct git g;
    const char *line = NULL;
    size_t len = 0;

    if (!l)
        return err_set(err, -E_NO_MEMORY, "no memory to list a repository");
    int rc = git_start(&g, job, args, GIT_PIPE_OUT, err);
    if (rc) {
        free(l);
        return rc;
    }
    while ((rc = next_line(&g, l, &line, &len, err)) > 0) {
        rc = entry_parse(line, len, &e, ret_word, err);
        if (!rc)
            rc = visit(arg, &e, err);
        if (rc)
            break;
    }
    g.is_finished = rc == 0;
    git_end(&g);
    free(l);
    if (!rc && (!g.is_over || g.status != 0)) {
        *ret_word = "damaged";
        rc = err_set(err, -E_BAD_INPUT, "the repository's objects are damaged");
    }
    return rc;
}

/* --- looking --- */

struct count {
    const struct repo_options *options;
    struct repo_facts *facts;
    uint64_t entries;
    const char **ret_word;
    char last[ENTRY_PATH_MAX + 1];
};

static int count_entry(void *arg, const struct entry *e, struct err *err)
{
    struct count *c = arg;
    uint64_t max_bytes = (uint64_t)c->options->max_bytes;

    /* Trees are sorted: what is there twice stands side by side. */
    if (strcmp(c->last, e->path) == 0) {
        *c->ret_word = "bad_name";
        return err_set(err, -E_BAD_INPUT, "the repository has two entries of the same name");
    }
    snprintf(c->last, sizeof c->last, "%s", e->path);
    if (++c->entries > (uint64_t)c->options->max_files) {
        *c->ret_word = "too_many_files";
        return err_set(err, -E_TOO_BIG,
                       "the repository has more than %" PRId64
                       " files and folders (REPO_MAX_FILES)",
                       c->options->max_files);
    }
    c->facts->submodules += e->kind == ENTRY_MODULE;
    c->facts->symlinks += e->kind == ENTRY_LINK;
    c->facts->files += e->kind == ENTRY_FILE || e->kind == ENTRY_LINK;
    if (e->size > max_bytes || c->facts->bytes > max_bytes - e->size) {
        *c->ret_word = "too_big";
        return err_set(err, -E_TOO_BIG,
                       "the repository's files have more than %" PRId64
                       " bytes (REPO_MAX_BYTES)",
                       c->options->max_bytes);
    }
    c->facts->bytes += e->size;
    return 0;
}

int files_check(const struct git_job *job, const struct repo_options *options,
                struct repo_facts *ret, const char **ret_word, struct err *err)
{
    struct count c = {.options = options, .facts = ret, .ret_word = ret_word};

    return each_entry(job, ret->commit, count_entry, &c, ret_word, err);
}

/* --- copying --- */

struct copy {
    const struct repo_options *options;
    const struct repo_sink *sink;
    const struct repo_facts *facts;
    const char **ret_word;
    double share;
    uint64_t bytes, files;
    struct git cat; /* `git cat-file --batch`: asked for one object after the other */
    char chunk[CHUNK];
    size_t len, at;
};

static int fill(struct copy *c, struct err *err)
{
    ssize_t got = git_read(&c->cat, c->chunk, sizeof c->chunk, err);

    if (got < 0)
        return (int)got;
    c->at = 0;
    c->len = (size_t)got;
    return got > 0 ? 0 : err_set(err, -E_BAD_INPUT, "the repository's objects are damaged");
}

/* "<oid> blob <size>": must be what ls-tree has said. */
static int read_head(struct copy *c, const struct entry *e, struct err *err)
{
    char head[HEAD_MAX], expected[HEAD_MAX];
    size_t n = 0;

    for (;;) {
        int rc = c->at < c->len ? 0 : fill(c, err);
        if (rc)
            return rc;
        char byte = c->chunk[c->at++];
        if (byte == '\n' || n == sizeof head - 1)
            break;
        head[n++] = byte;
    }
    head[n] = '\0';
    snprintf(expected, sizeof expected, "%s blob %" PRIu64, e->oid, e->size);
    if (strcmp(head, expected) == 0)
        return 0;
    *c->ret_word = "damaged";
    return err_set(err, -E_BAD_INPUT, "the repository's objects are damaged");
}

static int copy_content(struct copy *c, uint64_t size, struct err *err)
{
    int rc = 0;

    while (!rc && size > 0) {
        if (c->at == c->len)
            rc = fill(c, err);
        size_t some = c->len - c->at;
        if (some > size)
            some = (size_t)size;
        if (!rc && some)
            rc = c->sink->write(c->sink->arg, c->chunk + c->at, some, err);
        c->at += some;
        size -= some;
    }
    if (!rc && c->at == c->len)
        rc = fill(c, err);
    c->at += !rc; /* the line end behind it */
    return rc;
}

static void tell(const struct copy *c)
{
    const struct repo_facts *f = c->facts;
    double part = f->bytes ? (double)c->bytes / (double)f->bytes : 0;

    if (f->files)
        part = (part + (double)c->files / (double)f->files) / 2;
    c->options->progress(c->options->progress_arg, c->share + (1 - c->share) * part);
}

static int copy_entry(void *arg, const struct entry *e, struct err *err)
{
    struct copy *c = arg;
    char ask[ENTRY_OID_MAX + 1];

    if (e->kind != ENTRY_FILE && e->kind != ENTRY_LINK)
        return 0;
    int len = snprintf(ask, sizeof ask, "%s\n", e->oid);
    c->cat.alive_ms = clock_mono_ms();
    int rc = fs_write_all(c->cat.in, ask, (size_t)len, "git's input", err);
    if (!rc)
        rc = read_head(c, e, err);
    if (!rc)
        rc = c->sink->begin(c->sink->arg, e->path, e->size, err);
    if (!rc)
        rc = copy_content(c, e->size, err);
    if (!rc)
        rc = c->sink->end(c->sink->arg, err);
    c->bytes += e->size;
    c->files++;
    tell(c);
    return rc;
}

int files_copy(const struct git_job *job, const struct repo_options *options, double share,
               const struct repo_sink *sink, const struct repo_facts *facts,
               const char **ret_word, struct err *err)
{
    static const char *const args[] = {"cat-file", "--batch", NULL};
    struct copy *c = calloc(1, sizeof *c);

    if (!c)
        return err_set(err, -E_NO_MEMORY, "no memory to copy a repository");
    c->options = options;
    c->sink = sink;
    c->facts = facts;
    c->ret_word = ret_word;
    c->share = share;
    int rc = git_start(&c->cat, job, args, GIT_PIPE_OUT | GIT_PIPE_IN, err);
    if (!rc) {
        rc = each_entry(job, facts->commit, copy_entry, c, ret_word, err);
        git_end(&c->cat);
    }
    free(c);
    return rc;
}
