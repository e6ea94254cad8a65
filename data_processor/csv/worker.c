#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "totals.h"

/* Tables below this take rows one by one: a batch would be too large a step for them. */
enum { SMALL_TABLE = 64 * 1024 };

int block_grow(struct block *b, size_t cap, struct err *err)
{
    if (cap <= b->cap)
        return 0;
    char *data = realloc(b->data, cap + BYTES_SLACK);
    if (!data)
        return err_set(err, -E_NO_MEMORY, "no memory for the input");
    b->data = data;
    b->cap = cap;
    return 0;
}

void block_release(struct block *b)
{
    free(b->data);
    account_release(&b->account);
    *b = (struct block){0};
}

int worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                bool skip, const char *temp_dir, struct err *err)
{
    uint64_t seed;

    w->columns = columns;
    w->plan = plan;
    w->skip = skip;
    w->scanner = plan->scanner ? plan->scanner : scanner_best();
    w->batch = plan->table_bytes < SMALL_TABLE ? 1 : BATCH;
    spill_file_init(&w->file, temp_dir);
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return err_set_errno(err, -E_IO, errno, "read random bytes");
    table_init(&w->table, plan->table_bytes, seed);
    return 0;
}

void worker_release(struct worker *w)
{
    table_release(&w->table);
    spill_file_close(&w->file);
    run_list_release(&w->runs);
    block_release(&w->block);
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for the totals");
}

int worker_spill_finished(struct worker *w, struct err *err)
{
    int rc = table_spill(&w->table, &w->file, w->plan->run_buffer_bytes, &w->runs, err);

    table_release(&w->table);
    return rc;
}

static int spill(struct worker *w, struct err *err)
{
    if (table_finish(&w->table) != 0)
        return no_memory(err);
    return worker_spill_finished(w, err);
}

int worker_finish(struct worker *w, struct err *err)
{
    block_release(&w->block);
    if (w->runs.count > 0 && w->table.rows > 0)
        return spill(w, err);
    return table_finish(&w->table) ? no_memory(err) : 0;
}

/* Why a song that is not known yet cannot be one, or -1. */
static int song_fault(const char *bytes, size_t len)
{
    if (len == 0)
        return CSV_REASON_EMPTY_SONG;
    if (memchr(bytes, '\0', len))
        return CSV_REASON_NUL_BYTE;
    return utf8_is_valid(bytes, len) ? -1 : CSV_REASON_BAD_UTF8;
}

static void fill_value(struct item *item, int want, const struct field *f)
{
    item->at[want] = f->at;
    item->len[want] = (uint32_t)f->len;
}

/* Reads one row of any kind. */
static void read_row(struct worker *w, struct scan *s, struct item *item)
{
    struct row row;

    row_read(&row, s->at, s->end, w->columns);
    *item =
        (struct item){.fault = row.len > w->plan->row_max ? CSV_REASON_ROW_TOO_LONG : row.fault,
                      .fields = (uint32_t)row.fields,
                      .line = s->lines,
                      .row = row.start,
                      .row_len = row.len,
                      .fault_column = ROW_NO_COLUMN};
    if (item->fault < 0) {
        fill_value(item, WANT_SONG, &row.song);
        fill_value(item, WANT_DATE, &row.date);
        fill_value(item, WANT_PLAYS, &row.plays);
        item->escaped = row.song.escaped;
    } else if (item->fault != CSV_REASON_ROW_TOO_LONG) {
        item->fault_column = row.fault_column;
    }
    s->at = row.next;
    s->lines += row.lines;
}

/* Reads up to a batch of rows. */
static size_t read_batch(struct worker *w, struct scan *s)
{
    bool plain = w->columns->count == WANTED;
    size_t count = 0;

    while (count < w->batch && s->at < s->end) {
        if (*s->at == '\n' || *s->at == '\r') { /* an empty line */
            s->at = row_end_skip(s->at, s->end);
            s->lines++;
            continue;
        }
        size_t got = plain ? w->scanner->rows(s, w->items + count, w->batch - count) : 0;
        count += got;
        if (got == 0)
            read_row(w, s, &w->items[count++]);
    }
    return count;
}

/* Takes the doubled quotes out of a song where it stands: nobody looks at the row again. */
static void unescape(struct item *item)
{
    char *to = (char *)(uintptr_t)item->at[WANT_SONG];
    struct field f = {.at = to, .len = item->len[WANT_SONG]};

    item->len[WANT_SONG] = (uint32_t)field_unescape(&f, to);
}

/* Hashes the songs of a batch and fetches where they may be known. */
static int look_up(struct worker *w, size_t count, struct err *err)
{
    struct table *t = &w->table;
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        struct item *item = &w->items[i];
        if (item->fault >= 0)
            continue;
        if (item->escaped)
            unescape(item);
        item->hash = table_hash(t, item->at[WANT_SONG], item->len[WANT_SONG]);
        bytes += item->len[WANT_SONG];
        if (t->index_slots)
            prefetch(&t->index[table_slot(t, item->hash)]);
    }
    int rc = table_reserve(t, count, bytes);
    if (rc == TABLE_FULL) {
        rc = spill(w, err);
        if (rc)
            return rc;
        rc = table_reserve(t, count, bytes);
    }
    if (rc)
        return no_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct item *item = &w->items[i];
        item->entry = item->fault < 0 ? table_guess(t, item->hash) : TABLE_NO_SONG;
        if (item->entry != TABLE_NO_SONG) {
            const char *at = (const char *)table_entry(t, item->entry);
            prefetch(at);
            prefetch(at + offsetof(struct entry, bytes) +
                     15); /* most names end here or before */
        }
    }
    return 0;
}

