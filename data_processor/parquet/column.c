#include "column_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "plain.h"
#include "rle.h"

enum { SPOOL_BYTES = 4 * 1024 * 1024, LEVEL_WIDTH = 1, NUMBERS_LEAST = 1024 };

int column_no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for a column");
}

static bool numbers_add(struct numbers *n, uint32_t number, uint64_t times)
{
    if (n->room - n->count < times) {
        size_t room = n->room ? 2 * n->room : NUMBERS_LEAST;
        while (room - n->count < times)
            room *= 2;
        uint32_t *at = realloc(n->at, room * sizeof *at);
        if (!at)
            return false;
        n->at = at;
        n->room = room;
    }
    for (uint64_t i = 0; i < times; i++)
        n->at[n->count++] = number;
    return true;
}

void column_init(struct column *c, const struct parquet_column *def, struct press *press,
                 uint64_t seed, const char *temp_dir)
{
    *c = (struct column){.def = def, .press = press};
    dict_init(&c->dict, plain_types[def->type].width, DICT_BYTES, seed);
    buf_init(&c->raw);
    buf_init(&c->body);
    buf_init(&c->large.step);
    spool_init(&c->spool, temp_dir, SPOOL_BYTES);
    stats_init(&c->facts.stats, def->type);
}

void column_release(struct column *c)
{
    dict_release(&c->dict);
    free(c->indexes.at);
    free(c->levels.at);
    buf_release(&c->raw);
    buf_release(&c->body);
    buf_release(&c->large.step);
    stream_release(&c->large.stream);
    spool_release(&c->spool);
}

void column_reset(struct column *c)
{
    c->plain = false;
    dict_clear(&c->dict);
    c->indexes.count = c->levels.count = 0;
    c->value_bytes = c->rows = 0;
    spool_clear(&c->spool);
    c->facts = (struct chunk_facts){0};
    stats_init(&c->facts.stats, c->def->type);
}

/* -- pages on their way out -- */

void column_count_page(struct column *c, const struct page_facts *page, size_t header_bytes)
{
    struct chunk_facts *f = &c->facts;
    uint64_t before = f->packed_bytes;

    f->raw_bytes += header_bytes + page->raw_bytes;
    f->packed_bytes += header_bytes + page->packed_bytes;
    if (before == 0)
        f->first_page_bytes = f->packed_bytes;
    f->pages[page->kind]++;
    if (page->kind != PAGE_DICTIONARY)
        f->values += page->values;
}

int column_take(void *column, const struct page *page, struct err *err)
{
    struct column *c = column;
    struct buf header = BUF_INIT;

    meta_page_header(&header, &page->facts);
    int rc = buf_ok(&header) ? spool_append(&c->spool, header.data, header.len, err)
                             : column_no_memory(err);
    if (rc == 0)
        rc = spool_append(&c->spool, page->packed.data, page->packed.len, err);
    if (rc == 0)
        column_count_page(c, &page->facts, header.len);
    buf_release(&header);
    return rc;
}

void column_append_levels(struct buf *out, const uint32_t *levels, size_t count)
{
    size_t start = out->len;
    uint32_t len = 0;

    buf_append(out, &len, sizeof len);
    rle_encode(out, levels, count, LEVEL_WIDTH);
    if (!buf_ok(out))
        return;
    len = htole32((uint32_t)(out->len - start - sizeof len));
    memcpy(out->data + start, &len, sizeof len);
}

int column_flush(struct column *c, struct err *err)
{
    struct buf *page = &c->raw;
    uint32_t rows = c->page_rows;

    if (rows == 0)
        return 0;
    if (c->def->optional) {
        buf_clear(&c->body);
        column_append_levels(&c->body, c->levels.at, c->levels.count);
        buf_append(&c->body, c->raw.data, c->raw.len);
        c->body.failed |= c->raw.failed;
        page = &c->body;
    }
    c->levels.count = 0;
    c->page_rows = 0;
    int rc = press_submit(c->press, c, PAGE_PLAIN, rows, page, err);
    buf_clear(&c->raw);
    return rc;
}

static int end_plain_row(struct column *c, struct err *err)
{
    c->page_rows++;
    return c->raw.len >= PAGE_BYTES || c->page_rows >= PAGE_ROWS ? column_flush(c, err) : 0;
}

static int append_plain(struct column *c, const void *bytes, size_t len, struct err *err)
{
    if (plain_types[c->def->type].width == 0) {
        uint32_t length = htole32((uint32_t)len);
        buf_append(&c->raw, &length, sizeof length);
    }
    buf_append(&c->raw, bytes, len);
    if (c->def->optional && !numbers_add(&c->levels, 1, 1))
        return column_no_memory(err);
    return end_plain_row(c, err);
}

static int append_null(struct column *c, struct err *err)
{
    return numbers_add(&c->levels, 0, 1) ? end_plain_row(c, err) : column_no_memory(err);
}

/* -- the dictionary and its end -- */

/* Three of four of so many first values are new: it will not pay. (Not a share of the values
 * there are by now: that would depend on how they were put in.) */
enum { TRIAL = 8192, TRIAL_MOST = TRIAL / 4 * 3 };

static bool is_hopeless(const struct column *c, size_t values_before)
{
    return values_before < TRIAL && c->indexes.count >= TRIAL && c->dict.count > TRIAL_MOST;
}

/* Does it make the chunk smaller? A dictionary of values that hardly repeat costs more than it
 * saves, and readers have to look up each. */
