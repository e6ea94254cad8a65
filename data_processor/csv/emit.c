#include "emit.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { DATE_ROOM = 16 };

struct emission {
    const struct totals *totals;
    const struct csv_plan *plan;
    struct output *output;
    char (*dates)[DATE_ROOM]; /* by rank */
    atomic_size_t next;       /* range */
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
static int emit_ranges(struct emission *e, struct err *err)
{
    struct emitter me = {.emission = e};
    struct totals_sink sink = {put_song, &me};
    struct sums sums = {0};
    int rc = writer_begin(&me.writer, e->output, e->plan->out_bytes, err);

    if (rc == 0)
        rc = sums_init(&sums, e->totals->day_count);
    for (size_t range;
         rc == 0 && (range = atomic_fetch_add(&e->next, 1)) < e->totals->ranges;) {
        struct err range_err = ERR_INIT;
        me.writer.piece = range;
        int range_rc = output_failed(e->output)
                           ? 0
                           : totals_range(e->totals, range, &sums, &sink, &range_err);
        writer_end_piece(&me.writer, range_rc, &range_err);
    }
    sums_release(&sums);
    writer_release(&me.writer);
    return rc;
}

static void *thread_main(void *arg)
{
    emit_ranges(arg, NULL);
    return NULL;
}

static int emit_totals(struct emission *e, size_t threads, struct err *err)
{
    pthread_t ids[THREADS_MAX];
    size_t started = 0;

    e->output->pieces = e->totals->ranges;

    if (threads > e->totals->ranges)
        threads = e->totals->ranges;
    while (started + 1 < threads && pthread_create(&ids[started], NULL, thread_main, e) == 0)
        started++;
    int rc = emit_ranges(e, err);
    for (size_t i = 0; i < started; i++)
        pthread_join(ids[i], NULL);
    if (e->output->rc) {
        rc = e->output->rc;
        if (err)
            *err = e->output->err;
    } else if (rc && e->output->turn == e->totals->ranges) {
        rc = 0; /* the others did it all */
    } else if (rc) {
        err_set(err, rc, "no memory to write the output");
    }
    return rc;
}

int emit_tables(struct table *const *tables, size_t count, const struct csv_plan *plan,
                struct output *output, struct err *err)
{
    struct totals totals;
    struct emission e = {.totals = &totals, .plan = plan, .output = output};
    int rc = totals_init(&totals, tables, count);

    if (rc == 0) {
        e.dates = calloc(totals.day_count + 1, sizeof *e.dates);
        rc = e.dates ? 0 : -E_NO_MEMORY;
    }
    if (rc == 0) {
        for (uint32_t i = 0; i < totals.day_count; i++)
            date_format(totals.days[i], e.dates[i]);
        rc = emit_totals(&e, count, err);
    } else if (rc < 0) {
        err_set(err, rc, "no memory to write the output");
    }
    free(e.dates);
    totals_release(&totals);
    return rc == TOTALS_TOO_MANY_DAYS ? EMIT_BY_RUNS : rc;
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

    if (is_new)
        e->writer.output->part = (double)e->runs->read / (double)e->runs->bytes;
    date_format(group->day, date);
    return rc ? rc : writer_total(&e->writer, song, group, date, err);
}

int emit_runs(struct run_list *runs, struct spill_file *scratch, const struct csv_plan *plan,
              struct output *output, struct err *err)
{
    struct run_emitter e = {.runs = runs};
    int rc = writer_begin(&e.writer, output, plan->out_bytes, err);

    if (rc == 0)
        rc = merge_runs(runs, scratch, plan, &(struct merge_sink){put_total, &e}, err);
    rc = writer_end_piece(&e.writer, rc, err);
    writer_release(&e.writer);
    return rc;
}
