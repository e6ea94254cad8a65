/* source.h - the bytes of the input, inflated when they are gzip or zstd.
 *
 * The kind is told by the first bytes, never by a name. Several gzip members or zstd frames
 * in a row are one stream; anything else behind the last is an error, as is a stream that
 * stops early or inflates past the cap. zstd windows are taken up to 8 MiB, which is what
 * RFC 8878 asks of every decoder; frames made with --long or --ultra are refused.
 *
 * One thread at a time. Reads block on the fd. */
#ifndef CSV_SOURCE_H
#define CSV_SOURCE_H

#include <stddef.h>
#include <stdint.h>

#include "err.h"

struct source;

/* A source over `fd`, which stays the caller's. NULL and E_NO_MEMORY when there is none. */
struct source *source_new(int fd, uint64_t max_inflated, struct err *err);
void source_free(struct source *s);

/* Reads until `cap` bytes are there or the input ends; *ret_got < cap means the end. On
 * failure *ret_got says how many good bytes came before it. E_BAD_INPUT: damaged, cut off or
 * too big compressed data. E_IO, E_NO_MEMORY. */
int source_read(struct source *s, char *bytes, size_t cap, size_t *ret_got, struct err *err);

/* Bytes read of the fd, and bytes given out. */
uint64_t source_bytes_in(const struct source *s);
uint64_t source_bytes_out(const struct source *s);

#endif
