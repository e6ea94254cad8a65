/* csv_plays.c - daily totals of song plays: the attempt's input through the CSV engine into
 * totals.csv or totals.parquet and, when bad rows are skipped and there are any, rejects.csv.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "csv.h"
#include "failpoint.h"
#include "job.h"
#include "json_write.h"
#include "params.h"
#include "plays.h"

enum { QUIET_BYTES = 64 << 10, QUIET_MS = 100 };

struct choices {
    bool skip, parquet;
};

struct teller {
    const struct job_context *context;
    int64_t start_ms;
};

/* The two files an attempt may write; NULL once committed or when there is none. */
struct outputs {
    const struct job_context *context;
    struct objstore_put *totals, *rejects;
};

/* A small file is done before anybody asks how far it is, and telling would wake the worker. */
static void report_progress(void *arg, const struct csv_progress *progress)
{
    const struct teller *t = arg;

    if (progress->bytes_total <= QUIET_BYTES && clock_mono_ms() - t->start_ms < QUIET_MS)
        return;
    const struct job_context *context = t->context;
    const struct job_progress p = {progress->fraction, progress->bytes_read,
                                   progress->bytes_total, progress->rows};

    context->progress(context->progress_arg, &p);
}

/* A folder for one small file would cost more than the file. */
static int begin_output(const struct job_context *context, const char *name,
                        struct objstore_put **ret, struct err *err)
{
    const struct work *work = context->work;
    const char *prefix = work->output_stem[0] ? work->output_stem : work->output_prefix;
    char key[ARTIFACT_KEY_MAX];
    int len = snprintf(key, sizeof key, "%s%s", prefix, name);

    if (len < 0 || (size_t)len >= sizeof key)
        return err_set(err, -E_BAD_VALUE, "the output prefix '%s' is too long", prefix);
    return objstore_put_begin(context->store, key, ret, err);
}

static int read_params(const char *text, struct choices *ret, struct err *err)
{
    struct params *params = NULL;
    int rc = params_open(text, &params, err);

    if (rc)
        return rc;
    ret->skip = strcmp(params_word(params, "on_bad_row", "fail"), "skip") == 0;
    ret->parquet = strcmp(params_word(params, "format", "csv"), "parquet") == 0;
    params_close(params);
    return 0;
}

static void put_rejected(struct json_out *o, const struct csv_stats *s)
{
    json_out_open(o, "rejected", '{');
    for (int i = 0; i < CSV_REASON__COUNT; i++)
        if (s->rejected[i])
            json_out_int(o, csv_reason_code((enum csv_reason)i), (int64_t)s->rejected[i]);
    json_out_close(o, '}');
}

static void put_rejects(struct json_out *o, const struct artifact *rejects)
{
    json_out_open(o, "rejects", '{');
    json_out_string(o, "key", rejects->key);
    json_out_int(o, "size", (int64_t)rejects->size);
    json_out_string(o, "sha256", rejects->sha256);
    json_out_close(o, '}');
}

static char *result_text(const struct csv_stats *s, int64_t ms, const struct artifact *rejects)
{
    const struct {
        const char *name;
        uint64_t number;
    } counts[] = {
        {"rows_in", s->rows_in},
        {"rows_summed", s->rows_summed},
        {"rows_rejected", s->rows_rejected},
        {"groups", s->groups},
        {"bytes_in", s->bytes_in},
        {"bytes_inflated", s->bytes_inflated},
        {"bytes_out", s->bytes_out},
        {"spilled_runs", s->spilled_runs},
    };
    struct json_out o;
    char seconds[32];

    snprintf(seconds, sizeof seconds, "%" PRId64 ".%03" PRId64, ms / 1000, ms % 1000);
    json_out_init(&o);
    json_out_open(&o, NULL, '{');
    for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
        json_out_int(&o, counts[i].name, (int64_t)counts[i].number);
    json_out_raw(&o, "seconds", seconds);
    json_out_int(&o, "peak_memory_bytes", job_peak_rss_bytes());
    put_rejected(&o, s);
    if (rejects->key[0])
        put_rejects(&o, rejects);
    json_out_close(&o, '}');
    return json_out_take(&o);
}

static int put_write(void *arg, const void *bytes, size_t len, struct err *err)
{
    return objstore_put_write(arg, bytes, len, err);
}

/* An object cannot be emptied: one that is to be written anew is another put of the same key.
 */
