/* outputs.h - what attempts have written: made durable, or removed. Private to this room. */
#ifndef RUNTIME_OUTPUTS_H
#define RUNTIME_OUTPUTS_H

#include "threads.h"

/* Removes the files of an attempt that does not count. The manager would find them too, but
 * later. Never of an attempt that might have been recorded. Blocks on the object store; what
 * fails is logged. */
void outputs_sweep(struct service *s, const struct held *h);

#endif