/* Finds the row's first fault in its values; `*item` shows it. Adds the song when it is new. */
static int judge(struct worker *w, struct item *item, int *ret_date, uint128 *ret_plays,
                 struct err *err)
{
    const char *song = item->at[WANT_SONG];
    size_t len = item->len[WANT_SONG];
    struct table *t = &w->table;

    if (item->entry == TABLE_NO_SONG || !table_entry_is(table_entry(t, item->entry), song, len))
        item->entry = table_find(t, song, len, item->hash);
    if (item->entry == TABLE_NO_SONG)
        item->fault = song_fault(song, len);
    if (item->fault >= 0) {
        item->fault_column = (int64_t)w->columns->song;
        item->row = song;
        item->row_len = len;
        return 0;
    }
    *ret_date = dates_id(&t->dates, item->at[WANT_DATE], item->len[WANT_DATE]);
    if (*ret_date == DATES_NO_MEMORY)
        return no_memory(err);
    if (*ret_date == DATES_BAD) {
        item->fault = CSV_REASON_BAD_DATE;
        item->fault_column = (int64_t)w->columns->date;
        item->row = item->at[WANT_DATE];
        item->row_len = item->len[WANT_DATE];
        return 0;
    }
    item->fault = plays_read(item->at[WANT_PLAYS], item->len[WANT_PLAYS], ret_plays);
    if (item->fault >= 0) {
        item->fault_column = (int64_t)w->columns->plays;
        item->row = item->at[WANT_PLAYS];
        item->row_len = item->len[WANT_PLAYS];
        return 0;
    }
    if (item->entry == TABLE_NO_SONG)
        item->entry = table_add_song(t, song, len, item->hash);
    return 0;
}

static int reject(struct account *a, const struct item *item, struct err *err)
{
    struct reject r = {.line = item->line,
                       .column = item->fault_column,
                       .fields = item->fields,
                       .reason = (enum csv_reason)item->fault};

    if (a->reject_count < REJECTS_KEPT)
        excerpt_make(r.excerpt, item->row, item->row_len);
    return account_reject(a, &r) ? no_memory(err) : 0;
}

/* Adds a batch in the order of its rows. *ret_stop: a row was refused and ends it all. */
static int add_batch(struct worker *w, size_t count, bool *ret_stop, struct err *err)
{
    struct account *a = &w->block.account;
    struct table *t = &w->table;
    size_t addends = 0;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct item *item = &w->items[i];
        uint128 plays = 0;
        int date = 0;
        a->rows++;
        if (item->fault < 0)
            rc = judge(w, item, &date, &plays, err);
        if (rc == 0 && item->fault >= 0) {
            *ret_stop = !w->skip;
            rc = reject(a, item, err);
            if (*ret_stop)
                return rc;
            continue;
        }
        if (rc)
            return rc;
        const struct entry *e = table_entry(t, item->entry);
        size_t at = table_sum_at(t, e, (uint32_t)date);
        if (at == 0 || plays >> DENSE_PLAYS_BITS) {
            if (table_add_slowly(t, item->entry, (uint32_t)date, plays) != 0)
                return no_memory(err);
            continue;
        }
        prefetch(&t->dense[at - 1]);
        w->addends[addends++] =
            (struct addend){at, (uint64_t)plays, item->entry, (uint32_t)date};
    }
    t->rows += addends;
    for (size_t i = 0; i < addends; i++) {
        const struct addend *d = &w->addends[i];
        if (table_add_dense(t, d->at, d->entry, d->date, d->plays) != 0)
            return no_memory(err);
    }
    return rc;
}

int worker_take(struct worker *w, struct err *err)
{
    struct block *b = &w->block;
    struct account *a = &b->account;
    struct scan scan = {b->data + b->start, b->data + b->len, {0}, 0};
    bool stop = false;
    int rc = 0;

    b->data[b->len] = '\n';
    if (b->too_long) {
        struct item item = {.fault = CSV_REASON_ROW_TOO_LONG,
                            .fault_column = ROW_NO_COLUMN,
                            .row = scan.at,
                            .row_len = b->len - b->start};
        a->rows = 1;
        return reject(a, &item, err);
    }
    if (w->columns->count == WANTED) {
        scan.want[w->columns->song] = WANT_SONG;
        scan.want[w->columns->date] = WANT_DATE;
        scan.want[w->columns->plays] = WANT_PLAYS;
    }
    while (rc == 0 && !stop && scan.at < scan.end) {
        size_t count = read_batch(w, &scan);
        if (count > 0)
            rc = look_up(w, count, err);
        if (rc == 0 && count > 0)
            rc = add_batch(w, count, &stop, err);
    }
    a->lines = scan.lines;
    return rc;
}
