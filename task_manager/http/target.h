/* target.h - a request target taken apart: its path and its query, decoded.
 *
 * Works on what the gate has let in. The struct is the caller's, its strings live until
 * target_release. Nothing blocks; one thread at a time. */
#ifndef HTTP_TARGET_H
#define HTTP_TARGET_H

#include <stddef.h>

#include "gate.h"

struct target {
    char *raw;        /* as sent */
    char *path;       /* decoded, without a trailing slash ("/" stays) */
    char *path_parts; /* a second copy, which the router cuts up */
    struct target_query {
        const char *name, *value; /* decoded; value "" without = */
    } query[GATE_QUERY_MAX];
    size_t query_count;
};

/* Keeps a copy of the raw target. False without memory. */
bool target_init(struct target *t, const char *raw);
/* Fills in the rest; the raw target has passed the gate. False without memory. */
bool target_parse(struct target *t);
void target_release(struct target *t);

const char *target_query(const struct target *t, const char *name); /* NULL without */
/* The name of a parameter that came more than once: which one counts would be a guess. NULL
 * when there is none. */
const char *target_repeated(const struct target *t);

#endif
