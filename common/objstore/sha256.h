/* sha256.h - SHA-256 (FIPS 180-4) as lower-case hex: the one place that knows libcrypto.
 *
 * A struct sha256 is the caller's and belongs to one thread at a time; its insides are this
 * room's. Everything returns 0 or -E_NO_MEMORY (libcrypto could not set up the digest), the
 * file functions -E_IO too. */
#ifndef OBJSTORE_SHA256_H
#define OBJSTORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "artifact.h"
#include "err.h"

struct sha256 {
    void *state;
};

int sha256_init(struct sha256 *h, struct err *err);
void sha256_release(struct sha256 *h); /* NULL, and one released before, are fine */

int sha256_add(struct sha256 *h, const void *bytes, size_t len, struct err *err);

/* The digest of everything added; h can then only be released. */
int sha256_end(struct sha256 *h, char ret_hex[SHA256_TEXT_MAX], struct err *err);

/* The digest of one byte string. */
int sha256_hex(const void *bytes, size_t len, char ret_hex[SHA256_TEXT_MAX], struct err *err);

/* The digest and size of a whole file, read from its start whatever the file offset is,
 * which stays as it was. Blocks on the disk. */
int sha256_of_fd(int fd, char ret_hex[SHA256_TEXT_MAX], uint64_t *ret_size, struct err *err);

#endif
