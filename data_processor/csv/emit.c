#include "emit.h"

#include <stdlib.h>

#include "parallel.h"

enum { DATE_ROOM = 16 };

struct emission {
    const struct totals *totals;
    const struct csv_plan *plan;
    struct output *output;
    char (*dates)[DATE_ROOM]; /* by rank */
    atomic_size_t next;       /* range */
    int rc;                   /* of the calling thread, which is always there */
};

struct emitter {
    const struct emission *emission;
    struct writer writer;
};

static int put_song(void *arg, const struct song *song, const struct group *groups,
                    size_t count, struct err *err)
{
    struct emitter *e = arg;
    int rc = writer_song(&e->writer, song, err);

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc =
            writer_total(&e->writer, song, &groups[i], e->emission->dates[groups[i].rank], err);
    return rc;
}

/* Takes ranges until none is left. A thread that cannot start leaves them to the others. */
static void emit_ranges(void *arg, size_t thread)
{
    struct emission *e = arg;
    struct emitter me = {.emission = e};
    struct totals_sink sink = {put_song, &me};
    struct sums sums = {0};
    int rc = writer_begin(&me.writer, e->output, e->plan->out_bytes, NULL);

    if (rc == 0)
        rc = sums_init(&sums, e->totals->day_count);
    for (size_t range; rc == 0 && parallel_next(&e->next, e->totals->ranges, &range);) {
        struct err range_err = ERR_INIT;
        writer_start_piece(&me.writer, range);
        int range_rc = output_failed(e->output)
                           ? 0
                           : totals_range(e->totals, range, &sums, &sink, &range_err);
        writer_end_piece(&me.writer, range_rc, &range_err);
    }
    sums_release(&sums);
    writer_release(&me.writer);
    if (thread == 0)
        e->rc = rc;
}

static int emit_totals(struct emission *e, size_t threads, struct err *err)
{
    e->output->pieces = e->totals->ranges;
    parallel_run(threads, emit_ranges, e);
    if (e->output->rc) {
        if (err)
            *err = e->output->err;
        return e->output->rc;
    }
    if (e->output->turn == e->totals->ranges)
        return 0; /* though one may have had no memory, the others did it all */
    return err_set(err, e->rc, "no memory to write the output");
}

int emit_table(const struct table *t, const struct csv_plan *plan, struct output *output,
               struct err *err)
{
    struct totals totals;
    struct emission e = {.totals = &totals, .plan = plan, .output = output};
    int rc = totals_init(&totals, t);

    if (rc == 0) {
        e.dates = calloc(totals.day_count + 1, sizeof *e.dates);
        rc = e.dates ? 0 : -E_NO_MEMORY;
    }
    if (rc == 0) {
        for (uint32_t i = 0; i < totals.day_count; i++)
            date_format(totals.days[i], e.dates[i]);
        rc = emit_totals(&e, parallel_worth(t->threads, t->records), err);
    } else {
        err_set(err, rc, "no memory to write the output");
    }
    free(e.dates);
    totals_release(&totals);
    return rc;
}

struct run_emitter {
    struct writer writer;
    const struct run_list *runs;
};

static int put_total(void *arg, const struct song *song, bool is_new, const struct group *group,
                     struct err *err)
{
    struct run_emitter *e = arg;
    char date[DATE_ROOM];
    int rc = is_new ? writer_song(&e->writer, song, err) : 0;

    if (is_new) {
        double part = (double)e->runs->read / (double)e->runs->bytes;
        e->writer.output->part = part < 1 ? part : 1; /* a sink may want all again */
    }
    date_format(group->day, date);
    return rc ? rc : writer_total(&e->writer, song, group, date, err);
}

int emit_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
              struct output *output, struct err *err)
{
    struct run_emitter e = {.runs = runs};
    int rc = writer_begin(&e.writer, output, plan->out_bytes, err);

    if (rc == 0) {
        writer_start_piece(&e.writer, 0);
        rc = merge_runs(runs, scratch, plan, &(struct merge_sink){put_total, &e}, err);
    }
    rc = writer_end_piece(&e.writer, rc, err);
    writer_release(&e.writer);
    return rc;
}
