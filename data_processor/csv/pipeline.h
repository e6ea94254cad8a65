/* pipeline.h - blocks from one reader through many workers, and their accounts back in order.
 *
 * The reader acquires a block, fills it and submits it; workers take the oldest first; a
 * finished block is entered into the ledger once all before it are. A block is free again
 * after that, so at most plan->blocks are under way and the reader waits for the slowest.
 * With one thread, submit does the work itself and no thread is started.
 *
 * acquire, grow and submit are the reader's, from the thread that called start. */
#ifndef CSV_PIPELINE_H
#define CSV_PIPELINE_H

#include "ledger.h"
#include "plan.h"
#include "worker.h"

struct pipeline;

/* Makes workers for `plan` and starts their threads at the first submit. */
struct pipeline *pipeline_new(const struct columns *columns, const struct csv_options *options,
                              const struct csv_plan *plan, struct err *err);
void pipeline_free(struct pipeline *p);

/* An empty block with room for at least plan->block_bytes. Waits for one. */
int pipeline_acquire(struct pipeline *p, struct block **ret_block, struct err *err);

/* Makes room for `cap` bytes in an acquired block, waiting until memory allows it. */
int pipeline_grow(struct pipeline *p, struct block *b, size_t cap, struct err *err);

/* Hands the block over. Errors of the workers are told by pipeline_finish. */
int pipeline_submit(struct pipeline *p, struct block *b, struct err *err);

/* Gives an acquired block back unused. NULL is allowed. */
void pipeline_discard(struct pipeline *p, struct block *b);

/* True when further input cannot change the outcome. */
bool pipeline_is_cut(struct pipeline *p);

/* Line ends that come before the first block (the header's). */
void pipeline_count_lines(struct pipeline *p, uint64_t lines);

/* Waits for the workers and joins them. The first error of a worker, if any; bad rows are in
 * the ledger. Frees the blocks; the workers' totals are sorted when all is well. */
int pipeline_finish(struct pipeline *p, struct err *err);

/* After finish. */
const struct ledger *pipeline_ledger(const struct pipeline *p);
struct worker *pipeline_worker(struct pipeline *p, size_t index); /* below plan->threads */

#endif
