#include "reader.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "scan.h"

/* HEAD_BYTES of a row that is too long are kept for the excerpt; SLACK is what a row of just
 * the longest size needs besides: its line end and a byte to look ahead. */
enum { HEAD_BYTES = 128, SLACK = 8 };

void reader_init(struct reader *r, struct source *source, const struct csv_plan *plan,
                 struct columns *ret_columns)
{
    *r = (struct reader){.source = source,
                         .scanner = plan->scanner ? plan->scanner : scanner_best(),
                         .plan = plan,
                         .columns = ret_columns};
}

void reader_release(struct reader *r)
{
    free(r->tail);
    r->tail = NULL;
}

/* Fills the block up; a byte order mark at the very start is dropped. */
static void fill(struct reader *r, struct block *b)
{
    size_t got = 0, want = b->cap - b->len;

    r->broken = source_read(r->source, b->data + b->len, want, &got, &r->broken_err);
    r->eof = r->broken == 0 && got < want;
    b->len += got;
    if (!r->begun && b->len >= 3 && memcmp(b->data, "\xEF\xBB\xBF", 3) == 0) {
        b->len -= 3;
        memmove(b->data, b->data + 3, b->len);
    }
    r->begun = true;
}

/* Steps over empty lines; returns whether a row starts at b->start. */
static bool skip_empty_lines(struct reader *r, struct block *b)
{
    const char *at = b->data + b->start, *end = b->data + b->len;

    for (; at < end && (*at == '\n' || *at == '\r'); r->lines++)
        at = row_end_skip(at, end);
    b->start = (size_t)(at - b->data);
    return at < end;
}

/* Takes the header off the front of the block. */
static int take_header(struct reader *r, struct block *b, struct err *err)
{
    static const struct columns any = {
        .count = SIZE_MAX, .song = SIZE_MAX, .date = SIZE_MAX, .plays = SIZE_MAX};
    struct row row;

    if (r->has_header || !skip_empty_lines(r, b))
        return 0;
    b->data[b->len] = '\n';
    row_read(&row, b->data + b->start, b->data + b->len, &any);
    if (b->too_long || row.len > r->plan->row_max)
        return err_set(err, -E_BAD_INPUT, "line %llu: the header is longer than %zu bytes",
                       (unsigned long long)(r->lines + 1), r->plan->row_max);
    int rc = columns_parse(r->columns, row.start, row.len, r->lines + 1, err);
    r->has_header = rc == 0;
    r->lines += row.lines;
    b->start = (size_t)(row.next - b->data);
    return rc;
}

/* Keeps the bytes from `at` on for the next block. */
static int keep_tail(struct reader *r, const struct block *b, size_t at, struct err *err)
{
    size_t len = b->len - at;

    if (len > r->tail_room) {
        char *tail = realloc(r->tail, len);
        if (!tail)
            return err_set(err, -E_NO_MEMORY, "no memory for the input");
        r->tail = tail;
        r->tail_room = len;
    }
    if (len > 0)
        memcpy(r->tail, b->data + at, len);
    r->tail_len = len;
    split_rebase(&r->split, at);
    return 0;
}

/* Reads to the end of a row that is longer than row_max, keeping its head only. Its lines
 * are counted here, for the worker will not see them. */
static int read_head(struct reader *r, struct block *b, struct err *err)
{
    struct split *s = &r->split;
    size_t counted = 0;
    bool after_cr = false;
    uint64_t lines = 0;

    while (s->boundary == 0 && !r->eof && r->broken == 0) {
        lines += split_count_lines(b->data + counted, s->at - counted, &after_cr);
        counted = HEAD_BYTES;
        /* the byte before the unread ones moves too: it tells whether a field starts */
        size_t from = s->at - 1;
        assert(from >= HEAD_BYTES - 1);
        b->len -= from - (HEAD_BYTES - 1);
        memmove(b->data + HEAD_BYTES - 1, b->data + from, b->len - (HEAD_BYTES - 1));
        s->at = HEAD_BYTES;
        fill(r, b);
        split_scan(s, NULL, b->data, b->len, r->eof, SPLIT_FIRST_ROW_END);
    }
    if (s->boundary == 0 && r->broken) {
        b->len = 0;
        return 0;
    }
    size_t end = s->boundary ? s->boundary : b->len;
    b->account.lines = lines + split_count_lines(b->data + counted, end - counted, &after_cr);
    b->too_long = true;
    int rc = keep_tail(r, b, end, err);
    b->len = HEAD_BYTES;
    return rc;
}

/* Puts rows into the block, its tail aside; an empty block means that none are left. */
static int read_rows(struct reader *r, struct block *b, struct err *err)
{
    size_t most = r->plan->row_max + SLACK;
    int rc = 0;

    if (b->cap < r->tail_len)
        rc = block_grow(b, r->tail_len, err);
    if (rc)
        return rc;
    if (r->tail_len)
        memcpy(b->data, r->tail, r->tail_len);
    b->len = r->tail_len;
    r->tail_len = 0;
    for (;;) {
        if (!r->eof)
            fill(r, b);
        if (r->eof) /* what is left goes whole */
            return 0;
        split_scan(&r->split, r->scanner, b->data, b->len, false, SPLIT_LAST_ROW_END);
        if (r->split.boundary) {
            size_t cut = r->split.boundary;
            rc = keep_tail(r, b, cut, err);
            b->len = cut;
            return rc;
        }
        if (r->broken) {
            b->len = 0;
            return 0;
        }
        if (b->cap >= most)
            return read_head(r, b, err);
        rc = block_grow(b, 2 * b->cap < most ? 2 * b->cap : most, err);
        if (rc)
            return rc;
    }
}

int reader_next(struct reader *r, struct block *b, struct err *err)
{
    for (;;) {
        bool last = r->eof && r->tail_len == 0;
        int rc = 0;
        b->start = b->len = 0;
        b->too_long = false;
        account_clear(&b->account);
        if (!last && r->broken == 0)
            rc = read_rows(r, b, err);
        if (rc == 0 && b->len > 0)
            rc = take_header(r, b, err);
        r->over = rc || last || (b->len == 0 && r->broken);
        if (rc)
            return rc;
        if (!r->over && (!r->has_header || b->start == b->len))
            continue;
        if (!r->over) {
            b->account.lines_before = r->lines;
            r->lines = 0;
            return 0;
        }
        if (r->broken) {
            if (err)
                *err = r->broken_err;
            return r->broken;
        }
        return r->has_header ? 0 : err_set(err, -E_BAD_INPUT, "the file is empty: no header");
    }
}
