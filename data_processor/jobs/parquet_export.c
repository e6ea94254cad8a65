/* parquet_export.c - a container of blobs as Parquet: all of it in parts of bounded size, one
 * file for each blob, or the file of one blob. What was written is listed in a manifest, a line
 * of JSON for each file, and the first lines of it are in the result. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob_text.h"
#include "buf.h"
#include "failpoint.h"
#include "job.h"
#include "params.h"
#include "parquet_part.h"

enum { PART_ROWS = 1000000, LISTED_MAX = 200 };
static const int64_t PART_BYTES = INT64_C(1) << 30;

struct export
{
    const struct job_context *context;
    struct params *params;
    struct container *container;
    struct objstore_put *manifest;
    struct part *part; /* the one at hand */
    bool single;
    uint64_t part_rows, part_bytes; /* limits */
    uint64_t files, rows, bytes;    /* done; bytes of contents */
    struct buf listed;              /* the first LISTED_MAX lines of the manifest */
    struct artifact last;
    char commit[CONTAINER_COMMIT_MAX];
    char blob[PART_NAME_MAX]; /* the name of the last one */
};

static int make_key(const struct export *e, const char *name, char ret_key[ARTIFACT_KEY_MAX],
                    struct err *err)
{
    int len = snprintf(ret_key, ARTIFACT_KEY_MAX, "%s%s_%s", e->context->work->output_prefix,
                       container_name(e->container), name);

    if (len < 0 || len >= ARTIFACT_KEY_MAX)
        return err_set(err, -E_BAD_VALUE, "the output prefix '%s' is too long",
                       e->context->work->output_prefix);
    return 0;
}

/* The key of the number-th file. */
static int make_file_key(const struct export *e, uint64_t number,
                         char ret_key[ARTIFACT_KEY_MAX], struct err *err)
{
    char name[64];

    snprintf(name, sizeof name, "%s_%" PRIu64 ".parquet", e->single ? "part" : "blob", number);
    return make_key(e, name, ret_key, err);
}

/* A line of the manifest; a file of one blob tells its name. */
static int list_file(struct export *e, uint64_t rows, struct err *err)
{
    const struct param_text texts[] = {
        {"key", e->last.key},
        {"sha256", e->last.sha256},
        {e->single ? NULL : "name", e->blob},
        {0},
    };
    const struct param_number numbers[] = {
        {"rows", (int64_t)rows},
        {"bytes", (int64_t)e->last.size},
        {0},
    };
    char *line = params_write(texts, numbers);

    if (!line)
        return err_set(err, -E_NO_MEMORY, "no memory for the manifest");
    if (e->files < LISTED_MAX && e->listed.len < RESULT_TEXT_MAX / 2) {
        buf_append_str(&e->listed, e->listed.len ? "," : "");
        buf_append_str(&e->listed, line);
    }
    int rc = objstore_put_write(e->manifest, line, strlen(line), err);
    free(line);
    return rc ? rc : objstore_put_write(e->manifest, "\n", 1, err);
}

static int begin_part(struct export *e, struct err *err)
{
    char key[ARTIFACT_KEY_MAX];
    int rc = make_file_key(e, e->files, key, err);

    return rc ? rc : part_begin(e->context, key, &e->part, err);
}

static int end_part(struct export *e, struct err *err)
{
    uint64_t rows = part_rows(e->part);
    struct part *part = e->part;

    e->part = NULL;
    int rc = part_commit_free(part, &e->last, err);
    if (rc == 0)
        rc = FAILPOINT_ERR(output_half, -E_IO, err);
    if (rc == 0)
        rc = list_file(e, rows, err);
    e->files++;
    return rc;
}

/* Would the blob make the part at hand larger than it may be? */
static bool is_full(const struct export *e, const struct blob *blob)
{
    uint64_t rows = part_rows(e->part), bytes = part_bytes(e->part);

    return rows > 0 && (!e->single || rows >= e->part_rows || bytes >= e->part_bytes ||
                        blob->size > e->part_bytes - bytes);
}

static int add_blob(struct export *e, const struct blob *blob, struct err *err)
{
    bool added;
    int rc = e->part && is_full(e, blob) ? end_part(e, err) : 0;

    if (rc == 0 && !e->part)
        rc = begin_part(e, err);
    if (rc == 0)
        rc = part_add(e->part, e->container, blob->name, e->commit, &added, err);
    if (rc || !added)
        return rc;
    part_name(blob->name, e->blob);
    e->rows++;
    e->bytes += blob->size;
    e->context->progress(
        e->context->progress_arg,
        &(struct job_progress){.fraction = -1, .bytes_read = e->bytes, .rows = e->rows});
    return 0;
}

/* The blob that was asked for by its name. */
static int add_one(struct export *e, const char *text, struct err *err)
{
    struct blob blob;
    int rc = blob_text_find(e->container, text, &blob, err);

    return rc ? rc : add_blob(e, &blob, err);
}

static int add_all(struct export *e, struct err *err)
{
    struct container_list *list = NULL;
    const struct blob *blob = NULL;
    int rc = container_list_begin(e->container, "", &list, err);

    if (rc == 0)
        rc = container_list_next(list, &blob, err);
    while (rc == 0 && blob) {
        rc = add_blob(e, blob, err);
        if (rc == 0)
            rc = container_list_next(list, &blob, err);
    }
    container_list_free(list);
    return rc;
}

/* One file of nothing is what an empty container becomes, so that there is something to read.
 */
