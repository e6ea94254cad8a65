/* fetch.c - the steps of one download: resolve, clone, look at it, hand over the files. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "files.h"
#include "git.h"
#include "repo.h"
#include "resolve.h"
#include "says.h"

enum { ANSWER_MAX = 4096, PATH_BYTES_MAX = 4096 };
#define CLONE_SHARE 0.6 /* of all the work, for the progress */

struct fetch {
    const struct repo_options *options;
    struct git_job job;
    struct buf resolve, header;
    char scope[WEB_URL_MAX], dir[PATH_BYTES_MAX];
    const char **ret_word;
};

/* --- the token --- */

static void append_base64(struct buf *out, const char *text)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t len = strlen(text);

    for (size_t i = 0; i < len; i += 3) {
        unsigned long three = 0;
        for (size_t k = 0; k < 3; k++)
            three = three << 8 | (i + k < len ? (unsigned char)text[i + k] : 0);
        for (size_t k = 0; k < 4; k++) {
            bool is_padding = i + k > len;
            buf_append_char(out, is_padding ? '=' : digits[three >> (18 - 6 * k) & 63]);
        }
    }
}

/* The user name that goes with an access token; the others take any. */
static const struct {
    const char *host, *user;
} users[] = {{"gitlab.com", "oauth2"}, {"bitbucket.org", "x-token-auth"}};

static void make_header(struct fetch *f)
{
    const struct web_url *url = &f->options->url->web;
    const char *user = "x-access-token";
    struct buf both = BUF_INIT;

    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        if (strcmp(url->host, users[i].host) == 0)
            user = users[i].user;
    }
    buf_printf(&both, "%s:%s", user, f->options->token);
    buf_append_str(&f->header, "Authorization: Basic ");
    append_base64(&f->header, both.data);
    f->header.failed = f->header.failed || both.failed;
    explicit_bzero(both.data, both.len);
    buf_release(&both);
    snprintf(f->scope, sizeof f->scope, "%s", f->options->url->url);
    f->job.header_scope = f->scope;
    f->job.header = f->header.data;
}

/* --- clone --- */

static void tell_clone(void *arg, const struct git *g)
{
    const struct repo_options *o = arg;

    if (g->percent >= 0)
        o->progress(o->progress_arg, CLONE_SHARE * g->percent / 100);
}

static int explain_wait(struct fetch *f, int rc, struct err *err)
{
    char reason[ERR_TEXT_MAX];

    *f->ret_word = rc != -E_TIMEOUT                        ? NULL
                   : clock_mono_ms() >= f->job.deadline_ms ? "timeout"
                                                           : "stalled";
    memcpy(reason, err->text, sizeof reason);
    return err_set(err, rc, "cannot clone '%s': %s", f->options->url->url, reason);
}

static int clone(struct fetch *f, struct err *err)
{
    const char *const args[] = {"clone",       "--bare",
                                "--depth=1",   "--single-branch",
                                "--no-tags",   "--no-recurse-submodules",
                                "--template=", "--progress",
                                "--",          f->options->url->url,
                                f->dir,        NULL};
    struct git g;
    struct err why = ERR_INIT;
    int rc = git_start(&g, &f->job, args, GIT_NO_PIPES, err);

    if (rc)
        return rc;
    rc = git_wait(&g, tell_clone, (void *)(uintptr_t)f->options, &why);
    git_end(&g);
    if (rc)
        return explain_wait(f, err_set(err, rc, "%s", why.text), err);
    if (!g.is_over || g.status != 0)
        return says_explain(g.tail, g.status, f->options->url->url, f->ret_word, err);
    return 0;
}

/* --- what came --- */

static int read_head(struct fetch *f, struct repo_facts *ret, struct err *err)
{
    static const char *const commit[] = {"rev-parse", "--verify", "--quiet", "HEAD^{commit}",
                                         NULL};
    static const char *const branch[] = {"symbolic-ref", "--quiet", "--short", "HEAD", NULL};
    struct buf text = BUF_INIT;
    int rc = git_ask(&f->job, commit, ANSWER_MAX, &text, err);

    if (rc == -E_BAD_INPUT) {
        *f->ret_word = "empty_repository";
        rc = err_set(err, rc,
                     "cannot clone '%s': the repository is empty: its HEAD names no commit",
                     f->options->url->url);
    }
    snprintf(ret->commit, sizeof ret->commit, "%s", text.data);
    buf_clear(&text);
    if (!rc && git_ask(&f->job, branch, ANSWER_MAX, &text, NULL) == 0 &&
        text.len < sizeof ret->branch)
        memcpy(ret->branch, text.data, text.len + 1);
    buf_release(&text);
    return rc;
}

static int prepare(struct fetch *f, struct err *err)
{
    const struct repo_options *o = f->options;
    int len = snprintf(f->dir, sizeof f->dir, "%s/git", o->work_dir);

    if (len < 0 || (size_t)len >= sizeof f->dir)
        return err_set(err, -E_BAD_VALUE, "the path of the work folder is too long");
    f->job = (struct git_job){
        .home = o->work_dir,
        .dir = f->dir,
        .max_file_bytes = o->max_bytes,
        .deadline_ms = clock_mono_ms() + o->timeout_ms,
        .stall_ms = o->stall_ms,
        .protocol = o->url->web.is_tls ? "https" : "http",
    };
    int rc = resolve_host(&o->url->web, o->guard, &f->resolve, f->ret_word, err);
    if (rc)
        return rc;
    f->job.resolve = f->resolve.len ? f->resolve.data : NULL;
    if (o->token && *o->token)
        make_header(f);
    return buf_ok(&f->header) ? 0 : err_set(err, -E_NO_MEMORY, "no memory for a token");
}

static int fetch(struct fetch *f, const struct repo_sink *sink, struct repo_facts *ret,
                 struct err *err)
{
    int rc = prepare(f, err);

    if (!rc)
        rc = clone(f, err);
    f->job.protocol = NULL; /* from here on there is no network, and no token */
    f->job.header = NULL;
    if (!rc)
        rc = read_head(f, ret, err);
    if (!rc)
        rc = files_check(&f->job, f->options, ret, f->ret_word, err);
    return rc ? rc : files_copy(&f->job, f->options, CLONE_SHARE, sink, ret, f->ret_word, err);
}

int repo_fetch(const struct repo_options *options, const struct repo_sink *sink,
               struct repo_facts *ret, const char **ret_word, struct err *err)
{
    struct fetch f = {
        .options = options, .resolve = BUF_INIT, .header = BUF_INIT, .ret_word = ret_word};

    memset(ret, 0, sizeof *ret);
    *ret_word = NULL;
    int rc = fetch(&f, sink, ret, err);
    explicit_bzero(f.header.data, f.header.len);
    buf_release(&f.header);
    buf_release(&f.resolve);
    return rc;
}
