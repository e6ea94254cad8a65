/* worker_scan.h - the messages of every task, read at one go when they come as our own programs
 * write them.
 *
 * worker_encode.c puts members in one order, without spaces, and its texts seldom hold anything
 * to unescape. A text of that form needs no tree of jansson's, which takes some forty
 * allocations for one attempt. Each function returns true with what its namesake in
 * worker_protocol.h would have returned; false, with nothing to release, for all else: other
 * spelling, mistakes, no memory. worker_decode.c then reads it anew, and says what is wrong. */
#ifndef CODEC_WORKER_SCAN_H
#define CODEC_WORKER_SCAN_H

#include "worker_protocol.h"

bool work_scan(const char *text, size_t len, struct work *ret);
bool work_list_scan(const char *text, size_t len, struct claim_item **ret, size_t *ret_count);

bool report_scan(const char *text, size_t len, struct report *ret);
/* ret_worker: NULL, or TASK_WORKER_MAX bytes. */
bool report_list_scan(const char *text, size_t len, char *ret_worker, struct report **ret,
                      size_t *ret_count);
bool report_verdicts_scan(const char *text, size_t len, struct report_verdict **ret,
                          size_t *ret_count);

/* Of worker_decode.c: what holds for the parts however they were read. */
bool worker_name_is_valid(const char *worker);
bool sha256_is_valid(const char *text);

#endif
