/* column_large.c - a value larger than a page, in pieces. */
#include "column_impl.h"

#include <assert.h>
#include <endian.h>

static int put_to_spool(void *column, const void *bytes, size_t len, struct err *err)
{
    struct column *c = column;

    return spool_append(&c->spool, bytes, len, err);
}

/* Levels and length of the only value of its page. */
static int begin_page(struct column *c, struct err *err)
{
    struct large *l = &c->large;
    uint32_t length = htole32((uint32_t)l->len);

    if (c->def->optional)
        column_append_levels(&l->step, (const uint32_t[]){1}, 1);
    buf_append(&l->step, &length, sizeof length);
    if (!buf_ok(&l->step) || !buf_reserve(&l->step, LARGE_STEP))
        return column_no_memory(err);
    buf_clear(&c->body); /* for its first bytes */
    l->place = spool_place(&c->spool);
    return stream_begin(&l->stream, l->step.len + l->len, put_to_spool, c, err);
}

int column_begin_large(struct column *c, uint64_t len, struct err *err)
{
    struct large *l = &c->large;
    int rc = 0;

    assert(!l->open);
    l->open = true;
    l->len = len;
    l->came = 0;
    buf_clear(&l->step);
    if (len <= PAGE_BYTES)
        return 0; /* gathered in `step` */
    rc = column_leave_dict(c, err);
    if (rc == 0)
        rc = column_flush(c, err);
    if (rc == 0)
        rc = press_drain(c->press, err);
    return rc ? rc : begin_page(c, err);
}

int column_add_large(struct column *c, const void *bytes, size_t len, struct err *err)
{
    struct large *l = &c->large;
    const char *at = bytes;
    int rc = 0;

    assert(l->open && l->len - l->came >= len);
    if (l->len > PAGE_BYTES && c->body.len < STATS_BYTES)
        buf_append(&c->body, at,
                   len < STATS_BYTES - c->body.len ? len : STATS_BYTES - c->body.len);
    l->came += len;
    while (rc == 0 && len > 0) {
        size_t step = l->len <= PAGE_BYTES ? len : LARGE_STEP - l->step.len % LARGE_STEP;
        step = step < len ? step : len;
        buf_append(&l->step, at, step);
        if (!buf_ok(&l->step))
            return column_no_memory(err);
        at += step;
        len -= step;
        if (l->len > PAGE_BYTES && l->step.len >= LARGE_STEP) {
            rc = stream_add(&l->stream, l->step.data, l->step.len, false, err);
            buf_clear(&l->step);
        }
    }
    return rc;
}

static int end_page(struct column *c, struct err *err)
{
    struct large *l = &c->large;
    struct buf header = BUF_INIT;
    struct page_facts page = {.kind = PAGE_PLAIN, .values = 1};
    int rc = stream_add(&l->stream, l->step.data, l->step.len, true, err);

    page.crc = l->stream.crc;
    page.raw_bytes = l->stream.raw_bytes;
    page.packed_bytes = l->stream.packed_bytes;
    stream_release(&l->stream);
    meta_page_header(&header, &page);
    if (rc == 0)
        rc = buf_ok(&header) ? spool_insert(&c->spool, l->place, header.data, header.len, err)
                             : column_no_memory(err);
    if (rc == 0)
        column_count_page(c, &page, header.len);
    buf_release(&header);
    return rc;
}

int column_end_large(struct column *c, struct err *err)
{
    struct large *l = &c->large;

    assert(l->open && l->came == l->len);
    l->open = false;
    if (l->len <= PAGE_BYTES)
        return column_put(c, l->step.data, (size_t)l->len, NULL, 1, err);
    c->rows++;
    if (!buf_ok(&c->body))
        return column_no_memory(err);
    stats_add_bytes(&c->facts.stats, c->body.data, l->len);
    return end_page(c, err);
}
