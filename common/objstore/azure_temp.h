/* azure_temp.h - the folder of this user in which a store on Azure keeps what it needs for a
 * while: files without a name that bytes pass through, and the locks of objstore_put_hold.
 *
 * The folder is made again when it was removed. Private to this room. Any thread; blocks on the
 * disk. */
#ifndef OBJSTORE_AZURE_TEMP_H
#define OBJSTORE_AZURE_TEMP_H

#include <stdbool.h>
#include <stdint.h>

#include "err.h"

enum { AZURE_TEMP_MAX = 160 }; /* of the folder's path */

/* -E_IO when the folder is there and somebody else's, or open to others. */
int azure_temp_make(const char *dir, struct err *err);

/* A file that is gone with its descriptor; that, or a negative code. */
int azure_temp_open(const char *dir, struct err *err);

/* A descriptor that keeps the object from being swept on this machine; -1 without one. */
int azure_temp_hold(const char *dir, const char *container, const char *key);
bool azure_temp_is_held(const char *dir, const char *container, const char *key);

/* Removes locks that nobody holds and that are older than that. */
int azure_temp_sweep(const char *dir, int64_t older_than_ms, struct err *err);

#endif
