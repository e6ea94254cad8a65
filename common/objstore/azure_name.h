/* azure_name.h - names of blobs as Azure can keep them, and back.
 *
 * Azure's names are text: at most 1,024 characters of Unicode, '\' is turned into '/', dots at
 * the end of a segment get lost, and what is in a URL goes through the hands of many. So
 * these bytes become %XX (upper case), and so does a '%' that two hex digits follow: bytes
 * that are no valid UTF-8, control characters, U+FFFE and U+FFFF, '\', a '.' at the end of a
 * segment, a '/' at either end or after another. All else stays. Private to this room. Pure. */
#ifndef OBJSTORE_AZURE_NAME_H
#define OBJSTORE_AZURE_NAME_H

#include "buf.h"
#include "container.h"

/* -E_BAD_VALUE when it has more than 1,024 characters then; -E_NO_MEMORY. */
int azure_name_encode(const char *name, struct buf *out, struct err *err);

/* Back again; false when it is longer than a blob's name can be, or holds a NUL. */
bool azure_name_decode(const char *text, char ret_name[BLOB_NAME_MAX]);

/* Appends for a URL: every byte but letters, digits and -._~/ as %XX. */
void azure_url_append(struct buf *out, const char *text);

/* How many bytes of a prefix of names can be looked for as they are, whatever follows them. */
size_t azure_name_plain_prefix(const char *prefix);

#endif
