/* parquet_part.h - one Parquet file of blobs on its way into the object store.
 *
 * Columns: name (string), content (binary: a blob holds any bytes, and what is no UTF-8 would
 * be no string), size (64 bit integer), sha256 (string, lower-case hex), commit (string or
 * NULL). One thread at a time. */
#ifndef JOBS_PARQUET_PART_H
#define JOBS_PARQUET_PART_H

#include "job.h"

struct part;

/* Starts the object `key`. */
int part_begin(const struct job_context *context, const char *key, struct part **ret,
               struct err *err);

/* Adds a blob as one row; one that is gone by now is none: *ret_added. `commit` "" is NULL.
 * Errors name the blob. */
int part_add(struct part *p, struct container *c, const char *name, const char *commit,
             bool *ret_added, struct err *err);

/* Rows so far, and bytes of their contents. */
uint64_t part_rows(const struct part *p);
uint64_t part_bytes(const struct part *p);

/* Makes the object visible and frees p, also after a failure. */
int part_commit_free(struct part *p, struct artifact *ret, struct err *err);
void part_abort_free(struct part *p); /* NULL is fine */

/* A blob's name as text: bytes that are no UTF-8 become %XX, and in such a name a '%' that two
 * hex digits follow becomes %25. */
enum { PART_NAME_MAX = 3 * BLOB_NAME_MAX };
size_t part_name(const char *name, char ret_text[PART_NAME_MAX]);

#endif
