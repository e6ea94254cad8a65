#include "table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pages.h"
#include "parallel.h"

enum {
    CHUNK_BITS_LEAST = 4,
    CHUNK_BITS_MOST = 10,
    CHUNKS_OF_EACH = 512,   /* so many for each pair of workers fill a table */
    HURRY_BUDGET = 4 << 20, /* and a quarter of the days for a quarter of it */
};

void table_init(struct table *t, size_t budget, size_t threads, uint64_t seed)
{
    unsigned bits = CHUNK_BITS_LEAST;

    while (bits < CHUNK_BITS_MOST &&
           ((size_t)8 << bits) * CHUNKS_OF_EACH * threads * threads < budget)
        bits++;
    *t =
        (struct table){.budget = budget, .threads = threads, .chunk_bits = bits, .empty = true};
    gate_init(&t->gate);
    songs_init(&t->songs, budget, (unsigned)threads, seed);
    calendar_init(&t->calendar);
}

void table_join(struct table *t, struct sheet *s)
{
    assert(t->sheet_count < t->threads);
    sheet_init(s, &t->calendar, t->songs.page_songs, t->chunk_bits, t->threads);
    t->sheets[t->sheet_count++] = s;
}

static void forget_order(struct table *t)
{
    for (uint32_t i = 0; t->chunks && i < t->songs.page_count; i++)
        free(t->chunks[i]);
    free(t->chunks);
    t->chunks = NULL;
    t->order = NULL;
    t->song_count = t->records = 0;
}

void table_clear(struct table *t)
{
    forget_order(t);
    for (size_t i = 0; i < t->sheet_count; i++)
        sheet_clear(t->sheets[i]);
    songs_release(&t->songs);
    calendar_clear(&t->calendar);
    atomic_store_explicit(&t->held, 0, memory_order_relaxed);
    t->empty = true;
}

void table_release(struct table *t)
{
    table_clear(t);
    calendar_release(&t->calendar);
    gate_release(&t->gate);
}

size_t table_used(const struct table *t)
{
    return songs_held(&t->songs) + atomic_load_explicit(&t->held, memory_order_relaxed);
}

size_t table_spare(struct table *t)
{
    size_t used = table_used(t);

    return used < t->budget ? t->budget - used : 0;
}

/* Tells the table what the sheet holds by now. */
static void tell_held(struct table *t, struct sheet *s)
{
    size_t held = sheet_held(s);

    if (held == s->held)
        return;
    atomic_fetch_add_explicit(&t->held, held - s->held, memory_order_relaxed);
    s->held = held;
}

/* All workers may be about to take as much. */
static bool fits(struct table *t, const struct sheet *s, size_t rows)
{
    return sheet_growth(s, rows, t->songs.page_count + 1) * t->sheet_count <= table_spare(t) &&
           calendar_count(&t->calendar) + rows * t->sheet_count <= DATES_MAX;
}

int table_reserve_alone(struct table *t, struct sheet *s, size_t rows, size_t song_bytes)
{
    if (!t->empty && !fits(t, s, rows))
        return TABLE_FULL;
    int rc = songs_make_room(&t->songs, &s->pen, rows, song_bytes,
                             t->empty ? SIZE_MAX : table_spare(t));
    if (rc == 0)
        t->empty = false;
    return rc == SONGS_FULL ? TABLE_FULL : rc;
}

static int hurry(const struct table *t, struct sheet *s)
{
    size_t budget = t->budget / t->threads;

    if (budget < HURRY_BUDGET / 4)
        return 0;
    return dates_hurry(&s->dates, budget < HURRY_BUDGET ? DATES_RECENT_YEAR : DATES_RECENT);
}

int table_reserve(struct table *t, struct sheet *s, size_t rows, size_t song_bytes)
{
    tell_held(t, s);
    s->spare = table_spare(t) / t->sheet_count;
    s->log.large = t->budget >= 32 * PAGES_LARGE && s->spare >= 2 * PAGES_LARGE;
    if (!s->dates.recent && hurry(t, s) != 0)
        return -E_NO_MEMORY;
    if (sheet_widen(s) != 0)
        return -E_NO_MEMORY;
    for (;;) {
        if (gate_is_shut(&t->gate))
            gate_pass(&t->gate);
        if (pen_has_room(&s->pen, rows, song_bytes) && fits(t, s, rows))
            return 0;
        if (!gate_shut(&t->gate))
            continue;
        int rc = table_reserve_alone(t, s, rows, song_bytes);
        if (rc == TABLE_FULL)
            return rc;
        gate_open(&t->gate);
        return rc;
    }
}

