#include "worker.h"

#include <stdlib.h>
#include <string.h>

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

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for the totals");
}

int spills_init(struct spills *s, size_t threads, const char *dir, struct err *err)
{
    *s = (struct spills){.files = calloc(threads, sizeof *s->files), .file_count = threads};
    if (!s->files)
        return no_memory(err);
    for (size_t i = 0; i < threads; i++)
        spill_file_init(&s->files[i], dir);
    return 0;
}

void spills_release(struct spills *s)
{
    for (size_t i = 0; s->files && i < s->file_count; i++)
        spill_file_close(&s->files[i]);
    free(s->files);
    run_list_release(&s->runs);
}

int spills_take(struct spills *s, struct table *t, const struct csv_plan *plan, struct err *err)
{
    int rc = table_finish(t) ? no_memory(err) : 0;

    if (rc == 0)
        rc = table_spill(t, s->files, plan->run_buffer_bytes, &s->runs, err);
    table_clear(t);
    return rc;
}

void worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                 bool skip, struct table *table, struct spills *spills)
{
    w->columns = columns;
    w->plan = plan;
    w->skip = skip;
    w->scanner = plan->scanner ? plan->scanner : scanner_best();
    w->batch = plan->table_bytes < SMALL_TABLE ? 1 : BATCH;
    w->table = table;
    w->spills = spills;
    table_join(table, &w->sheet);
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

/* Room for a batch; alone, what is there is spilled for it. */
static int reserve(struct worker *w, size_t count, size_t bytes, struct err *err)
{
    struct table *t = w->table;
    int rc = table_reserve(t, &w->sheet, count, bytes);

    if (rc != TABLE_FULL)
        return rc ? no_memory(err) : 0;
    rc = spills_take(w->spills, t, w->plan, err);
    if (rc == 0 && table_reserve_alone(t, &w->sheet, count, bytes) != 0)
        rc = no_memory(err);
    gate_open(&t->gate);
    return rc;
}

/* Hashes the songs of a batch and fetches where they may be known. */
static int look_up(struct worker *w, size_t count, struct err *err)
{
    const struct songs *songs = &w->table->songs;
    size_t bytes = 0;

    for (size_t i = 0; i < count; i++) {
        struct item *item = &w->items[i];
        if (item->fault >= 0)
            continue;
        if (item->escaped)
            unescape(item);
        item->hash = songs_hash(songs, item->at[WANT_SONG], item->len[WANT_SONG]);
        bytes += item->len[WANT_SONG];
        if (songs->index_slots)
            prefetch((const void *)&songs->index[songs_slot(songs, item->hash)]);
    }
    int rc = reserve(w, count, bytes, err);
    if (rc)
        return rc;
    for (size_t i = 0; i < count; i++) {
        struct item *item = &w->items[i];
        item->entry = item->fault < 0 ? songs_guess(songs, item->hash) : SONGS_NONE;
        if (item->entry != SONGS_NONE) {
            const char *at = (const char *)songs_entry(songs, item->entry);
            prefetch(at);
            prefetch(at + offsetof(struct entry, bytes) +
                     15); /* most names end here or before */
        }
    }
    return 0;
}

/* Finds the row's first fault in its values; `*item` shows it. Adds the song when it is new. */
static int judge(struct worker *w, struct item *item, struct err *err)
{
    const char *song = item->at[WANT_SONG];
    size_t len = item->len[WANT_SONG];
    struct songs *songs = &w->table->songs;

    if (item->entry == SONGS_NONE || !entry_is(songs_entry(songs, item->entry), song, len))
        item->entry = songs_find(songs, song, len, item->hash);
    if (item->entry == SONGS_NONE)
        item->fault = song_fault(song, len);
    if (item->fault >= 0) {
        item->fault_column = (int64_t)w->columns->song;
        item->row = song;
        item->row_len = len;
        return 0;
    }
    int day = dates_id(&w->sheet.dates, item->at[WANT_DATE], item->len[WANT_DATE]);
    if (day == DATES_NO_MEMORY)
        return no_memory(err);
    if (day == DATES_BAD) {
        item->fault = CSV_REASON_BAD_DATE;
        item->fault_column = (int64_t)w->columns->date;
        item->row = item->at[WANT_DATE];
        item->row_len = item->len[WANT_DATE];
        return 0;
    }
    item->fault = plays_read(item->at[WANT_PLAYS], item->len[WANT_PLAYS], &item->plays);
    if (item->fault >= 0) {
        item->fault_column = (int64_t)w->columns->plays;
        item->row = item->at[WANT_PLAYS];
        item->row_len = item->len[WANT_PLAYS];
        return 0;
    }
    item->day = (uint32_t)day;
    if (item->entry == SONGS_NONE)
        item->entry = songs_add(songs, &w->sheet.pen, song, len, item->hash);
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

/* Judges a batch in the order of its rows and fetches what is known of their songs. *ret_stop:
 * a row was refused and ends it all. */
static int judge_batch(struct worker *w, size_t count, bool *ret_stop, struct err *err)
{
    struct account *a = &w->block.account;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct item *item = &w->items[i];
        a->rows++;
        if (item->fault < 0)
            rc = judge(w, item, err);
        if (rc == 0 && item->fault >= 0) {
            rc = reject(a, item, err);
            *ret_stop = !w->skip;
            if (*ret_stop)
                return rc;
        } else if (rc == 0) {
            item->song = songs_entry(&w->table->songs, item->entry)->id;
            item->place = sheet_make_place(&w->sheet, item->song);
            if (!item->place)
                return no_memory(err);
            prefetch(item->place);
        }
    }
    return rc;
}

/* Adds what was judged well. */
static int add_batch(struct worker *w, size_t count, struct err *err)
{
    struct sheet *s = &w->sheet;
    size_t addends = 0;

    for (size_t i = 0; i < count; i++) {
        const struct item *item = &w->items[i];
        if (item->fault >= 0)
            continue;
        size_t at = sheet_sum_at(s, *item->place, item->day);
        if (at == 0 || item->plays >> DENSE_PLAYS_BITS) {
            if (sheet_add_slowly(s, item->place, item->song, item->day, item->plays) != 0)
                return no_memory(err);
            continue;
        }
        prefetch(&s->dense[at - 1]);
        w->addends[addends++] =
            (struct addend){at, (uint64_t)item->plays, item->song, item->day};
    }
    for (size_t i = 0; i < addends; i++) {
        const struct addend *d = &w->addends[i];
        if (sheet_add_dense(s, d->at, d->song, d->date, d->plays) != 0)
            return no_memory(err);
    }
    return 0;
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
    gate_enter(&w->table->gate);
    while (rc == 0 && !stop && scan.at < scan.end) {
        size_t count = read_batch(w, &scan);
        if (count > 0)
            rc = look_up(w, count, err);
        if (rc == 0 && count > 0)
            rc = judge_batch(w, count, &stop, err);
        if (rc == 0 && count > 0 && !stop)
            rc = add_batch(w, count, err);
    }
    gate_leave(&w->table->gate);
    a->lines = scan.lines;
    return rc;
}