static int begin_parquet(void *arg, struct parquet_sink *ret, struct err *err)
{
    struct outputs *out = arg;

    objstore_put_abort_free(out->totals);
    out->totals = NULL;
    int rc = begin_output(out->context, "totals.parquet", &out->totals, err);
    *ret = (struct parquet_sink){put_write, out->totals};
    return rc;
}

static int aggregate(const struct job_context *context, int in_fd, struct choices choices,
                     struct outputs *out, struct csv_stats *ret_stats, struct err *err)
{
    struct teller teller = {context, clock_mono_ms()};
    const struct csv_options options = {
        .threads = context->threads,
        .memory_bytes = context->memory_bytes,
        .max_inflated_bytes = context->max_inflated_bytes,
        .skip_bad_rows = choices.skip,
        .temp_dir = objstore_temp_dir(context->store),
        .progress = report_progress,
        .progress_arg = &teller,
    };
    const struct plays_target target = {begin_parquet, out};
    int rc = choices.parquet ? 0 : begin_output(context, "totals.csv", &out->totals, err);

    if (!rc && choices.skip)
        rc = begin_output(context, "rejects.csv", &out->rejects, err);
    if (!rc)
        rc = FAILPOINT_ERR(output_begun, -E_IO, err);
    if (rc)
        return rc;
    int rejects_fd = out->rejects ? objstore_put_fd(out->rejects) : -1;
    if (choices.parquet)
        return plays_to_parquet(in_fd, &target, rejects_fd, &options, ret_stats, err);
    return csv_aggregate(in_fd, objstore_put_fd(out->totals), rejects_fd, &options, ret_stats,
                         err);
}

static int commit(struct objstore_put **put, struct artifact *ret, struct err *err)
{
    struct objstore_put *p = *put;

    *put = NULL;
    return objstore_put_commit_free(p, ret, err);
}

/* The worker makes a report's output durable before it sends it, together with others. */
static int publish(struct objstore_put **put, struct artifact *ret, struct err *err)
{
    struct objstore_put *p = *put;

    *put = NULL;
    return objstore_put_publish_free(p, ret, err);
}

static int run_on(const struct job_context *context, int in_fd, struct outputs *out,
                  struct report *ret, struct err *err)
{
    struct csv_stats stats;
    struct artifact rejects = {"", 0, ""};
    struct choices choices = {false, false};
    int64_t start = clock_mono_ms();
    int rc = read_params(context->work->params, &choices, err);

    if (!rc)
        rc = aggregate(context, in_fd, choices, out, &stats, err);
    if (!rc && out->rejects && stats.rows_rejected > 0)
        rc = commit(&out->rejects, &rejects, err);
    if (!rc)
        rc = FAILPOINT_ERR(output_half, -E_IO, err);
    if (!rc)
        rc = publish(&out->totals, &ret->output, err);
    if (rc)
        return rc;
    ret->result = result_text(&stats, clock_mono_ms() - start, &rejects);
    ret->result_is_sound = true;
    return ret->result ? 0 : err_set(err, -E_NO_MEMORY, "no memory for the result");
}

/* The task manager had the file when it took the task: that it is not here says more about
 * this worker than about the task, and another one may do better. */
static int open_input(const struct job_context *context, int *ret_fd, struct err *err)
{
    const char *key = context->work->input.key;
    uint64_t size;

    if (!key[0])
        return err_set(err, -E_BAD_INPUT, "the task has no input file");
    int rc = objstore_get(context->store, key, ret_fd, &size, err);
    if (rc != -E_NOT_FOUND)
        return rc;
    return err_set(err, -E_UNAVAILABLE,
                   "this worker's object store %s has no '%s': is STORAGE_URL the task "
                   "manager's?",
                   objstore_place(context->store), key);
}

static int csv_plays_run(const struct job_context *context, struct report *ret)
{
    struct outputs out = {context, NULL, NULL};
    struct err err = ERR_INIT;
    int in_fd = -1;
    int rc = open_input(context, &in_fd, &err);

    if (!rc)
        rc = FAILPOINT_ERR(input_opened, -E_IO, &err);
    if (!rc)
        rc = run_on(context, in_fd, &out, ret, &err);
    objstore_put_abort_free(out.totals);
    objstore_put_abort_free(out.rejects);
    if (in_fd >= 0)
        close(in_fd);
    return rc ? job_error_from(&err, &ret->error) : 0;
}

const struct job job_csv_plays = {"csv_plays", csv_plays_run};
