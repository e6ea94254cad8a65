/* blob_upload.c - what repo_download left, a folder (tree.h) or where the object store is none
 * an archive, into a container of blobs.
 *
 * While an upload is under way the container's note of its commit says so, and whether the
 * task has made the container: "created-<task id>" or "updating-<task id>". So a later attempt
 * tells the same as the first would have, and nobody takes half an upload for a commit. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "fs.h"
#include "job.h"
#include "params.h"
#include "tree.h"
#include "upload.h"

enum { ABOUT_MAX = 1 << 20, PATH_TEXT_MAX = 4096 };

struct blob_upload {
    const struct job_context *context;
    char key[PATH_TEXT_MAX];
    char container[CONTAINER_NAME_MAX];
    bool prune, is_archive;
    /* What the download has noted about the folder. */
    char commit[CONTAINER_COMMIT_MAX];
    int64_t files, bytes; /* -1: not known */
    bool existed;
    struct upload_stats stats;
};

static int no_repository(const char *path, struct err *err)
{
    return err_set(err, -E_BAD_INPUT, "there is no downloaded repository at '%.300s'", path);
}

/* Ends in ".tar", with something before it. */
static bool names_archive(const char *key)
{
    size_t len = strlen(key);

    return len > 4 && key[len - 5] != '/' && strcmp(key + len - 4, ".tar") == 0;
}

/* "outputs/<task>/<attempt>/<name>", or "processed_data/…/<name>.tar", from that or from its
 * absolute path here. Whatever else the object store has is nobody's to upload. */
static int read_path(struct blob_upload *u, const char *path, struct err *err)
{
    const char *root = objstore_root(u->context->store);
    size_t len = root ? strlen(root) : 0;
    unsigned slashes = 0;

    if (len && strncmp(path, root, len) == 0 && path[len] == '/')
        path += len + 1;
    snprintf(u->key, sizeof u->key, "%s", path);
    for (size_t end = strlen(u->key); end > 0 && u->key[end - 1] == '/'; end--)
        u->key[end - 1] = '\0';
    for (const char *at = u->key; *at; at++)
        slashes += *at == '/';
    u->is_archive = strncmp(u->key, "processed_data/", 15) == 0 && names_archive(u->key);
    bool is_tree = root && strncmp(u->key, TREE_FOLDER "/", sizeof TREE_FOLDER) == 0;
    if ((!is_tree && !u->is_archive) || slashes != 3 || !objstore_key_is_valid(u->key))
        return no_repository(path, err);
    return 0;
}

static bool name_container(struct blob_upload *u)
{
    char path[PATH_TEXT_MAX];
    size_t len = strlen(u->key) - (u->is_archive ? 4 : 0);

    memcpy(path, u->key, len);
    path[len] = '\0';
    return container_name_from_path(path, u->container);
}

static int read_params(struct blob_upload *u, struct err *err)
{
    struct params *params = NULL;
    int rc = params_open(u->context->work->params, &params, err);

    if (rc)
        return rc;
    const char *path = params_word(params, "repo_path", "");
    const char *name = params_word(params, "container", NULL);
    rc = read_path(u, path, err);
    if (!rc && name && !container_name_is_valid(name))
        rc = err_set(err, -E_BAD_INPUT, "params.container: '%.100s' is no valid container name",
                     name);
    else if (!rc && name)
        snprintf(u->container, sizeof u->container, "%s", name);
    else if (!rc && !name_container(u))
        rc = err_set(err, -E_BAD_INPUT, "'%.300s' gives no name for a container", path);
    const char *commit = params_word(params, "commit", "");
    if (!rc) /* before anything is sent */
        rc = container_check_commit(commit, err);
    u->prune = params_bool(params, "prune", false);
    snprintf(u->commit, sizeof u->commit, "%s", commit);
    u->files = u->bytes = -1;
    params_close(params);
    return rc;
}

/* What stands beside the folder: <name>.json. */
static int read_about(struct blob_upload *u, struct err *err)
{
    char path[PATH_TEXT_MAX * 2], *text = NULL;
    struct params *about = NULL;

    snprintf(path, sizeof path, "%s/%s.json", objstore_root(u->context->store), u->key);
    int rc = fs_read_small(path, ABOUT_MAX, &text, err);
    if (!rc)
        rc = params_open(text, &about, err);
    free(text);
    if (rc)
        return rc == -E_NOT_FOUND ? no_repository(u->key, err) : rc;
    if (!u->commit[0])
        snprintf(u->commit, sizeof u->commit, "%s", params_word(about, "commit", ""));
    u->files = params_int(about, "files", -1);
    u->bytes = params_int(about, "bytes", -1);
    params_close(about);
    return 0;
}

static int open_archive(const struct blob_upload *u, int *ret_fd, struct err *err)
{
    uint64_t size;
    int rc = objstore_get(u->context->store, u->key, ret_fd, &size, err);

    return rc == -E_NOT_FOUND ? no_repository(u->key, err) : rc;
}

