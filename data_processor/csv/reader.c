#include "reader.h"

#include <assert.h>
#include <string.h>

#include "clock.h"
#include "split.h"

/* HEAD_BYTES of a row that is too long are kept for the excerpt; SLACK is what a row of just
 * the longest size needs besides: its line end and a byte to look ahead. */
enum { HEAD_BYTES = 128, SLACK = 8, PROGRESS_MS = 200 };

struct reader {
    struct source *source;
    struct pipeline *pipeline;
    const struct csv_plan *plan;
    const struct reader_progress *progress;
    int64_t progress_at;
    struct columns *columns;
    bool has_header;
    uint64_t lines; /* before the header's end */
    struct split split;
    struct block *block; /* being filled */
    bool begun, eof;
    int broken; /* the source failed: no byte will follow those that came */
    struct err broken_err;
};

static void tell_progress(struct reader *r, bool last)
{
    int64_t now = clock_mono_ms();

    if (!r->progress->call || (!last && now < r->progress_at))
        return;
    r->progress_at = now + PROGRESS_MS;
    r->progress->call(r->progress->arg, source_bytes_in(r->source), r->progress->total);
}

/* Fills the block up; a byte order mark at the very start is dropped. */
static void fill(struct reader *r)
{
    struct block *b = r->block;
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
    pipeline_count_lines(r->pipeline, r->lines);
    return rc;
}

/* Hands over the first `cut` bytes of the block. */
static int submit(struct reader *r, struct block *b, size_t cut, struct err *err)
{
    b->len = cut;
    int rc = take_header(r, b, err);
    if (rc || !r->has_header || b->start == b->len) {
        pipeline_discard(r->pipeline, b);
        return rc;
    }
    return pipeline_submit(r->pipeline, b, err);
}

/* Goes on in a new block with what lies behind `cut`, then hands over what lies before. */
static int pass_on(struct reader *r, size_t cut, size_t tail_at, struct err *err)
{
    struct block *b = r->block, *next = NULL;
    size_t tail = b->len - tail_at;
    int rc = pipeline_acquire(r->pipeline, &next, err);

    if (rc == 0 && next->cap < tail)
        rc = pipeline_grow(r->pipeline, next, tail, err);
    if (rc) {
        pipeline_discard(r->pipeline, next);
        return rc;
    }
    memcpy(next->data, b->data + tail_at, tail);
    next->len = tail;
    split_rebase(&r->split, tail_at);
    r->block = next;
    return submit(r, b, cut, err);
}

/* Reads to the end of a row that is longer than row_max, keeping its head only. Its lines
 * are counted here, for the worker will not see them. */
static int pass_on_head(struct reader *r, struct err *err)
{
    struct block *b = r->block;
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
        fill(r);
        split_scan(s, b->data, b->len, r->eof, SPLIT_FIRST_ROW_END);
    }
    if (s->boundary == 0 && r->broken)
        return 0;
    size_t end = s->boundary ? s->boundary : b->len;
    b->account.lines = lines + split_count_lines(b->data + counted, end - counted, &after_cr);
    b->too_long = true;
    return pass_on(r, HEAD_BYTES, end, err);
}

/* Scans what is there; passes on, grows or goes on. */
static int step(struct reader *r, struct err *err)
{
    struct block *b = r->block;
    size_t most = r->plan->row_max + SLACK;

    fill(r);
    split_scan(&r->split, b->data, b->len, r->eof, SPLIT_LAST_ROW_END);
    if (r->eof)
        return 0;
    if (r->split.boundary)
        return pass_on(r, r->split.boundary, r->split.boundary, err);
    if (r->broken)
        return 0;
    if (b->cap < most)
        return pipeline_grow(r->pipeline, b, 2 * b->cap < most ? 2 * b->cap : most, err);
    return pass_on_head(r, err);
}

static int read_all(struct reader *r, struct err *err)
{
    int rc = pipeline_acquire(r->pipeline, &r->block, err);

    while (rc == 0 && !r->eof && r->broken == 0 && !pipeline_is_cut(r->pipeline)) {
        rc = step(r, err);
        tell_progress(r, false);
    }
    if (rc == 0 && r->eof) {
        struct block *b = r->block;
        r->block = NULL;
        rc = submit(r, b, b->len, err);
    }
    pipeline_discard(r->pipeline, r->block);
    if (rc)
        return rc;
    if (r->broken) {
        if (err)
            *err = r->broken_err;
        return r->broken;
    }
    if (r->eof && !r->has_header)
        return err_set(err, -E_BAD_INPUT, "the file is empty: no header");
    return 0;
}

int reader_run(struct source *source, struct pipeline *pipeline, const struct csv_plan *plan,
               const struct reader_progress *progress, struct columns *ret_columns,
               struct err *err)
{
    struct reader r = {.source = source,
                       .pipeline = pipeline,
                       .plan = plan,
                       .progress = progress,
                       .columns = ret_columns};

    int rc = read_all(&r, err);
    if (rc == 0)
        tell_progress(&r, true);
    return rc;
}
