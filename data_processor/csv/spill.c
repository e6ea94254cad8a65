#include "spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "fs.h"

int song_compare(const struct song *a, const struct song *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    return bytes_compare(a->bytes, a->len, b->bytes, b->len, 8);
}

int run_list_add(struct run_list *l, const struct run *run, struct err *err)
{
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        struct run *items = realloc(l->items, room * sizeof *items);
        if (!items)
            return err_set(err, -E_NO_MEMORY, "no memory for the list of spilled runs");
        l->items = items;
        l->room = room;
    }
    l->items[l->count++] = *run;
    l->bytes += run->bytes;
    return 0;
}

void run_list_release(struct run_list *l)
{
    free(l->items);
    *l = (struct run_list){0};
}

void spill_file_init(struct spill_file *f, const char *dir)
{
    *f = (struct spill_file){.dir = dir, .fd = -1};
}

void spill_file_close(struct spill_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static int spill_file_open(struct spill_file *f, struct err *err)
{
    if (f->fd < 0)
        f->fd = fs_open_nameless(f->dir, err);
    return f->fd < 0 ? f->fd : 0;
}

static int flush(struct run_writer *w, struct err *err)
{
    size_t done = 0;

    while (done < w->len) {
        ssize_t put =
            pwrite(w->file->fd, w->buffer + done, w->len - done, (off_t)(w->file->size + done));
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return err_set_errno(err, err_from_errno(errno), errno,
                                 "write a temporary file in '%s'", w->file->dir);
        done += (size_t)put;
    }
    w->file->size += w->len;
    w->len = 0;
    return 0;
}

static int put_bytes(struct run_writer *w, const void *bytes, size_t len, struct err *err)
{
    const char *at = bytes;

    while (len > 0) {
        size_t room = w->cap - w->len, step = len < room ? len : room;
        memcpy(w->buffer + w->len, at, step);
        w->len += step;
        at += step;
        len -= step;
        if (w->len == w->cap) {
            int rc = flush(w, err);
            if (rc)
                return rc;
        }
    }
    return 0;
}

int run_writer_begin(struct run_writer *w, struct spill_file *file, size_t buffer_bytes,
                     struct err *err)
{
    *w = (struct run_writer){.file = file, .cap = buffer_bytes};
    int rc = spill_file_open(file, err);
    if (rc)
        return rc;
    w->buffer = malloc(buffer_bytes);
    if (!w->buffer)
        return err_set(err, -E_NO_MEMORY, "no memory to spill totals");
    w->run = (struct run){.fd = file->fd, .offset = file->size};
    return 0;
}

/* Opens a new song: its bytes may be gone at the next put, so they are kept here. */
static int begin_song(struct run_writer *w, const struct song *song, struct err *err)
{
    static const uint32_t end_of_song = 0;
    int rc = w->song ? put_bytes(w, &end_of_song, sizeof end_of_song, err) : 0;

    if (song->len > w->song_room) {
        char *copy = realloc(w->song_copy, song->len);
        if (!copy)
            return err_set(err, -E_NO_MEMORY, "no memory to spill totals");
        w->song_copy = copy;
        w->song_room = song->len;
    }
    memcpy(w->song_copy, song->bytes, song->len);
    w->song = w->song_copy;
    w->song_len = song->len;
    if (song->len > w->run.longest_song)
        w->run.longest_song = song->len;
    if (rc == 0)
        rc = put_bytes(w, &song->len, sizeof song->len, err);
    return rc ? rc : put_bytes(w, song->bytes, song->len, err);
}

int run_writer_put(struct run_writer *w, const struct song *song, const struct group *group,
                   struct err *err)
{
    char record[20];
    uint32_t day = group->day << 1 | group->overflowed;
    bool same =
        w->song && w->song_len == song->len && memcmp(w->song, song->bytes, song->len) == 0;
    int rc = same ? 0 : begin_song(w, song, err);

    memcpy(record, &day, 4);
    memcpy(record + 4, &group->sum, sizeof group->sum);
    return rc ? rc : put_bytes(w, record, sizeof record, err);
}

int run_writer_end(struct run_writer *w, struct run *ret_run, struct err *err)
{
    int rc = flush(w, err);

    w->run.bytes = w->file->size - w->run.offset;
    if (rc == 0)
        *ret_run = w->run;
    return rc;
}

void run_writer_release(struct run_writer *w)
{
    free(w->buffer);
    free(w->song_copy);
    *w = (struct run_writer){0};
}

static int take_bytes(struct run_reader *r, void *ret_bytes, size_t len, struct err *err)
{
    char *to = ret_bytes;

    while (len > 0) {
        if (r->at == r->len) {
            size_t want = r->run.bytes < r->cap ? (size_t)r->run.bytes : r->cap;
            ssize_t got = pread(r->run.fd, r->buffer, want, (off_t)r->run.offset);
            if (got < 0 && errno == EINTR)
                continue;
            if (got <= 0)
                return err_set_errno(err, -E_IO, got < 0 ? errno : EIO,
                                     "read back a temporary file");
            r->run.offset += (uint64_t)got;
            r->run.bytes -= (uint64_t)got;
            *r->read += (uint64_t)got;
            r->at = 0;
            r->len = (size_t)got;
        }
        size_t step = r->len - r->at < len ? r->len - r->at : len;
        memcpy(to, r->buffer + r->at, step);
        r->at += step;
        to += step;
        len -= step;
    }
    return 0;
}

static int next_song(struct run_reader *r, struct err *err)
{
    uint32_t len;
    int rc = take_bytes(r, &len, sizeof len, err);

    if (rc == 0)
        rc = take_bytes(r, r->song_bytes, len, err);
    if (rc == 0)
        r->song = (struct song){load_prefix(r->song_bytes, len), r->song_bytes, len};
    return rc;
}

int run_reader_next(struct run_reader *r, struct err *err)
{
    uint32_t day = 0;
    int rc = 0;

    for (bool first = r->song.len == 0;; first = true) {
        r->at_end = r->at == r->len && r->run.bytes == 0;
        if (r->at_end)
            return 0;
        if (first)
            rc = next_song(r, err);
        if (rc == 0)
            rc = take_bytes(r, &day, sizeof day, err);
        if (rc)
            return rc;
        if (day != 0)
            break;
    }
    r->group.day = day >> 1;
    r->group.overflowed = day & 1;
    return take_bytes(r, &r->group.sum, sizeof r->group.sum, err);
}

int run_reader_open(struct run_reader *r, const struct run *run, size_t buffer_bytes,
                    uint64_t *read, struct err *err)
{
    *r = (struct run_reader){.run = *run, .cap = buffer_bytes, .read = read};
    r->buffer = malloc(buffer_bytes);
    r->song_bytes = malloc(run->longest_song + (size_t)BYTES_SLACK);
    if (!r->buffer || !r->song_bytes)
        return err_set(err, -E_NO_MEMORY, "no memory to merge spilled totals");
    return run_reader_next(r, err);
}

void run_reader_close(struct run_reader *r)
{
    free(r->buffer);
    free(r->song_bytes);
    *r = (struct run_reader){0};
}
