/* writer.h - the output: CSV with quotes only where they are needed, LF at line ends. */
#ifndef CSV_WRITER_H
#define CSV_WRITER_H

#include "buf.h"
#include "err.h"
#include "spill.h"

/* Appends one field, quoted if it holds a comma, a quote, CR or LF. */
void writer_field(struct buf *out, const char *bytes, size_t len);

struct writer {
    int fd; /* borrowed */
    struct buf out;
    struct buf song;   /* the bytes of the last song */
    struct buf quoted; /* the same as the output shows them */
    uint64_t rows, bytes;
};

int writer_begin(struct writer *w, int fd, struct err *err);

/* One total. E_BAD_INPUT when its sum passed 128 bits; E_NO_SPACE, E_IO, E_NO_MEMORY. */
int writer_put(struct writer *w, const struct song *song, const struct group *group,
               struct err *err);
int writer_end(struct writer *w, struct err *err);
void writer_release(struct writer *w); /* after any outcome */

#endif
