#include "totals.h"

#include <stdlib.h>
#include <string.h>

#include "parallel.h"

/* A range has about so many totals: enough to fill a buffer, few enough for all threads to
 * end at the same time. */
enum { RANGE_TOTALS = 16384, AHEAD_ENTRY = 16, AHEAD_LOG = 8 };

/* One pass of a radix sort: by 8 bits of each, those alike stay as they were. */
static void deal_days(const uint64_t *from, uint64_t *to, size_t count, unsigned shift)
{
    uint32_t places[256] = {0}, sum = 0;

    for (size_t i = 0; i < count; i++)
        places[from[i] >> shift & 255]++;
    for (size_t i = 0; i < 256; i++) {
        uint32_t here = places[i];
        places[i] = sum;
        sum += here;
    }
    for (size_t i = 0; i < count; i++)
        to[places[from[i] >> shift & 255]++] = from[i];
}

/* The days in order, and the rank of each by its number. */
static int rank_days(struct totals *t, const uint32_t *days)
{
    size_t count = t->day_count;
    uint64_t *order = calloc(2 * count + 1, sizeof *order); /* the day, its number */

    if (!order)
        return -E_NO_MEMORY;
    uint64_t *other = order + count;
    for (uint32_t i = 0; i < count; i++)
        other[i] = (uint64_t)days[i] << 32 | i;
    deal_days(other, order, count, 32); /* a day has 23 bits */
    deal_days(order, other, count, 40);
    deal_days(other, order, count, 48);
    for (uint32_t rank = 0; rank < count; rank++) {
        t->days[rank] = (uint32_t)(order[rank] >> 32);
        t->ranks[(uint32_t)order[rank]] = rank;
    }
    free(order);
    return 0;
}

int totals_init(struct totals *t, const struct table *table)
{
    const uint32_t *days = table->calendar.days;
    uint32_t count = calendar_count(&table->calendar);

    *t = (struct totals){.table = table, .day_count = count};
    t->ranges = table->records / RANGE_TOTALS + 1;
    if (t->ranges > table->song_count)
        t->ranges = table->song_count ? table->song_count : 1;
    t->days = malloc(count * sizeof *t->days + 1);
    t->ranks = malloc(count * sizeof *t->ranks + 1);
    if (!t->days || !t->ranks)
        return -E_NO_MEMORY;
    return rank_days(t, days);
}

void totals_release(struct totals *t)
{
    free(t->days);
    free(t->ranks);
    *t = (struct totals){0};
}

int sums_init(struct sums *s, uint32_t day_count)
{
    size_t words = day_count / 64 + 1;

    *s = (struct sums){.day_count = day_count};
    s->sum = calloc(day_count + 1, sizeof *s->sum);
    s->bits = calloc(words, sizeof *s->bits);
    s->over = calloc(words, sizeof *s->over);
    s->top = calloc(words / 64 + 1, sizeof *s->top);
    s->groups = malloc((day_count + 1) * sizeof *s->groups);
    if (s->sum && s->bits && s->over && s->top && s->groups)
        return 0;
    sums_release(s);
    return -E_NO_MEMORY;
}

void sums_release(struct sums *s)
{
    free(s->sum);
    free(s->bits);
    free(s->over);
    free(s->top);
    free(s->groups);
    *s = (struct sums){0};
}

static inline void sums_add(struct sums *s, uint32_t rank, uint128 plays)
{
    s->bits[rank / 64] |= UINT64_C(1) << rank % 64;
    s->top[rank / 4096] |= UINT64_C(1) << rank / 64 % 64;
    if (__builtin_add_overflow(s->sum[rank], plays, &s->sum[rank]))
        s->over[rank / 64] |= UINT64_C(1) << rank % 64;
}

/* Lists what was added and forgets it. */
static size_t sums_take(struct sums *s, const uint32_t *days)
{
    size_t count = 0;

    for (uint32_t i = 0; i <= s->day_count / 4096; i++)
        for (uint64_t words = s->top[i]; words; words &= words - 1) {
            uint32_t word = i * 64 + (uint32_t)__builtin_ctzll(words);
            for (uint64_t bits = s->bits[word]; bits; bits &= bits - 1) {
                uint32_t rank = word * 64 + (uint32_t)__builtin_ctzll(bits);
                bool over = s->over[word] >> rank % 64 & 1;
                s->groups[count++] = (struct group){s->sum[rank], days[rank], rank, over};
                s->sum[rank] = 0;
            }
            s->bits[word] = s->over[word] = 0;
        }
    memset(s->top, 0, (s->day_count / 4096 + 1) * sizeof *s->top);
    return count;
}

static void add_logged(struct sums *s, const struct totals *t, const struct entry *e)
{
    uint32_t left = e->rows & ROWS_LOGGED, at = e->start;
    uint32_t size = 1U << t->table->chunk_bits;

    while (left > 0) {
        const uint64_t *records = table_record(t->table, e->id >> PAGE_BITS, at);
        uint32_t here = size - (at & (size - 1)), step = left < here ? left : here;
        for (uint32_t i = 0; i < step; i++)
            sums_add(s, t->ranks[log_date(records[i])], log_plays(records[i]));
        at += step;
        left -= step;
    }
}