/* The pages as they are put in order, each by whoever comes first. */
struct finishing {
    struct table *t;
    size_t *ranks;  /* of the first song of each page */
    size_t largest; /* records of a page */
    atomic_size_t next;
    atomic_bool failed;
};

static size_t page_records(const struct table *t, uint32_t page)
{
    size_t records = 0;

    for (size_t i = 0; i < t->sheet_count; i++)
        records += log_part_records(&t->sheets[i]->log, page);
    return records;
}

/* Where else than in the log a song has plays. */
static uint32_t other_rows(const struct table *t, uint32_t song)
{
    uint32_t found = 0;

    for (size_t i = 0; i < t->sheet_count; i++) {
        const struct sheet *s = t->sheets[i];
        const uint32_t *place = sheet_place(s, song);
        if (place && *place >> 31)
            found |= ROWS_DENSE;
        size_t wide = s->wide_count ? sheet_find_wide(s, song) : 0;
        if (wide < s->wide_count && s->wide[wide].song == song)
            found |= ROWS_WIDE;
    }
    return found;
}

/* Sorts the records of a page and notes in its entries where they are. */
static int finish_page(struct finishing *f, uint32_t page, uint64_t *scratch, uint32_t *starts)
{
    struct table *t = f->t;
    const struct song_page *p = &t->songs.pages[page];
    struct ranked *order = t->order + f->ranks[page];
    const struct log *logs[THREADS_MAX];
    size_t chunks = 0, at = p->at;

    for (size_t i = 0; i < t->sheet_count; i++) {
        logs[i] = &t->sheets[i]->log;
        chunks += log_part_chunks(logs[i], page);
    }
    t->chunks[page] = malloc((chunks + 1) * sizeof *t->chunks[page]);
    if (!t->chunks[page])
        return -E_NO_MEMORY;
    log_sort_part(logs, t->sheet_count, page, p->count, scratch, t->chunks[page], starts);
    for (uint32_t i = 0; i < p->count; i++) {
        struct entry *e = (struct entry *)(void *)(t->songs.arena + at);
        e->start = starts[i];
        e->rows = (starts[i + 1] - starts[i]) | other_rows(t, e->id);
        order[i] = (struct ranked){load_prefix(e->bytes, e->len), (uint32_t)(at / 8) + 1};
        at += entry_bytes(e->len);
    }
    return 0;
}

static void finish_pages(void *arg, size_t me)
{
    struct finishing *f = arg;
    size_t bytes = f->largest * sizeof(uint64_t) + 1;
    uint64_t *scratch = pages_grow(NULL, 0, bytes);
    uint32_t *starts = malloc((f->t->songs.page_songs + (size_t)1) * sizeof *starts);

    (void)me;
    if (!scratch || !starts)
        atomic_store(&f->failed, true);
    for (size_t page;
         !atomic_load(&f->failed) && parallel_next(&f->next, f->t->songs.page_count, &page);)
        if (finish_page(f, (uint32_t)page, scratch, starts) != 0)
            atomic_store(&f->failed, true);
    if (scratch)
        pages_free(scratch, bytes);
    free(starts);
}

/* What is there: songs, records, how they lie. */
static void count(struct finishing *f)
{
    struct table *t = f->t;

    for (size_t i = 0; i < t->sheet_count; i++) {
        struct sheet *s = t->sheets[i];
        songs_note(&t->songs, &s->pen);
        sheet_sort_wide(s);
        t->records += s->dense_count * s->stride;
    }
    for (uint32_t page = 0; page < t->songs.page_count; page++) {
        size_t records = page_records(t, page);
        f->ranks[page] = t->song_count;
        f->largest = records > f->largest ? records : f->largest;
        t->song_count += t->songs.pages[page].count;
        t->records += records;
    }
}

/* The songs are sorted in the memory of the index, which has two slots for each. */
static_assert(sizeof(struct ranked) <= 2 * sizeof(uint64_t), "the order fits into the index");

int table_finish(struct table *t)
{
    uint32_t pages = t->songs.page_count;
    struct finishing f = {.t = t, .ranks = calloc(pages + (size_t)1, sizeof *f.ranks)};

    t->chunks = calloc(pages + (size_t)1, sizeof *t->chunks);
    if (!f.ranks || !t->chunks) {
        free(f.ranks);
        return -E_NO_MEMORY;
    }
    count(&f);
    t->order = (void *)t->songs.index; /* which has done its work */
    size_t threads = parallel_worth(t->threads, t->records);
    parallel_run(threads < pages ? threads : pages, finish_pages, &f);
    free(f.ranks);
    if (atomic_load(&f.failed))
        return -E_NO_MEMORY;
    sort_songs(&t->songs, t->order, t->song_count, parallel_worth(t->threads, t->song_count));
    return 0;
}
