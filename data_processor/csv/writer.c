#include "writer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fs.h"

/* What a total takes behind its song; texts are copied in whole words, so there is room for
 * one more. */
enum { TOTAL_MAX = 1 + DATE_TEXT_LEN + 1 + PLAYS_TEXT_MAX + 1 + BYTES_SLACK };

static const char header[] = "Song,Date,Number of Plays\n";

static_assert(sizeof header - 1 <= TOTAL_MAX, "the smallest buffer holds the header");

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

int output_begin(struct output *o, int fd, const struct csv_sink *sink, struct ticker *ticker,
                 struct err *err)
{
    *o = (struct output){.fd = fd, .sink = sink, .ticker = ticker};
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->moved, NULL);
    return sink ? sink->begin(sink->arg, err) : 0;
}

void output_end(struct output *o)
{
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->moved);
}

bool output_failed(struct output *o)
{
    pthread_mutex_lock(&o->lock);
    bool failed = o->rc != 0;
    pthread_mutex_unlock(&o->lock);
    return failed;
}

/* Waits for the piece's turn; false when an earlier one failed. */
static bool wait_for_turn(struct output *o, size_t piece)
{
    pthread_mutex_lock(&o->lock);
    while (o->turn != piece)
        pthread_cond_wait(&o->moved, &o->lock);
    bool good = o->rc == 0;
    pthread_mutex_unlock(&o->lock);
    return good;
}

/* Nobody else writes while it is this piece's turn, so the lock is not held. */
static int flush(struct writer *w, struct err *err)
{
    struct output *o = w->output;
    int rc = 0;

    if (wait_for_turn(o, w->piece))
        rc = o->sink ? batch_flush(w->batch, o->sink, err)
                     : fs_write_all(o->fd, w->out, w->len, "output", err);
    o->bytes += w->len;
    o->rows += w->rows;
    if (ticker_is_due(o->ticker))
        ticker_tell_written(o->ticker,
                            o->pieces ? (double)w->piece / (double)o->pieces : o->part);
    w->len = w->rows = 0;
    return rc;
}

int writer_begin(struct writer *w, struct output *o, size_t room, struct err *err)
{
    *w = (struct writer){.output = o, .room = room + TOTAL_MAX};
    if (o->sink)
        w->batch = batch_new(room);
    else
        w->out = malloc(w->room);
    return w->out || w->batch ? 0 : no_memory(err);
}

void writer_release(struct writer *w)
{
    free(w->out);
    free(w->quoted);
    batch_free(w->batch);
}

void writer_start_piece(struct writer *w, size_t piece)
{
    w->piece = piece;
    if (piece > 0 || w->output->sink)
        return;
    memcpy(w->out, header, sizeof header - 1);
    w->len = sizeof header - 1;
}

int writer_end_piece(struct writer *w, int rc, struct err *err)
{
    struct output *o = w->output;
    struct err held = err ? *err : (struct err)ERR_INIT;

    if (rc == 0)
        rc = flush(w, &held);
    else
        wait_for_turn(o, w->piece);
    w->len = w->rows = 0;
    pthread_mutex_lock(&o->lock);
    if (rc && o->rc == 0) {
        o->rc = rc;
        o->err = held;
    }
    o->turn = w->piece + 1;
    pthread_cond_broadcast(&o->moved);
    pthread_mutex_unlock(&o->lock);
    if (rc && err)
        *err = held;
    return rc;
}

/* Without a branch, so that compilers make vectors of it. */
static bool needs_quotes(const char *bytes, size_t len)
{
    bool found = false;

    for (size_t i = 0; i < len; i++)
        found |= bytes[i] == ',' || bytes[i] == '"' || bytes[i] == '\r' || bytes[i] == '\n';
    return found;
}

int writer_song(struct writer *w, const struct song *song, struct err *err)
{
    size_t need = 2 * (size_t)song->len + 2 + BYTES_SLACK;

    if (w->batch)
        return batch_song(w->batch, song, err);
    if (need > w->quoted_room) {
        char *quoted = realloc(w->quoted, need);
        if (!quoted)
            return no_memory(err);
        w->quoted = quoted;
        w->quoted_room = need;
    }
    char *to = w->quoted;
    if (needs_quotes(song->bytes, song->len)) {
        *to++ = '"';
        for (size_t i = 0; i < song->len; i++) {
            *to = '"';
            to += song->bytes[i] == '"';
            *to++ = song->bytes[i];
        }
        *to++ = '"';
    } else {
        memcpy(to, song->bytes, song->len);
        to += song->len;
    }
    w->quoted_len = (size_t)(to - w->quoted);
    return 0;
}

static int overflow_error(const struct song *song, const struct group *group, struct err *err)
{
    char excerpt[EXCERPT_MAX], date[DATE_TEXT_LEN];

    excerpt_make(excerpt, song->bytes, song->len);
    date_format(group->day, date);
    return err_set(err, -E_BAD_INPUT,
                   "the plays of \"%s\" on %.*s add up to more than 2^128 - 1", excerpt,
                   (int)sizeof date, date);
}

static int total_to_batch(struct writer *w, const struct song *song, const struct group *group,
                          struct err *err)
{
    int rc = batch_is_full(w->batch) ? flush(w, err) : 0;

    if (rc == 0)
        rc = batch_total(w->batch, song, group, err);
    w->rows++;
    return rc;
}

/* Makes room for a total; a buffer that is too small for one alone grows. */
static int make_room(struct writer *w, size_t need, struct err *err)
{
    int rc = w->len ? flush(w, err) : 0;

    if (rc || need <= w->room)
        return rc;
    char *out = malloc(need);
    if (!out)
        return no_memory(err);
    free(w->out);
    w->out = out;
    w->room = need;
    return 0;
}

int writer_total(struct writer *w, const struct song *song, const struct group *group,
                 const char *date, struct err *err)
{
    size_t need = w->quoted_len + TOTAL_MAX;

    if (group->overflowed)
        return overflow_error(song, group, err);
    if (w->batch)
        return total_to_batch(w, song, group, err);
    if (w->len + need > w->room) {
        int rc = make_room(w, need, err);
        if (rc)
            return rc;
    }
    char *at = w->out + w->len;
    if (w->quoted_len <= 32)
        memcpy(at, w->quoted, 32); /* two stores instead of a call */
    else
        memcpy(at, w->quoted, w->quoted_len);
    at += w->quoted_len;
    *at++ = ',';
    memcpy(at, date, 16);
    at += DATE_TEXT_LEN;
    *at++ = ',';
    at += plays_format(group->sum, at);
    *at++ = '\n';
    w->len = (size_t)(at - w->out);
    w->rows++;
    return 0;
}
