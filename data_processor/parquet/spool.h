/* spool.h - bytes that grow behind one another and are read once: in memory at first, in a file
 * without a name from a certain size on.
 *
 * One thread at a time. Calls block on the disk once there is a file. */
#ifndef PARQUET_SPOOL_H
#define PARQUET_SPOOL_H

#include <stdint.h>

#include "buf.h"
#include "err.h"
#include "parquet.h"

struct spool {
    const char *dir;     /* borrowed */
    size_t memory_bytes; /* more goes to the file */
    int fd;              /* -1: no file yet */
    uint64_t in_file;    /* bytes; what follows them is in `memory` */
    struct buf memory;
    struct buf inserts; /* see spool_insert: place, length, bytes of each */
    uint64_t inserted;  /* bytes */
};

void spool_init(struct spool *s, const char *dir, size_t memory_bytes);
void spool_clear(struct spool *s); /* empty and usable again */
void spool_release(struct spool *s);

int spool_append(struct spool *s, const void *bytes, size_t len, struct err *err);

/* Bytes appended so far, without inserts: a place for spool_insert. */
uint64_t spool_place(const struct spool *s);

/* Puts a few bytes before those that were appended at `place` or later: a header whose content
 * is only known at the end. Places do not descend. */
int spool_insert(struct spool *s, uint64_t place, const void *bytes, size_t len,
                 struct err *err);

/* All bytes, inserts too. */
uint64_t spool_size(const struct spool *s);
int spool_copy(const struct spool *s, const struct parquet_sink *sink, struct err *err);

#endif
