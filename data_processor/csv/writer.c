#include "writer.h"

#include <string.h>

#include "fs.h"

enum { WRITE_BYTES = 128 * 1024, TOTAL_MAX = 1 + DATE_TEXT_LEN + 1 + PLAYS_TEXT_MAX + 1 };

void writer_field(struct buf *out, const char *bytes, size_t len)
{
    bool plain = true;

    for (size_t i = 0; i < len && plain; i++)
        plain = bytes[i] != ',' && bytes[i] != '"' && bytes[i] != '\r' && bytes[i] != '\n';
    if (plain) {
        buf_append(out, bytes, len);
        return;
    }
    buf_append_char(out, '"');
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] == '"')
            buf_append_char(out, '"');
        buf_append_char(out, bytes[i]);
    }
    buf_append_char(out, '"');
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory to write the output");
}

static int flush(struct writer *w, struct err *err)
{
    if (!buf_ok(&w->out) || !buf_ok(&w->song) || !buf_ok(&w->quoted))
        return no_memory(err);
    int rc = fs_write_all(w->fd, w->out.data, w->out.len, "output", err);
    w->bytes += w->out.len;
    buf_clear(&w->out);
    return rc;
}

int writer_begin(struct writer *w, int fd, struct err *err)
{
    *w = (struct writer){.fd = fd, .out = BUF_INIT, .song = BUF_INIT, .quoted = BUF_INIT};
    buf_append_str(&w->out, "Song,Date,Number of Plays\n");
    return buf_reserve(&w->out, WRITE_BYTES) ? 0 : no_memory(err);
}

static int overflow_error(const struct song *song, const struct group *group, struct err *err)
{
    char excerpt[EXCERPT_MAX], date[DATE_TEXT_LEN];

    excerpt_make(excerpt, song->bytes, song->len);
    date_format(group_day(group), date);
    return err_set(err, -E_BAD_INPUT,
                   "the plays of \"%s\" on %.*s add up to more than 2^128 - 1", excerpt,
                   (int)sizeof date, date);
}

int writer_put(struct writer *w, const struct song *song, const struct group *group,
               struct err *err)
{
    if (group_overflowed(group))
        return overflow_error(song, group, err);
    if (w->song.len != song->len || memcmp(w->song.data, song->bytes, song->len) != 0) {
        buf_clear(&w->song);
        buf_clear(&w->quoted);
        buf_append(&w->song, song->bytes, song->len);
        writer_field(&w->quoted, song->bytes, song->len);
    }
    if (w->out.len > 0 && w->out.len + w->quoted.len + TOTAL_MAX > WRITE_BYTES) {
        int rc = flush(w, err);
        if (rc)
            return rc;
    }

    char total[TOTAL_MAX];
    size_t len = 0;
    total[len++] = ',';
    date_format(group_day(group), total + len);
    len += DATE_TEXT_LEN;
    total[len++] = ',';
    len += plays_format(group_sum(group), total + len);
    total[len++] = '\n';
    buf_append(&w->out, w->quoted.data, w->quoted.len);
    buf_append(&w->out, total, len);
    w->rows++;
    return 0;
}

int writer_end(struct writer *w, struct err *err)
{
    return flush(w, err);
}

void writer_release(struct writer *w)
{
    buf_release(&w->out);
    buf_release(&w->song);
    buf_release(&w->quoted);
}
