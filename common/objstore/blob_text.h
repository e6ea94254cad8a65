/* blob_text.h - names of blobs as text, for JSON and for people: a name is any bytes, a text is
 * UTF-8. A name that is UTF-8 is its own text; in any other the offending bytes become %XX, and
 * a '%' that two hex digits follow becomes %25. Any thread. */
#ifndef OBJSTORE_BLOB_TEXT_H
#define OBJSTORE_BLOB_TEXT_H

#include "container.h"

enum { BLOB_TEXT_MAX = 3 * BLOB_NAME_MAX };

/* Returns the length of the text. Pure. */
size_t blob_text(const char *name, char ret_text[BLOB_TEXT_MAX]);

/* The blob whose name has this text. -E_NOT_FOUND when there is none, or no container; else as
 * container_stat, and as blocking. */
int blob_text_find(struct container *c, const char *text, struct blob *ret, struct err *err);

#endif
