/* parquet.c - the file: row groups one after the other, the footer at the end. */
#include "parquet.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "column.h"
#include "fs.h"
#include "plain.h"
#include "utf8.h"

struct parquet {
    struct parquet_sink sink;
    struct parquet_column *defs;
    struct column *columns;
    size_t column_count, sorted, large; /* `large`: the column whose value comes in pieces */
    uint64_t group_rows, group_bytes;   /* limits */
    uint64_t rows, bytes;               /* of the row group at hand */
    uint64_t all_rows, written, groups;
    struct buf group_list; /* for the footer */
    char *temp_dir;
    struct press press;
};

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory for a Parquet file");
}

static int write_out(struct parquet *p, const void *bytes, size_t len, struct err *err)
{
    int rc = p->sink.write(p->sink.arg, bytes, len, err);

    if (rc == 0)
        p->written += len;
    return rc;
}

static int write_to_fd(void *arg, const void *bytes, size_t len, struct err *err)
{
    const int *fd = arg;

    return fs_write_all(*fd, bytes, len, "output", err);
}

struct parquet_sink parquet_fd_sink(const int *fd)
{
    return (struct parquet_sink){write_to_fd, (void *)(uintptr_t)fd};
}

static bool copy_options(struct parquet *p, const struct parquet_options *o)
{
    p->column_count = o->column_count;
    p->sorted = o->sorted;
    p->group_rows = o->group_rows ? o->group_rows : PARQUET_GROUP_ROWS;
    p->group_bytes = o->group_bytes ? o->group_bytes : PARQUET_GROUP_BYTES;
    p->temp_dir = strdup(o->temp_dir ? o->temp_dir : "/var/tmp");
    p->defs = calloc(o->column_count, sizeof *p->defs);
    p->columns = calloc(o->column_count, sizeof *p->columns);
    if (!p->temp_dir || !p->defs || !p->columns)
        return false;
    for (size_t i = 0; i < o->column_count; i++) {
        p->defs[i] = o->columns[i];
        p->defs[i].name = strdup(o->columns[i].name);
    }
    for (size_t i = 0; i < o->column_count; i++)
        if (!p->defs[i].name)
            return false;
    return true;
}

static int set_up(struct parquet *p, const struct parquet_options *options, struct err *err)
{
    uint64_t seed;

    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed)
        return err_set_errno(err, -E_IO, errno, "read random bytes");
    if (!copy_options(p, options))
        return no_memory(err);
    for (size_t i = 0; i < p->column_count; i++)
        column_init(&p->columns[i], &p->defs[i], &p->press, seed, p->temp_dir);
    return write_out(p, meta_mark, META_MARK_BYTES, err);
}

/* Pages on their way through a thread and what zstd needs there take about so much. */
enum { THREAD_BYTES = 16 * 1024 * 1024 };

static unsigned threads_of(const struct parquet_options *o)
{
    int64_t fit = o->memory_bytes / THREAD_BYTES;

    return o->memory_bytes > 0 && fit < o->threads ? (unsigned)fit : o->threads;
}

