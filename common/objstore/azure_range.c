#include "azure_range.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RANGE_TEXT_MAX = 64 };

/* The size of the whole from "bytes 0-99/1234". */
static bool read_total(const struct http_answer *a, uint64_t *ret_total)
{
    char text[RANGE_TEXT_MAX];
    const char *slash =
        http_answer_field(a, "Content-Range", text, sizeof text) ? strchr(text, '/') : NULL;
    char *end = NULL;

    if (!slash)
        return false;
    *ret_total = strtoull(slash + 1, &end, 10);
    return end != slash + 1 && *end == '\0';
}

/* An empty blob has no range at all. */
static int read_empty(const struct azure_target *t, struct azure_facts *facts, struct err *err)
{
    int rc = azure_head_blob(t, facts, err);

    if (!rc && facts->size > 0)
        rc = err_set(err, -E_STALE, "%.300s was replaced while it was read", t->what);
    return rc;
}

static int take_piece(const struct azure_target *t, uint64_t offset, struct azure_facts *facts,
                      struct http_answer *answer, struct buf *ret_bytes, struct err *err)
{
    if (facts->etag[0] == '\0') {
        azure_read_facts(answer, facts);
        if (answer->status == 206 && !read_total(answer, &facts->size))
            return err_set(err, -E_UNAVAILABLE, "Azure did not tell the size of %.300s",
                           t->what);
    }
    uint64_t want = facts->size - offset;
    if (want > AZURE_RANGE_BYTES)
        want = AZURE_RANGE_BYTES;
    if (offset > facts->size || answer->body.len != want)
        return err_set(err, -E_UNAVAILABLE,
                       "Azure sent %zu bytes of %.300s where there are %" PRIu64,
                       answer->body.len, t->what, want);
    buf_release(ret_bytes);
    *ret_bytes = answer->body;
    answer->body = (struct buf)BUF_INIT;
    return 0;
}

int azure_read_range(const struct azure_target *t, uint64_t offset, struct azure_facts *facts,
                     struct buf *ret_bytes, struct err *err)
{
    char range[RANGE_TEXT_MAX];
    const struct azure_pair headers[] = {
        {"x-ms-range", range},
        {"If-Match", facts->etag[0] ? facts->etag : NULL},
        {NULL, NULL},
    };
    const struct azure_request r = {
        .method = "GET", .container = t->container, .blob = t->blob, .headers = headers};
    struct http_answer answer;

    buf_clear(ret_bytes);
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-%" PRIu64, offset,
             offset + AZURE_RANGE_BYTES - 1);
    int rc = azure_call(t->azure, &r, &answer, NULL, err);
    bool is_first = facts->etag[0] == '\0';
    if (rc)
        ;
    else if (answer.status == 206 || (answer.status == 200 && offset == 0))
        rc = take_piece(t, offset, facts, &answer, ret_bytes, err);
    else if (answer.status == 416 && is_first && offset == 0)
        rc = read_empty(t, facts, err);
    else if (!is_first &&
             (answer.status == 412 || answer.status == 404 || answer.status == 416))
        rc = err_set(err, -E_STALE, "%.300s was replaced while it was read", t->what);
    else if (answer.status == 404 && !azure_code_is(&answer, "ContainerNotFound"))
        rc = err_set(err, -E_NOT_FOUND, "there is no %.300s", t->what);
    else
        rc = azure_unexpected(&r, &answer, err);
    http_answer_release(&answer);
    return rc;
}
