/* The aggregation from one end to the other: read and sum, spill what is left if anything
 * was spilled, merge, write. */
#include "csv.h"

#include <sys/stat.h>
#include <unistd.h>

#include "emit.h"
#include "ledger.h"
#include "pipeline.h"
#include "plan.h"
#include "reader.h"
#include "source.h"

enum { MAX_INFLATED_BITS = 40 };

struct job {
    const struct csv_options *options;
    const struct csv_plan *plan;
    struct source *source;
    struct reader reader;
    struct pipeline *pipeline;
    struct columns columns;
    struct spill_file scratch;
    size_t spilled_runs;
    const struct csv_sink *sink; /* NULL: CSV to out_fd */
    int out_fd, rejects_fd;
    struct output output;
    struct ticker ticker;
};

/* Bytes of a regular file from where it stands, else 0: not known. */
static uint64_t bytes_ahead(int fd)
{
    struct stat st;
    off_t at = lseek(fd, 0, SEEK_CUR);

    if (at < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size < at)
        return 0;
    return (uint64_t)(st.st_size - at);
}

/* An earlier bad row is what the user hears of, even when the reader failed later on. */
static int read_and_sum(struct job *j, struct err *err)
{
    int reader_rc = 0;
    int rc = pipeline_run(j->pipeline, &reader_rc, err);
    const struct ledger *ledger = pipeline_ledger(j->pipeline);

    if (rc)
        return rc;
    return ledger->failed ? ledger_error(ledger, &j->columns, err) : reader_rc;
}

/* Something was spilled: what is left in the table goes the same way, so that the merge has
 * its memory. */
static int spill_rest(struct job *j, struct spills *spills, struct err *err)
{
    int rc = spills_take(spills, pipeline_table(j->pipeline), j->plan, err);

    j->spilled_runs = spills->runs.count;
    return rc;
}

static int finish_totals(struct job *j, struct spills *spills, struct err *err)
{
    if (spills->runs.count > 0)
        return spill_rest(j, spills, err);
    if (table_finish(pipeline_table(j->pipeline)) != 0)
        return err_set(err, -E_NO_MEMORY, "no memory for the totals");
    return 0;
}

static int write_totals(struct job *j, struct err *err)
{
    struct spills *spills = pipeline_spills(j->pipeline);
    bool spilled = spills->runs.count > 0;
    int rc = finish_totals(j, spills, err);

    if (rc)
        return rc;
    do {
        rc = output_begin(&j->output, j->out_fd, j->sink, &j->ticker, err);
        if (rc == 0)
            rc = spilled ? emit_runs(&spills->runs, &j->scratch, j->plan, &j->output, err)
                         : emit_table(pipeline_table(j->pipeline), j->plan, &j->output, err);
        output_end(&j->output);
    } while (rc == CSV_AGAIN);
    return rc;
}

static void fill_stats(const struct job *j, struct csv_stats *ret_stats)
{
    const struct account *sum = &pipeline_ledger(j->pipeline)->sum;
    struct csv_stats s = {.rows_in = sum->rows,
                          .groups = j->output.rows,
                          .bytes_in = source_bytes_in(j->source),
                          .bytes_inflated = source_bytes_out(j->source),
                          .bytes_out = j->output.bytes,
                          .spilled_runs = j->spilled_runs};

    for (size_t i = 0; i < CSV_REASON__COUNT; i++) {
        s.rejected[i] = sum->rejected[i];
        s.rows_rejected += sum->rejected[i];
    }
    s.rows_summed = s.rows_in - s.rows_rejected;
    *ret_stats = s;
}

static int run(struct job *j, int in_fd, struct err *err)
{
    int64_t cap = j->options->max_inflated_bytes;

    j->source =
        source_new(in_fd, cap > 0 ? (uint64_t)cap : UINT64_C(1) << MAX_INFLATED_BITS, err);
    if (!j->source)
        return -E_NO_MEMORY;
    j->ticker = (struct ticker){.options = j->options, .now.bytes_total = bytes_ahead(in_fd)};
    reader_init(&j->reader, j->source, j->plan, &j->columns);
    j->pipeline = pipeline_new(&j->reader, j->options, j->plan, &j->ticker, err);
    if (!j->pipeline)
        return -E_NO_MEMORY;
    int rc = read_and_sum(j, err);
    if (rc == 0)
        rc = write_totals(j, err);
    if (rc == 0 && j->options->skip_bad_rows && j->rejects_fd >= 0)
        rc =
            ledger_write_rejects(pipeline_ledger(j->pipeline), &j->columns, j->rejects_fd, err);
    return rc;
}

static int run_and_release(struct job *j, int in_fd, struct csv_stats *ret_stats,
                           struct err *err)
{
    spill_file_init(&j->scratch, j->options->temp_dir ? j->options->temp_dir : "/var/tmp");
    int rc = run(j, in_fd, err);
    if (rc == 0 && ret_stats)
        fill_stats(j, ret_stats);
    pipeline_free(j->pipeline);
    source_free(j->source);
    columns_release(&j->columns);
    reader_release(&j->reader);
    spill_file_close(&j->scratch);
    return rc;
}

int csv_aggregate_planned(int in_fd, int out_fd, int rejects_fd,
                          const struct csv_options *options, const struct csv_plan *plan,
                          struct csv_stats *ret_stats, struct err *err)
{
    struct job j = {
        .options = options, .plan = plan, .out_fd = out_fd, .rejects_fd = rejects_fd};

    return run_and_release(&j, in_fd, ret_stats, err);
}

int csv_aggregate_planned_to(int in_fd, const struct csv_sink *sink, int rejects_fd,
                             const struct csv_options *options, const struct csv_plan *plan,
                             struct csv_stats *ret_stats, struct err *err)
{
    struct job j = {
        .options = options, .plan = plan, .sink = sink, .out_fd = -1, .rejects_fd = rejects_fd};

    return run_and_release(&j, in_fd, ret_stats, err);
}

int csv_aggregate_to(int in_fd, const struct csv_sink *sink, int rejects_fd,
                     const struct csv_options *options, struct csv_stats *ret_stats,
                     struct err *err)
{
    struct csv_plan plan;

    csv_plan_make_for(options, bytes_ahead(in_fd), &plan);
    return csv_aggregate_planned_to(in_fd, sink, rejects_fd, options, &plan, ret_stats, err);
}

int csv_aggregate(int in_fd, int out_fd, int rejects_fd, const struct csv_options *options,
                  struct csv_stats *ret_stats, struct err *err)
{
    struct csv_plan plan;

    csv_plan_make_for(options, bytes_ahead(in_fd), &plan);
    return csv_aggregate_planned(in_fd, out_fd, rejects_fd, options, &plan, ret_stats, err);
}