static void add_dense(struct sums *s, const struct totals *t, const struct sheet *sheet,
                      uint32_t song)
{
    size_t days = t->day_count < sheet->stride ? t->day_count : sheet->stride;
    const uint32_t *place = sheet_place(sheet, song);
    size_t first = place ? sheet_sum_at(sheet, *place, 0) : 0;

    for (size_t i = 0; first && i < days; i++) {
        uint64_t sum = sheet->dense[first - 1 + i];
        if (sum)
            sums_add(s, t->ranks[i], sum - 1);
    }
}

static void add_wide(struct sums *s, const struct totals *t, const struct sheet *sheet,
                     uint32_t song)
{
    for (size_t i = sheet_find_wide(sheet, song);
         i < sheet->wide_count && sheet->wide[i].song == song; i++) {
        const struct wide *w = &sheet->wide[i];
        sums_add(s, t->ranks[w->date], w->high ? (uint128)w->plays << 64 : w->plays);
    }
}

static void add_entry(struct sums *s, const struct totals *t, const struct entry *e)
{
    add_logged(s, t, e);
    if ((e->rows & (ROWS_DENSE | ROWS_WIDE)) == 0)
        return;
    for (size_t i = 0; i < t->table->sheet_count; i++) {
        if (e->rows & ROWS_DENSE)
            add_dense(s, t, t->table->sheets[i], e->id);
        if (e->rows & ROWS_WIDE)
            add_wide(s, t, t->table->sheets[i], e->id);
    }
}

static const struct entry *entry_at(const struct table *t, size_t place)
{
    return songs_entry(&t->songs, t->order[place].entry);
}

/* The entry at a place; fetches what comes next. (On its own gcc takes a function that only
 * fetches for one without effect and drops it.) */
static const struct entry *take_entry(const struct table *t, size_t place)
{
    if (place + AHEAD_ENTRY < t->song_count)
        prefetch(entry_at(t, place + AHEAD_ENTRY));
    if (place + AHEAD_LOG < t->song_count) {
        const struct entry *e = entry_at(t, place + AHEAD_LOG);
        if (e->rows & ROWS_LOGGED) {
            const uint64_t *first = table_record(t, e->id >> PAGE_BITS, e->start);
            prefetch(first);
            prefetch(first + 8); /* most songs have no more */
        }
    }
    return entry_at(t, place);
}

int totals_range(const struct totals *t, size_t range, struct sums *sums,
                 const struct totals_sink *sink, struct err *err)
{
    const struct table *table = t->table;
    size_t at = (size_t)((uint128)table->song_count * range / t->ranges);
    size_t end = (size_t)((uint128)table->song_count * (range + 1) / t->ranges);
    int rc = 0;

    for (; rc == 0 && at < end; at++) {
        const struct entry *e = take_entry(table, at);
        struct song song = {load_prefix(e->bytes, e->len), e->bytes, e->len};
        add_entry(sums, t, e);
        size_t count = sums_take(sums, t->days);
        rc = sink->put(sink->arg, &song, sums->groups, count, err);
    }
    return rc;
}

static int put_to_run(void *arg, const struct song *song, const struct group *groups,
                      size_t count, struct err *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = run_writer_put(arg, song, &groups[i], err);
    return rc;
}

/* A table on its way to the disk: each thread takes ranges as they come and writes them as
 * one run, for they ascend. */
struct spilling {
    const struct totals *totals;
    struct spill_file *files;
    size_t buffer_bytes;
    atomic_size_t next;
    pthread_mutex_t lock; /* guards all below */
    struct run_list *runs;
    int rc; /* the first failure */
    struct err err;
};

static int write_run(struct spilling *s, struct run_writer *w, struct err *err)
{
    struct sums sums = {0};
    struct totals_sink sink = {put_to_run, w};
    int rc = sums_init(&sums, s->totals->day_count);

    if (rc)
        err_set(err, rc, "no memory to spill totals");
    for (size_t range; rc == 0 && parallel_next(&s->next, s->totals->ranges, &range);)
        rc = totals_range(s->totals, range, &sums, &sink, err);
    sums_release(&sums);
    return rc;
}

static void spill_ranges(void *arg, size_t me)
{
    struct spilling *s = arg;
    struct run_writer w;
    struct run run = {0};
    struct err err = ERR_INIT;
    int rc = run_writer_begin(&w, &s->files[me], s->buffer_bytes, &err);

    if (rc == 0)
        rc = write_run(s, &w, &err);
    if (rc == 0)
        rc = run_writer_end(&w, &run, &err);
    run_writer_release(&w);
    pthread_mutex_lock(&s->lock);
    if (rc == 0 && run.bytes > 0)
        rc = run_list_add(s->runs, &run, &err);
    if (rc && s->rc == 0) {
        s->rc = rc;
        s->err = err;
    }
    pthread_mutex_unlock(&s->lock);
}

int table_spill(const struct table *t, struct spill_file *files, size_t buffer_bytes,
                struct run_list *runs, struct err *err)
{
    struct totals totals;
    struct spilling s = {
        .totals = &totals, .files = files, .buffer_bytes = buffer_bytes, .runs = runs};
    int rc = totals_init(&totals, t);

    if (rc) {
        err_set(err, rc, "no memory to spill totals");
    } else if (t->song_count > 0) {
        pthread_mutex_init(&s.lock, NULL);
        parallel_run(parallel_worth(t->threads, t->records), spill_ranges, &s);
        pthread_mutex_destroy(&s.lock);
        rc = s.rc;
        if (rc && err)
            *err = s.err;
    }
    totals_release(&totals);
    return rc;
}
