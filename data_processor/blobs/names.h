/* names.h - which names there are and what is behind them, in 40 bytes for each: hashes instead
 * of the names, so that memory stays small whatever a container holds. Private to this room.
 *
 * Add all, sort once, then ask, from any thread. */
#ifndef BLOBS_NAMES_H
#define BLOBS_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "artifact.h"
#include "buf.h"
#include "err.h"

struct names {
    struct buf entries; /* the caller's to init and release */
};

/* sha256: of the content, or "" when it is not known. */
int names_add(struct names *n, const char *name, uint64_t size, const char *sha256,
              struct err *err);
void names_sort(struct names *n);

bool names_has(const struct names *n, const char *name);
/* The size of what has this name; false when there is none of it. */
bool names_size(const struct names *n, const char *name, uint64_t *ret_size);
/* Has it this content? */
bool names_matches(const struct names *n, const char *name, uint64_t size, const char *sha256);

#endif
