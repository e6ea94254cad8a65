/* local_trailer.h - what stands behind the content in the file of a local blob: its name, then
 * LOCAL_TRAILER_BYTES of magic, size of the content, length of the name (both 64 bits, little
 * endian) and SHA-256 of the content. Private to this room. Pure. */
#ifndef OBJSTORE_LOCAL_TRAILER_H
#define OBJSTORE_LOCAL_TRAILER_H

#include "container_local.h"

enum { LOCAL_TAIL_MAX = BLOB_NAME_MAX + LOCAL_TRAILER_BYTES };

/* Name and trailer of a blob whose fields are all known; how many bytes they take. */
size_t local_trailer_encode(const struct blob *blob, unsigned char ret_tail[LOCAL_TAIL_MAX]);

/* Reads the last LOCAL_TRAILER_BYTES of a file of file_size bytes; false when it is no blob. */
bool local_trailer_decode(const unsigned char *trailer, uint64_t file_size, struct blob *ret,
                          size_t *ret_name_len);

#endif
