/* range.h - which bytes of a file does a request want, and does it have them already?
 *
 * Range and If-Range: RFC 9110, sections 14.2 and 13.1.5; If-None-Match: section 13.1.2. An
 * unreadable Range, one in other units and several ranges at once are all answered with the
 * whole file, as section 14.2 allows. Pure; any thread. */
#ifndef HTTP_RANGE_H
#define HTTP_RANGE_H

#include <stdbool.h>
#include <stdint.h>

enum range_result { RANGE_WHOLE, RANGE_PART, RANGE_UNSATISFIABLE };

/* header and if_range may be NULL. `etag` without quotes, "" for none. For RANGE_PART the
 * first and the last byte (both included) are set. */
enum range_result range_parse(const char *header, const char *if_range, const char *etag,
                              uint64_t size, uint64_t *ret_first, uint64_t *ret_last);

/* Does the list of an If-None-Match header name this etag (weak comparison) or `*`? */
bool range_etag_matches(const char *if_none_match, const char *etag);

#endif
