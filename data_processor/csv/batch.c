#include "batch.h"

#include <stdlib.h>

/* A song of ordinary length with its totals: what one takes of the room, about. */
enum { TOTAL_BYTES = 64, TOTALS_LEAST = 64 };

struct batch {
    size_t room, count, song_count; /* room: for totals */
    struct csv_song *songs;
    size_t *starts; /* of the songs' bytes */
    struct buf bytes;
    size_t bytes_room;
    uint32_t *days;
    unsigned __int128 *plays;
};

struct batch *batch_new(size_t room)
{
    struct batch *b = calloc(1, sizeof *b);

    if (!b)
        return NULL;
    buf_init(&b->bytes);
    b->bytes_room = room;
    b->room = room / TOTAL_BYTES < TOTALS_LEAST ? TOTALS_LEAST : room / TOTAL_BYTES;
    b->songs = malloc((b->room + 1) * sizeof *b->songs);
    b->starts = malloc((b->room + 1) * sizeof *b->starts);
    b->days = malloc(b->room * sizeof *b->days);
    b->plays = malloc(b->room * sizeof *b->plays);
    if (b->songs && b->starts && b->days && b->plays)
        return b;
    batch_free(b);
    return NULL;
}

void batch_free(struct batch *b)
{
    if (!b)
        return;
    buf_release(&b->bytes);
    free(b->songs);
    free(b->starts);
    free(b->days);
    free(b->plays);
    free(b);
}

static int no_memory(struct err *err)
{
    return err_set(err, -E_NO_MEMORY, "no memory to write the output");
}

/* One that got no total makes room for the next: there are never more songs than totals, and
 * one. */
int batch_song(struct batch *b, const struct song *song, struct err *err)
{
    if (b->song_count > 0 && b->songs[b->song_count - 1].count == 0) {
        b->song_count--;
        b->bytes.len = b->starts[b->song_count];
    }
    b->songs[b->song_count] = (struct csv_song){NULL, song->len, 0};
    b->starts[b->song_count++] = b->bytes.len;
    buf_append(&b->bytes, song->bytes, song->len);
    return buf_ok(&b->bytes) ? 0 : no_memory(err);
}

bool batch_is_full(const struct batch *b)
{
    return b->count == b->room || (b->count > 0 && b->bytes.len >= b->bytes_room);
}

int batch_total(struct batch *b, const struct song *song, const struct group *group,
                struct err *err)
{
    if (b->song_count == 0) { /* it went with the last flush */
        int rc = batch_song(b, song, err);
        if (rc)
            return rc;
    }
    b->songs[b->song_count - 1].count++;
    b->days[b->count] = group->day;
    b->plays[b->count++] = group->sum;
    return 0;
}

int batch_flush(struct batch *b, const struct csv_sink *sink, struct err *err)
{
    struct csv_batch batch = {b->songs, b->song_count, b->days, b->plays, b->count};

    for (size_t i = 0; i < b->song_count; i++)
        b->songs[i].bytes = b->bytes.data + b->starts[i];
    int rc = b->count ? sink->put(sink->arg, &batch, err) : 0;
    b->count = b->song_count = 0;
    buf_clear(&b->bytes);
    return rc;
}
