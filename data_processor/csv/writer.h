/* writer.h - the output: CSV with quotes only where they are needed, LF at line ends; or
 * batches of totals for a sink.
 *
 * Several writers fill buffers of their own for pieces of the output that are numbered from 0
 * on; the bytes reach the file in the order of the pieces. */
#ifndef CSV_WRITER_H
#define CSV_WRITER_H

#include <pthread.h>

#include "batch.h"
#include "buf.h"
#include "err.h"
#include "spill.h"
#include "ticker.h"

/* Appends one field, quoted if it holds a comma, a quote, CR or LF. */
void writer_field(struct buf *out, const char *bytes, size_t len);

struct output {
    int fd;                      /* borrowed */
    const struct csv_sink *sink; /* instead, if not NULL */
    pthread_mutex_t lock;
    pthread_cond_t moved;
    struct ticker *ticker;
    size_t turn, pieces;  /* the piece that may be written, of so many */
    uint64_t rows, bytes; /* written */
    double part;          /* of all that was written, when `pieces` is 0 */
    int rc;               /* the first failure in the order of the pieces; no more is written */
    struct err err;
};

/* Begins the sink; the header of CSV comes with the first piece. */
int output_begin(struct output *o, int fd, const struct csv_sink *sink, struct ticker *ticker,
                 struct err *err);
bool output_failed(struct output *o);
void output_end(struct output *o);

struct writer {
    struct output *output;
    size_t piece;
    char *out;
    size_t len, room;
    uint64_t rows;
    char *quoted; /* the song as the output shows it, BYTES_SLACK bytes behind it */
    size_t quoted_len, quoted_room;
    struct batch *batch; /* for a sink */
};

enum { WRITER_BYTES = 1 << 20 };

/* `room` bytes of buffer, more for a song that needs it. */
int writer_begin(struct writer *w, struct output *o, size_t room, struct err *err);
void writer_release(struct writer *w);

/* What comes now belongs to this piece. */
void writer_start_piece(struct writer *w, size_t piece);

/* Songs come as often as they like, totals belong to the last one. `date` is what date_format
 * makes of the group's day, with 16 readable bytes. E_BAD_INPUT when the sum passed 128 bits;
 * E_NO_SPACE, E_IO, E_NO_MEMORY. */
int writer_song(struct writer *w, const struct song *song, struct err *err);
int writer_total(struct writer *w, const struct song *song, const struct group *group,
                 const char *date, struct err *err);

/* Ends the piece with what came of it; waits for the pieces before it. */
int writer_end_piece(struct writer *w, int rc, struct err *err);

#endif
