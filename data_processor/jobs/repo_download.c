/* repo_download.c - a code repository as plain files: a tree (tree.h) where the object store is
 * a folder, else an archive that is the task's output. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "call_rules.h"
#include "folder.h"
#include "job.h"
#include "params.h"
#include "repo.h"
#include "scratch.h"
#include "seal.h"
#include "tar.h"

struct download {
    const struct job_context *context;
    struct params *params;
    struct repo_url url;
    struct address_guard guard;
    struct repo_facts facts;
    const char *word; /* what went wrong, for programs */
};

static void report_progress(void *arg, double fraction)
{
    const struct job_context *context = arg;

    context->progress(context->progress_arg, &(struct job_progress){.fraction = fraction});
}

static int fetch(struct download *d, const char *work_dir, const struct repo_sink *sink,
                 struct err *err)
{
    const struct config *config = d->context->config;
    const struct repo_options options = {
        .url = &d->url,
        .token = params_word(d->params, "token", NULL),
        .guard = &d->guard,
        .work_dir = work_dir,
        .max_bytes = config->repo_max_bytes,
        .max_files = config->repo_max_files,
        .timeout_ms = config->repo_timeout_ms,
        .stall_ms = config->repo_stall_ms,
        .progress = report_progress,
        .progress_arg = (void *)(uintptr_t)d->context,
    };

    return repo_fetch(&options, sink, &d->facts, &d->word, err);
}

/* The names of the first members are what clients of the service before this one read. */
static char *result_text(const struct download *d, const char *path, const char *key,
                         const char *kind, struct err *err)
{
    const struct param_text texts[] = {
        {"message", "Repository successfully cloned."},
        {"path", path},
        {"key", key},
        {"kind", kind},
        {"Url", d->url.url},
        {"commit", d->facts.commit},
        {"branch", d->facts.branch[0] ? d->facts.branch : NULL},
        {0},
    };
    const struct param_number numbers[] = {
        {"files", (int64_t)d->facts.files},
        {"bytes", (int64_t)d->facts.bytes},
        {"symlinks", (int64_t)d->facts.symlinks},
        {"submodules", (int64_t)d->facts.submodules},
        {0},
    };
    char *text = params_write(texts, numbers);

    if (!text)
        err_set(err, -E_NO_MEMORY, "no memory for the result");
    return text;
}

/* --- into a folder --- */

static int publish_folder(struct download *d, struct folder *folder_take, const char *root,
                          struct report *ret, struct err *err)
{
    char key[ARTIFACT_KEY_MAX], *path = NULL, *about = NULL;
    int rc = folder_key(folder_take, d->url.name, key, err);

    if (!rc && asprintf(&path, "%s/%s", root, key) < 0) {
        path = NULL;
        rc = err_set(err, -E_NO_MEMORY, "no memory for the result");
    }
    if (!rc) {
        about = result_text(d, path, key, "folder", err);
        rc = about ? 0 : -E_NO_MEMORY;
    }
    free(path);
    if (rc) {
        folder_abort_free(folder_take);
        return rc;
    }
    rc = folder_commit_free(folder_take, d->url.name, about, err);
    if (rc)
        free(about);
    else
        ret->result = about;
    return rc;
}

static int run_folder(struct download *d, const char *root, struct report *ret, struct err *err)
{
    struct folder *folder = NULL;
    int rc =
        folder_begin(root, d->context->work->task_id, d->context->work->attempt, &folder, err);

    if (rc)
        return rc;
    const struct repo_sink sink = folder_sink(folder);
    rc = fetch(d, folder_work_dir(folder), &sink, err);
    if (rc) {
        folder_abort_free(folder);
        return rc;
    }
    return publish_folder(d, folder, root, ret, err);
}

/* --- into an archive --- */

static int write_tar(struct download *d, struct objstore_put *put, const char *work_dir,
                     struct err *err)
{
    struct tar tar = {.put = put};
    const struct repo_sink sink = tar_sink(&tar);
    int rc = fetch(d, work_dir, &sink, err);

    return rc ? rc : tar_end(&tar, err);
}

static int run_tar(struct download *d, struct report *ret, struct err *err)
{
    const struct work *work = d->context->work;
    struct objstore_put *put = NULL;
    struct scratch scratch;
    char key[ARTIFACT_KEY_MAX];
    int len = snprintf(key, sizeof key, "%s%s.tar", work->output_prefix, d->url.name);
    int rc = len > 0 && (size_t)len < sizeof key
                 ? scratch_make(objstore_temp_dir(d->context->store), &scratch, err)
                 : err_set(err, -E_BAD_VALUE, "the output prefix is too long");

    if (rc)
        return rc;
    rc = objstore_put_begin(d->context->store, key, &put, err);
    if (!rc)
        rc = write_tar(d, put, scratch.path, err);
    scratch_remove(&scratch);
    if (!rc) {
        rc = objstore_put_commit_free(put, &ret->output, err);
        put = NULL;
    }
    objstore_put_abort_free(put);
    if (rc)
        return rc;
    ret->result = result_text(d, key, key, "tar", err);
    return ret->result ? 0 : -E_NO_MEMORY;
}

/* --- the job --- */

static int read_params(struct download *d, struct err *err)
{
    int rc = params_open(d->context->work->params, &d->params, err);

    if (rc)
        return rc;
    if (seal_is_sealed(params_word(d->params, "token", "")))
        return err_set(err, -E_BAD_INPUT,
                       "the token was encrypted with another SECRET_KEY: submit the task anew");
    rc = call_rules_read_repo(d->context->config, params_word(d->params, "repository", ""),
                              "params.repository", &d->url, err);
    return rc ? rc : address_guard_init(&d->guard, d->context->config->allow_networks, err);
}

static int repo_download_run(const struct job_context *context, struct report *ret)
{
    struct download d = {.context = context};
    const char *root = objstore_root(context->store);
    struct err err = ERR_INIT;
    int rc = read_params(&d, &err);

    repo_hold_signals();
    if (!rc)
        rc = root ? run_folder(&d, root, ret, &err) : run_tar(&d, ret, &err);
    repo_release_signals();
    params_close(d.params);
    if (!rc)
        return 0;
    rc = job_error_from(&err, &ret->error);
    if (d.word)
        snprintf(ret->error.code, sizeof ret->error.code, "%s", d.word);
    return rc;
}

const struct job job_repo_download = {"repo_download", repo_download_run};
