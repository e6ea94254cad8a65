/* batch.h - totals on their way to a sink, gathered by one thread. */
#ifndef CSV_BATCH_H
#define CSV_BATCH_H

#include "buf.h"
#include "csv.h"
#include "spill.h"

struct batch;

/* For about `room` bytes. NULL: no memory. */
struct batch *batch_new(size_t room);
void batch_free(struct batch *b); /* NULL is fine */

/* The song of the totals that follow (copied). */
int batch_song(struct batch *b, const struct song *song, struct err *err);

/* Room for no more totals? After a flush there is. */
bool batch_is_full(const struct batch *b);
int batch_total(struct batch *b, const struct song *song, const struct group *group,
                struct err *err);

/* Gives the sink what there is and is empty then. */
int batch_flush(struct batch *b, const struct csv_sink *sink, struct err *err);

#endif
