/* azure_range.h - reading a blob of Azure piece by piece, each by a request of its own, so that
 * a cut connection costs one piece. Private to this room. */
#ifndef OBJSTORE_AZURE_RANGE_H
#define OBJSTORE_AZURE_RANGE_H

#include "azure_upload.h"

enum { AZURE_RANGE_BYTES = 4 << 20 };

/* The piece at `offset`, at most AZURE_RANGE_BYTES: fewer only at the end. facts: of the first
 * piece; with an etag in it the blob must still be the same (-E_STALE), without one it is
 * filled in. *ret_bytes is emptied first. -E_NOT_FOUND. */
int azure_read_range(const struct azure_target *t, uint64_t offset, struct azure_facts *facts,
                     struct buf *ret_bytes, struct err *err);

#endif
