/* pipeline.h - the input through one reader and many workers, and their accounts back in
 * order.
 *
 * There is no thread for the reader: a worker that needs rows takes its turn at it, fills its
 * block - for a file no more than a read and a look for the last row end, while the bytes come
 * into its own cache - and goes on to work on it while the next one reads. The first block is
 * done before any thread is started, so a small file never pays for one. A finished block is
 * entered into the ledger once all before it are. */
#ifndef CSV_PIPELINE_H
#define CSV_PIPELINE_H

#include "ledger.h"
#include "plan.h"
#include "reader.h"
#include "ticker.h"
#include "worker.h"

struct pipeline;

struct pipeline *pipeline_new(struct reader *reader, const struct csv_options *options,
                              const struct csv_plan *plan, struct ticker *ticker,
                              struct err *err);
void pipeline_free(struct pipeline *p);

/* Reads all, or as far as it matters, and adds it up; starts threads and joins them. Bad rows
 * are in the ledger; `*ret_reader_rc` and err say how the reader ended, which matters only if
 * no row is bad. Returns the first error of a worker. */
int pipeline_run(struct pipeline *p, int *ret_reader_rc, struct err *err);

/* After that. */
const struct ledger *pipeline_ledger(const struct pipeline *p);
struct table *pipeline_table(struct pipeline *p); /* the caller is alone with it */
struct spills *pipeline_spills(struct pipeline *p);

#endif
