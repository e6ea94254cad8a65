/* names.h - which names there are, in 16 bytes for each: 128 bits of its SHA-256. Private to
 * this room. */
#ifndef BLOBS_NAMES_H
#define BLOBS_NAMES_H

#include <stdbool.h>

#include "buf.h"
#include "err.h"

struct names {
    struct buf hashes; /* the caller's to init and release */
};

int names_add(struct names *n, const char *name, struct err *err);
/* Once, after the last was added. */
void names_sort(struct names *n);
bool names_has(const struct names *n, const char *name);

#endif