static int open_folder(const struct blob_upload *u, int *ret_fd, struct err *err)
{
    int root_fd = fs_open_dir(objstore_root(u->context->store), err);

    if (root_fd < 0)
        return root_fd;
    *ret_fd = fs_open_beneath(root_fd, u->key, O_RDONLY | O_DIRECTORY, 0, err);
    close(root_fd);
    if (*ret_fd == -E_NOT_FOUND)
        return no_repository(u->key, err);
    return *ret_fd < 0 ? *ret_fd : 0;
}

static void report_progress(void *arg, const struct upload_stats *so_far)
{
    const struct blob_upload *u = arg;
    struct job_progress p = {.fraction = -1, .bytes_read = so_far->bytes};

    if (u->files > 0 && u->bytes >= 0) {
        /* A file counts, however small it is. */
        double all = (double)u->bytes + 4096.0 * (double)u->files;
        double done = (double)so_far->bytes + 4096.0 * (double)so_far->files;
        p.fraction = done < all ? done / all : 1;
        p.bytes_total = (uint64_t)u->bytes;
    }
    u->context->progress(u->context->progress_arg, &p);
}

/* Makes the container and leaves the note. */
static int begin(struct blob_upload *u, struct container *c, struct err *err)
{
    const char *task_id = u->context->work->task_id;
    char note[CONTAINER_COMMIT_MAX] = "", ours[CONTAINER_COMMIT_MAX];
    int rc = container_ensure(c, &u->existed, err);

    if (!rc && u->existed)
        rc = container_commit(c, note, err);
    if (rc)
        return rc;
    snprintf(ours, sizeof ours, "created-%s", task_id);
    if (u->existed && strcmp(note, ours) == 0)
        u->existed = false; /* by an attempt before this one */
    else
        snprintf(ours, sizeof ours, "%s-%s", u->existed ? "updating" : "created", task_id);
    return container_set_commit(c, ours, err);
}

static int upload(struct blob_upload *u, struct container *c, int fd, struct err *err)
{
    const struct upload_options options = {
        .dir_fd = u->is_archive ? -1 : fd,
        .tar_fd = u->is_archive ? fd : -1,
        .container = c,
        .may_hold = u->existed || u->context->work->attempt > 1,
        .prune = u->prune,
        .workers = UPLOAD_WORKERS,
        .progress = report_progress,
        .progress_arg = u,
    };
    int rc = upload_folder(&options, &u->stats, err);

    /* Somebody took the container or the folder away meanwhile: the next attempt will see. */
    if (rc == -E_NOT_FOUND)
        rc = err->code = -E_UNAVAILABLE;
    if (!rc && u->files >= 0 && u->stats.files != (uint64_t)u->files)
        rc = err_set(err, -E_CORRUPT,
                     "the folder '%.300s' has %" PRIu64 " files and not %" PRId64
                     " as when it was made",
                     u->key, u->stats.files, u->files);
    return rc ? rc : container_set_commit(c, u->commit, err);
}

/* Nothing in it needs escapes: names of containers and commits are plain. */
static char *result_text(const struct blob_upload *u)
{
    struct buf b = BUF_INIT;

    buf_printf(&b,
               "{\"status\":\"success\",\"message\":\"%s\",\"container_name\":\"%s\","
               "\"existed\":%s,\"commit\":\"%s\",\"files\":%" PRIu64 ",\"bytes\":%" PRIu64
               ",\"sent_files\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 ",\"stale\":%" PRIu64
               ",\"pruned\":%" PRIu64 ",\"store\":\"%s\"}",
               u->existed ? "Container already existed. Files overwritten."
                          : "Container created and files uploaded.",
               u->container, u->existed ? "true" : "false", u->commit, u->stats.files,
               u->stats.bytes, u->stats.sent_files, u->stats.sent_bytes, u->stats.stale,
               u->stats.pruned, container_store_kind(u->context->containers));
    return buf_steal(&b);
}

static int run(struct blob_upload *u, struct report *ret, struct err *err)
{
    struct container *c = NULL;
    int fd = -1;
    int rc = read_params(u, err);

    if (!rc && !u->is_archive)
        rc = read_about(u, err);
    if (!rc)
        rc = u->is_archive ? open_archive(u, &fd, err) : open_folder(u, &fd, err);
    if (!rc)
        rc = container_open(u->context->containers, u->container, &c, err);
    if (!rc)
        rc = begin(u, c, err);
    if (!rc)
        rc = upload(u, c, fd, err);
    container_close(c);
    if (fd >= 0)
        close(fd);
    if (rc)
        return rc;
    ret->result = result_text(u);
    return ret->result ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the result");
}

static int blob_upload_run(const struct job_context *context, struct report *ret)
{
    struct blob_upload *u = calloc(1, sizeof *u);
    struct err err = ERR_INIT;
    int rc;

    if (u) {
        u->context = context;
        rc = run(u, ret, &err);
    } else {
        rc = err_set(&err, -E_NO_MEMORY, "no memory to upload a folder");
    }
    free(u);
    return rc ? job_error_from(&err, &ret->error) : 0;
}

const struct job job_blob_upload = {"blob_upload", blob_upload_run};