static int write_files(struct export *e, struct err *err)
{
    const char *blob = params_word(e->params, "blob", NULL);
    int rc = blob ? add_one(e, blob, err) : add_all(e, err);

    if (rc == 0 && !e->part && e->single)
        rc = begin_part(e, err);
    if (rc == 0 && e->part && (e->single || part_rows(e->part) > 0))
        rc = end_part(e, err);
    part_abort_free(e->part);
    e->part = NULL;
    return rc;
}

static char *result_text(const struct export *e, const struct artifact *manifest)
{
    const char *container = container_name(e->container);
    struct buf b = BUF_INIT;

    buf_printf(&b,
               "{\"message\":\"Container %s converted to Parquet and saved to %s\","
               "\"container\":\"%s\",\"single_parquet\":%s,\"parquet_path\":",
               container, e->single ? e->last.key : e->context->work->output_prefix, container,
               e->single ? "true" : "false");
    if (e->single)
        buf_printf(&b, "\"%s\"", e->last.key);
    else
        buf_append_str(&b, "null");
    buf_printf(&b,
               ",\"folder\":\"%s\",\"files\":%" PRIu64 ",\"rows\":%" PRIu64
               ",\"content_bytes\":%" PRIu64 ",\"manifest\":{\"key\":\"%s\",\"size\":%" PRIu64
               ",\"sha256\":\"%s\"},"
               "\"parts\":[",
               e->context->work->output_prefix, e->files, e->rows, e->bytes, manifest->key,
               manifest->size, manifest->sha256);
    buf_append(&b, e->listed.data, e->listed.len);
    buf_printf(&b, "],\"peak_memory_bytes\":%" PRId64 "}", job_peak_rss_bytes());
    return buf_ok(&e->listed) ? buf_steal(&b) : (buf_release(&b), NULL);
}

/* While blob_upload is at work, or has failed, its note stands there: blobs of no one commit.
 */
static bool is_note(const char *commit)
{
    const char *dash = strchr(commit, '-');

    return dash && id_is_valid(dash + 1) &&
           (strncmp(commit, "created-", 8) == 0 || strncmp(commit, "updating-", 9) == 0);
}

/* While an upload is under way, or after one that failed, the container's note is that of
 * blob_upload: what is in it is of no commit. */
static int read_commit(struct export *e, char ret[CONTAINER_COMMIT_MAX], struct err *err)
{
    int rc = container_commit(e->container, ret, err);

    if (rc == 0 && is_note(ret))
        ret[0] = '\0';
    return rc;
}

/* What was read while somebody else has begun to upload may be of two commits. */
static int check_commit(struct export *e, struct err *err)
{
    char now[CONTAINER_COMMIT_MAX];
    int rc = e->commit[0] ? read_commit(e, now, err) : 0;

    if (rc || !e->commit[0] || strcmp(now, e->commit) == 0)
        return rc;
    return err_set(err, -E_UNAVAILABLE, "container '%s' was uploaded to meanwhile",
                   container_name(e->container));
}

static int run_on(struct export *e, struct report *ret, struct err *err)
{
    struct artifact manifest;
    char key[ARTIFACT_KEY_MAX];
    int rc = make_key(e, "manifest.jsonl", key, err);

    if (rc == 0)
        rc = objstore_put_begin(e->context->store, key, &e->manifest, err);
    if (rc == 0)
        rc = write_files(e, err);
    if (rc == 0)
        rc = check_commit(e, err);
    if (rc == 0) {
        rc = objstore_put_commit_free(e->manifest, &manifest, err);
        e->manifest = NULL;
    }
    if (rc)
        return rc;
    ret->result = result_text(e, &manifest);
    if (!ret->result)
        return err_set(err, -E_NO_MEMORY, "no memory for the result");
    ret->output = e->single ? e->last : manifest;
    return 0;
}

static int open_container(struct export *e, struct err *err)
{
    const char *name = params_word(e->params, "container", "");
    int rc = container_open(e->context->containers, name, &e->container, err);

    if (rc == 0)
        rc = read_commit(e, e->commit, err);
    if (rc == -E_NOT_FOUND)
        return err_set(err, -E_NOT_FOUND, "there is no container '%s'", name);
    return rc;
}

/* What was written by an attempt that fails is of no use to anybody. */
static void remove_files(const struct export *e)
{
    char key[ARTIFACT_KEY_MAX];

    for (uint64_t i = 0; i < e->files; i++)
        if (make_file_key(e, i, key, NULL) == 0)
            objstore_delete(e->context->store, key, NULL);
}

static int parquet_export_run(const struct job_context *context, struct report *ret)
{
    struct export *e = calloc(1, sizeof *e);
    struct err err = ERR_INIT;

    if (!e) {
        err_set(&err, -E_NO_MEMORY, "no memory for an export");
        return job_error_from(&err, &ret->error);
    }
    e->context = context;
    buf_init(&e->listed);
    int rc = params_open(context->work->params, &e->params, &err);
    e->single =
        params_bool(e->params, "single_parquet", false) || params_word(e->params, "blob", NULL);
    e->part_rows = (uint64_t)params_int(e->params, "part_rows", PART_ROWS);
    e->part_bytes = (uint64_t)params_int(e->params, "part_bytes", PART_BYTES);
    if (rc == 0)
        rc = open_container(e, &err);
    if (rc == 0)
        rc = run_on(e, ret, &err);
    objstore_put_abort_free(e->manifest);
    if (rc)
        remove_files(e);
    container_close(e->container);
    params_close(e->params);
    buf_release(&e->listed);
    free(e);
    return rc ? job_error_from(&err, &ret->error) : 0;
}

const struct job job_parquet_export = {"parquet_export", parquet_export_run};