static bool dict_pays(const struct column *c)
{
    uint64_t bits =
        c->indexes.count * (uint64_t)rle_width(c->dict.count ? c->dict.count - 1 : 0);

    return c->dict.count <= c->indexes.count / 2 &&
           c->dict.values.len + bits / 8 < c->value_bytes;
}

static int submit_indexes(struct column *c, const uint32_t *indexes, size_t count,
                          const uint32_t *levels, size_t rows, struct err *err)
{
    unsigned width = rle_width(c->dict.count - 1);

    buf_clear(&c->body);
    if (levels)
        column_append_levels(&c->body, levels, rows);
    buf_append_char(&c->body, (char)width);
    rle_encode(&c->body, indexes, count, width);
    return press_submit(c->press, c, PAGE_INDEXES, (uint32_t)rows, &c->body, err);
}

static int emit_dict(struct column *c, struct err *err)
{
    size_t rows = c->def->optional ? c->levels.count : c->indexes.count, index = 0;

    buf_clear(&c->body);
    buf_append(&c->body, c->dict.values.data, c->dict.values.len);
    int rc = press_submit(c->press, c, PAGE_DICTIONARY, c->dict.count, &c->body, err);
    for (size_t at = 0; rc == 0 && at < rows;) {
        size_t step = rows - at < PAGE_ROWS ? rows - at : PAGE_ROWS, count = step;
        const uint32_t *levels = c->def->optional ? c->levels.at + at : NULL;
        if (levels) {
            count = 0;
            for (size_t i = 0; i < step; i++)
                count += levels[i];
        }
        rc = submit_indexes(c, c->indexes.at + index, count, levels, step, err);
        index += count;
        at += step;
    }
    c->levels.count = 0;
    return rc;
}

/* Writes out again what was numbered. */
static int undo_dict(struct column *c, struct err *err)
{
    struct numbers levels = c->levels;
    size_t rows = c->def->optional ? levels.count : c->indexes.count, index = 0;
    int rc = 0;

    c->levels = (struct numbers){0};
    for (size_t i = 0; rc == 0 && i < rows; i++) {
        if (c->def->optional && levels.at[i] == 0) {
            rc = append_null(c, err);
            continue;
        }
        size_t len;
        const char *bytes = dict_value(&c->dict, c->indexes.at[index++], &len);
        rc = append_plain(c, bytes, len, err);
    }
    free(levels.at);
    return rc;
}

int column_leave_dict(struct column *c, struct err *err)
{
    if (c->plain)
        return 0;
    c->plain = true;
    int rc = dict_pays(c) ? emit_dict(c, err) : undo_dict(c, err);
    c->indexes.count = 0;
    dict_clear(&c->dict);
    return rc;
}

/* -- values -- */

static void note(struct column *c, const void *bytes, size_t len, const __int128 *number)
{
    if (number)
        stats_add_number(&c->facts.stats, *number);
    else
        stats_add_bytes(&c->facts.stats, bytes, len);
}

/* Into the dictionary, or DICT_FULL. */
static int64_t index_value(struct column *c, const void *bytes, size_t len,
                           const __int128 *number, uint64_t times)
{
    bool is_new;
    int64_t index = dict_number(&c->dict, bytes, len, &is_new);

    if (index < 0)
        return index;
    if (is_new)
        note(c, bytes, len, number);
    size_t plain_len = len + (number ? 0 : PLAIN_LENGTH_BYTES);
    c->value_bytes += times * plain_len;
    if (!numbers_add(&c->indexes, (uint32_t)index, times) ||
        (c->def->optional && !numbers_add(&c->levels, 1, times)))
        return DICT_NO_MEMORY;
    return 0;
}

int column_put(struct column *c, const void *bytes, size_t len, const __int128 *number,
               uint64_t times, struct err *err)
{
    int rc = 0;

    c->rows += times;
    if (!c->plain) {
        size_t before = c->indexes.count;
        int64_t indexed = index_value(c, bytes, len, number, times);
        if (indexed == DICT_NO_MEMORY)
            return column_no_memory(err);
        if (indexed == 0)
            return is_hopeless(c, before) ? column_leave_dict(c, err) : 0;
        rc = column_leave_dict(c, err);
    }
    note(c, bytes, len, number);
    for (uint64_t i = 0; rc == 0 && i < times; i++)
        rc = append_plain(c, bytes, len, err);
    return rc;
}

int column_put_number(struct column *c, __int128 number, struct err *err)
{
    char plain[PLAIN_WIDTH_MAX];

    plain_number(c->def->type, number, plain);
    return column_put(c, plain, plain_types[c->def->type].width, &number, 1, err);
}

int column_put_bytes(struct column *c, const void *bytes, size_t len, uint64_t times,
                     struct err *err)
{
    int rc = 0;

    if (len <= PAGE_BYTES)
        return column_put(c, bytes, len, NULL, times, err);
    for (uint64_t i = 0; rc == 0 && i < times; i++) {
        rc = column_begin_large(c, len, err);
        if (rc == 0)
            rc = column_add_large(c, bytes, len, err);
        if (rc == 0)
            rc = column_end_large(c, err);
    }
    return rc;
}

int column_put_null(struct column *c, uint64_t times, struct err *err)
{
    int rc = 0;

    assert(c->def->optional);
    c->rows += times;
    c->facts.stats.nulls += times;
    if (!c->plain)
        return numbers_add(&c->levels, 0, times) ? 0 : column_no_memory(err);
    for (uint64_t i = 0; rc == 0 && i < times; i++)
        rc = append_null(c, err);
    return rc;
}

int column_end(struct column *c, struct err *err)
{
    int rc = column_leave_dict(c, err);

    return rc ? rc : column_flush(c, err);
}