int parquet_open(const struct parquet_options *options, const struct parquet_sink *sink,
                 struct parquet **ret, struct err *err)
{
    assert(options->column_count >= 1 && options->column_count <= PARQUET_COLUMNS_MAX);
    struct parquet *p = calloc(1, sizeof *p);
    if (!p)
        return no_memory(err);
    p->sink = *sink;
    buf_init(&p->group_list);
    int rc = press_init(&p->press, threads_of(options), column_take, err);
    if (rc == 0)
        rc = set_up(p, options, err);
    if (rc) {
        parquet_abort_free(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void parquet_abort_free(struct parquet *p)
{
    if (!p)
        return;
    press_release(&p->press);
    for (size_t i = 0; i < p->column_count; i++) {
        if (p->columns && p->columns[i].def)
            column_release(&p->columns[i]);
        if (p->defs)
            free((char *)(uintptr_t)p->defs[i].name);
    }
    free(p->columns);
    free(p->defs);
    free(p->temp_dir);
    buf_release(&p->group_list);
    free(p);
}

static struct column *column_at(struct parquet *p, size_t column)
{
    assert(column < p->column_count);
    return &p->columns[column];
}

static int too_big(const struct column *c, uint64_t len, struct err *err)
{
    return err_set(err, -E_TOO_BIG,
                   "a value of %llu bytes is too large for column '%s' of a Parquet file",
                   (unsigned long long)len, c->def->name);
}

int parquet_put_bytes(struct parquet *p, size_t column, const void *bytes, size_t len,
                      uint64_t times, struct err *err)
{
    struct column *c = column_at(p, column);

    assert(plain_types[c->def->type].width == 0);
    if (len > PARQUET_VALUE_MAX)
        return too_big(c, len, err);
    if (c->def->type == PARQUET_STRING && !utf8_is_valid(bytes, len))
        return err_set(err, -E_BAD_INPUT, "a value of column '%s' is not valid UTF-8",
                       c->def->name);
    return column_put_bytes(c, bytes, len, times, err);
}

int parquet_put_int64(struct parquet *p, size_t column, const int64_t *values, size_t count,
                      struct err *err)
{
    struct column *c = column_at(p, column);
    int rc = 0;

    assert(c->def->type == PARQUET_INT64);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = column_put_number(c, values[i], err);
    return rc;
}

int parquet_put_dates(struct parquet *p, size_t column, const int32_t *days, size_t count,
                      struct err *err)
{
    struct column *c = column_at(p, column);
    int rc = 0;

    assert(c->def->type == PARQUET_DATE);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = column_put_number(c, days[i], err);
    return rc;
}

static __int128 decimal_most(void)
{
    __int128 n = 1;

    for (int i = 0; i < DECIMAL_DIGITS; i++)
        n *= 10;
    return n - 1;
}

int parquet_put_decimals(struct parquet *p, size_t column, const __int128 *values, size_t count,
                         struct err *err)
{
    struct column *c = column_at(p, column);
    __int128 most = decimal_most();
    int rc = 0;

    assert(c->def->type == PARQUET_DECIMAL38);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (values[i] > most || values[i] < -most)
            rc = err_set(err, -E_BAD_INPUT, "a value of column '%s' has more than %d digits",
                         c->def->name, DECIMAL_DIGITS);
        else
            rc = column_put_number(c, values[i], err);
    }
    return rc;
}

int parquet_put_null(struct parquet *p, size_t column, uint64_t times, struct err *err)
{
    return column_put_null(column_at(p, column), times, err);
}

int parquet_begin_large(struct parquet *p, size_t column, uint64_t len, struct err *err)
{
    struct column *c = column_at(p, column);

    assert(c->def->type == PARQUET_BINARY);
    if (len > PARQUET_VALUE_MAX)
        return too_big(c, len, err);
    p->large = column;
    return column_begin_large(c, len, err);
}

int parquet_add_large(struct parquet *p, const void *bytes, size_t len, struct err *err)
{
    return column_add_large(&p->columns[p->large], bytes, len, err);
}

int parquet_end_large(struct parquet *p, struct err *err)
{
    return column_end_large(&p->columns[p->large], err);
}

/* -- row groups -- */

static int write_chunks(struct parquet *p, struct err *err)
{
    const struct parquet_sink sink = p->sink;
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < p->column_count; i++) {
        rc = spool_copy(&p->columns[i].spool, &sink, err);
        p->written += p->columns[i].facts.packed_bytes;
        column_reset(&p->columns[i]);
    }
    return rc;
}

static int end_group(struct parquet *p, struct err *err)
{
    const struct chunk_facts *chunks[PARQUET_COLUMNS_MAX];
    int rc = 0;

    if (p->rows == 0)
        return 0;
    for (size_t i = 0; rc == 0 && i < p->column_count; i++) {
        rc = column_end(&p->columns[i], err);
        chunks[i] = &p->columns[i].facts;
    }
    if (rc == 0)
        rc = press_drain(&p->press, err);
    if (rc)
        return rc;
    meta_group(&p->group_list, p->defs, chunks, p->column_count, p->sorted, p->rows, p->written,
               p->groups);
    if (!buf_ok(&p->group_list))
        return no_memory(err);
    p->groups++;
    p->all_rows += p->rows;
    p->rows = p->bytes = 0;
    return write_chunks(p, err);
}

uint64_t parquet_room(const struct parquet *p, uint64_t row_bytes)
{
    uint64_t rows = p->group_rows - p->rows, bytes = p->group_bytes - p->bytes;
    uint64_t fit = row_bytes ? bytes / row_bytes + (bytes % row_bytes != 0) : rows;

    return fit < rows ? fit : rows;
}

int parquet_rows(struct parquet *p, uint64_t count, uint64_t row_bytes, struct err *err)
{
    assert(count <= parquet_room(p, row_bytes));
    p->rows += count;
    p->bytes += count * row_bytes;
    for (size_t i = 0; i < p->column_count; i++)
        assert(p->columns[i].rows == p->rows && !p->columns[i].large.open);
    return p->rows >= p->group_rows || p->bytes >= p->group_bytes ? end_group(p, err) : 0;
}

uint64_t parquet_written(const struct parquet *p)
{
    return p->written;
}

int parquet_close_free(struct parquet *p, struct parquet_info *ret, struct err *err)
{
    struct buf footer = BUF_INIT;
    int rc = end_group(p, err);

    if (rc == 0) {
        meta_footer(&footer, p->defs, p->column_count, p->all_rows, &p->group_list, p->groups);
        rc = buf_ok(&footer) ? write_out(p, footer.data, footer.len, err) : no_memory(err);
    }
    if (rc == 0 && ret)
        *ret = (struct parquet_info){p->all_rows, p->written, p->groups};
    buf_release(&footer);
    parquet_abort_free(p);
    return rc;
}
