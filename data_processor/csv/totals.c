#include "totals.h"

#include <stdlib.h>
#include <string.h>

#include "sort.h"

/* A range has about so many totals: enough to fill a buffer, few enough for all threads to
 * end at the same time. */
enum { RANGE_TOTALS = 16384, AHEAD_ENTRY = 12, AHEAD_LOG = 6 };

static int compare_days(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static uint32_t day_rank(const struct totals *t, uint32_t day)
{
    const uint32_t *found = bsearch(&day, t->days, t->day_count, sizeof day, compare_days);

    return (uint32_t)(found - t->days);
}

static int rank_days(struct totals *t)
{
    size_t all = 0, unique = 0;

    for (size_t i = 0; i < t->count; i++)
        all += t->tables[i]->dates.count;
    t->days = malloc(all * sizeof *t->days + 1);
    if (!t->days)
        return -E_NO_MEMORY;
    all = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct dates *d = &t->tables[i]->dates;
        if (d->count)
            memcpy(t->days + all, d->days, d->count * sizeof *t->days);
        all += d->count;
    }
    qsort(t->days, all, sizeof *t->days, compare_days);
    for (size_t i = 0; i < all; i++)
        if (i == 0 || t->days[i] != t->days[unique - 1])
            t->days[unique++] = t->days[i];
    t->day_count = (uint32_t)unique;
    if (unique > DATES_MAX)
        return TOTALS_TOO_MANY_DAYS;
    for (size_t i = 0; i < t->count; i++) {
        const struct dates *d = &t->tables[i]->dates;
        t->ranks[i] = malloc(d->count * sizeof(uint32_t) + 1);
        if (!t->ranks[i])
            return -E_NO_MEMORY;
        for (uint32_t k = 0; k < d->count; k++)
            t->ranks[i][k] = day_rank(t, d->days[k]);
    }
    return 0;
}

int totals_init(struct totals *t, struct table *const *tables, size_t count)
{
    uint64_t most = 0;

    *t = (struct totals){.tables = tables, .count = count};
    for (size_t i = 0; i < count; i++) {
        most += tables[i]->log.records + tables[i]->dense_count * tables[i]->stride;
        if (tables[i]->song_count > tables[t->widest]->song_count)
            t->widest = i;
    }
    size_t songs = tables[t->widest]->song_count;
    t->ranges = (size_t)(most / RANGE_TOTALS) + 1;
    if (t->ranges > songs)
        t->ranges = songs ? songs : 1;
    return rank_days(t);
}

void totals_release(struct totals *t)
{
    free(t->days);
    for (size_t i = 0; i < t->count; i++)
        free(t->ranks[i]);
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

static void add_wide(struct sums *s, const struct table *t, uint32_t id, const uint32_t *ranks)
{
    size_t low = 0, high = t->wide_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (t->wide[mid].song < id)
            low = mid + 1;
        else
            high = mid;
    }
    for (; low < t->wide_count && t->wide[low].song == id; low++) {
        const struct wide *w = &t->wide[low];
        sums_add(s, ranks[w->date], w->high ? (uint128)w->plays << 64 : w->plays);
    }
}

static void add_entry(struct sums *s, const struct table *t, const struct entry *e,
                      const uint32_t *ranks)
{
    uint32_t left = e->logged & (WIDE_BIT - 1), at = e->start;
    uint32_t size = 1U << t->log.chunk_bits;

    while (left > 0) {
        const uint64_t *records = log_at(&t->log, &t->log.parts[e->id >> PART_BITS], at);
        uint32_t here = size - (at & (size - 1)), step = left < here ? left : here;
        for (uint32_t i = 0; i < step; i++)
            sums_add(s, ranks[log_date(records[i])], log_plays(records[i]));
        at += step;
        left -= step;
    }
    if (e->dense) {
        const uint64_t *block = t->dense + (e->dense - 1) * t->stride;
        size_t days = t->dates.count < t->stride ? t->dates.count : t->stride;
        for (size_t i = 0; i < days; i++)
            if (block[i])
                sums_add(s, ranks[i], block[i] - 1);
    }
    if (e->logged & WIDE_BIT)
        add_wide(s, t, e->id, ranks);
}

