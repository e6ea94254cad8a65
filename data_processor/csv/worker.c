#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

int worker_init(struct worker *w, const struct columns *columns, const struct csv_plan *plan,
                bool skip, const char *temp_dir, struct err *err)
{
    uint64_t seed;

    *w = (struct worker){.columns = columns, .plan = plan, .skip = skip};
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
    free(w->unescaped);
}

int worker_spill(struct worker *w, struct err *err)
{
    table_sort(&w->table);
    int rc = table_spill(&w->table, &w->file, w->plan->run_buffer_bytes, &w->runs, err);
    table_release(&w->table);
    return rc;
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for the totals");
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

/* Takes the doubled quotes out of a song. */
static int unescape(struct worker *w, struct field *f)
{
    if (f->len > w->unescaped_room) {
        char *room = realloc(w->unescaped, f->len);
        if (!room)
            return -E_NO_MEMORY;
        w->unescaped = room;
        w->unescaped_room = f->len;
    }
    f->len = field_unescape(f, w->unescaped);
    f->at = w->unescaped;
    return 0;
}

/* Adds one good row, making room by a spill when the table is full. */
static int add(struct worker *w, const struct field *song, uint64_t hash, uint32_t id,
               uint32_t day, uint128 plays, struct err *err)
{
    for (;;) {
        int rc = 0;
        if (id == TABLE_NO_SONG)
            rc = table_add_song(&w->table, song->at, song->len, hash, &id);
        if (rc == 0)
            rc = table_add(&w->table, id, day, plays);
        if (rc < 0)
            return no_memory(err);
        if (rc == 0)
            return 0;
        rc = worker_spill(w, err);
        if (rc)
            return rc;
        id = TABLE_NO_SONG;
    }
}

/* A row's fault in its values, with its column and field; or its totals are added. */
struct fault {
    int reason; /* enum csv_reason or -1 */
    int64_t column;
    const char *bytes;
    size_t len;
};

static int take_row(struct worker *w, struct row *r, struct fault *f, struct err *err)
{
    const struct columns *c = w->columns;

    f->reason = r->len > w->plan->row_max ? CSV_REASON_ROW_TOO_LONG : r->fault;
    if (f->reason >= 0) {
        f->column = f->reason == CSV_REASON_ROW_TOO_LONG ? ROW_NO_COLUMN : r->fault_column;
        f->bytes = r->start;
        f->len = r->len;
        return 0;
    }
    if (r->song.escaped && unescape(w, &r->song))
        return no_memory(err);
    uint64_t hash = table_hash(&w->table, r->song.at, r->song.len);
    uint32_t id = table_find(&w->table, r->song.at, r->song.len, hash), day;
    uint128 plays;
    if (id == TABLE_NO_SONG && (f->reason = song_fault(r->song.at, r->song.len)) >= 0) {
        *f = (struct fault){f->reason, (int64_t)c->song, r->song.at, r->song.len};
    } else if (!date_parse(r->date.at, r->date.len, &day)) {
        *f = (struct fault){CSV_REASON_BAD_DATE, (int64_t)c->date, r->date.at, r->date.len};
    } else if ((f->reason = plays_parse(r->plays.at, r->plays.len, &plays)) >= 0) {
        *f = (struct fault){f->reason, (int64_t)c->plays, r->plays.at, r->plays.len};
    } else {
        return add(w, &r->song, hash, id, day, plays, err);
    }
    return 0;
}

static int reject(struct account *a, const struct fault *f, uint64_t line, uint64_t fields,
                  struct err *err)
{
    struct reject r = {.line = line,
                       .column = f->column,
                       .fields = fields,
                       .reason = (enum csv_reason)f->reason};

    if (a->reject_count < REJECTS_KEPT)
        excerpt_make(r.excerpt, f->bytes, f->len);
    return account_reject(a, &r) ? no_memory(err) : 0;
}

int worker_take(struct worker *w, struct block *b, struct err *err)
{
    struct account *a = &b->account;
    const char *at = b->data + b->start, *end = b->data + b->len;
    struct fault f = {CSV_REASON_ROW_TOO_LONG, ROW_NO_COLUMN, at, b->len - b->start};

    b->data[b->len] = '\n';
    if (b->too_long) {
        a->rows = 1;
        return reject(a, &f, 0, 0, err);
    }
    while (at < end) {
        if (*at == '\n' || *at == '\r') { /* an empty line */
            at = row_end_skip(at, end);
            a->lines++;
            continue;
        }
        struct row r;
        row_read(&r, at, end, w->columns);
        a->rows++;
        f.reason = -1;
        int rc = take_row(w, &r, &f, err);
        if (rc == 0 && f.reason >= 0)
            rc = reject(a, &f, a->lines, r.fields, err);
        if (rc || (f.reason >= 0 && !w->skip))
            return rc;
        at = r.next;
        a->lines += r.lines;
    }
    return 0;
}
