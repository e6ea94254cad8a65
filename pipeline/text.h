/* text.h - UTF-8, and the JSON that metadata is. Pure, any thread. */
#ifndef PIPELINE_TEXT_H
#define PIPELINE_TEXT_H

#include "segue/pipeline.h"

/* Length in bytes of the well-formed character at `at`, before `end`; 0 when it is none. */
size_t text_utf8(const char *at, const char *end);

/* A sentence for storage: cut on a character boundary, '?' for what is no text. NULL is "". */
void text_reason(const char *text, char ret[PIPELINE_REASON_MAX]);

/* Is `name` fit to be one? `what` is for the sentence: "a step". */
int text_check_name(const char *name, const char *what, struct pipeline_err *err);

/* Is it one JSON object (RFC 8259, at most 64 levels, no NUL in a text) of less than
 * PIPELINE_METADATA_MAX bytes, with at most one member "current_step"? */
int metadata_check(const char *json, struct pipeline_err *err);

/* A copy of a checked object, with the member "current_step" set to the uuid, or to null when
 * that is "". Every other byte stays. On the heap. */
int metadata_with_step(const char *json, const char *uuid, char **ret,
                       struct pipeline_err *err);

/* What that member says; "" for null and for whatever is no uuid. */
void metadata_step(const char *json, char ret_uuid[PIPELINE_UUID_MAX]);

#endif