/* One table's songs of a range. */
struct cursor {
    size_t at, end;
    const struct entry *entry; /* at `at` */
};

static const struct entry *entry_at(const struct table *t, size_t place)
{
    return table_entry(t, t->order[place].entry);
}

static void look(struct cursor *c, const struct table *t)
{
    if (c->at + AHEAD_ENTRY < c->end)
        prefetch(entry_at(t, c->at + AHEAD_ENTRY));
    if (c->at + AHEAD_LOG < c->end) {
        const struct entry *e = entry_at(t, c->at + AHEAD_LOG);
        if (e->logged & (WIDE_BIT - 1))
            prefetch(log_at(&t->log, &t->log.parts[e->id >> PART_BITS], e->start));
    }
    c->entry = c->at < c->end ? entry_at(t, c->at) : NULL;
}

/* The first place whose song is not before `pivot`. */
static size_t place_of(const struct table *t, const struct entry *pivot)
{
    size_t low = 0, high = t->song_count;

    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (entry_compare(entry_at(t, mid), pivot) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

/* Where the range starts in a table; range == ranges: the end. */
static size_t range_start(const struct totals *t, size_t range, size_t table)
{
    const struct table *widest = t->tables[t->widest];
    size_t place = (size_t)((uint128)widest->song_count * range / t->ranges);

    if (range == 0)
        return 0;
    if (range == t->ranges)
        return t->tables[table]->song_count;
    return table == t->widest ? place : place_of(t->tables[table], entry_at(widest, place));
}

/* The song that comes next in any table, or NULL; *ret_first: the first table that has it.
 * Few tables: a heap would not be faster. */
static const struct entry *least(const struct cursor *cursors, size_t count, size_t *ret_first)
{
    const struct entry *found = NULL;

    for (size_t i = 0; i < count; i++)
        if (cursors[i].entry && (!found || entry_compare(cursors[i].entry, found) < 0)) {
            found = cursors[i].entry;
            *ret_first = i;
        }
    return found;
}

static bool is_same(const struct entry *a, const struct entry *b)
{
    return a == b || (a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0);
}

int totals_range(const struct totals *t, size_t range, struct sums *sums,
                 const struct totals_sink *sink, struct err *err)
{
    struct cursor cursors[THREADS_MAX];
    const struct entry *first;
    size_t from = 0;
    int rc = 0;

    for (size_t i = 0; i < t->count; i++) {
        cursors[i].at = range_start(t, range, i);
        cursors[i].end = range_start(t, range + 1, i);
        look(&cursors[i], t->tables[i]);
    }
    while (rc == 0 && (first = least(cursors, t->count, &from)) != NULL) {
        for (size_t i = from; i < t->count; i++) {
            const struct entry *e = cursors[i].entry;
            if (!e || !is_same(e, first))
                continue;
            add_entry(sums, t->tables[i], e, t->ranks[i]);
            cursors[i].at++;
            look(&cursors[i], t->tables[i]);
        }
        struct song song = {load_prefix(first->bytes, first->len), first->bytes, first->len};
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

static int write_run(struct table *t, struct run_writer *w, struct err *err)
{
    struct totals totals;
    struct sums sums = {0};
    struct totals_sink sink = {put_to_run, w};
    int rc = totals_init(&totals, &t, 1);

    if (rc == 0)
        rc = sums_init(&sums, totals.day_count);
    if (rc)
        err_set(err, rc, "no memory to spill totals");
    for (size_t i = 0; rc == 0 && i < totals.ranges; i++)
        rc = totals_range(&totals, i, &sums, &sink, err);
    sums_release(&sums);
    totals_release(&totals);
    return rc;
}

int table_spill(struct table *t, struct spill_file *file, size_t buffer_bytes,
                struct run_list *runs, struct err *err)
{
    struct run_writer w;
    struct run run;
    int rc = run_writer_begin(&w, file, buffer_bytes, err);

    if (rc == 0)
        rc = write_run(t, &w, err);
    if (rc == 0)
        rc = run_writer_end(&w, &run, err);
    if (rc == 0)
        rc = run_list_add(runs, &run, err);
    run_writer_release(&w);
    return rc;
}
