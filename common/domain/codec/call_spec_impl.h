/* call_spec_impl.h - shared by the two files of call_spec.h only. */
#ifndef CODEC_CALL_SPEC_IMPL_H
#define CODEC_CALL_SPEC_IMPL_H

#include <jansson.h>
#include <stdbool.h>

#include "buf.h"
#include "call_spec.h"

enum { CALL_LIST_MAX = 64 };

struct call_spec {
    json_t *params; /* owns all of these: */
    const char *method, *url;
    json_t *statuses, *required, *equals, *extract; /* NULL: none */
    struct buf query;
    char *body;
    char **headers;
    int timeout_s;
};

/* "a.items[0].id": members by name, elements by [index]. */
bool json_path_is_valid(const char *path);
/* What is there, borrowed; NULL when there is nothing. */
const json_t *json_path_get(const json_t *root, const char *path);

#endif
